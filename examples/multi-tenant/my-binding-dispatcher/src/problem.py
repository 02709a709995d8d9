"""A request that cannot be answered: the status, and a sentence that says what is wrong and how to mend it."""

from workers import Response


class Problem(Exception):
    def __init__(self, status, message, headers=None):
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    def response(self):
        return Response.from_json({"error": self.message}, status=self.status, headers=self.headers)
