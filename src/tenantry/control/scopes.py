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

__all__ = ["RULES", "UPLOAD", "Rule", "Scope", "permits", "rule_of"]


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
UPLOAD: Final = Rule(audited=False)
"""Files of an upload of assets: for who began it, by the token of that. The deploy that uses them is in the log."""
_LOOK: Final = Rule(frozenset({Scope.READ, Scope.NAMESPACE, Scope.WORKER}), audited=False)

_A: Final = "/client/v4/accounts/{account_id}"
_NAMESPACES: Final = f"{_A}/workers/dispatch/namespaces"
_USER_SCRIPT: Final = f"{_NAMESPACES}/{{namespace}}/scripts/{{script_name}}"
_KV: Final = f"{_A}/storage/kv/namespaces/{{namespace_id}}"
_SCRIPT: Final = f"{_A}/workers/scripts/{{script_name}}"
_DATABASE: Final = f"{_A}/d1/database/{{database}}"
_BUCKET: Final = f"{_A}/r2/buckets/{{bucket_name}}"

# Below the path of a Worker, ordinary or not.
_OF_A_WORKER: Final = {
    ("PUT", ""): _DEPLOY,
    ("GET", ""): _LOOK,
    ("DELETE", ""): _DEPLOY,
    ("GET", "/content"): _LOOK,
    ("PUT", "/content"): _DEPLOY,
    ("GET", "/versions"): _LOOK,
    ("POST", "/versions"): _DEPLOY,
    ("GET", "/versions/{version_id}"): _LOOK,
    ("GET", "/deployments"): _LOOK,
    ("POST", "/deployments"): _DEPLOY,
    ("GET", "/deployments/{deployment_id}"): _LOOK,
    ("GET", "/settings"): _LOOK,
    ("PATCH", "/settings"): _DEPLOY,
    ("GET", "/bindings"): _LOOK,
    ("GET", "/script-settings"): _LOOK,
    ("PATCH", "/script-settings"): _DEPLOY,
    ("GET", "/tags"): _LOOK,
    ("PUT", "/tags"): _DEPLOY,
    ("PUT", "/tags/{tag}"): _DEPLOY,
    ("DELETE", "/tags/{tag}"): _DEPLOY,
    ("GET", "/schedules"): _LOOK,
    ("PUT", "/schedules"): _DEPLOY,
    ("GET", "/secrets"): _LOOK,
    ("PUT", "/secrets"): _DEPLOY,
    ("GET", "/secrets/{secret_name}"): _LOOK,
    ("DELETE", "/secrets/{secret_name}"): _DEPLOY,
    ("PATCH", "/secrets-bulk"): _DEPLOY,
    ("POST", "/assets-upload-session"): _DEPLOY,
    ("POST", "/tails"): _LOOK,
    ("GET", "/tails"): _LOOK,
    ("DELETE", "/tails/{tail_id}"): _DEPLOY,
}

RULES: Final[Mapping[tuple[str, str], Rule]] = {
    # Who is asking
    ("GET", "/client/v4/user/tokens/verify"): _ALL,
    ("GET", f"{_A}/tokens/verify"): _ALL,
    ("GET", "/client/v4/user"): _ALL,
    ("GET", "/client/v4/accounts"): _ALL,
    ("GET", _A): _ALL,
    ("GET", "/client/v4/memberships"): _ALL,
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
    **{(method, f"{_SCRIPT}{path}"): rule for (method, path), rule in _OF_A_WORKER.items()},
    ("GET", f"{_A}/workers/scripts"): _READ,
    ("GET", f"{_SCRIPT}/content/v2"): _LOOK,
    ("GET", f"{_SCRIPT}/subdomain"): _LOOK,
    ("POST", f"{_SCRIPT}/subdomain"): _DEPLOY,
    ("DELETE", f"{_SCRIPT}/subdomain"): _DEPLOY,
    ("GET", f"{_SCRIPT}/references"): _LOOK,
    ("GET", f"{_A}/workers/services/{{script_name}}"): _LOOK,
    ("DELETE", f"{_A}/workers/services/{{script_name}}"): _DEPLOY,
    ("GET", f"{_A}/workers/workers/{{script_name}}"): _LOOK,
    ("POST", f"{_A}/workers/assets/upload"): UPLOAD,
    ("POST", f"{_A}/workers/assets/upload/{{hash}}"): UPLOAD,
    ("GET", f"{_A}/workers/tails/by-consumer/{{script_name}}"): _LOOK,
    # What clients ask of an account on their way
    ("GET", f"{_A}/workers/subdomain"): _ALL,
    ("PUT", f"{_A}/workers/subdomain"): _ADMIN,
    ("GET", "/client/v4/zones"): _ALL,
    ("GET", f"{_A}/workers/domains"): _ALL,
    ("GET", f"{_A}/workers/domains/records"): _ALL,
    ("GET", f"{_A}/workers/durable_objects/namespaces"): _ALL,
    ("POST", "/client/v4/graphql"): _ALL,
    # Dispatch namespaces and the Workers in them
    ("POST", _NAMESPACES): _ADMIN,
    ("GET", _NAMESPACES): _ALL,
    ("GET", f"{_NAMESPACES}/{{namespace}}"): _LOOK,
    ("PUT", f"{_NAMESPACES}/{{namespace}}"): _ADMIN,
    ("PATCH", f"{_NAMESPACES}/{{namespace}}"): _ADMIN,
    ("DELETE", f"{_NAMESPACES}/{{namespace}}"): _ADMIN,
    ("GET", f"{_NAMESPACES}/{{namespace}}/scripts"): Rule(frozenset({Scope.READ, Scope.NAMESPACE}), audited=False),
    ("DELETE", f"{_NAMESPACES}/{{namespace}}/scripts"): Rule(frozenset({Scope.NAMESPACE})),
    **{(method, f"{_USER_SCRIPT}{path}"): rule for (method, path), rule in _OF_A_WORKER.items()},
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
    ("GET", _DATABASE): _ALL,
    ("PATCH", _DATABASE): _ADMIN,
    ("PUT", _DATABASE): _ADMIN,
    ("DELETE", _DATABASE): _ADMIN,
    # What is in a database
    ("POST", f"{_DATABASE}/query"): _DATA,
    ("POST", f"{_DATABASE}/raw"): _DATA,
    ("POST", f"{_DATABASE}/export"): _READ,
    ("POST", f"{_DATABASE}/import"): _ADMIN,
    ("GET", f"{_DATABASE}/time_travel/bookmark"): _READ,
    ("POST", f"{_DATABASE}/time_travel/restore"): _ADMIN,
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
    # Queues
    ("POST", f"{_A}/queues"): _ADMIN,
    ("GET", f"{_A}/queues"): _ALL,
    ("GET", f"{_A}/queues/{{queue_id}}"): _READ,
    ("PUT", f"{_A}/queues/{{queue_id}}"): _ADMIN,
    ("PATCH", f"{_A}/queues/{{queue_id}}"): _ADMIN,
    ("DELETE", f"{_A}/queues/{{queue_id}}"): _ADMIN,
    ("GET", f"{_A}/queues/{{queue_id}}/consumers"): _READ,
    ("POST", f"{_A}/queues/{{queue_id}}/consumers"): _ADMIN,
    ("PUT", f"{_A}/queues/{{queue_id}}/consumers/{{consumer_id}}"): _ADMIN,
    ("DELETE", f"{_A}/queues/{{queue_id}}/consumers/{{consumer_id}}"): _ADMIN,
    # Ours
    ("POST", f"{_A}/r2/s3-credentials"): _ADMIN,
    ("GET", f"{_A}/r2/s3-credentials"): _READ,
    ("DELETE", f"{_A}/r2/s3-credentials/{{access_key_id}}"): _ADMIN,
    ("GET", "/tenantry/v1/processes"): _READ,
    ("GET", "/metrics"): _READ,
    ("POST", "/tenantry/v1/api_keys"): _ADMIN,
    ("GET", "/tenantry/v1/api_keys"): _READ,
    ("DELETE", "/tenantry/v1/api_keys/{key_id}"): _ADMIN,
    ("POST", "/tenantry/v1/secrets/rotate"): _ADMIN,
    ("GET", "/tenantry/v1/logs"): _ALL,  # of its own Workers: the route sees to that
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
