"""CORS: which pages of other origins may call a bucket, by the rules that its owner set.

The first rule that fits an origin, a method and the headers decides, as in S3. A browser learns nothing of a bucket
without a rule for its page's origin, not even whether there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import UNSET

from tenantry.services.r2.settings import CorsRule

__all__ = ["cors_headers", "preflight_headers"]


def _fits(pattern: str, text: str) -> bool:
    """`*` stands for anything, once."""
    before, star, after = pattern.partition("*")
    if not star:
        return pattern == text
    return len(text) >= len(before) + len(after) and text.startswith(before) and text.endswith(after)


def _rule(rules: Sequence[CorsRule], origin: str, method: str, headers: Iterable[str]) -> CorsRule | None:
    wanted = list(headers)
    for rule in rules:
        allowed = [] if rule.allowed.headers is UNSET else [header.lower() for header in rule.allowed.headers]
        if (
            method in rule.allowed.methods
            and any(_fits(pattern, origin) for pattern in rule.allowed.origins)
            and all(any(_fits(pattern, header) for pattern in allowed) for header in wanted)
        ):
            return rule
    return None


def _headers(rule: CorsRule, origin: str) -> dict[str, str]:
    headers = {
        "access-control-allow-origin": "*" if "*" in rule.allowed.origins else origin,
        "vary": "Origin, Access-Control-Request-Headers, Access-Control-Request-Method",
    }
    if rule.expose_headers is not UNSET and rule.expose_headers:
        headers["access-control-expose-headers"] = ", ".join(rule.expose_headers)
    return headers


def preflight_headers(rules: Sequence[CorsRule], origin: str, method: str, headers: str) -> dict[str, str] | None:
    """The answer to a preflight for `method` with `headers` (a list in a header), or None: it is not allowed."""
    wanted = [name.strip().lower() for name in headers.split(",") if name.strip()]
    rule = _rule(rules, origin, method, wanted)
    if rule is None:
        return None
    answer = _headers(rule, origin)
    answer["access-control-allow-methods"] = ", ".join(rule.allowed.methods)
    if wanted:
        answer["access-control-allow-headers"] = ", ".join(wanted)
    if rule.max_age_seconds is not UNSET:
        answer["access-control-max-age"] = str(rule.max_age_seconds)
    return answer


def cors_headers(rules: Sequence[CorsRule], origin: str, method: str) -> dict[str, str]:
    """What an answer to a page of `origin` has besides; nothing where no rule fits."""
    rule = _rule(rules, origin, method, ())
    return {} if rule is None else _headers(rule, origin)
