"""The capability tables of a session: what each side may reach of the other, by number, and when that ends.

The session's docstring has the rules. Numbers go upwards and are never used twice, so that a number tells whether a
thing is live, is gone, or never was. On the wire a capability is `[type, number, length]`:

    type 0   a stub of the sender, new under this number
    type 1   a stream of the sender, new under this number
    type 2   an export of the receiver that comes back; number 0 is one that is gone
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from tenantry.errors import ProtocolError
from tenantry.wire.bodies import CapabilityBody
from tenantry.wire.events import Capability, Import, StreamExport, StubExport, WireLimitError
from tenantry.wire.limits import CAPABILITIES_MAX, EXPORTS_MAX

__all__ = ["IDENTIFIER_MAX", "Capabilities", "Described", "Export", "Scope"]

_STUB_OF_SENDER: Final = 0
_STREAM_OF_SENDER: Final = 1
_EXPORT_OF_RECEIVER: Final = 2

IDENTIFIER_MAX: Final = 2**32 - 1

Export = StubExport | StreamExport
Described = tuple[int, int, int | None]
"""A capability as it stands in a CALL or a RESULT."""


class Scope:
    """What ends together."""

    __slots__ = ("exports", "imports")

    def __init__(self) -> None:
        # Made when there is something: nearly all calls bring nothing.
        self.exports: dict[int, Export] | None = None
        self.imports: dict[int, Import] | None = None

    def add_export(self, export: Export) -> None:
        export.scope = self
        if self.exports is None:
            self.exports = {}
        self.exports[export.identifier] = export

    def add_import(self, imported: Import) -> None:
        imported.scope = self
        if self.imports is None:
            self.imports = {}
        self.imports[imported.identifier] = imported


class Capabilities:
    """Both tables of one side. What ends without an event of its own is added to `dropped`."""

    __slots__ = ("_last_export", "_last_import", "dropped", "exports", "imports")

    def __init__(self) -> None:
        self.exports: dict[int, Export] = {}
        self.imports: dict[int, Import] = {}
        self.dropped: list[Export | Import] = []
        self._last_export = 0
        self._last_import = 0

    # What this side sends ------------------------------------------------------------------------------------------

    def export(self, thing: Export) -> int:
        """Give a thing of this side a number."""
        assert not thing.identifier, "a thing is exported once"
        if self._last_export >= IDENTIFIER_MAX:
            raise WireLimitError("the session has used up its numbers")
        self._last_export += 1
        thing.identifier = self._last_export
        self.exports[thing.identifier] = thing
        return thing.identifier

    def check_room(self, count: int) -> None:
        """Raises WireLimitError when the peer could not take a message with so many."""
        if count > CAPABILITIES_MAX:
            raise WireLimitError(f"a message with more than {CAPABILITIES_MAX} streams and stubs")
        if len(self.exports) + count > EXPORTS_MAX:
            # What the peer imports is never more: it forgets before this side does, or is told by an earlier frame.
            raise WireLimitError(f"more than {EXPORTS_MAX} streams and stubs at once")
        if self._last_export + count > IDENTIFIER_MAX:
            raise WireLimitError("the session has used up its numbers")

    def describe(self, capabilities: Sequence[Capability], scope: Scope | None) -> list[Described]:
        """Capabilities as they are sent; those of this side are exported into `scope`."""
        described: dict[Capability, Described] = {}
        for capability in capabilities:
            if capability not in described:
                described[capability] = self._describe(capability, scope)
        return [described[capability] for capability in capabilities]

    def _describe(self, capability: Capability, scope: Scope | None) -> Described:
        if isinstance(capability, Import):
            if self.imports.get(capability.identifier) is not capability:
                # Dead, or of another session, where its number means another thing.
                return (_EXPORT_OF_RECEIVER, 0, None)
            if capability.kind == "stream":
                self.forget_import(capability)
            return (_EXPORT_OF_RECEIVER, capability.identifier, None)
        self.export(capability)
        if scope is not None:
            scope.add_export(capability)
        if isinstance(capability, StreamExport):
            return (_STREAM_OF_SENDER, capability.identifier, capability.length)
        return (_STUB_OF_SENDER, capability.identifier, None)

    # What the peer sends -------------------------------------------------------------------------------------------

    def receive_untrusted(self, listed: list[CapabilityBody], scope: Scope | None) -> list[Capability]:
        """The capabilities that a list of the peer's stands for; those that are new belong to `scope`."""
        if len(listed) > CAPABILITIES_MAX or len(self.imports) + len(listed) > EXPORTS_MAX:
            raise ProtocolError("too many capabilities")
        last_before = self._last_import
        received = [self._receive(item, scope, last_before) for item in listed]
        for capability in received:
            if isinstance(capability, StreamExport):
                self.forget_export(capability)
        return received

    def _receive(self, item: CapabilityBody, scope: Scope | None, last_before: int) -> Capability:
        identifier = item.identifier
        if item.length is not None and (item.type != _STREAM_OF_SENDER or item.length < 0):
            raise ProtocolError("a length that cannot be")
        if item.type == _EXPORT_OF_RECEIVER:
            export = self.find_export_untrusted(identifier) if identifier else None
            # What was released while this frame was under way arrives as a stub that fails when it is used.
            return StubExport(None) if export is None else export
        if item.type not in (_STUB_OF_SENDER, _STREAM_OF_SENDER):
            raise ProtocolError("a capability of unknown type")
        kind: Literal["stream", "stub"] = "stream" if item.type == _STREAM_OF_SENDER else "stub"
        if self._last_import < identifier <= IDENTIFIER_MAX:
            self._last_import = identifier
            imported = self.imports[identifier] = Import(identifier, kind, item.length)
            if scope is not None:
                scope.add_import(imported)
            return imported
        known = self.imports.get(identifier) if identifier > last_before else None
        if known is None or known.kind != kind:
            raise ProtocolError("an export number that was used before")
        return known  # a second time in this list

    def find_export_untrusted(self, identifier: int) -> Export | None:
        """What the peer names as an export of this side; None when it is gone. Raises ProtocolError."""
        if not 0 < identifier <= self._last_export:
            raise ProtocolError("something that was never exported")
        return self.exports.get(identifier)

    def find_stream_untrusted(self, identifier: int) -> Import | None:
        """What the peer names as a stream of its own; None when it is gone. Raises ProtocolError."""
        if not 0 < identifier <= self._last_import:
            raise ProtocolError("a stream that was never sent")
        stream = self.imports.get(identifier)
        if stream is not None and stream.kind != "stream":
            raise ProtocolError("bytes for something that is not a stream")
        return stream

    # The end of things ---------------------------------------------------------------------------------------------

    def end(self, scope: Scope) -> None:
        if scope.exports:
            for export in tuple(scope.exports.values()):
                self.drop_export(export)
        if scope.imports:
            for imported in tuple(scope.imports.values()):
                self.drop_import(imported)

    def drop_export(self, export: Export) -> None:
        if self.forget_export(export):
            self.dropped.append(export)

    def drop_import(self, imported: Import) -> None:
        if self.forget_import(imported):
            self.dropped.append(imported)

    def forget_export(self, export: Export) -> bool:
        """Take an export out of its tables; whether it was there."""
        if self.exports.get(export.identifier) is not export:
            return False
        del self.exports[export.identifier]
        if export.scope is not None:
            del export.scope.exports[export.identifier]
            export.scope = None
        if isinstance(export, StreamExport):
            export.credit = 0
        return True

    def forget_import(self, imported: Import) -> bool:
        """Take an import out of its tables; whether it was there."""
        if self.imports.get(imported.identifier) is not imported:
            return False
        del self.imports[imported.identifier]
        if imported.scope is not None:
            del imported.scope.imports[imported.identifier]
            imported.scope = None
        imported.live = False
        return True

    def close(self) -> tuple[list[Export], list[Import]]:
        """All that was live, which is now dead."""
        exports, imports = list(self.exports.values()), list(self.imports.values())
        for export in exports:
            self.forget_export(export)
        for imported in imports:
            self.forget_import(imported)
        return exports, imports
