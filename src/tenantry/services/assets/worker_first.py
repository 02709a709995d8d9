"""The rules of `run_worker_first`, checked as Cloudflare checks them, with its words."""

from __future__ import annotations

from collections.abc import Sequence

from tenantry.services.assets.limits import WORKER_FIRST_CHARACTERS_MAX, WORKER_FIRST_RULES_MAX

__all__ = ["BadRules", "check_worker_first_untrusted"]


class BadRules(ValueError):
    """The message is for the Worker's author."""


def check_worker_first_untrusted(rules: Sequence[str]) -> None:
    """Raises BadRules."""
    if not rules:
        raise BadRules("No `run_worker_first` rules were provided; must provide at least 1 rule.")
    if len(rules) > WORKER_FIRST_RULES_MAX:
        raise BadRules(
            f"Too many `run_worker_first` rules were provided; {len(rules)} rules provided exceeds max of "
            f"{WORKER_FIRST_RULES_MAX}."
        )
    negative = [rule for rule in rules if rule.startswith("!/")]
    positive = [rule for rule in rules if rule.startswith("/")]
    if negative and not positive:
        raise BadRules(
            "Only negative `run_worker_first` rules were provided; must provide at least 1 non-negative rule"
        )
    invalid = [
        f"'{rule[:200]}': "
        + ("negative rules must start with '!/'" if rule[:1] == "!" else "rules must start with '/' or '!/'")
        for rule in rules
        if not rule.startswith(("/", "!/"))
    ]
    invalid += [*_invalid(positive), *_invalid(negative)]
    if invalid:
        raise BadRules("\n".join(["Invalid routes in `run_worker_first`:", *invalid]))


def _invalid(rules: Sequence[str]) -> list[str]:
    found = []
    seen: set[str] = set()
    for rule in rules:
        if len(rule) > WORKER_FIRST_CHARACTERS_MAX:
            found.append(
                f"'{rule[:200]}': all rules must be less than {WORKER_FIRST_CHARACTERS_MAX} characters in length"
            )
        if rule in seen:
            found.append(f"'{rule}': rule is a duplicate; rules must be unique")
        if rule.endswith("*"):
            found += [
                f"'{other}': rule '{rule}' makes it redundant"
                for other in rules
                if other != rule and other.startswith(rule[:-1])
            ]
        seen.add(rule)
    return found
