"""Every page: its links lead somewhere, and its snippets are what they say they are."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from urllib.parse import unquote

import json5
import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_ELISION = "…"


def prose(page: Path) -> str:
    return re.sub(r"`[^`\n]*`", "``", _FENCE.sub("", page.read_text()))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def snippets(page: Path, *languages: str) -> list[str]:
    found = []
    for indent, language, code in _FENCE.findall(page.read_text()):
        if language in languages:
            found.append("\n".join(line.removeprefix(indent) for line in code.splitlines()) + "\n")
    return found


def commands(console: str) -> str:
    """What is typed in a terminal session: the lines with a prompt, and those that continue them."""
    typed: list[str] = []
    continues = False
    for line in console.splitlines():
        if line.startswith("$ ") or continues:
            typed.append(line.removeprefix("$ "))
            continues = line.endswith("\\")
    return "\n".join(typed) + "\n"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), f"{link} leads out of the repository"
        assert target.exists(), f"{link} leads nowhere"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_snippets_parse(page: Path) -> None:
    for code in snippets(page, "python"):
        ast.parse(code)
    for code in snippets(page, "toml"):
        tomllib.loads(code)
    for code in snippets(page, "jsonc"):
        json5.loads(code)
    for code in snippets(page, "json"):
        json.loads(code)


def test_shell_commands_parse() -> None:
    shell = shutil.which("bash")
    if shell is None:
        pytest.skip("no bash to read them")
    scripts = [(page, code) for page in PAGES for code in snippets(page, "sh", "bash")]
    scripts += [(page, commands(code)) for page in PAGES for code in snippets(page, "console")]

    for page, script in scripts:
        checked = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, timeout=20, check=False)
        assert checked.returncode == 0, f"{page.name}: {checked.stderr}\n{script}"
        assert _ELISION not in re.sub(r"#.*", "", script), f"{page.name}: a command that nobody can type\n{script}"


def test_every_page_of_docs_is_reached_from_the_first() -> None:
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        for link in _LINK.findall(prose(page)):
            if not re.match(r"[a-z]+:", link):
                waiting.append((page.parent / unquote(link).partition("#")[0]).resolve())

    assert [page for page in PAGES if page not in reached and page != ROOT / "docs" / "README.md"] == []


def test_decisions_are_numbered_and_have_their_four_parts() -> None:
    records = sorted((ROOT / "docs" / "design" / "decisions").glob("[0-9]*.md"))

    numbers = [record.name[:4] for record in records]
    assert numbers == [f"{number:04}" for number in range(1, len(records) + 1)]
    for record in records:
        text = record.read_text()
        assert text.startswith(f"# {int(record.name[:4])}. ")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Choice", "Alternatives", "Consequences"]


def test_the_readme_has_a_place_for_the_benchmark() -> None:
    text = (ROOT / "README.md").read_text()

    assert text.count("<!-- benchmark table -->") == 1
    assert text.index("<!-- benchmark table -->") < text.index("<!-- /benchmark table -->")
