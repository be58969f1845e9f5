"""Difftable: what differs between two runs as text: lines of code, what is in inputs, metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import islice

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from mlrepro.commands.diff import DiffReport
from mlrepro.commands.diffvalues import LineCount
from mlrepro.drift import Change, Difference, Verdict

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_DIGEST = re.compile(r"((?:md5|sha1|sha256):[0-9a-f]{12})[0-9a-f]+")
_MOST = 12
_MOST_COLUMNS = 8


def write_code(console: Console, report: DiffReport) -> None:
    """Write the files of code that differ, and by how many lines."""
    counts = {one.path: one for one in report.code_lines}
    inside = {one.path for one in report.input_drifts}  # data that git tracks is told below
    words = [
        _file(change, counts.get(change.what))
        for change in report.code
        if change.what not in inside
    ]
    _listed(console, "code differs:", [[one] for one in words])


def _file(change: Change, count: LineCount | None) -> str:
    sides = {change.recorded: "added", change.current: "removed"}
    told = [word for side, word in sides.items() if side == "absent"]
    if count and count.added is not None and count.removed is not None:
        told.append(f"+{count.added} −{count.removed}")
    elif count:
        told.append("no text, or too long")
    return f"{change.what} ({', '.join(told)})" if told else change.what


def write_inputs(console: Console, report: DiffReport) -> None:
    """Write the inputs that differ: what is in them where that is known, else their digests."""
    inside = {one.path: one for one in report.input_drifts}
    entries = [[*_input(change, inside.get(change.what))] for change in report.inputs]
    _listed(console, "inputs differ:", entries)


def _input(change: Change, found: Difference | None) -> Iterator[str]:
    """Yield the line of an input, and those that stand below it."""
    if found is None:
        sides = (_DIGEST.sub(r"\1", side) for side in (change.recorded, change.current))
        yield f"{change.what}: {' → '.join(sides)}"
        return
    nothing = "" if found.verdict > Verdict.EQUIVALENT else "other bytes, the same content"
    said = "; ".join(filter(None, [nothing, found.summary]))
    yield f"{change.what}: {said or found.first or found.verdict}"
    parts = [child for child in found.children if child.verdict > Verdict.EQUIVALENT]
    if not parts:
        yield from _measured(found)
    for child in islice(parts, _MOST_COLUMNS):
        yield f"{child.path}: " + ", ".join(
            [child.summary or str(child.verdict), *_measured(child)]
        )
    if len(parts) > _MOST_COLUMNS:
        yield f"… and {len(parts) - _MOST_COLUMNS} more (--json lists all)"


def _measured(found: Difference) -> list[str]:
    """Return the first measure, the comparator's own, and where the first difference is."""
    told = [
        f"{one.name} {one.value:.2g}{f' {one.unit}' if one.unit else ''}"
        for one in found.measures[:1]
        if "rows" not in one.unit
    ]
    said = f"{found.path}: {found.summary}"
    tells_more = found.first and "only in" not in found.first and found.first != said
    return [*told, f"first at {found.first}"] if tells_more else told


def write_metrics(console: Console, report: DiffReport) -> None:
    """Write the metrics that differ, and by how much."""
    _listed(console, "metrics differ:", [[_metric(change)] for change in report.metrics])


def _metric(change: Change) -> str:
    a, b = _number(change.recorded), _number(change.current)
    if a is None or b is None:
        return f"{change.what}: {change.recorded} → {change.current}"
    x, y = (f"{one:.6g}" for one in (a, b))
    x, y = (x, y) if x != y else (change.recorded, change.current)
    part = f", {(b - a) / abs(a):+.2%}" if a else ""
    moved = f"{b - a:+.3g}{part}".replace("-", "−")
    return f"{change.what}: {x} → {y} ({moved})"


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and text not in ("True", "False") else None


def _listed(console: Console, title: str, entries: Sequence[Sequence[str]]) -> None:
    if not entries:
        return
    console.print(Text(title, style="bold"))
    for entry in entries[:_MOST]:
        for number, line in enumerate(entry):
            console.print(Padding(_text(line), (0, 0, 0, 4 if number else 2)))
    if len(entries) > _MOST:
        more = f"… and {len(entries) - _MOST} more (--json lists all)"
        console.print(Padding(_text(more), (0, 0, 0, 2)))


def _text(value: str) -> Text:
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", value))
