"""`FormData`, `Blob`, `File` (reference 1.7)."""

from __future__ import annotations

from typing import Any

import js
import pytest
from workers import Blob, BlobEnding, File, FormData
from workers._web.blob import File as RawFile

from tenantry.runtime.streams import ReadableStream
from tenantry.wire.values import BlobValue


class Source:
    """A stream that the host holds, and how often its bytes were asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.length = len(data)
        self.reads = 0

    async def read(self, size_max: int) -> bytes:
        self.reads += 1
        chunk, self.data = self.data[:size_max], self.data[size_max:]
        return chunk

    async def aclose(self) -> None:
        self.data = b""


def held_file(data: bytes) -> tuple[File, Source]:
    source = Source(data)
    stream = ReadableStream(source)
    raw = RawFile.from_value(BlobValue(0, len(data), "a/b", "name.bin", 7), stream)
    file = Blob._wrap(raw)
    assert isinstance(file, File)
    return file, source


def test_form_data_is_made_of_none_a_dict_or_a_raw_form():
    assert list(FormData().items()) == []
    assert list(FormData({"a": "1", "b": 2}).items()) == [("a", "1"), ("b", "2")]
    raw = js.FormData.new()
    assert FormData(raw).js_object is raw
    for wrong in ([("a", "1")], "a=1", 1):
        with pytest.raises(TypeError, match=r"^Expected form_data to be a dict or an instance of FormData$"):
            FormData(wrong)


def test_form_data_is_a_mapping_with_repeats():
    form = FormData()
    form.append("a", "1")
    form.append("b", "2")
    form.append("a", "3")

    assert form["a"] == "1"
    assert form.get_all("a") == ["1", "3"]
    assert list(form.keys()) == ["a", "b", "a"]
    assert list(form.values()) == ["1", "2", "3"]
    assert "a" in form
    assert "x" not in form
    assert form["x"] is None
    assert form.get("x", "default") == "default"
    assert len(form) == 3

    form["a"] = "4"
    assert list(form.items()) == [("a", "4"), ("b", "2")]
    del form["a"]
    form.delete("nothing")
    assert list(form) == ["b"]
    with pytest.raises(TypeError, match=r"^Expected single item in arguments to FormData\.__setitem__$"):
        form["b"] = ["1"]


def test_blobs_in_a_form_are_files():
    form = FormData({"blob": Blob("x"), "file": File("x", "f.txt")})
    form.append("named", Blob("x"), filename="n.txt")

    assert [form[key].name for key in ("blob", "file", "named")] == ["blob", "f.txt", "n.txt"]
    assert all(isinstance(value, File) for value in form.values())


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ("abc", "abc"),
        (b"abc", "abc"),
        (memoryview(b"abc"), "abc"),
        (bytearray(b"abc"), "abc"),
        (js.Uint8Array.new(b"abc"), "abc"),
        (["a", b"b", Blob("c")], "abc"),
        ([File("a", "f"), js.Blob.new(["bc"])], "abc"),
        ([], ""),
    ],
)
async def test_blob_parts(parts: Any, text: str):
    blob = Blob(parts)
    assert await blob.text() == text
    assert await blob.bytes() == text.encode()
    assert blob.size == len(text)


@pytest.mark.parametrize("part", [1, None, {"a": 1}, object()])
def test_other_parts_are_refused(part: Any):
    for parts in (part, [part]):
        with pytest.raises(TypeError, match=r"^Don't know how to handle <class '\w+'> for Blob\(\)$"):
            Blob(parts)


def test_content_type_is_inherited_from_a_single_blob_only():
    typed = Blob("x", content_type="Text/HTML")
    assert typed.content_type == "text/html"
    assert Blob(typed).content_type == "text/html"
    assert Blob([typed]).content_type == ""
    assert Blob(typed, content_type="a/b").content_type == "a/b"


async def test_native_endings():
    assert await Blob("a\r\nb\rc", endings=BlobEnding.NATIVE).text() == "a\nb\nc"
    assert await Blob("a\r\nb", endings="transparent").text() == "a\r\nb"
    assert BlobEnding.NATIVE == "native"


@pytest.mark.parametrize(
    ("start", "end", "text"), [(None, None, "abcd"), (1, 3, "bc"), (-2, None, "cd"), (3, 1, ""), (0, 99, "abcd")]
)
async def test_slice(start: int | None, end: int | None, text: str):
    held, _ = held_file(b"abcd")
    for blob in (Blob("abcd"), held):
        piece = blob.slice(start, end, "x/y")
        assert piece.size == len(text)
        assert piece.content_type == "x/y"
        assert await piece.text() == text


def test_file():
    file = File("abc", "name.txt", content_type="text/plain", last_modified=5)
    assert (file.name, file.last_modified, file.content_type, file.size) == ("name.txt", 5, "text/plain", 3)
    assert File("", "x").last_modified > 1_600_000_000_000
    assert isinstance(file, Blob)


async def test_forms_blobs_and_files_cross(cross: Any):
    form = FormData({"text": "ä", "file": File(b"\0" * 100_000, "big.bin", content_type="a/b", last_modified=9)})
    got = cross({"form": form, "blob": Blob("x", content_type="c/d"), "list": [File("y", "n")]})

    assert await got["form"]["file"].bytes() == b"\0" * 100_000
    assert (got.form["text"], got.form["file"].name, got.form["file"].last_modified) == ("ä", "big.bin", 9)
    assert type(got.blob) is Blob
    assert (await got.blob.text(), got.blob.content_type) == ("x", "c/d")
    assert type(got.list[0]) is File


async def test_a_file_of_the_host_is_read_once_and_stays():
    file, source = held_file(b"abc")
    assert file.size == 3
    assert source.reads == 0
    assert await file.bytes() == b"abc"
    assert await file.text() == "abc"


async def test_a_file_of_the_host_is_passed_on_unread(cross: Any):
    file, source = held_file(b"abc")
    got = cross(file)
    assert source.reads == 0
    assert (got.name, got.size, got.content_type, got.last_modified) == ("name.bin", 3, "a/b", 7)
    assert await got.bytes() == b"abc"

    with pytest.raises(TypeError, match=r"The contents of the Blob were passed on unread"):
        await file.bytes()


async def test_a_form_with_a_file_of_the_host_as_a_body(cross: Any):
    from workers import Request

    file, source = held_file(b"abc")
    form = FormData({"a": "1"})
    form.append("f", file)
    request = cross(Request("https://test.com/", method="POST", body=form))
    assert source.reads == 0
    parsed = await request.form_data()
    assert (parsed["f"].name, await parsed["f"].text(), parsed["a"]) == ("name.bin", "abc", "1")


def test_a_blob_has_a_limit(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("workers._web.blob.BLOB_BYTES_MAX", 10)
    with pytest.raises(ValueError, match=r"^RangeError: Blob size 11 exceeds limit 10$"):
        Blob(b"x" * 11)
