"""Coverage-guided fuzzing of the wire: what `make fuzz` and `make fuzz-corpus` call.

    python tests/fuzz/run.py --seconds 600     fuzz, all targets at the same time, so many seconds of CPU together
    python tests/fuzz/run.py --keep            fold what was found into the repository's corpus, and shrink it

What a run finds interesting stays in .fuzz/, beside the repository's corpus, and the next run starts from both. An
input that breaks a promise is saved in crashes/, where the replay of `make test` finds it from then on: mended, it
stays as the test of that bug. Exit status: 0 nothing found, 1 something was.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent
_ROOT: Final = _HERE.parents[1]
_CORPUS: Final = _HERE / "corpus"
_CRASHES: Final = _HERE / "crashes"
_FOUND: Final = _ROOT / ".fuzz"

_TARGETS: Final = ("session", "values")
_INPUT_BYTES_MAX: Final = 2048
_INPUT_SECONDS_MAX: Final = 10
_MEMORY_MIB_MAX: Final = 1024
_FILES_MAX: Final = 140
_BYTES_MAX: Final = 140 * 1024
"""Of one target's corpus in the repository: it is replayed by every `make test`."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Coverage-guided fuzzing of the wire.")
    parser.add_argument("--seconds", type=int, default=600, help="of CPU, all targets together (600)")
    parser.add_argument(
        "--keep", action="store_true", help="fold what was found into the repository's corpus, and stop"
    )
    options = parser.parse_args()
    if options.keep:
        for target in _TARGETS:
            _keep(target)
        return 0
    return _fuzz(max(1, options.seconds // len(_TARGETS)))


def _fuzz(seconds: int) -> int:
    running = []
    for target in _TARGETS:
        found = _FOUND / target
        for folder in (found, _CRASHES / target):
            folder.mkdir(parents=True, exist_ok=True)
        log = _FOUND / f"{target}.log"
        arguments = [
            f"-max_total_time={seconds}",
            f"-timeout={_INPUT_SECONDS_MAX}",
            f"-rss_limit_mb={_MEMORY_MIB_MAX}",
            f"-max_len={_INPUT_BYTES_MAX}",
            f"-artifact_prefix={_CRASHES / target}/",
            "-print_final_stats=1",
        ]
        with log.open("wb") as output:
            command = _command(target, *arguments, found, _CORPUS / target)
            running.append((target, log, subprocess.Popen(command, stdout=output, stderr=output, env=_environment())))
        print(f"{target}: {seconds} s, log in {log.relative_to(_ROOT)}", flush=True)
    broken = False
    try:
        for target, log, process in running:
            code = process.wait()
            lines = log.read_text(errors="replace").splitlines()
            if code:
                broken = True
                print(f"{target}: FOUND SOMETHING, saved in {(_CRASHES / target).relative_to(_ROOT)}:")
                print("\n".join(f"  {line}" for line in lines[-40:]))
            else:
                print(f"{target}: {_runs(lines)} inputs, nothing found")
    finally:
        for _, _, process in running:
            if process.poll() is None:
                process.terminate()
                process.wait()
    for target in _TARGETS:
        if not any((_CRASHES / target).iterdir()):
            (_CRASHES / target).rmdir()
    return int(broken)


def _runs(lines: list[str]) -> str:
    found = [line.rpartition(" ")[2] for line in lines if line.startswith("stat::number_of_executed_units")]
    return found[-1] if found else "an unknown number of"


def _keep(target: str) -> None:
    """The fewest inputs that reach what all of them reach, as far as there is room, the shortest first."""
    sources = [folder for folder in (_CORPUS / target, _FOUND / target) if folder.is_dir()]
    with tempfile.TemporaryDirectory() as folder:
        # First what reaches every branch, then what also takes loops another number of times round.
        branches, counts = Path(folder) / "branches", Path(folder) / "counts"
        for goal, option in ((branches, "-use_counters=0"), (counts, "-use_counters=1")):
            goal.mkdir()
            command = _command(target, "-set_cover_merge=1", option, f"-max_len={_INPUT_BYTES_MAX}", goal, *sources)
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env=_environment())
        kept: dict[str, bytes] = {}
        for goal in (branches, counts):
            for file in sorted(goal.iterdir(), key=lambda file: file.stat().st_size):
                data = file.read_bytes()
                size = sum(map(len, kept.values())) + len(data)
                if len(kept) < _FILES_MAX and size <= _BYTES_MAX:
                    kept[hashlib.sha256(data).hexdigest()[:16]] = data
    shutil.rmtree(_CORPUS / target, ignore_errors=True)
    (_CORPUS / target).mkdir(parents=True)
    for name, data in kept.items():
        (_CORPUS / target / name).write_bytes(data)
    print(f"{target}: {len(kept)} inputs, {sum(map(len, kept.values()))} bytes")


def _command(target: str, *arguments: str | Path) -> list[str]:
    return [sys.executable, str(_HERE / "fuzz_inner.py"), target, *map(str, arguments)]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(_ROOT / "src"), "PYTHONDONTWRITEBYTECODE": "1"}


if __name__ == "__main__":
    sys.exit(main())
