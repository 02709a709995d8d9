"""The layers of the machine that the tests run on, tried for real."""

from __future__ import annotations

from tenantry.doctor.machine import examine
from tenantry.sandbox import Layer


def test_every_layer_is_tried_and_the_level_follows() -> None:
    found = examine()
    layers = {layer.layer: layer for layer in found.layers}
    assert layers.keys() >= {
        "kernel",
        Layer.LANDLOCK,
        Layer.SECCOMP,
        Layer.USER_NAMESPACE,
        Layer.PID_NAMESPACE,
        Layer.MOUNT_NAMESPACE,
        Layer.NETWORK_NAMESPACE,
        Layer.ROOT,
        Layer.LIMITS,
        "interpreter",
        "cgroup v2",
    }
    missing = [layer.layer for layer in found.layers if not layer.present and layer.needed_for == "strict"]
    if found.level == "strict":
        assert missing == []
        assert found.reason == ""
    else:
        assert found.reason
    for layer in found.layers:
        assert layer.detail
        assert bool(layer.advice) is not layer.present
