"""Files of an upload of assets, however the network cuts them."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from tenantry.control.asset_sessions import Wanted
from tenantry.control.asset_upload import AssetForm, AssetReceiver
from tenantry.control.errors import Invalid, TooLarge
from tenantry.services.assets import AccountAssets, Asset

CONTENT = b"0123456789"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
NAME = DIGEST[:32]
FORM = (
    f'--x\r\nContent-Disposition: form-data; name="{NAME}"; filename="{NAME}"\r\nContent-Type: application/null\r\n\r\n'
).encode() + b"%b\r\n--x--\r\n"


def receive(folder: Path, body: bytes, step: int) -> list[Asset]:
    receiver = AssetReceiver(
        AccountAssets(folder, durable=False), {NAME: Wanted(len(CONTENT), frozenset({"txt"}))}, is_base64=True
    )
    form = AssetForm(receiver, "x")
    try:
        for begin in range(0, len(body), step):
            form.feed(body[begin : begin + step])
        return form.finish()
    finally:
        form.close()


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_a_form_is_read_alike_however_it_is_cut(tmp_path: Path, step: int) -> None:
    assert receive(tmp_path, FORM % base64.b64encode(CONTENT), step) == [Asset(NAME, DIGEST, len(CONTENT))]
    assert AccountAssets(tmp_path).blob(DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (base64.b64encode(CONTENT) * 2, Invalid),
        (base64.b64encode(CONTENT)[:-1], Invalid),
        (base64.b64encode(CONTENT) + b"\n", Invalid),
        (base64.b64encode(CONTENT * 100_000), TooLarge),
        (b"", Invalid),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path: Path, step: int, text: bytes, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        receive(tmp_path, FORM % text, step)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_form_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="malformed"):
        receive(tmp_path, (FORM % base64.b64encode(CONTENT))[:-9], 1000)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
