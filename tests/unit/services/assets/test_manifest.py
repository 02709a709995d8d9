"""What a client may announce, and what a content may be called."""

from __future__ import annotations

import base64
import hashlib

import blake3
import pytest

from tenantry.services.assets import (
    BadManifest,
    Digest,
    Entry,
    ManifestTooLarge,
    check_manifest_untrusted,
    extension_of,
)
from tenantry.services.assets.limits import FILE_BYTES_MAX, FILES_MAX, PATH_BYTES_MAX

HASH = "a" * 32
ENTRY = Entry(HASH, 3)


def test_names_that_differ_by_case_only_are_two_files() -> None:
    check_manifest_untrusted(
        {"/Read me.txt": ENTRY, "/read me.txt": ENTRY, "/ä/%2e%2e/...": ENTRY, "/.well-known/x": ENTRY}
    )


@pytest.mark.parametrize(
    "path",
    ["", "a", "/", "//a", "/a/", "/../a", "/a/..", "/./a", "/a\0b", "/a\nb", "/" + "ä" * PATH_BYTES_MAX, "\\a"],
)
def test_the_table_of_refused_paths(path: str) -> None:
    with pytest.raises(BadManifest):
        check_manifest_untrusted({path: ENTRY})


@pytest.mark.parametrize("name", ["", "a" * 31, "a" * 33, "A" * 32, "g" * 32, "٣" * 32, "../" + "a" * 29])
def test_the_table_of_refused_hashes(name: str) -> None:
    with pytest.raises(BadManifest):
        check_manifest_untrusted({"/a": Entry(name, 1)})


def test_one_hash_has_one_size_and_none_that_is_negative() -> None:
    for second in (Entry(HASH, 4), Entry("b" * 32, -1)):
        with pytest.raises(BadManifest):
            check_manifest_untrusted({"/a": ENTRY, "/b": second})


def test_files_and_bytes_have_limits() -> None:
    largest = Entry(HASH, FILE_BYTES_MAX)
    check_manifest_untrusted({f"/{number}": largest for number in range(40)})
    for manifest in (
        {"/a": Entry(HASH, FILE_BYTES_MAX + 1)},
        {f"/{number}": largest for number in range(41)},
        {f"/{number}": ENTRY for number in range(FILES_MAX + 1)},
    ):
        with pytest.raises(ManifestTooLarge):
            check_manifest_untrusted(manifest)


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 100])
def test_a_content_is_called_by_its_sha256_or_blake3_with_or_without_wranglers_way(chunk: int) -> None:
    content = b"hello, world"
    encoded = base64.b64encode(content) + b"txt"
    digest = Digest()
    for begin in range(0, len(content), chunk):
        digest.update(content[begin : begin + chunk])

    assert digest.sha256() == hashlib.sha256(content).hexdigest()
    for make in (hashlib.sha256, blake3.blake3):
        assert digest.is_named(make(content).hexdigest()[:32], [])
        assert digest.is_named(make(encoded).hexdigest()[:32], ["html", "txt"])
        assert not digest.is_named(make(encoded).hexdigest()[:32], ["html"])
    assert not digest.is_named(hashlib.md5(content).hexdigest(), ["txt"])


@pytest.mark.parametrize(
    ("path", "extension"), [("/a.b/c.tar.gz", "gz"), ("/a.b/c", ""), ("/.hidden", ""), ("/c.", ""), ("/.a.js", "js")]
)
def test_the_table_of_extensions(path: str, extension: str) -> None:
    assert extension_of(path) == extension
