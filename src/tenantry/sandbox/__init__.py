"""Linux isolation: a zygote that forks sealed processes. It knows nothing of Workers.

    zygote = await Zygote.start(policy)                     # IsolationError names the layer that this machine lacks
    process = await zygote.spawn(bundle, assignment)        # a sealed process that runs policy.entry
    process.channel, process.cpu_seconds(), process.kill(), await process.exited
    await zygote.aclose()                                   # nothing is left

`recipe` says which layer goes on when, and each other module is one kernel mechanism. docs/design/sandbox.md is the
map.
"""

from __future__ import annotations

from tenantry.sandbox.cgroups import CgroupTree
from tenantry.sandbox.layers import Layer
from tenantry.sandbox.pacemaker import Pacemaker
from tenantry.sandbox.policy import Isolation, ResourceLimits, SandboxPolicy, check_bundle_name
from tenantry.sandbox.process import SandboxedProcess
from tenantry.sandbox.zygote import Zygote

__all__ = [
    "CgroupTree",
    "Isolation",
    "Layer",
    "Pacemaker",
    "ResourceLimits",
    "SandboxPolicy",
    "SandboxedProcess",
    "Zygote",
    "check_bundle_name",
]
