"""Printed: standard output and plain logs, aligned line by line, numbers compared as numbers."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from pathlib import Path

from mlrepro.comparators.alignment import align
from mlrepro.comparators.base import Comparator
from mlrepro.comparators.lines import Line, Number, Parts, scan
from mlrepro.comparators.values import LISTED, Findings, relative, scalars_close, show
from mlrepro.drift import Difference, Measure, Tolerance
from mlrepro.errors import ComparisonError

_LARGEST = 256 * 2**20
"""`mlrepro run` keeps 64 MiB of a stream; a larger log is not one that a person reads."""

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_PYTHON_WARNING = re.compile(r"^\S.*?:\d+: (\w*(?:Warning|Deprecated)\w*: .*)")
_CHOICE = re.compile(
    r"^\[LightGBM\] \[\w+\] Auto-choosing (row-wise|col-wise) multi-threading, the overhead of"
)
_ADVICE = ("You can set `force_", "And if memory is not enough, you can set `force_")


def _recognises(path: Path, head: bytes) -> bool:  # noqa: ARG001  known by what it holds
    if b"\0" in head:
        return False
    strange = sum(byte < 32 and byte not in b"\t\n\r\f\b\x1b\x07" for byte in head)
    unreadable = head.decode("utf-8", "replace").count("\ufffd")
    return 20 * (strange + unreadable) <= len(head)


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    known: dict[str, Parts] = {}
    a, b = _Text(_read(recorded), known), _Text(_read(rebuilt), known)
    found = _Comparison(tolerance)
    for i, j in align([line.masked for line in a.lines], [line.masked for line in b.lines]):
        found.lines(a.lines[i] if i is not None else None, b.lines[j] if j is not None else None)
    found.asides(a.asides, b.asides)
    return found.finish(recorded.name)


def _read(path: Path) -> str:
    if path.stat().st_size > _LARGEST:
        raise ComparisonError(
            f"`{path.name}` is larger than {_LARGEST >> 20} MiB, too large to be aligned"
        )
    return path.read_bytes().decode("utf-8", "replace")


class _Text:
    """A text as a terminal left it: `lines` that may hold results, and `asides` that do not."""

    def __init__(self, text: str, known: dict[str, Parts]) -> None:
        self.lines: list[Line] = []
        self.asides: Counter[str] = Counter()
        quoted = False  # the source line that Python prints below a warning
        for number, raw in enumerate(text.split("\n"), 1):
            last = _last_state(raw)
            aside = _aside(last)
            if aside:
                self.asides[aside] += 1
            elif (
                last.strip()
                and not (quoted and last.startswith("  "))
                and not last.startswith(_ADVICE)
            ):
                self.lines.append(scan(last, number, known=known))
            quoted = bool(aside) and not aside.startswith("LightGBM")


def _last_state(raw: str) -> str:
    """Return what is left of a line that a progress bar wrote again and again."""
    states = [state for state in _ANSI.sub("", raw).split("\r") if state.strip()]
    return states[-1].rstrip() if states else ""


def _aside(line: str) -> str:
    """Return what a whole line says that is no result: a warning, a choice by the clock."""
    choice = _CHOICE.match(line)
    if choice:
        return f"LightGBM chose {choice[1]} by a timing"
    warning = _PYTHON_WARNING.match(line)
    return warning[1] if warning else ""


class _Comparison:
    """What was met while two texts are walked along."""

    def __init__(self, tolerance: Tolerance) -> None:
        self.tolerance = tolerance
        self.found = Findings("numbers")
        self.kinds: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.largest = (0.0, "")
        self.only: list[list[Line]] = [[], []]

    def lines(self, a: Line | None, b: Line | None) -> None:
        """Take in an aligned pair, or a line of one side."""
        if a is not None and b is not None:
            self._pair(a, b)
        else:
            line, side = (a, "recorded") if a is not None else (b, "rebuilt")
            if line is not None:
                self._one_sided(line, side)

    def _one_sided(self, line: Line, side: str) -> None:
        if line.is_aside:
            self._note("lines without a result", f"line {line.number}: only {side}", 1)
            return
        self.only[side == "rebuilt"].append(line)
        self.found.break_structure(f"line {line.number}, only {side}: {show(line.text)}")

    def _pair(self, a: Line, b: Line) -> None:
        self.found.compared += len(a.numbers)
        if a.text == b.text:
            return
        for x, y in zip(a.numbers, b.numbers, strict=True):
            if x.text != y.text:
                self._numbers(a, x, y)
        for (kind, s), (_, t) in zip(a.asides, b.asides, strict=True):
            if s != t:
                self._note(kind, f"line {a.number}: {show(s)} → {show(t)}", 1)

    def _numbers(self, line: Line, x: Number, y: Number) -> None:
        a, b = x.value, y.value
        if a == b or (a != a and b != b):
            return
        where = f"line {line.number}: {f'{x.label} ' if x.label else ''}{x.text} → {y.text}"
        self.found.differ(where, close=scalars_close(a, b, self.tolerance))
        self.largest = max(self.largest, (relative(a, b), f"line {line.number}"))

    def _note(self, kind: str, example: str, count: int) -> None:
        self.found.set_aside += count
        self.kinds[kind] += count
        self.examples.setdefault(kind, example)

    def asides(self, a: Counter[str], b: Counter[str]) -> None:
        """Name the warnings and choices that stand on one side only."""
        for counts, others, side in ((a, b, "recorded"), (b, a, "rebuilt")):
            for text in counts:
                if text not in others:
                    self.found.put_aside(f"only {side}: {show(text)}")

    def finish(self, name: str) -> Difference:
        """Return the node of the whole text."""
        found = self.found
        self._name_replaced_line()
        if self.largest[1]:
            found.measures.append(
                Measure("|a−b| / max(|a|,|b|), largest", self.largest[0], where=self.largest[1])
            )
        listed = [f"{n} {kind} set aside ({self.examples[kind]})" for kind, n in self.kinds.items()]
        unlisted = found.set_aside - sum(self.kinds.values()) - len(found.metadata)
        more = [f"{unlisted} warnings set aside"] if unlisted > 0 else []
        found.metadata = (found.metadata + listed + more)[: 2 * LISTED]
        # `difference` would count again what the kinds have counted.
        return dataclasses.replace(found.difference(name), metadata=tuple(found.metadata))

    def _name_replaced_line(self) -> None:
        """Where a line of each side has no partner, show the two together."""
        recorded, rebuilt = self.only
        if (
            recorded
            and rebuilt
            and self.found.first.startswith(
                (f"line {recorded[0].number}, only", f"line {rebuilt[0].number}, only")
            )
        ):
            change = f"{show(recorded[0].text)} → {show(rebuilt[0].text)}"
            self.found.first = f"line {recorded[0].number}: {change}"


COMPARATOR = Comparator("printed", _recognises, _compare)
