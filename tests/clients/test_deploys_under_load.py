"""What visitors see of deploys: whole versions, and nothing else, whatever is deployed and whatever is killed."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest

CLIENTS = 4
KILLS = 2

# Each part of a version says which version it is of: a half-made one would say two things.
ENTRY = """
from workers import WorkerEntrypoint, Response
from part import MARK

class Default(WorkerEntrypoint):
    async def fetch(self, request):
        return Response(f"MARKER {MARK} {self.env.MARK}")
"""


class Load:
    """Visitors who ask again as soon as they were answered. `answers`: (status, text), in the order of the asking."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ended = threading.Event()
        self.answers: list[tuple[int, str]] = []
        self._counted = threading.Condition()

    def visit(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self._ended.is_set():
                response = client.get(self._url)
                with self._counted:
                    self.answers.append((response.status_code, response.text))
                    self._counted.notify_all()

    def wait_more(self, count: int = 50) -> None:
        """Until so many more were answered."""
        with self._counted:
            wanted = len(self.answers) + count
            assert self._counted.wait_for(lambda: len(self.answers) >= wanted, 60)

    def end(self) -> None:
        self._ended.set()


@contextmanager
def load_on(url: str) -> Iterator[Load]:
    load = Load(url)
    with ThreadPoolExecutor(CLIENTS) as pool:
        visits = [pool.submit(load.visit) for _ in range(CLIENTS)]
        try:
            load.wait_more()
            yield load
        finally:
            load.end()
        for visit in visits:
            visit.result()


def put(platform: Any, script: str, mark: str) -> httpx.Response:
    """A deploy: of `script`, below the account's Workers, each part of which is to say `mark`."""
    document = {
        "main_module": "entry.py",
        "compatibility_date": "2026-01-15",
        "compatibility_flags": ["python_workers"],
        "bindings": [
            {"name": "MARK", "type": "plain_text", "text": mark},
            {"name": "SECRET", "type": "secret_text", "text": f"secret {mark}"},
        ],
    }
    modules = {"entry.py": ENTRY.replace("MARKER", mark), "part.py": f"MARK = {mark!r}\n"}
    with platform.api() as api:
        return api.put(
            f"/workers/{script}",
            data={"metadata": json.dumps(document)},
            files=[(name, (name, text, "text/x-python")) for name, text in modules.items()],
        ).raise_for_status()


@pytest.mark.usefixtures("front_afterwards")
def test_no_visitor_sees_a_deploy_a_split_a_rollback_or_a_deletion(platform: Any) -> None:
    """With the requests that wrangler sends, and without wrangler, whose starts the visitors would only wait for."""
    front = "/workers/scripts/front"

    def share(**percentages: float) -> None:
        versions = [{"version_id": ids[mark], "percentage": part} for mark, part in percentages.items()]
        api.post(f"{front}/deployments", json={"strategy": "percentage", "versions": versions}).raise_for_status()

    put(platform, "scripts/front", "one")
    with platform.api() as api, load_on(platform.about["gateway"]) as load:
        put(platform, "scripts/front", "two")
        load.wait_more()
        found = api.get(f"{front}/versions").json()["result"]["items"]
        ids = {"two": found[0]["id"], "one": found[1]["id"]}
        share(one=90, two=10)
        load.wait_more(200)
        share(one=100)
        load.wait_more()
        before = len(load.answers)
        api.delete(front, params={"force": "true"}).raise_for_status()
        load.wait_more()

    assert {text for status, text in load.answers[:before]} == {"one one one", "two two two"}
    assert {status for status, _ in load.answers[:before]} == {200}
    rest = load.answers[before:]
    assert set(rest) <= {(200, "one one one"), (404, "error code: 1042\n")}
    assert rest[-1][0] == 404


@pytest.mark.parametrize("seed", [random.randrange(10**6)])
def test_a_deploy_that_was_killed_and_repeated_is_as_if_it_had_run_once(own_platform: Any, seed: int) -> None:
    """`seed` is in the test's name: with it the kills come at the same moments."""
    moments = random.Random(seed)
    own_platform.start()

    script = "dispatch/namespaces/customers/scripts/w"
    put(own_platform, script, "0")
    for number in range(1, KILLS + 1):
        killer = threading.Timer(moments.uniform(0, 0.25), own_platform.kill)
        killer.start()
        with suppress(httpx.HTTPError):
            put(own_platform, script, str(number))
        killer.join()
        own_platform.start()
        survived = own_platform.get("/customers/w").text
        assert survived in {f"{number - 1} {number - 1} {number - 1}", f"{number} {number} {number}"}

        put(own_platform, script, str(number))

        assert own_platform.get("/customers/w").text == f"{number} {number} {number}"
        with own_platform.api() as api:
            found = api.get("/workers/dispatch/namespaces/customers/scripts/w/versions").json()["result"]["items"]
        assert len(found) == number + 1, "each is there once"
    assert not list((own_platform.data / "bundles").glob(".staging-*"))


def test_an_upload_of_assets_that_was_killed_goes_on_where_it_was(own_platform: Any) -> None:
    files = {"/customers/w.html": b"the page", "/1.txt": b"1" * 1000, "/2.txt": b"2" * 100_000}
    names = {hashlib.sha256(content).hexdigest()[:32]: content for content in files.values()}
    manifest = {
        path: {"hash": hashlib.sha256(content).hexdigest()[:32], "size": len(content)}
        for path, content in files.items()
    }
    worker = "/workers/dispatch/namespaces/customers/scripts/"

    def begin(api: httpx.Client, name: str) -> dict[str, Any]:
        answer = api.post(f"{worker}{name}/assets-upload-session", json={"manifest": manifest})
        return dict(answer.raise_for_status().json()["result"])

    def upload(api: httpx.Client, token: str, wanted: list[str]) -> str:
        parts = [(name, (name, names[name])) for name in wanted]
        headers = {"Authorization": f"Bearer {token}"}
        answer = api.post("/workers/assets/upload", headers=headers, files=parts)
        return str(answer.raise_for_status().json()["result"]["jwt"])

    own_platform.start()
    with own_platform.api() as api:
        begun = begin(api, "w")
        upload(api, begun["jwt"], list(names)[:1])
    own_platform.kill()
    (own_platform.data / "assets" / own_platform.account / "staging" / "half").write_bytes(b"written")
    own_platform.start()
    with own_platform.api() as api:
        begun = begin(api, "w")
        assert begun["buckets"] == [list(names)[1:]], "what was acknowledged is there"
        token = upload(api, begun["jwt"], begun["buckets"][0])
        begin(api, "never")
    own_platform.kill()
    own_platform.start()
    metadata = {"compatibility_date": "2026-01-15", "assets": {"jwt": token}}
    with own_platform.api() as api:
        api.put(f"{worker}w", files={"metadata": (None, json.dumps(metadata))}).raise_for_status()
    stored = own_platform.data / "assets" / own_platform.account
    kept = {path.name for path in (stored / "blobs").rglob("*") if path.is_file()}
    assert kept == {hashlib.sha256(content).hexdigest() for content in files.values()}
    assert not list((stored / "staging").glob("*"))
    assert own_platform.get("/customers/w").text == "the page"
