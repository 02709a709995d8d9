"""The fuzzer's corpus, and every input that ever broke a promise, once more. `make fuzz` looks for new ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the fuzzer, which is a program of its own, imports them from here too
try:
    import fuzz_session
    import fuzz_values
finally:
    sys.path.remove(str(HERE))

CHECKS = {"session": fuzz_session.check, "values": fuzz_values.check}
FILES_MAX = 300
BYTES_MAX = 300 * 1024


@pytest.mark.parametrize("target", CHECKS)
def test_what_the_fuzzer_knows_breaks_no_promise(target: str) -> None:
    inputs = sorted((HERE / "corpus" / target).iterdir())
    assert len(inputs) > 50
    for file in [*inputs, *sorted((HERE / "crashes").glob(f"{target}/*"))]:
        try:
            CHECKS[target](file.read_bytes())
        except Exception as error:
            raise AssertionError(f"{file.relative_to(HERE)} breaks a promise") from error


def test_the_corpus_stays_small() -> None:
    sizes = [file.stat().st_size for file in (HERE / "corpus").rglob("*") if file.is_file()]
    assert len(sizes) < FILES_MAX
    assert sum(sizes) < BYTES_MAX
