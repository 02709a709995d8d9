"""The embedded engine: bodies in files, everything else in one SQLite index a bucket.

    <account>/r2/<bucket>/index.sqlite     records, small bodies, uploads, and the list of body files
    <account>/r2/<bucket>/bodies/a/ab…     a body, or a part of one; written once, never changed, named at random
    <account>/r2/<bucket>/staging/ab…      a second link to every body file whose commit is not known to be done

A put of a large object: write `staging/x`, link it to `bodies/../x`, sync, commit the row, unlink `staging/x`.
Whatever is in `staging` when a bucket is opened was interrupted: a file that the index knows loses its staging link,
another is removed. A delete marks the file as condemned in the same commit that drops the row, unlinks it once nobody
reads it, and forgets it in some later commit; what is still condemned when a bucket is opened is unlinked then. So no
order of crashes loses an acknowledged object or leaks a file, and opening a bucket never walks its files.
"""

from __future__ import annotations

from tenantry.services.r2.engines.files.engine import FilesEngine

__all__ = ["FilesEngine"]
