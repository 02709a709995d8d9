"""`tenantry tokens` and `tenantry keys`, against the real control plane."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tenantry.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(server: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("TENANTRY_URL", server.control_url)
    monkeypatch.setenv("TENANTRY_TOKEN", server.admin_token)

    def call(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


def test_a_tokens_life(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run("tokens", "create", "ci", "--scope", "namespace", "--resource", "bindings")
    assert code == 0
    value = out.strip()
    assert value.startswith("tnt_")
    assert "shown this once" in err

    code, out, _ = run("tokens", "list", "--json")
    own = next(each for each in json.loads(out) if each["name"] == "ci")
    assert value not in out
    code, out, _ = run("tokens", "list")
    assert f"{own['id']}\tactive\tDispatch Namespace Deploy (dispatch_namespace.bindings)\tnever\tci\n" in out

    code, out, _ = run("tokens", "roll", own["id"])
    assert code == 0
    assert out.strip() not in ("", value)
    assert json.loads(run("tokens", "roll", own["id"], "--json")[1])["value"].startswith("tnt_")
    assert run("tokens", "revoke", own["id"])[0] == 0
    code, _, err = run("tokens", "revoke", own["id"])
    assert code == 1
    assert "not found" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--scope", "worker"), "needs a --resource"), (("--scope", "read", "--resource", "x"), "has no --resource")],
)
def test_a_scope_without_what_it_is_limited_to(run: Run, words: tuple[str, ...], message: str) -> None:
    code, out, err = run("tokens", "create", "ci", *words)
    assert (code, out) == (1, "")
    assert message in err


def test_what_a_token_may_bind(run: Run) -> None:
    limited = ("tokens", "create", "ci-1", "--scope", "worker", "--resource", "bindings/one")
    code, out, _ = run(*limited, "--may-bind", "r2_bucket:files", "--may-bind", "d1:0e7a", "--json")
    assert code == 0
    resources = list(json.loads(out)["policies"][0]["resources"])
    assert resources == ["tenantry.worker.bindings/one", "tenantry.d1.0e7a", "tenantry.r2_bucket.files"]
    _, out, _ = run("tokens", "list")
    assert "Worker Deploy (worker.bindings/one, d1.0e7a, r2_bucket.files)" in out

    for text in ("r2_bucket", "r2_bucket:", "service:other", ""):
        code, _, err = run(*limited, "--may-bind", text)
        assert code == 1
        assert "is not TYPE:NAME" in err
    code, _, err = run("tokens", "create", "ci", "--may-bind", "d1:0e7a")
    assert code == 1
    assert "--may-bind" in err


def test_a_keys_life(run: Run) -> None:
    _, out, _ = run("keys", "create", "user1", "--json")
    made = json.loads(out)
    assert made["key"].startswith("tku_")
    _, out, _ = run("keys", "list", "--user", "user1")
    assert out == f"{made['id']}\t{made['created_on']}\tuser1\n"
    assert run("keys", "list", "--user", "user2")[1] == ""
    assert run("keys", "revoke", made["id"])[0] == 0
    assert run("keys", "revoke", made["id"])[0] == 1


def test_the_key_of_the_secrets_is_rotated(run: Run, server: Any) -> None:
    before = (server.folder / "secrets.keys").read_text()
    code, out, err = run("secrets", "rotate")
    assert (code, out) == (0, "")
    assert "Sealed 0 secrets with a new key" in err
    assert json.loads(run("secrets", "rotate", "--json")[1]) == {"secrets": 0}
    after = (server.folder / "secrets.keys").read_text()
    assert len(after.splitlines()) == 1
    assert after != before
