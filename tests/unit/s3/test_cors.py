"""CORS rules: the first that fits decides."""

from __future__ import annotations

import pytest

from tenantry.s3.cors import cors_headers, preflight_headers
from tenantry.services.r2.settings import CorsAllowed, CorsRule

RULES = (
    CorsRule(CorsAllowed(("https://*.example.com",), ("GET",), ("x-*",)), max_age_seconds=5),
    CorsRule(CorsAllowed(("https://app.example.com", "http://localhost:*"), ("PUT", "GET"))),
    CorsRule(CorsAllowed(("*",), ("HEAD",)), expose_headers=("ETag",)),
)


@pytest.mark.parametrize(
    ("origin", "method", "headers", "allowed"),
    [
        ("https://a.example.com", "GET", "", "https://a.example.com"),
        ("https://a.example.com", "GET", "X-Amz-Date, x-other", "https://a.example.com"),
        ("https://a.example.com", "GET", "content-type", None),
        ("https://a.example.com", "PUT", "", None),
        ("https://app.example.com", "PUT", "", "https://app.example.com"),
        ("https://app.example.com", "PUT", "x-a", None),
        ("http://localhost:3000", "PUT", "", "http://localhost:3000"),
        ("https://example.com", "GET", "", None),
        ("https://evil.com#.example.com", "GET", "", "https://evil.com#.example.com"),
        ("https://a.example.com.evil.com", "GET", "", None),
        ("https://evil.com", "HEAD", "", "*"),
        ("https://evil.com", "GET", "", None),
        ("null", "GET", "", None),
    ],
)
def test_who_may_what(origin: str, method: str, headers: str, allowed: str | None) -> None:
    answer = preflight_headers(RULES, origin, method, headers)

    assert (None if answer is None else answer["access-control-allow-origin"]) == allowed


def test_an_answer_says_what_a_page_may_read() -> None:
    assert cors_headers(RULES, "https://evil.com", "GET") == {}
    assert cors_headers(RULES, "https://evil.com", "HEAD")["access-control-expose-headers"] == "ETag"
    assert "access-control-max-age" not in cors_headers(RULES, "https://a.example.com", "GET")
