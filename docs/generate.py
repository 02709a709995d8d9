"""Writes the parts of the reference that the code knows better: limits, commands, what S3 clients can do, the wire.

    python docs/generate.py

replaces what stands between `<!-- generated: NAME -->` and `<!-- /generated -->` in the files below. A test runs it
and fails when that would change anything.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

DOCS = Path(__file__).resolve().parent

LIMITS = {
    "gateway": "tenantry.gateway.limits",
    "host": "tenantry.host.limits",
    "egress": "tenantry.host.egress.limits",
    "sandbox": "tenantry.sandbox.limits",
    "kv": "tenantry.services.kv.limits",
    "r2": "tenantry.services.r2.limits",
    "d1": "tenantry.services.d1.limits",
    "assets": "tenantry.services.assets.limits",
    "control": "tenantry.control.limits",
    "s3": "tenantry.s3.limits",
    "config": "tenantry.config.limits",
    "wire": "tenantry.wire.limits",
    "doctor": "tenantry.doctor.limits",
}
_UNITS = {"KIB", "MIB", "GIB", "TIB"}
_BLOCK = re.compile(r"(<!-- generated: ([\w.-]+) -->\n).*?(<!-- /generated -->)", re.DOTALL)


def blocks() -> dict[str, str]:
    """Each generated block by its name."""
    found = {f"limits.{name}": limits_table(module) for name, module in LIMITS.items()}
    found |= {f"cli.{name}": text for name, text in command_tables()}
    found["wire.example"] = wire_example()
    found |= {f"s3.{name}": text for name, text in s3_tables()}
    return found


def files() -> list[Path]:
    return [
        DOCS / "reference" / "limits.md",
        DOCS / "reference" / "cli.md",
        DOCS / "reference" / "s3-compatibility.md",
        DOCS / "design" / "wire.md",
    ]


def regenerated(text: str, known: dict[str, str]) -> str:
    return _BLOCK.sub(lambda match: f"{match[1]}{known[match[2]]}{match[3]}", text)


# Limits ------------------------------------------------------------------------------------------------------------


def limits_table(module_name: str) -> str:
    """A row for each public number of a `limits.py`, with the comment or docstring that stands beside it."""
    module = importlib.import_module(module_name)
    source = Path(module.__file__ or "").read_text()
    rows = ["| limit | value | |", "|---|---|---|"]
    for name, words in _described(source):
        rows.append(f"| `{name}` | {_value(name, getattr(module, name))} | {words} |")
    return "\n".join(rows) + "\n"


def _described(source: str) -> Iterator[tuple[str, str]]:
    comments = {
        token.start[0]: (token.string.lstrip("# "), token.line.lstrip().startswith("#"))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    body = ast.parse(source).body
    for index, node in enumerate(body):
        name = _assigned(node)
        if name is None or name in _UNITS:
            continue
        following = body[index + 1] if index + 1 < len(body) else None
        words = _docstring(following) or _comment(comments, node.lineno, node.end_lineno or node.lineno)
        yield name, " ".join(words.split()).replace("|", "\\|")


def _assigned(node: ast.stmt) -> str | None:
    target: Any = None  # of two kinds of nodes
    if isinstance(node, ast.AnnAssign):
        target = node.target
    elif isinstance(node, ast.Assign):
        target = node.targets[0]
    if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_"):
        return target.id
    return None


def _docstring(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


def _comment(comments: dict[int, tuple[str, bool]], first: int, last: int) -> str:
    if last in comments and not comments[last][1]:
        return comments[last][0]
    lines: list[str] = []
    line = first - 1
    while line in comments and comments[line][1]:
        lines.insert(0, comments[line][0])
        line -= 1
    return " ".join(lines)


def _value(name: str, value: float) -> str:
    if "BYTES" in name and isinstance(value, int):
        for size, unit in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            # 10 GB in KiB would be a number that nobody recognises.
            if value >= size and value % size == 0 and value // size < 10_000:
                return f"{value // size:,} {unit}"
        return f"{value:,} bytes"
    if name == "TENANT_USER_FIRST":
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


# The command line --------------------------------------------------------------------------------------------------


def command_tables() -> Iterator[tuple[str, str]]:
    """The arguments and options of each command, from the signature that `--help` is made of."""
    from tenantry.cli.app import make_app

    app = make_app()
    commands = [(command, "") for command in app.registered_commands]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        commands += [(command, f"{group.name}-") for command in group.typer_instance.registered_commands]
    for command, prefix in commands:
        function = command.callback
        assert function is not None
        description = (inspect.getdoc(function) or "").partition("[bold]Example")[0]
        paragraphs = [" ".join(paragraph.split()) for paragraph in description.split("\n\n") if paragraph.strip()]
        rows = ["| argument or option | default | |", "|---|---|---|"]
        hints = get_type_hints(function, include_extras=True)
        for name, parameter in inspect.signature(function).parameters.items():
            rows.append(_parameter(name, parameter.default, *get_args(hints[name])))
        yield prefix + (command.name or function.__name__), "\n\n".join(paragraphs) + "\n\n" + "\n".join(rows) + "\n"


def _parameter(name: str, default: Any, kind: Any, info: Any) -> str:  # a type, and what Typer was told of it
    words = info.help or ""
    choices = "\\|".join(get_args(kind)) if get_origin(kind) is Literal else ""
    if isinstance(info, typer.models.ArgumentInfo):
        shown = info.metavar or name.upper()
    else:
        value = choices or info.metavar or {int: "N", Path: "DIR", bool: ""}.get(kind, "TEXT")
        # In an Annotated the first name that is given stands where a default would.
        given = [each for each in (info.default, *(info.param_decls or ())) if str(each).startswith("--")]
        option = given[0] if given else f"--{name.replace('_', '-')}"
        shown = f"{option} {value}".rstrip()
    if info.envvar:
        words = f"{words} Environment: `{info.envvar}`."
    shown_default = "" if default in (None, "", False) else f"`{default}`"
    if default is inspect.Parameter.empty:
        shown_default = "required"
    return f"| `{shown}` | {shown_default} | {words} |"


# The wire ----------------------------------------------------------------------------------------------------------


def wire_example() -> str:
    """A call with one binding call inside it, as two sessions write it."""
    from tenantry.wire.events import InvocationKind, StubExport
    from tenantry.wire.session import Session
    from tenantry.wire.values import encode

    host, worker = Session(), Session()
    host.export(StubExport("fetch"))
    host.export(StubExport("forms"))
    host.export(StubExport("USER_KV"))
    worker.export(StubExport("entrypoints"))
    lines: list[str] = []

    def send(sender: Session, receiver: Session, arrow: str, meaning: str) -> None:
        data = sender.take_outbox()
        receiver.feed_untrusted(data)
        head = " ".join((data[:4].hex(" "), "", data[4:5].hex(), "", data[5:9].hex(" ")))
        lines.append(f"{arrow:<10}{head}   {meaning}")
        rest = data[9:].hex(" ").split()
        lines.extend(f"{'':<10}{' '.join(rest[at : at + 24])}" for at in range(0, len(rest), 24))

    send(host, worker, "host ►", "HELLO, version 1")
    send(worker, host, "◄ worker", "HELLO, version 1")
    host.call(1, InvocationKind.RPC, "get_color", encode([]))
    send(host, worker, "host ►", 'CALL 1: export 1 of the worker, RPC "get_color", arguments []')
    worker.call(3, InvocationKind.RPC, "get", encode(["color"]), parent=1)
    send(worker, host, "◄ worker", 'CALL 1: export 3 of the host, RPC "get", for call 1, arguments ["color"]')
    host.result(1, encode(b"blue"))
    send(host, worker, "host ►", 'RESULT of call 1: not open, the bytes "blue"')
    worker.result(1, encode("blue"))
    send(worker, host, "◄ worker", 'RESULT of call 1: not open, the text "blue"')
    return "```text\n" + "\n".join(lines) + "\n```\n"


# S3 ----------------------------------------------------------------------------------------------------------------


def s3_tables() -> Iterator[tuple[str, str]]:
    """What the tests with S3's clients show: the cases, and what else each client does."""
    from tenantry.s3.operations import OPERATIONS, UNIMPLEMENTED

    folder = DOCS.parent / "tests" / "clients" / "s3"
    cases = _module(folder / "cases.py").CASES
    order = [operation.name for operation in OPERATIONS.values()]
    served = [
        f"| {name} | {case.feature} |" for name in order for case in cases if case.operation == name and case.works
    ]
    yield "works", "\n".join(("| operation | what is tested |", "|---|---|", *served)) + "\n"
    refusals = [
        f"| {name} | {case.feature} | {case.outcome} |"
        for name in order
        for case in cases
        if case.operation == name and not case.works
    ]
    yield "refused", "\n".join(("| operation | what | answer |", "|---|---|---|", *refusals)) + "\n"
    absent = sorted(set(UNIMPLEMENTED.values()))
    yield "unimplemented", ", ".join(f"`{name}`" for name in absent) + ".\n"
    yield "clients", "\n".join(("| client | what is tested |", "|---|---|", *_clients(folder))) + "\n"


def _clients(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("test_*.py")):
        tree = ast.parse(path.read_text())
        tests = [node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
        shown = [name.removeprefix("test_").replace("_", " ") for name in tests if name.startswith("test_")]
        about = (ast.get_docstring(tree) or "").split("\n")[0].rstrip(".")
        yield f"| {about} | {'; '.join(shown)} |"


def _module(path: Path) -> Any:  # whatever the file has
    spec = importlib.util.spec_from_file_location(f"documented_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def main() -> None:
    known = blocks()
    for path in files():
        path.write_text(regenerated(path.read_text(), known))


if __name__ == "__main__":
    main()
