from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenantry.errors import ConfigError
from tenantry.sandbox import Isolation, SandboxPolicy
from tenantry.sandbox.policy import ZygotePolicy


def _policy(folder: Path, isolation: str, *, sockets: bool) -> SandboxPolicy:
    return SandboxPolicy(Isolation(isolation), bundles=folder, site=folder, entry="module:run", sockets=sockets)


@pytest.mark.parametrize("isolation", ["container", "none"])
def test_sockets_without_a_network_namespace_are_refused(tmp_path: Path, isolation: str) -> None:
    with pytest.raises(ConfigError, match=f"isolation level {isolation}"):
        _policy(tmp_path, isolation, sockets=True)


@pytest.mark.parametrize("sockets", [False, True])
def test_the_zygote_learns_whether_there_are_sockets(tmp_path: Path, sockets: bool) -> None:
    policy = _policy(tmp_path, "strict", sockets=sockets)
    assert ZygotePolicy.decode(json.loads(policy.encode())).sockets is sockets
