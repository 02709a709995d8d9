"""The Worker in front: finds the customer of a request and calls that customer's own Worker.

It holds no data and has no storage bound to it; DISPATCHER is all it can reach.
"""

from urllib.parse import urlsplit

from customer import identify
from failures import answer_failure
from inputs import data_key, file_key, json_object, query_key, sql_and_parameters, uploaded_file
from problem import Problem
from workers import Response, WorkerEntrypoint


class Default(WorkerEntrypoint):
    async def fetch(self, request):
        try:
            customer = identify(request, self.env)
            return await find_handler(request)(customer, request)
        except Problem as problem:
            return problem.response()
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller gets an answer)
            return answer_failure(error)


async def health(customer, request):
    return Response.from_json({"status": "ok", "user": customer.user, "worker": customer.worker_name})


async def post_file(customer, request):
    key, file = await uploaded_file(request)
    return Response.from_json(await customer.upload_file(key, file))


async def get_files(customer, request):
    key = query_key(request)
    if key is None:
        return Response.from_json(await customer.list_files())
    # If-Range asks for the whole file unless it is still the same one. The whole file is always a right answer.
    window = None if "if-range" in request.headers else request.headers["range"]
    response = await customer.get_file(file_key(key), window, request.headers["if-none-match"])
    if response is None:
        raise file_not_found()
    return response


async def delete_file(customer, request):
    result = await customer.delete_file(file_key(query_key(request)))
    if not result["success"]:
        raise file_not_found()
    return Response.from_json(result)


async def post_data(customer, request):
    body = await json_object(request)
    key = data_key(body.get("key"))
    if "value" not in body:
        raise Problem(400, '"value" is missing; to store nothing under the key, send null')
    return Response.from_json(await customer.set_data(key, body["value"]))


async def get_data(customer, request):
    key = query_key(request)
    if key is None:
        return Response.from_json(await customer.list_data())
    entry = await customer.get_data(data_key(key))
    if entry is None:
        raise data_not_found()
    return Response.from_json(entry)


async def delete_data(customer, request):
    result = await customer.delete_data(data_key(query_key(request)))
    if not result["success"]:
        raise data_not_found()
    return Response.from_json(result)


async def get_stats(customer, request):
    return Response.from_json(await customer.get_stats())


async def post_query(customer, request):
    sql, parameters = sql_and_parameters(await json_object(request))
    result = await customer.query_database(sql, parameters)
    if not result["success"]:
        raise Problem(400, result["error"])
    return Response.from_json(result)


ROUTES = {
    "/": {"GET": health},
    "/files": {"GET": get_files, "POST": post_file, "DELETE": delete_file},
    "/data": {"GET": get_data, "POST": post_data, "DELETE": delete_data},
    "/stats": {"GET": get_stats},
    "/query": {"POST": post_query},
}


def find_handler(request):
    path = urlsplit(request.url).path
    handlers = ROUTES.get(path)
    if handlers is None:
        raise Problem(404, f"There is nothing at this path; there is something at {', '.join(ROUTES)}")
    handler = handlers.get(method_of(request))
    if handler is None:
        allowed = ", ".join(["HEAD", *handlers] if "GET" in handlers else handlers)
        raise Problem(405, f"This path takes {allowed}", {"Allow": allowed})
    return handler


def method_of(request):
    try:
        method = request.method
    except KeyError:  # a verb that http.HTTPMethod does not know
        return None
    return "GET" if method == "HEAD" else method  # the runtime leaves the body of the answer away


def file_not_found():
    return Problem(404, "There is no file under this key; GET /files lists them")


def data_not_found():
    return Problem(404, "There is nothing under this key; GET /data lists the keys")
