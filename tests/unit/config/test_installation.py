"""The settings of `tenantry serve`: a file, the environment over it, and what is wrong with either."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenantry.config.installation import load_installation
from tenantry.errors import ConfigError

LEAST = 'gateway_worker = "front"\nidentity.api_keys = true\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "serve.toml").write_text(LEAST)
    return tmp_path / "serve.toml"


def test_the_least_that_a_file_says(file: Path) -> None:
    settings = load_installation(file, {})
    assert settings.gateway_worker == "front"
    assert settings.data == file.parent / "data"
    assert (settings.host, settings.port, settings.control_host, settings.control_port) == (
        "127.0.0.1",
        8787,
        "127.0.0.1",
        8788,
    )
    assert (settings.s3_host, settings.s3_port, settings.s3_domains) == ("127.0.0.1", 8789, ())
    assert settings.identity is not None
    assert settings.identity.api_keys


def test_the_domains_of_s3_are_in_the_order_in_which_they_are_looked_for(file: Path) -> None:
    file.write_text(LEAST + "s3_domains = ['example.com', 'S3.example.com']\n")
    assert load_installation(file, {}).s3_domains == ("s3.example.com", "example.com")


def test_everything_can_come_from_the_environment() -> None:
    settings = load_installation(
        None,
        {
            "TENANTRY_GATEWAY_WORKER": "front",
            "TENANTRY_PORT": "80",
            "TENANTRY_DRAIN_SECONDS": "2.5",
            "TENANTRY_IDENTITY__JWT__SECRET": "a secret of thirty-two characters",
            "TENANTRY_LIMITS__MEMORY_MIB": "64",
            "PATH": "/bin",
            "TENANTRY_TOKEN": "of the clients",
        },
    )
    assert settings.port == 80
    assert settings.drain_seconds == 2.5
    assert settings.plans.default.memory_mib == 64
    assert settings.identity is not None
    assert settings.identity.jwt is not None


def test_the_environment_wins_over_the_file(file: Path) -> None:
    file.write_text(LEAST + "port = 1\n")
    assert load_installation(file, {"TENANTRY_PORT": "2"}).port == 2


def test_what_is_different_for_one_worker(file: Path) -> None:
    file.write_text(
        LEAST + '[[worker]]\nname = "w"\nnamespace = "n"\nlimits = { memory_mib = 64 }\negress = { policy = "deny" }\n'
    )
    settings = load_installation(file, {})
    assert settings.plans.of("n", "w").memory_mib == 64
    assert settings.plans.of(None, "w").memory_mib == 128
    assert settings.egress.of("n", "w").mode == "deny"
    # The gateway's Worker holds an invocation for each that its tenants run.
    assert settings.plans.of(None, "front").concurrent_invocations > settings.plans.default.concurrent_invocations


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("colour = 1", {}, "colour"),
        ("", {"TENANTRY_COLOUR": "1"}, r"colour.*TENANTRY_COLOUR"),
        ("", {"TENANTRY_PORT": "eighty"}, r"Expected `int`.*port.*TENANTRY_PORT"),
        ("", {"TENANTRY_PORT__X": "1", "TENANTRY_PORT": "1"}, "not a table"),
        ("port = 70000", {}, "not a port"),
        ("port = 1\ncontrol_port = 1", {}, "a port each"),
        ("port = 1\ns3_port = 1", {}, "a port each"),
        ("s3_port = -1", {}, "not a port"),
        ("s3_domains = ['a b']", {}, "not a host name"),
        ("drain_seconds = -1", {}, "drain_seconds"),
        ("isolation = 'none'", {}, "isolation"),
        ("identity.jwt.secret = 'short'", {}, r"\$\.identity\.jwt\.secret"),
        ("limits.memory_mib = 1", {}, r"\$\.limits\.memory_mib"),
        ("[[worker]]\nname = 'w'\n[[worker]]\nname = 'w'", {}, "second entry"),
        ("[[worker]]\nname = 'w'\nlimits.request_body_bytes = 1", {}, "gateway's Worker only"),
        ("= 1", {}, r"serve\.toml"),
    ],
    ids=str,
)
def test_what_is_wrong_is_named(file: Path, text: str, environment: dict[str, str], message: str) -> None:
    file.write_text(LEAST + text + "\n")
    with pytest.raises(ConfigError, match=message):
        load_installation(file, environment)


def test_who_is_to_prove_identities_has_to_be_said() -> None:
    with pytest.raises(ConfigError, match="identity"):
        load_installation(None, {"TENANTRY_GATEWAY_WORKER": "front"})


def test_an_error_shows_no_secret(file: Path) -> None:
    secret = "tooshort-and-secret"
    with pytest.raises(ConfigError) as caught:
        load_installation(file, {"TENANTRY_IDENTITY__JWT__SECRET": secret})
    assert secret not in str(caught.value)
