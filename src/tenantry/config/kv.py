"""`[[kv_namespace]]`: what the operator sets for one KV namespace.

    [[kv_namespace]]
    title = "customer-worker-1-USER_KV"     # or id = "8064ea93cddf93a68581f760690d7345"
    consistency = "cloudflare_like"         # as slow as Cloudflare's, to rehearse production; "strong" is the default

A binding without an id in a wrangler configuration has a namespace with the title `<worker>-<binding>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from tenantry.errors import ConfigError

__all__ = ["STRONG", "KvNamespaceFile", "KvNamespaceSettings", "parse_kv_namespaces"]


class KvNamespaceFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str | None = None
    id: str | None = None
    consistency: Literal["strong", "cloudflare_like"] = "strong"


@dataclass(frozen=True, slots=True)
class KvNamespaceSettings:
    """The consistency of the namespaces that have a setting, by their titles and ids."""

    titles: Mapping[str, str] = field(default_factory=dict)
    ids: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not self.titles and not self.ids

    def of(self, namespace_id: str, title: str | None) -> Mapping[str, str]:
        """The settings of one namespace; its id is the closer name."""
        consistency = self.ids.get(namespace_id) or self.titles.get(title or "")
        return {} if consistency is None else {"consistency": consistency}


STRONG = KvNamespaceSettings()


def parse_kv_namespaces(entries: Sequence[KvNamespaceFile], where: str) -> KvNamespaceSettings:
    """Raises ConfigError, which begins with `where` and the number of the entry."""
    titles: dict[str, str] = {}
    ids: dict[str, str] = {}
    for index, entry in enumerate(entries):
        if (entry.title is None) == (entry.id is None):
            raise ConfigError(f"{where}[{index}] needs either a title or an id, to say which namespace is meant")
        name, names = (entry.title, titles) if entry.title is not None else (entry.id, ids)
        assert name is not None, "one of the two"
        if not name.strip():
            raise ConfigError(f"{where}[{index}] has an empty name")
        if name in names:
            raise ConfigError(f"{where}[{index}] is a second entry for {name!r}")
        names[name] = entry.consistency
    return KvNamespaceSettings(titles, ids)
