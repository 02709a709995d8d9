"""The host: joins wire, sandbox and services.

It starts worker processes, sends them invocations, and resolves what they call against the table that was made when the
Worker was deployed.
"""

from tenantry.host.bytecode import BytecodeCache
from tenantry.host.fetches import Answer
from tenantry.host.host import Host
from tenantry.host.logs import LogEvent
from tenantry.host.runtime import PythonRuntime, Runtime
from tenantry.host.traces import Trace, TraceHub, TraceLog

__all__ = ["Answer", "BytecodeCache", "Host", "LogEvent", "PythonRuntime", "Runtime", "Trace", "TraceHub", "TraceLog"]
