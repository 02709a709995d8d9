"""A copy of an account's databases, and of the files of their past, while a host may be using them.

Of the past only what is written once goes along. A database that is put back does not look as its past says, so the
past goes on from it with a whole copy, and what was before can still be restored.
"""

from __future__ import annotations

from pathlib import Path

from tenantry.services.snapshot import Snapshot

__all__ = ["back_up"]

_DATABASE = ".sqlite"
_PAST = ".history"
_WRITTEN_ONCE = (".base", ".pages")


def back_up(folder: Path, target: Path, snapshot: Snapshot) -> None:
    """See `tenantry.services.ServiceFactory`."""
    names = []
    for file in sorted(folder.glob(f"*{_DATABASE}")):
        # The past first: what is archived meanwhile is in the database that is copied after it.
        past = file.with_suffix(_PAST)
        kept = [
            each.name
            for each in sorted(past.glob("*"))
            if each.suffix in _WRITTEN_ONCE and snapshot.file(each, target / past.name / each.name)
        ]
        snapshot.keep_only(target / past.name, kept)
        if snapshot.database(file, target / file.name):
            names += [file.name, past.name]
    snapshot.keep_only(target, names)
