"""The operator's terminal cannot be attacked, nor held up, by what a Worker prints."""

from __future__ import annotations

import io
import logging
import threading

import structlog

from tenantry.cli import operator_log
from tenantry.cli.operator_log import OperatorLog
from tenantry.host import LogEvent


def printed(*events: LogEvent, terminal: bool = False) -> str:
    class Stream(io.StringIO):
        def isatty(self) -> bool:
            return terminal

    stream = Stream()
    log = OperatorLog(stream)
    for event in events:
        log(event)
    log.close()
    return stream.getvalue()


def test_each_line_has_the_name_of_its_worker() -> None:
    assert printed(LogEvent("one", None, "log", ["a\nb"]), LogEvent("two", "ns", "log", ["c"])) == (
        "[one] a\n[one] b\n[two] c\n"
    )


def test_control_characters_are_shown_and_not_obeyed() -> None:
    text = printed(LogEvent("w", None, "log", ["\x1b]0;title\x07\x1b[2J\r\x00\x9b1m tab\there"]), terminal=True)
    own = (operator_log._CYAN, operator_log._PLAIN)
    for sequence in own:
        text = text.replace(sequence, "")
    assert text == "[w] \\x1b]0;title\\x07\\x1b[2J\\x0d\\x00\\x9b1m tab\there\n"


def test_a_forged_line_cannot_pass_for_another_workers() -> None:
    assert printed(LogEvent("w", None, "log", ["x\n[other] y"])) == "[w] x\n[w] [other] y\n"


def test_a_terminal_that_does_not_read_holds_up_nobody() -> None:
    class Stopped(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.entered = threading.Event()
            self.going = threading.Event()

        def write(self, text: str, /) -> int:
            self.entered.set()
            self.going.wait(20)
            return super().write(text)

    stream = Stopped()
    log = OperatorLog(stream)
    log(LogEvent("w", None, "log", ["first"]))
    assert stream.entered.wait(20)
    for _ in range(20):
        log(LogEvent("w", None, "log", ["x" * 1024 * 1024]))
    stream.going.set()
    log.close(20)
    assert "12 lines were left out" in stream.getvalue()


def test_the_platforms_own_lines_come_in_order_with_those_of_workers() -> None:
    stream = io.StringIO()
    log = OperatorLog(stream)
    log.configure()
    say = structlog.get_logger().bind(worker="w")
    log(LogEvent("w", None, "log", ["before"]))
    say.warning("it was refused", reason="too large")
    log(LogEvent("w", None, "log", ["after"]))
    log.close()
    first, line, last = stream.getvalue().splitlines()
    assert (first, last) == ("[w] before", "[w] after")
    assert "[warning" in line
    assert line.rstrip().endswith("it was refused                 reason='too large' worker=w")


def test_what_the_platform_quotes_of_a_tenant_is_shown_and_not_obeyed() -> None:
    stream = io.StringIO()
    log = OperatorLog(stream)
    log.configure()
    say = structlog.get_logger()
    say.info("a request failed", reason="\x1b[2J\x07", other="two\nlines")
    say.info("\x9b1m")
    try:
        raise ValueError("\x1b]0;title\x07\rover it\n2026-11-26 [info     ] forged")
    except ValueError:
        say.exception("it failed")
    log.close()
    text = stream.getvalue()
    assert text.replace("\n", "").isprintable()
    assert "reason=\\x1b[2J\\x07" in text
    assert text.endswith("  ValueError: \\x1b]0;title\\x07\\x0dover it\n  2026-11-26 [info     ] forged\n")
    assert len([line for line in text.splitlines() if "[info" in line and not line.startswith("  ")]) == 2


def test_what_libraries_warn_of_comes_too() -> None:
    stream = io.StringIO()
    log = OperatorLog(stream)
    log.configure()
    library = logging.getLogger("some.library")
    library.info("all is well")
    library.warning("%d are left", 3)
    try:
        raise ValueError("of then")
    except ValueError:
        library.exception("it \x1b[2J failed")
    log.close()
    library.error("behind the end")
    text = stream.getvalue()
    assert "all is well" not in text
    assert "behind the end" not in text
    warning, error = text.split("\n", 1)
    assert "[warning" in warning
    assert warning.rstrip().endswith("3 are left                     [some.library]")
    assert "it \\x1b[2J failed" in error
    assert error.endswith("ValueError: of then\n")


def test_a_traceback_is_of_the_moment_in_which_it_is_logged() -> None:
    stream = io.StringIO()
    log = OperatorLog(stream)
    log.configure()
    try:
        raise ValueError("of then")
    except ValueError:
        structlog.get_logger().exception("it failed")
    log.close()
    assert "it failed" in stream.getvalue()
    assert stream.getvalue().endswith("ValueError: of then\n")


def test_what_is_said_behind_the_end_is_written_at_once() -> None:
    stream = io.StringIO()
    log = OperatorLog(stream)
    log.configure()
    log.close()
    structlog.get_logger().error("one thing more")
    assert "one thing more" in stream.getvalue()
