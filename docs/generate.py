"""Generate: write the parts of the documentation that the code already says.

`python docs/generate.py` fills in every block of the pages that begins with
`<!-- generated: NAME -->` and ends with `<!-- end of generated -->`; `--check` changes nothing,
names the pages that are older than the code, and then exits with 1.
"""
# ruff: noqa: INP001  a script, not a package

from __future__ import annotations

import argparse
import ast
import dataclasses
import enum
import inspect
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from mlrepro import manifest
from mlrepro.cli import main as program
from mlrepro.drift import Verdict
from mlrepro.errors import MlreproError
from mlrepro.spawn import CannotStartError

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end of generated -->)", re.DOTALL)


def pages() -> list[Path]:
    """Return all pages: those of `docs/`, and those beside the README."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def filled(page: str) -> str:
    """Return a page's text with every generated block made anew."""
    return _BLOCK.sub(lambda m: f"{m[1]}\n{BLOCKS[m[2]]().strip()}\n\n{m[3]}", page)


def stale() -> list[Path]:
    """Return the pages that are older than the code."""
    return [page for page in pages() if filled(page.read_text()) != page.read_text()]


# -- commands ------------------------------------------------------------------------------------


def leaves(
    command: click.Command = program, words: tuple[str, ...] = ("mlrepro",)
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with the words that call it."""
    if not isinstance(command, click.Group):
        yield " ".join(words), command
        return
    for name, below in command.commands.items():
        yield from leaves(below, (*words, name))


def _commands() -> str:
    return "\n\n".join(_command(name, command) for name, command in leaves())


def _command(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    options = [p for p in command.params if isinstance(p, click.Option)]
    parts = [f"## {name}", _prose(command.help), f"```text\n{usage}\n```"]
    if options:
        rows = [[_spelling(o), _option_help(o, context)] for o in options]
        parts.append(_table(["option", "meaning"], rows))
    examples, codes = epilog(command)
    if examples:
        parts.append("```console\n" + "\n".join(f"$ {line}" for line in examples) + "\n```")
    if codes:
        parts.append(f"Exit codes: {codes}.")
    return "\n\n".join(parts)


def epilog(command: click.Command) -> tuple[list[str], str]:
    """Return the examples of a command's help, and what it says of exit codes."""
    examples, _, codes = (command.epilog or "").replace("\b\n", "").partition("Exit codes: ")
    lines = [line.strip() for line in examples.splitlines()]
    return [line for line in lines if line and line != "Examples:"], codes.strip().rstrip(".")


def _prose(text: str | None) -> str:
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(p.split()) for p in paragraphs)


def _spelling(option: click.Option) -> str:
    value = "" if option.is_flag else f" {option.make_metavar(click.Context(program))}"
    value = value.replace("FLOAT RANGE", "NUMBER").replace("INTEGER RANGE", "NUMBER")
    return "`" + ", ".join(option.opts) + value + "`"


def _option_help(option: click.Option, context: click.Context) -> str:
    default = option.get_default(context)
    shown = f" Default: `{default}`." if option.show_default else ""
    many = " May be repeated." if option.multiple else ""
    return f"{option.help}{many}{shown}"


def _exit_codes() -> str:
    rows = [[f"`{name}`", epilog(command)[1]] for name, command in leaves()]
    return _table(["command", "exit codes"], rows)


# -- errors --------------------------------------------------------------------------------------


def _errors() -> str:
    rows = [
        [f"`{kind.__name__}`", _parent(kind), _code(kind), _summary(kind), kind.hint or ""]
        for kind in error_tree()
    ]
    return _table(["error", "is a kind of", "exit code", "meaning", "hint"], rows)


def error_tree(kind: type[MlreproError] = MlreproError) -> Iterator[type[MlreproError]]:
    """Yield an error and all of its kinds, each below what it is a kind of."""
    yield kind
    for below in kind.__subclasses__():
        if below.__module__.startswith("mlrepro."):
            yield from error_tree(below)


def _parent(kind: type[MlreproError]) -> str:
    return "" if kind is MlreproError else f"`{kind.__bases__[0].__name__}`"


def _code(kind: type[MlreproError]) -> str:
    # Of these the instance decides, as a shell does.
    return "125, 126, 127" if kind is CannotStartError else str(kind.exit_code)


# -- manifest ------------------------------------------------------------------------------------

_UNITS = {
    "size": "bytes",
    "peak_memory": "bytes",
    "memory": "bytes",
    "seconds": "s",
    "cpu_seconds": "s",
    "quota": "CPUs",
    "cores": "CPUs",
    "affinity": "CPUs",
    "threads": "threads",
}
# Of small values whose own docstring says it in one sentence.
_MEANINGS = {
    ("Parent", "run"): "Id of the earlier run.",
    ("Parent", "path"): "The artifact of it that was read.",
    ("ThreadPool", "api"): "`openmp`, `openblas`, `mkl` …",
    ("ThreadPool", "library"): "File name of the library that owns the pool.",
    ("ThreadPool", "threads"): "Its largest size during the run.",
    ("ThreadPool", "kernel"): "The BLAS kernel that was chosen for this processor.",
    ("Listing", "digest"): "sha256 of the list's canonical JSON.",
    ("Listing", "count"): "How many entries it has.",
    ("Manifest", "threads"): "Pools of threads in the training process.",
    ("Manifest", "params"): "Hyperparameters by where they were found: `params.yaml` → mapping.",
}


def _manifest() -> str:
    kinds, words = _reachable(manifest.Manifest)
    parts = [_record(kind) for kind in kinds]
    return "\n\n".join(parts + [_words(kind) for kind in words])


def _reachable(first: type) -> tuple[list[type], list[type[enum.Enum]]]:
    """Return the records and the enumerations that a manifest is made of, in reading order."""
    records: list[type] = []
    words: list[type[enum.Enum]] = []
    pending = [first]
    while pending:
        kind = pending.pop(0)
        if kind in records or kind in words:
            continue
        if issubclass(kind, enum.Enum):
            words.append(kind)
        elif dataclasses.is_dataclass(kind) and not hasattr(kind, "__plain__"):
            records.append(kind)
            pending += [k for f in _fields(kind) for k in _kinds_in(_hints(kind)[f.name])]
    return records, words


def _record(kind: type) -> str:
    rows = [_field_row(kind, f) for f in _fields(kind)]
    if kind is manifest.Manifest:
        rows.insert(0, ["`id`", "text", "", "yes", _ID, "1"])
        rows.sort(key=lambda row: row[0] != "`schema`")
    title = "The top level" if kind is manifest.Manifest else kind.__name__
    header = ["field", "type", "unit", "required", "meaning", "since"]
    return f"## {title}\n\n{_body(kind)}\n\n{_table(header, rows)}"


_ID = (
    "The run id: sha256 of the manifest's canonical JSON (RFC 8785) without this field, "
    "64 hex digits."
)


def _field_row(kind: type, field: dataclasses.Field[Any]) -> list[str]:
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    is_schema = kind is manifest.Manifest and field.name == "schema"
    hint = _hints(kind)[field.name]
    unit = "" if kind is manifest.Manifest else _UNITS.get(field.name, "")
    return [
        f"`{field.name}`",
        _type(hint),
        unit,
        "yes" if required or is_schema else "no",
        _meaning(kind, field.name, hint),
        str(field.metadata.get("since", 1)),
    ]


def _meaning(kind: type, name: str, hint: Any) -> str:
    described = _attributes(kind).get(name) or _MEANINGS.get((kind.__name__, name))
    if described:
        return described
    inner = [k for k in _kinds_in(hint) if dataclasses.is_dataclass(k)]
    if not inner:
        raise SystemExit(f"{kind.__name__}.{name} has no meaning: describe it in its docstring")
    return _summary(inner[0])


def _attributes(kind: type) -> Mapping[str, str]:
    """Read the `Attributes` section of a numpydoc docstring: name → meaning."""
    _, _, section = (inspect.getdoc(kind) or "").partition("Attributes\n----------\n")
    found: dict[str, str] = {}
    for names, text in re.findall(r"^(\S.*) : .*\n((?:[ ]{4}.*\n?)*)", section, re.MULTILINE):
        meaning = " ".join(text.split()).replace("``", "`")
        found.update(dict.fromkeys(names.split(", "), meaning))
    return found


def _words(kind: type[enum.Enum]) -> str:
    comments = dict(re.findall(r"^\s+(\w+) = .*?#\s*(.+)$", inspect.getsource(kind), re.MULTILINE))
    rows = [[f"`{member.value}`", comments.get(member.name, "")] for member in kind]
    header = ["word", "meaning"]
    if not comments:
        header, rows = ["word"], [row[:1] for row in rows]
    return f"## {kind.__name__}\n\n{_body(kind)}\n\n{_table(header, rows)}"


def _type(hint: Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_type(a) for a in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    if origin is not None:
        return f"mapping of text to {_type(arguments[1])}"
    plain = {str: "text", int: "whole number", float: "number", bool: "boolean", Any: "any value"}
    if hint in plain:
        return plain[hint]
    if hint is type(None):
        return "nothing"
    if hint is manifest.Digest:
        return "digest"
    return f"[{hint.__name__}](#{hint.__name__.lower()})"


def _kinds_in(hint: Any) -> Iterator[type]:
    for argument in typing.get_args(hint):
        yield from _kinds_in(argument)
    if isinstance(hint, type) and (dataclasses.is_dataclass(hint) or issubclass(hint, enum.Enum)):
        yield hint


def _fields(kind: type) -> list[dataclasses.Field[Any]]:
    return [f for f in dataclasses.fields(kind) if f.metadata.get("plain", True)]


def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


# -- verdicts and comparators --------------------------------------------------------------------


def _verdicts() -> str:
    comments = re.findall(
        r'^\s+([A-Z]+) = \d+\n\s+"""(.+?)"""', inspect.getsource(Verdict), re.MULTILINE
    )
    said = dict(comments)
    rows = [
        [f"**{verdict}**", said[verdict.name], "0" if verdict <= Verdict.CLOSE else "1"]
        for verdict in Verdict
    ]
    return _table(["verdict", "meaning", "exit code of `rebuild`"], rows)


def _comparators() -> str:
    from mlrepro.comparators import COMPARATORS  # noqa: PLC0415  for this one page

    rows = [[f"`{one.name}`", _summary(inspect.getmodule(one.compare))] for one in COMPARATORS]
    return _table(["comparator", "what it does"], rows)


# -- modules -------------------------------------------------------------------------------------


def _modules() -> str:
    """Say each module in the sentence that it opens with, room by room."""
    rows = []
    for path in sorted((ROOT / "mlrepro").rglob("*.py"), key=_room):
        said = ast.get_docstring(ast.parse(path.read_text())) or ""
        name = path.relative_to(ROOT / "mlrepro").as_posix()
        if path.name != "__init__.py" or name.count("/") == 0:
            rows.append([f"`{name}`", " ".join(said.split("\n\n")[0].split())])
    return _table(["module", "what it does"], rows)


def _room(path: Path) -> tuple[str, str]:
    return (str(path.parent), path.name)


# -- Markdown ------------------------------------------------------------------------------------


def _body(thing: Any) -> str:
    """Return the prose of a docstring, up to its first numpydoc section."""
    text = re.split(r"\n\n\w+\n-{4,}\n", inspect.getdoc(thing) or "")[0]
    return _prose(text).replace("``", "`")


def _summary(thing: Any) -> str:
    return _body(thing).split("\n\n")[0]


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(c) for c in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


BLOCKS: Mapping[str, Callable[[], str]] = {
    "commands": _commands,
    "exit-codes": _exit_codes,
    "errors": _errors,
    "manifest": _manifest,
    "verdicts": _verdicts,
    "comparators": _comparators,
    "modules": _modules,
}


def main() -> int:
    """Write the stale pages, or name them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if stale")
    check = parser.parse_args().check
    old = stale()
    for page in old:
        if not check:
            page.write_text(filled(page.read_text()))
        sys.stdout.write(f"{'stale' if check else 'wrote'}: {page.relative_to(ROOT)}\n")
    if check and old:
        sys.stdout.write("`make docs` writes them\n")
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
