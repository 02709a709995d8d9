"""One fuzzer: `python fuzz_inner.py TARGET [libFuzzer's arguments and folders]`. `run.py` is what people start."""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped,unused-ignore]  # has no types; its lock is requirements-fuzz.lock

with atheris.instrument_imports(include=["tenantry", "fuzz_input", "fuzz_session", "fuzz_side", "fuzz_values"]):
    import fuzz_session
    import fuzz_values

TARGETS = {"session": fuzz_session.check, "values": fuzz_values.check}

if __name__ == "__main__":
    script, target, *arguments = sys.argv
    # To merge corpora libFuzzer starts "itself", through a shell, by what it takes for its name.
    atheris.Setup([f"{sys.executable} {script} {target}", *arguments], TARGETS[target])
    atheris.Fuzz()
