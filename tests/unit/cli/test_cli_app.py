"""The command line as a whole."""

from __future__ import annotations

from importlib.metadata import version

import pytest

from tenantry.cli.app import main, make_app


def test_a_command_is_there_without_the_others() -> None:
    assert [group.name for group in make_app(["kv", "list"]).registered_groups] == ["kv"]
    assert not make_app(["kv", "list"]).registered_commands


@pytest.mark.parametrize("words", [[], ["--help"], ["kvv"]])
def test_words_that_name_no_command_are_judged_among_all(words: list[str]) -> None:
    app = make_app(words)

    assert {"kv", "r2", "d1"} <= {group.name for group in app.registered_groups}
    assert len(app.registered_commands) > 3


def test_it_says_which_one_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])

    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(f"tenantry {version('tenantry')}, Python ")
