"""A dispatch namespace: `env.DISPATCHER.get("customer-1")` is that customer's Worker."""

from __future__ import annotations

from typing import Any

from workers._bindings.base import BindingStub, options
from workers._fetch import Fetcher
from workers.rpc import to_py as plain

__all__ = ["DispatchNamespace"]


class DispatchNamespace(BindingStub):
    type_name = "DispatchNamespace"

    def get(self, name: str, args: Any = None, init: Any = None, **keywords: Any) -> Fetcher:
        """A Worker of the namespace. Whether it exists is known when it is used: `Worker not found`.

        `init`: `limits` (`cpuMs`, `subRequests`) tighten those of the call, `outbound` are the parameters that the
        binding's outbound Worker finds in its `env`.
        """
        if not isinstance(name, str):
            raise TypeError(f"The name of a Worker must be a str, not {type(name).__name__}")
        given = options(init, keywords)
        terms: dict[str, Any] = {}
        if "limits" in given:
            terms["limits"] = options(given["limits"], {})
        if "outbound" in given:
            terms["outbound"] = plain(given["outbound"])
        return Fetcher(self._stub.via(name, terms))
