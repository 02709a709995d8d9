"""The attacks, chapter by chapter of the list of threats, and what of that list is not attacked here and why."""

from __future__ import annotations

from typing import Final

from tenantry.doctor.attacks.channel import CHANNEL
from tenantry.doctor.attacks.files import FILES
from tenantry.doctor.attacks.kernel import KERNEL
from tenantry.doctor.attacks.model import Attack, NotCovered
from tenantry.doctor.attacks.resources import RESOURCES
from tenantry.doctor.attacks.sdk import SDK
from tenantry.doctor.attacks.state import STATE
from tenantry.doctor.attacks.syscalls import SYSTEM_CALLS

__all__ = ["ATTACKS", "NOT_ATTACKED", "Attack", "NotCovered"]

ATTACKS: Final[tuple[Attack, ...]] = (*FILES, *STATE, *KERNEL, *SYSTEM_CALLS, *RESOURCES, *CHANNEL, *SDK)

NOT_ATTACKED: Final = {
    "S6": "Documented, not prevented: siblings of one zygote share an address layout. No secret is in it to reach.",
    "R15": "The gateway's to refuse, and tested with it: tests/security/test_output.py.",
    "R19": "There are no alarms, cron triggers or queues yet.",
    "R20": "Documented, not prevented: a Worker may read clocks. What it is charged for is read on the host's.",
    "R23": "D1 has no transaction that outlives a call, and no Durable Objects are there yet.",
    "Y12": "Nothing is built at deploy: a bundle is stored as it comes.",
}
"""Rows of the list that have no attack here."""

assert len({attack.name for attack in ATTACKS}) == len(ATTACKS), "two attacks of one name"
