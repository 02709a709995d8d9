"""A request in, an answer out: files, `_redirects`, `_headers` and `run_worker_first` together."""

from __future__ import annotations

from typing import Any

import pytest

from tenantry.services.assets import Asset, BadRules, Site, SiteRequest, check_worker_first_untrusted
from tenantry.services.assets.content_types import content_type
from tenantry.services.assets.headers import HeaderRules
from tenantry.services.assets.limits import HEADER_RULES_MAX, LINE_CHARACTERS_MAX
from tenantry.services.assets.redirects import Redirect, Redirects

NAMES = ["/index.html", "/about.html", "/404.html", "/a b.txt", "/ä.txt", "/app.js", "/data/x.bin", "/unknown.xyzzy"]
FILES = {path: Asset(f"{number:032x}", f"{number:064x}", number) for number, path in enumerate(NAMES, 1)}


def site(**options: Any) -> Site:
    usual: dict[str, Any] = {
        "html_handling": "auto-trailing-slash",
        "not_found_handling": "none",
        "run_worker_first": False,
        "redirects": "",
        "headers": "",
        "has_worker": True,
        "navigations_prefer_files": True,
    }
    return Site(FILES, **{**usual, **options})


def request(path: str, method: str = "GET", **headers: str) -> SiteRequest:
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    made = SiteRequest.read_untrusted(method, f"http://example.com:8787{path}", pairs)
    assert made is not None
    return made


def answer(path: str, method: str = "GET", *, of: Site | None = None, **headers: str) -> tuple[int, dict[str, str]]:
    found = (of or site()).answer(request(path, method, **headers))
    return found.status, dict(found.headers)


def test_a_file_has_its_etag_its_type_and_is_asked_for_again_each_time() -> None:
    assert answer("/about") == (
        200,
        {
            "etag": f'"{2:032x}"',
            "content-type": "text/html; charset=utf-8",
            "cache-control": "public, max-age=0, must-revalidate",
        },
    )
    for header in ("authorization", "range"):
        assert "cache-control" not in answer("/about", **{header: "x"})[1]


@pytest.mark.parametrize("tag", [f'"{2:032x}"', f'W/"{2:032x}"', f'"other", "{2:032x}"'])
def test_who_has_the_file_is_told_so(tag: str) -> None:
    status, headers = answer("/about", if_none_match=tag)
    assert (status, headers["etag"]) == (304, f'"{2:032x}"')
    assert answer("/about", if_none_match=tag.replace("2", "3"))[0] == 200


@pytest.mark.parametrize(
    ("path", "method", "status", "location"),
    [
        ("/about", "HEAD", 200, None),
        ("/about", "POST", 405, None),
        ("/none", "POST", 404, None),
        ("/about.html?q=1", "GET", 307, "/about?q=1"),
        ("/%61bout", "GET", 307, "/about"),
        ("//about", "GET", 307, "/about"),
        ("/a%20b.txt", "GET", 200, None),
        ("/%C3%A4.txt", "GET", 200, None),
        ("/%c3%a4.txt", "GET", 307, "/%C3%A4.txt"),
        ("/%ff.txt", "GET", 404, None),
        ("/data%2Fx.bin", "GET", 307, "/data/x.bin"),
        ("/%2e%2e/about", "GET", 404, None),
        ("/about%00", "GET", 404, None),
    ],
)
def test_the_table_of_requests(path: str, method: str, status: int, location: str | None) -> None:
    found, headers = answer(path, method)
    assert (found, headers.get("location")) == (status, location)


@pytest.mark.parametrize(
    ("options", "path", "headers", "for_worker"),
    [
        ({}, "/about", {}, False),
        ({}, "/none", {}, True),
        ({"has_worker": False}, "/none", {}, False),
        ({"run_worker_first": True}, "/about", {}, True),
        ({"run_worker_first": True, "has_worker": False}, "/about", {}, False),
        ({"run_worker_first": ["/api/*", "!/api/docs/*"]}, "/api/x", {}, True),
        ({"run_worker_first": ["/api/*", "!/api/docs/*"]}, "/api/docs/x", {}, False),
        ({"run_worker_first": ["/api/*"]}, "/about", {}, False),
        ({"run_worker_first": ["/api/*"]}, "/none", {}, True),
        # The fallback comes before the Worker only where the author said what that is for, or a browser navigates.
        ({"not_found_handling": "404-page"}, "/none", {}, True),
        ({"not_found_handling": "404-page", "run_worker_first": ["/api/*"]}, "/none", {}, False),
        ({"not_found_handling": "404-page"}, "/none", {"sec_fetch_mode": "navigate"}, False),
        (
            {"not_found_handling": "404-page", "navigations_prefer_files": False},
            "/none",
            {"sec_fetch_mode": "navigate"},
            True,
        ),
        ({"redirects": "/go /about"}, "/go", {}, False),
        ({"redirects": "/go /gone 200"}, "/go", {}, False),
    ],
)
def test_the_table_of_who_answers(
    options: dict[str, Any], path: str, headers: dict[str, str], for_worker: bool
) -> None:
    assert site(**options).is_for_worker(request(path, **headers)) is for_worker


def test_a_method_does_not_decide_who_answers() -> None:
    assert not site().is_for_worker(request("/about", "POST"))


REDIRECTS = """
# a comment
/old /about
/old /ignored
/moved https://other.example/x?y=1#z 308
/p/:year/:name /posts/:name?year=:year 301
/rewritten /about 200
/away/* /:splat
/loop/* /index.html
/bad /about 418
/bad /about 301 too many
https://example.com/abs /about
/bad about
"""


@pytest.mark.parametrize(
    ("path", "status", "location"),
    [
        ("/old?q=1", 302, "/about?q=1"),
        ("/moved?q=1", 308, "https://other.example/x?y=1#z"),
        ("/p/2026/x?q=1", 301, "/posts/x?year=2026"),
        ("/rewritten", 200, None),
        ("/away//evil.example/", 302, "/evil.example/"),
        ("/loop/x", 404, None),
        ("/bad", 404, None),
        ("/abs", 404, None),
    ],
)
def test_the_table_of_redirects(path: str, status: int, location: str | None) -> None:
    found, headers = answer(path, of=site(redirects=REDIRECTS))
    assert (found, headers.get("location")) == (status, location)


def test_static_rules_after_a_dynamic_one_wait_their_turn_and_rules_beyond_the_limits_are_left_out() -> None:
    found = Redirects.parse_untrusted("/a/* /x\n/a/b /y\n" + "".join(f"/s{number} /t\n" for number in range(200)))
    assert found.match("/a/b") == Redirect(302, "/x")
    assert found.match("/s97") == Redirect(302, "/t")
    assert found.match("/s98") is None
    many = Redirects.parse_untrusted("".join(f"/s{number} /t\n" for number in range(2001)))
    assert many.match("/s1999") is not None
    assert many.match("/s2000") is None
    assert Redirects.parse_untrusted(f"/a /{'x' * LINE_CHARACTERS_MAX}").match("/a") is None


HEADERS = """
/*
  X-Every: one
  Cache-Control: no-store
/about
  X-Every: two
  ! Cache-Control
  Link: </a>; rel=preload
  Link: </b>; rel=preload
https://:sub.com/app.js
  X-Sub: :sub
https://example.com:8787/*
  X-Port: no
  no colon
  Two Words: no
/nothing
"""


def test_headers_are_set_added_to_and_taken_away_in_the_order_of_the_rules() -> None:
    rules = site(headers=HEADERS)
    pairs = rules.answer(request("/about")).headers
    assert [value for name, value in pairs if name == "x-every"] == ["one", "two"]
    assert dict(pairs)["link"] == "</a>; rel=preload, </b>; rel=preload"
    assert "cache-control" not in dict(pairs)
    assert answer("/app.js", of=rules)[1]["x-sub"] == "example"
    assert answer("/none", of=rules) == (404, {"x-every": "one", "cache-control": "no-store"})
    assert "x-port" not in answer("/app.js", of=rules)[1]


def test_header_rules_beyond_the_limit_are_left_out() -> None:
    rules = HeaderRules.parse_untrusted("".join(f"/p{number}\n  X-A: b\n" for number in range(HEADER_RULES_MAX + 1)))
    assert rules.apply([], "", f"/p{HEADER_RULES_MAX - 1}") == [("x-a", "b")]
    assert rules.apply([], "", f"/p{HEADER_RULES_MAX}") == []


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([], "must provide at least 1 rule"),
        (["/a"] * 101, "101 rules provided exceeds max of 100"),
        (["!/a"], "at least 1 non-negative rule"),
        (["a"], "'a': rules must start with '/' or '!/'"),
        (["/b", "!a"], "'!a': negative rules must start with '!/'"),
        (["/" + "a" * 100], "must be less than 100 characters"),
        (["/a", "/a"], "'/a': rule is a duplicate"),
        (["/a/*", "/a/b"], "'/a/b': rule '/a/*' makes it redundant"),
    ],
)
def test_the_table_of_refused_rules(rules: list[str], words: str) -> None:
    with pytest.raises(BadRules) as raised:
        check_worker_first_untrusted(rules)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/a.html", "text/html; charset=utf-8"),
        ("/a.CSS", "text/css; charset=utf-8"),
        ("/a.js", "text/javascript; charset=utf-8"),
        ("/a.json", "application/json"),
        ("/a.png", "image/png"),
        ("/a.woff2", "font/woff2"),
        ("/a.xyzzy", None),
        ("/a.d/plain", None),
    ],
)
def test_the_table_of_types(path: str, kind: str | None) -> None:
    assert content_type(path) == kind


@pytest.mark.parametrize("url", ["", "about", "http:/x", "http://h/" + "x" * 20_000])
def test_a_url_that_is_none_leads_nowhere(url: str) -> None:
    assert SiteRequest.read_untrusted("GET", url, []) is None
