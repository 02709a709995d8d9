"""What the handlers of events get: the controller of a cron trigger, the batch of a queue."""

from __future__ import annotations

from typing import Any

from tenantry.runtime.invocation import current

__all__ = ["QueueBatch", "QueueMessage", "ScheduledController"]


class ScheduledController:
    """`controller.cron` as configured, `controller.scheduledTime` in milliseconds."""

    def __init__(self, event: dict[str, Any]) -> None:
        self.scheduledTime = event.get("scheduledTime")
        self.cron = event.get("cron")

    @property
    def scheduled_time(self) -> Any:
        return self.scheduledTime

    def noRetry(self) -> None:
        """Accepted: failed runs are not tried again."""

    no_retry = noRetry


class QueueMessage:
    """A message. The first of `ack()` and `retry()` decides."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.id = message["id"]
        self.timestamp = message.get("timestamp")
        self.body = message.get("body")
        self.attempts = message.get("attempts", 1)
        self._decision: dict[str, Any] | None = None

    def ack(self) -> None:
        self._decide("ack", None)

    def retry(self, options: dict[str, Any] | None = None, **keywords: Any) -> None:
        self._decide("retry", _delay({**(options or {}), **keywords}))

    def _decide(self, action: str, delay: Any) -> None:
        before = self._decision
        if before is None:
            self._decision = {"id": self.id, "action": action, "delaySeconds": delay}
        elif before["action"] != action:
            current().log(
                "warn",
                f"Received a call to {action}() on message {self.id} after {before['action']}() was already called. "
                f"Calling {action}() on a message after calling {before['action']}() has no effect.",
            )


class QueueBatch:
    """Messages of one queue."""

    def __init__(self, batch: dict[str, Any]) -> None:
        self.queue = batch.get("queue")
        self.messages = [QueueMessage(message) for message in batch.get("messages", [])]
        self.metadata = batch.get("metadata")
        self._decision: dict[str, Any] | None = None

    def ackAll(self) -> None:
        self._decide("ackAll", None)

    def retryAll(self, options: dict[str, Any] | None = None, **keywords: Any) -> None:
        self._decide("retryAll", _delay({**(options or {}), **keywords}))

    ack_all = ackAll
    retry_all = retryAll

    def _decide(self, action: str, delay: Any) -> None:
        before = self._decision
        if before is None:
            self._decision = {"action": action, "delaySeconds": delay}
        elif before["action"] != action:
            current().log(
                "warn",
                f"Received a call to {action}() after {before['action']}() was already called. "
                f"Calling {action}() after calling {before['action']}() has no effect.",
            )

    def outcome(self) -> dict[str, Any]:
        """What the host does with the messages, after the handler returned: the decisions that were made."""
        return {
            "batch": self._decision,
            "messages": [message._decision for message in self.messages if message._decision is not None],
        }


def _delay(options: dict[str, Any]) -> Any:
    return options.get("delaySeconds", options.get("delay_seconds"))
