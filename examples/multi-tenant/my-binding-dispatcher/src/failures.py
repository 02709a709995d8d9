"""Answers to what went wrong in a customer's Worker. Internals go to the log, an id of the entry to the caller."""

import traceback
import uuid

from workers import Response

# How the platform words its own failures. Everything else is a bug in a Worker.
PLATFORM_FAILURES = {
    "Worker not found": (404, "This user's Worker is not deployed"),
    "items could not be cloned": (400, "The answer is too large; ask for less at once"),
    "limited to 32MiB": (400, "The answer is too large; ask for less at once"),
    "MemoryError": (503, "The request took more memory than it may; ask for less at once"),
    "exceeded CPU time limit": (503, "The request took more CPU time than it may; ask for less at once"),
    "exceeded memory limit": (503, "The request took more memory than it may; ask for less at once"),
    "exceeded its start-up limit": (503, "This user's Worker takes too long to start"),
    "exceeded its time limit": (503, "The request took longer than it may; ask for less at once"),
    "requests running already": (429, "There are too many requests at once; try again in a second"),
}


def answer_failure(error):
    for words, (status, message) in PLATFORM_FAILURES.items():
        if words in str(error):
            print(f"{type(error).__name__}: {error}")
            headers = {"Retry-After": "1"} if status == 429 else {}
            return Response.from_json({"error": message}, status=status, headers=headers)
    failure_id = str(uuid.uuid4())
    print(f"Internal error {failure_id}\n{''.join(traceback.format_exception(error))}")
    return Response.from_json({"error": "Internal error", "id": failure_id}, status=500)
