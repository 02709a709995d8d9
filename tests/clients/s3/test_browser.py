"""A page of another origin uploads to a presigned address: what CORS is for."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt-get install chromium)")

UPLOAD = """
async ([url, text]) => {
    try {
        const answer = await fetch(url, {method: "PUT", body: text, headers: {"Content-Type": "text/plain"}});
        return `${answer.status} ${answer.headers.get("ETag")} ${answer.headers.get("x-amz-request-id")}`;
    } catch (error) {
        return error.name;
    }
}
"""


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>page</title>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_uploads_where_the_bucket_lets_its_origin(s3: Any, bucket: str, page_url: str) -> None:
    from playwright.sync_api import sync_playwright

    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k", "ContentType": "text/plain"})
    rule = {
        "AllowedOrigins": [page_url],
        "AllowedMethods": ["PUT"],
        "AllowedHeaders": ["content-type"],
        "ExposeHeaders": ["ETag"],
    }
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page()
        page.goto(page_url)
        before = page.evaluate(UPLOAD, [url, "hello"])
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [rule]})
        after = page.evaluate(UPLOAD, [url, "hello"])
        browser.close()

    assert before == "TypeError", "without a rule the browser does not let the page"
    assert after == '200 "5d41402abc4b2a76b9719d911017c592" null', "only the headers that are exposed can be read"
    found = s3.get_object(Bucket=bucket, Key="k")
    assert (found["Body"].read(), found["ContentType"]) == (b"hello", "text/plain")
