"""What is on the disk of an account's assets, and what goes from it."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from tenantry.errors import StreamError
from tenantry.services.assets import AccountAssets, Asset, AssetReader, AssetStore, Site
from tenantry.streams import read_all


def put(assets: AccountAssets, content: bytes) -> Asset:
    address = hashlib.sha256(content).hexdigest()
    staged = assets.stage()
    staged.write(content)
    staged.finish()
    assets.adopt({address: staged})
    staged.close()
    return Asset(address[:32], address, len(content))


def files_below(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def assets(tmp_path: Path) -> AccountAssets:
    return AssetStore(tmp_path).of("0" * 32)


def test_only_what_a_manifest_or_an_upload_names_is_kept(assets: AccountAssets, tmp_path: Path) -> None:
    named, uploaded, orphan = (put(assets, content) for content in (b"named", b"uploaded", b"orphan"))
    manifest = assets.write_manifest({"/a": named})
    assets.write_manifest({"/old": orphan})
    assets.stage()  # and the platform is killed

    assert assets.remove_unreferenced([manifest], [uploaded.blob]) == 2

    assert files_below(tmp_path) == {named.blob, uploaded.blob, manifest}
    assert assets.read_manifest(manifest) == {"/a": named}


def test_a_manifest_that_cannot_be_read_keeps_everything(assets: AccountAssets, tmp_path: Path) -> None:
    asset = put(assets, b"content")
    manifest = assets.write_manifest({"/a": asset})
    next(tmp_path.rglob(manifest)).write_bytes(b"{")

    assert assets.remove_unreferenced([manifest]) == 0
    assert asset.blob in files_below(tmp_path)
    with pytest.raises(ValueError, match=manifest):
        assets.read_manifest(manifest)


def test_an_account_shares_nothing_with_another(tmp_path: Path) -> None:
    mine, theirs = (AssetStore(tmp_path).of(digit * 32) for digit in "01")
    asset = put(mine, b"content")
    assert mine.blob(asset.blob).exists()
    assert not theirs.blob(asset.blob).exists()
    for account in ("..", "", "0" * 31 + "/"):
        with pytest.raises(ValueError, match="account"):
            AssetStore(tmp_path).of(account)


async def test_a_large_file_is_read_in_pieces_and_one_that_ends_early_breaks_off(assets: AccountAssets) -> None:
    content = bytes(range(256)) * 8192
    asset = put(assets, content)
    reader = AssetReader(assets)

    assert await read_all(reader.stream(asset), len(content)) == content

    broken = reader.stream(Asset(asset.hash, asset.blob, len(content) + 1))
    with pytest.raises(StreamError):
        await read_all(broken, 2 * len(content))
    abandoned = reader.stream(asset)
    await abandoned.read(10)
    await abandoned.aclose()
    assert await abandoned.read(10) == b""
    await reader.aclose()


async def test_small_files_and_sites_are_read_from_the_disk_once(assets: AccountAssets) -> None:
    asset = put(assets, b"small")
    manifest = assets.write_manifest({"/a": asset})
    reader = AssetReader(assets)
    made: list[dict[str, Asset]] = []

    def make(files: dict[str, Asset]) -> Site:
        made.append(files)
        return Site(
            files,
            html_handling="none",
            not_found_handling="none",
            run_worker_first=False,
            redirects="",
            headers="",
            has_worker=False,
            navigations_prefer_files=True,
        )

    sites = await asyncio.gather(*(reader.site("key", manifest, make) for _ in range(3)))
    assert made == [{"/a": asset}]
    assert sites[0] is sites[1] is sites[2]

    assert await reader.read_small(asset) == b"small"
    assets.blob(asset.blob).unlink()
    assert await reader.read_small(asset) == b"small"
    with pytest.raises(FileNotFoundError):
        await reader.site("other", "0" * 64, make)
    assert await reader.site("key", manifest, make) is sites[0]
    await reader.aclose()
