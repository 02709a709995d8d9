"""The Worker that every customer gets. Customers differ in their bindings only:

    USER_KV   data: any JSON value under a key, as JSON text
    USER_R2   files
    USER_DB   a database for the customer's own SQL, and the count of its operations (activity.py)

It has no HTTP of its own: the dispatcher calls its methods over RPC, as `set_data` or `setData`. What a caller has to
expect is a result, for an exception loses its type on the way: None for a key that is not there, `{"success": False,
"error": …}` for SQL that cannot run. An exception is a bug.
"""

import asyncio
import json

from activity import Activity
from conditions import parse_etags, parse_range
from workers import Response, WorkerEntrypoint

CONTENT_TYPE_DEFAULT = "application/octet-stream"


class UserWorker(WorkerEntrypoint):
    # Files

    async def upload_file(self, key, file):
        """Stores a file. It is handed on to R2 as it came: its bytes are never read here, whatever its size."""
        content_type = file.content_type or CONTENT_TYPE_DEFAULT
        stored = await self.env.USER_R2.put(key, file, httpMetadata={"contentType": content_type})
        await Activity(self.env.USER_DB).count()
        return {"success": True, "key": key, "size": stored.size}

    async def get_file(self, key, range_header=None, if_none_match=None):
        """A Response with the file, or the part of it that was asked for; None when there is none."""
        options = {}
        if window := parse_range(range_header):
            options["range"] = window
        if etags := parse_etags(if_none_match):
            options["onlyIf"] = {"etagDoesNotMatch": etags}
        try:
            file = await self.env.USER_R2.get(key, options)
        except Exception as error:
            if "(10039)" not in str(error):
                raise
            return await self._range_not_satisfiable(key)
        if file is None:
            return None
        headers = {"ETag": file.httpEtag, "Accept-Ranges": "bytes"}
        body = getattr(file, "body", None)
        if body is None:
            return Response(None, status=304, headers=headers)  # the caller has it already
        length = file.size
        if window:
            length = file.range.length
            last = file.range.offset + length - 1
            headers["Content-Range"] = f"bytes {file.range.offset}-{last}/{file.size}"
        headers["Content-Length"] = str(length)
        headers["Content-Type"] = content_type_of(file)
        headers["X-Content-Type-Options"] = "nosniff"
        return Response(body, status=206 if window else 200, headers=headers)

    async def _range_not_satisfiable(self, key):
        file = await self.env.USER_R2.head(key)
        if file is None:
            return None
        return Response.from_json(
            {"error": f"The range lies outside of the file, which has {file.size} bytes"},
            status=416,
            headers={"Content-Range": f"bytes */{file.size}"},
        )

    async def delete_file(self, key):
        """Whether there was such a file."""
        if await self.env.USER_R2.head(key) is None:
            return {"success": False}
        await self.env.USER_R2.delete(key)
        await Activity(self.env.USER_DB).count()
        return {"success": True}

    # Data

    async def set_data(self, key, value):
        await self.env.USER_KV.put(key, json.dumps(value))
        await Activity(self.env.USER_DB).count()
        return {"success": True, "key": key}

    async def get_data(self, key):
        # As text: with type "json" a stored null could not be told from a key that is not there.
        text = await self.env.USER_KV.get(key)
        return None if text is None else {"key": key, "value": json.loads(text)}

    async def delete_data(self, key):
        """Whether there was such a key."""
        # KV has no `head`. A listing that begins at the key finds it without its value.
        page = await self.env.USER_KV.list(prefix=key, limit=1)
        if not any(entry["name"] == key for entry in page["keys"]):
            return {"success": False}
        await self.env.USER_KV.delete(key)
        await Activity(self.env.USER_DB).count()
        return {"success": True}

    # What there is

    async def list_files(self):
        files = []
        async for page in file_pages(self.env.USER_R2, include=["httpMetadata"]):
            files += [describe(file) for file in page.objects]
        return {"files": files, "count": len(files)}

    async def list_data(self):
        keys = []
        async for page in key_pages(self.env.USER_KV):
            keys += [entry["name"] for entry in page["keys"]]
        return {"keys": keys, "count": len(keys)}

    async def get_stats(self):
        files, key_count, activity = await asyncio.gather(
            count_files(self.env.USER_R2), count_keys(self.env.USER_KV), Activity(self.env.USER_DB).read()
        )
        return {
            "files": files,
            "activity": activity,
            "storage": {"kvKeys": key_count, "r2Objects": files["count"]},
        }

    # SQL

    async def query_database(self, sql, params=()):
        try:
            result = await self.env.USER_DB.prepare(sql).bind(*params).all()
        except Exception as error:
            message = str(error)
            position = message.find("D1_")
            if position < 0:
                raise
            return {"success": False, "error": message[position:]}
        return {"success": True, "results": result.results, "meta": result.meta}


class Default(UserWorker):
    """What the dispatcher calls: the class of this name is a Worker's default entrypoint."""


def describe(file):
    return {
        "key": file.key,
        "size": file.size,
        "contentType": content_type_of(file),
        "uploaded": file.uploaded.toISOString(),
    }


def content_type_of(file):
    return getattr(file.httpMetadata, "contentType", None) or CONTENT_TYPE_DEFAULT


async def file_pages(bucket, **options):
    """Every page of a bucket's listing. One call answers 1,000 files at most."""
    position = {}
    while True:
        page = await bucket.list(**options, **position)
        yield page
        if not page.truncated:
            return
        position = {"cursor": page.cursor}


async def key_pages(kv):
    """Every page of a namespace's listing. One call answers 1,000 keys at most."""
    position = {}
    while True:
        page = await kv.list(**position)
        yield page
        if page["list_complete"]:
            return
        position = {"cursor": page["cursor"]}


async def count_files(bucket):
    count = size = 0
    async for page in file_pages(bucket):
        count += len(page.objects)
        size += sum(file.size for file in page.objects)
    return {"count": count, "totalSize": size}


async def count_keys(kv):
    count = 0
    async for page in key_pages(kv):
        count += len(page["keys"])
    return count
