"""Whose request it is, and that customer's Worker."""

from problem import Problem
from workers import python_from_rpc, python_to_rpc


class Customer:
    """A user, and their Worker behind the dispatch namespace. `await customer.get_data(key)` calls its `get_data`.

    A dispatch namespace gives a bare stub (a service binding would convert by itself), so values are converted here.
    """

    def __init__(self, user, worker_name, stub):
        self.user = user
        self.worker_name = worker_name
        self._stub = stub

    def __getattr__(self, method_name):
        method = getattr(self._stub, method_name)

        async def call(*arguments):
            return python_from_rpc(await method(*map(python_to_rpc, arguments)))

        return call


def identify(request, env):
    """The customer that a request belongs to."""
    # A header is a claim, not a proof: this fits behind a gateway that checks who the user is and sets it.
    user = (request.headers["x-user-id"] or "").strip()
    if not user:
        raise Problem(400, "Say who you are with the header X-User-ID")
    worker_name = env.CUSTOMERS.to_py().get(user)
    if worker_name is None:
        raise Problem(404, "There is no such user; check the header X-User-ID")
    return Customer(user, worker_name, env.DISPATCHER.get(worker_name))
