"""The request headers of a download, as options of R2's `get`."""

import re

# One range. Fifteen digits are beyond any file, and stay exact as a JavaScript number.
RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})", re.ASCII)


def parse_range(header):
    """R2's range for a Range header; None, which is the whole file, where HTTP says to ignore it."""
    match = RANGE.fullmatch(header or "")
    if match is None or match.group() == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return {"suffix": int(last)}
    if not last:
        return {"offset": int(first)}
    if int(last) < int(first):
        return None
    return {"offset": int(first), "length": int(last) - int(first) + 1}


def parse_etags(header):
    """The ETags of an If-None-Match header, without the quotes, as R2 wants them; `*` stays `*`."""
    tags = (tag.strip().removeprefix("W/").strip('"') for tag in (header or "").split(","))
    return [tag for tag in tags if tag]
