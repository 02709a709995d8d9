"""The attacks, chapter by chapter of the list of threats, and what of that list is not attacked here and why."""

from __future__ import annotations

from typing import Final

from tenantry.doctor.attacks.channel import CHANNEL
from tenantry.doctor.attacks.files import FILES
from tenantry.doctor.attacks.kernel import KERNEL
from tenantry.doctor.attacks.model import Attack, NotCovered
from tenantry.doctor.attacks.network import NETWORK
from tenantry.doctor.attacks.resources import RESOURCES
from tenantry.doctor.attacks.sdk import SDK
from tenantry.doctor.attacks.state import STATE
from tenantry.doctor.attacks.syscalls import SYSTEM_CALLS

__all__ = ["ATTACKS", "NOT_ATTACKED", "Attack", "NotCovered"]

ATTACKS: Final[tuple[Attack, ...]] = (*FILES, *STATE, *KERNEL, *SYSTEM_CALLS, *RESOURCES, *CHANNEL, *SDK, *NETWORK)

NOT_ATTACKED: Final = {
    "S6": "Documented, not prevented: siblings of one zygote share an address layout. No secret is in it to reach.",
    "R15": "The gateway's to refuse, and tested with it: tests/security/test_output.py.",
    "R19": "There are no alarms, cron triggers or queues yet.",
    "R20": "Documented, not prevented: a Worker may read clocks. What it is charged for is read on the host's.",
    "R23": "D1 has no transaction that outlives a call, and no Durable Objects are there yet.",
    "N9": "The front door's to refuse: tests/integration/gateway/test_gateway_smuggling.py.",
    "N10": "The front door's to strip: tests/integration/gateway/test_gateway_fidelity.py.",
    "N11": "The front door's to judge: tests/integration/gateway/test_gateway_fidelity.py.",
    "N12": "The front door's to bear: tests/integration/gateway/test_gateway_smuggling.py, test_gateway_clients.py.",
    "N14": "Documented, not prevented: what names that are asked for may tell. See docs/security.md.",
    "N15": "The same as N2: ports of the host are on the inside. By its public name it is anybody's.",
    "N16": "Needs a server that misbehaves: tests/integration/host/test_host_egress.py.",
    "N17": "There are no WebSockets yet.",
    "N18": "There is no TLS yet.",
    "O2": "No label is a tenant's to choose: docs/how-to/run-in-production.md.",
    "O3": "No trace header is read.",
    "O4": "The control plane's to grant: tests/integration/control/test_tail_server.py. What a tail hides: "
    "tests/integration/host/test_host_traces.py.",
    "O5": "The control plane's to write: tests/integration/control/test_api_audit.py.",
    "O6": "A figure and no yes or no: benchmarks/neighbours.py.",
    "O7": "A figure and no yes or no: benchmarks/neighbours.py.",
    "O8": "A figure: benchmarks/neighbours.py. Its fair queue: tests/unit/channel/test_channel_turns.py.",
    "O9": "A figure and no yes or no: benchmarks/neighbours.py.",
    "O10": "Ends the host: tests/security/sandbox/test_zygote.py, tests/acceptance/test_crashes.py.",
    "O11": "Documented, not prevented: processors and caches are shared. See docs/security.md.",
    "O13": "Host and workers are of one installation: no older worker meets a newer host.",
    "O14": "Needs a machine that lacks something: tests/security/sandbox/test_missing_layers.py.",
    "Y12": "Nothing is built at deploy: a bundle is stored as it comes.",
}
"""Rows of the list that have no attack here."""

assert len({attack.name for attack in ATTACKS}) == len(ATTACKS), "two attacks of one name"
