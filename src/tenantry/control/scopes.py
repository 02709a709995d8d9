"""Who may do what: a table of every route, and which scopes of tokens it is for.

    scope        resource                      may
    admin        –                             everything of its account
    read         –                             read everything but secrets; change nothing
    namespace    a dispatch namespace          deploy, change and delete the Workers in it
    worker       a Worker, as `name` or        deploy, change and delete this one
                 `namespace/name`

A route that has no row is for nobody: what was forgotten stays shut.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["RULES", "Rule", "Scope", "permits", "rule_of"]


class Scope(StrEnum):
    ADMIN = "admin"
    READ = "read"
    NAMESPACE = "namespace"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class Rule:
    """`scopes` may use the route, beside admins. `audited`: it changes something, and is written into the audit log.

    For `namespace` and `worker` the path has to name the resource of the token, unless `shared`: then it shows what all
    tokens of the account may know.
    """

    scopes: frozenset[Scope] = frozenset()
    audited: bool = True
    shared: bool = False


_ADMIN: Final = Rule()
_ALL: Final = Rule(frozenset(Scope), audited=False, shared=True)
"""About the token itself, or names that a deploy has to look up."""
_READ: Final = Rule(frozenset({Scope.READ}), audited=False)
_DATA: Final = Rule(audited=False)
"""What is inside of a resource changes at the speed of data, and is not in the audit log."""
_DEPLOY: Final = Rule(frozenset({Scope.NAMESPACE, Scope.WORKER}))
_LOOK: Final = Rule(frozenset({Scope.READ, Scope.NAMESPACE, Scope.WORKER}), audited=False)

_A: Final = "/client/v4/accounts/{account_id}"
_NAMESPACES: Final = f"{_A}/workers/dispatch/namespaces"
_USER_SCRIPT: Final = f"{_NAMESPACES}/{{namespace}}/scripts/{{script_name}}"
_KV: Final = f"{_A}/storage/kv/namespaces/{{namespace_id}}"
_SCRIPT: Final = f"{_A}/workers/scripts/{{script_name}}"
_BUCKET: Final = f"{_A}/r2/buckets/{{bucket_name}}"

RULES: Final[Mapping[tuple[str, str], Rule]] = {
    # Who is asking
    ("GET", "/client/v4/user/tokens/verify"): _ALL,
    ("GET", f"{_A}/tokens/verify"): _ALL,
    ("GET", "/client/v4/accounts"): _ALL,
    # Tokens, and what was done with them
    ("GET", f"{_A}/tokens"): _ADMIN,
    ("POST", f"{_A}/tokens"): _ADMIN,
    ("GET", f"{_A}/tokens/permission_groups"): _ALL,
    ("GET", f"{_A}/tokens/{{token_id}}"): _ADMIN,
    ("PUT", f"{_A}/tokens/{{token_id}}"): _ADMIN,
    ("DELETE", f"{_A}/tokens/{{token_id}}"): _ADMIN,
    ("PUT", f"{_A}/tokens/{{token_id}}/value"): _ADMIN,
    ("GET", f"{_A}/audit_logs"): _READ,
    # Workers
    ("PUT", _SCRIPT): _DEPLOY,
    ("GET", _SCRIPT): _LOOK,
    ("DELETE", _SCRIPT): _DEPLOY,
    # Dispatch namespaces and the Workers in them
    ("POST", _NAMESPACES): _ADMIN,
    ("GET", _NAMESPACES): _ALL,
    ("GET", f"{_NAMESPACES}/{{namespace}}"): _LOOK,
    ("PUT", _USER_SCRIPT): _DEPLOY,
    ("GET", _USER_SCRIPT): _LOOK,
    ("DELETE", _USER_SCRIPT): _DEPLOY,
    # Resources: a deploy looks their names up
    ("POST", f"{_A}/storage/kv/namespaces"): _ADMIN,
    ("GET", f"{_A}/storage/kv/namespaces"): _ALL,
    ("GET", _KV): _ALL,
    ("PUT", _KV): _ADMIN,
    ("DELETE", _KV): _ADMIN,
    # What lies in a KV namespace
    ("GET", f"{_KV}/keys"): _READ,
    ("GET", f"{_KV}/values/{{key}}"): _READ,
    ("PUT", f"{_KV}/values/{{key}}"): _ADMIN,
    ("DELETE", f"{_KV}/values/{{key}}"): _ADMIN,
    ("GET", f"{_KV}/metadata/{{key}}"): _READ,
    ("PUT", f"{_KV}/bulk"): _ADMIN,
    ("DELETE", f"{_KV}/bulk"): _ADMIN,
    ("POST", f"{_KV}/bulk/delete"): _ADMIN,
    ("POST", f"{_KV}/bulk/get"): _READ,
    ("POST", f"{_A}/r2/buckets"): _ADMIN,
    ("GET", f"{_A}/r2/buckets"): _ALL,
    ("GET", _BUCKET): _ALL,
    ("POST", f"{_A}/d1/database"): _ADMIN,
    ("GET", f"{_A}/d1/database"): _ALL,
    # Buckets and what is in them
    ("PATCH", _BUCKET): _ADMIN,
    ("DELETE", _BUCKET): _ADMIN,
    ("GET", f"{_BUCKET}/cors"): _READ,
    ("PUT", f"{_BUCKET}/cors"): _ADMIN,
    ("DELETE", f"{_BUCKET}/cors"): _ADMIN,
    ("GET", f"{_BUCKET}/lifecycle"): _READ,
    ("PUT", f"{_BUCKET}/lifecycle"): _ADMIN,
    ("DELETE", f"{_BUCKET}/lifecycle"): _ADMIN,
    ("GET", f"{_BUCKET}/objects"): _READ,
    ("PUT", f"{_BUCKET}/objects"): _DATA,
    ("DELETE", f"{_BUCKET}/objects"): _DATA,
    ("GET", f"{_BUCKET}/objects/{{key}}"): _READ,
    ("PUT", f"{_BUCKET}/objects/{{key}}"): _DATA,
    ("DELETE", f"{_BUCKET}/objects/{{key}}"): _DATA,
    # Ours
    ("GET", "/tenantry/v1/processes"): _READ,
    ("GET", "/metrics"): _READ,
    ("POST", "/tenantry/v1/api_keys"): _ADMIN,
    ("GET", "/tenantry/v1/api_keys"): _READ,
    ("DELETE", "/tenantry/v1/api_keys/{key_id}"): _ADMIN,
}


def rule_of(method: str, path: str) -> Rule | None:
    """The row of a route, by the template of its path. HEAD is like GET."""
    return RULES.get(("GET" if method == "HEAD" else method, path))


def permits(rule: Rule, scope: Scope, resource: str, parameters: Mapping[str, str]) -> bool:
    """Whether a token of `scope` for `resource` may use the route of `rule` with these parts of its path."""
    if scope is Scope.ADMIN:
        return True
    if scope not in rule.scopes:
        return False
    if scope is Scope.READ or rule.shared:
        return True
    namespace = parameters.get("namespace")
    if scope is Scope.NAMESPACE:
        return namespace == resource
    name = parameters.get("script_name")
    if name is None:
        # The namespace that its Worker is in may be looked at.
        return rule is _LOOK and namespace is not None and resource.startswith(f"{namespace}/")
    return resource == (name if namespace is None else f"{namespace}/{name}")
