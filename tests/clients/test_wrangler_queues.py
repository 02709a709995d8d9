"""Queues by wrangler. They are stored; nothing is sent through them yet."""

from __future__ import annotations

from typing import Any


def test_queues_are_made_listed_and_deleted(newest: Any, platform: Any) -> None:
    newest("queues", "create", "wrangler-queue")
    assert "wrangler-queue" in newest("queues", "list").text
    newest("queues", "delete", "wrangler-queue")
    with platform.api() as api:
        assert "wrangler-queue" not in api.get("/queues").text
