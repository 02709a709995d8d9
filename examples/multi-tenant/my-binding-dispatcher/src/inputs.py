"""What a request says, checked. Every function here gives a good value or raises a Problem."""

import json
from urllib.parse import parse_qsl, urlsplit

from problem import Problem
from workers import File

KV_KEY_BYTES_MAX = 512  # KV's own limit
R2_KEY_BYTES_MAX = 1024  # R2's own limit
# This Worker serves all customers, and JSON takes up to twenty times its length in Python's memory. What is larger is a
# file, whose bytes never come here.
JSON_BYTES_MAX = 2 * 1024 * 1024
JSON_DEPTH_MAX = 100


def data_key(key):
    """A key for KV."""
    key = text_key(key, KV_KEY_BYTES_MAX)
    if key in (".", ".."):
        raise Problem(400, f'"key" must not be "{key}"; choose another name')
    return key


def file_key(key):
    """A key for R2."""
    return text_key(key, R2_KEY_BYTES_MAX)


def text_key(key, bytes_max):
    if key is None:
        raise Problem(400, '"key" is missing; name what the request is about')
    if not isinstance(key, str):
        raise Problem(400, '"key" must be text')
    if not key:
        raise Problem(400, '"key" is empty; give it at least one character')
    size = len(key.encode())
    if size > bytes_max:
        raise Problem(400, f'"key" is {size} bytes long in UTF-8; the limit is {bytes_max}')
    return key


def query_key(request):
    """`key` of the URL, None when it is not there."""
    try:
        parameters = parse_qsl(urlsplit(request.url).query, keep_blank_values=True, errors="strict")
    except ValueError:
        raise Problem(400, "The query of the URL is not percent-encoded UTF-8") from None
    return next((value for name, value in parameters if name == "key"), None)


async def json_object(request):
    """The body, which must be a JSON object."""
    length = request.headers["content-length"]
    if length is None and request.body is not None:
        raise Problem(411, "Send the JSON with a Content-Length")
    if int(length or 0) > JSON_BYTES_MAX:
        raise Problem(413, f"The body is {length} bytes long; the limit for JSON is {JSON_BYTES_MAX}. Upload a file")
    content = await request.bytes()
    if not content:
        raise Problem(400, "The body is empty; send a JSON object")
    body = parse_json(content)
    if not isinstance(body, dict):
        raise Problem(400, 'The body must be a JSON object, such as {"key": "color", "value": "blue"}')
    return body


def parse_json(body):
    """json.loads, less what Python takes for JSON and no one else does, and what cannot go to another Worker."""
    try:
        text = body.decode()
        value = json.loads(text, parse_constant=refuse_constant, parse_float=finite_float)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # fails at half of a surrogate pair, which no text can hold
    except RecursionError:
        raise too_deep() from None
    except ValueError as error:
        raise Problem(400, f"The body is not JSON in UTF-8: {error}") from None
    level = [value]
    for _ in range(JSON_DEPTH_MAX):
        level = [child for item in level for child in children(item)]
        if not level:
            return value
    raise too_deep()


def too_deep():
    return Problem(400, f"The JSON is nested more than {JSON_DEPTH_MAX} deep")


def children(value):
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def refuse_constant(name):
    raise ValueError(f"{name} is no JSON number")


def finite_float(text):
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{text} is too large a number")
    return number


async def uploaded_file(request):
    """`key` and `file` of a form. The file is a handle: nobody has read its bytes."""
    content_type = (request.headers["content-type"] or "").lower()
    if not content_type.startswith("multipart/form-data"):
        raise Problem(400, 'Send a form (multipart/form-data) with "key" and "file", as curl -F does')
    try:
        form = await request.form_data()
    except (TypeError, ValueError) as error:
        raise Problem(400, f"The body is not a form that can be read: {error}") from None
    key = file_key(form["key"])
    file = form["file"]
    if not isinstance(file, File):
        raise Problem(400, 'The form has no file in "file"; with curl: -F file=@picture.png')
    return key, file


def sql_and_parameters(body):
    sql = body.get("sql")
    if not isinstance(sql, str) or not sql.strip():
        raise Problem(400, '"sql" must be text with one SQL statement')
    parameters = body.get("params", [])
    if not isinstance(parameters, list):
        raise Problem(400, '"params" must be a list with a value for each ? of the statement')
    return sql, parameters
