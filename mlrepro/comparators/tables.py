"""Tables: CSV and TSV compared column by column in one pass, without keeping a row."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlrepro.comparators.base import Comparator
from mlrepro.comparators.columns import Column
from mlrepro.comparators.values import LISTED, Findings, is_clock_name
from mlrepro.drift import Difference, Measure, Tolerance
from mlrepro.errors import ComparisonError

_BLOCK = 8192
"""Rows that are held at once from each side."""

_DELIMITERS = ",\t;|"
_SUFFIXES = {".csv": ",", ".tsv": "\t", ".tab": "\t"}


def _recognises(path: Path, head: bytes) -> bool:
    if not head or b"\0" in head:
        return bool(head) and path.suffix.lower() in _SUFFIXES
    if path.suffix.lower() in _SUFFIXES:
        return True
    return not path.suffix and _looks_tabular(head)


def _looks_tabular(head: bytes) -> bool:
    """Say whether lines of a nameless file have one width, and numbers below the first of them."""
    lines = head.decode("utf-8", "replace").splitlines()[: -1 if len(head) >= 4096 else None]
    delimiter = _delimiter(lines[0] if lines else "", "")
    if len(lines) < 3 or not delimiter:
        return False
    rows = [line.split(delimiter) for line in lines]
    cells = [cell for row in rows[1:] for cell in row]
    same = len(rows[0]) > 1 and all(len(row) == len(rows[0]) for row in rows)
    return (
        same and 2 * sum(map(_is_number, cells)) >= len(cells) and all(len(c) < 40 for c in rows[0])
    )


def _delimiter(line: str, otherwise: str) -> str:
    """Return the delimiter of a file by its first line, quoted parts left out."""
    bare = "".join(line.split('"')[::2])
    best = max(_DELIMITERS, key=bare.count)
    return best if best in bare else otherwise


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    try:
        with _open(recorded) as a, _open(rebuilt) as b:
            return _tables(recorded.name, _Table.read(a), _Table.read(b), tolerance)
    except csv.Error as error:
        raise ComparisonError(f"`{recorded.name}` is damaged: {error}") from error


def _open(path: Path) -> Any:
    # Bytes that are no UTF-8 are compared as they are.
    return path.open(encoding="utf-8-sig", errors="surrogateescape", newline="")


@dataclass
class _Table:
    """A table whose header has been read."""

    delimiter: str
    header: list[str]
    rows: Iterator[list[str]]
    named: bool

    @classmethod
    def read(cls, file: Any) -> _Table:
        first = file.readline(1 << 20)
        delimiter = _delimiter(first, ",")
        lines = _without_nul(itertools.chain([first] if first else [], file))
        rows: Iterator[list[str]] = (
            row for row in csv.reader(lines, delimiter=delimiter, strict=True) if row
        )
        top = next(rows, [])
        named = bool(top) and not any(map(_is_number, top))
        if not named and top:
            rows = itertools.chain([top], rows)
        return cls(delimiter, _unique(top if named else [""] * len(top)), rows, named)


def _without_nul(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        if "\0" in line:
            raise ComparisonError("a table holds a NUL, so it is damaged or no text")
        yield line


def _unique(names: Sequence[str]) -> list[str]:
    """Give every column a name of its own: the unnamed by their number, the repeated by a count."""
    seen: dict[str, int] = {}
    unique = []
    for at, name in enumerate(names):
        own = name.strip() or f"column {at + 1}"
        seen[own] = seen.get(own, 0) + 1
        unique.append(own if seen[own] == 1 else f"{own} ({seen[own]})")
    return unique


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@dataclass
class Rows:
    """The columns that both tables have, and what became of their rows."""

    columns: list[tuple[int, int, Column]]
    widths: tuple[int, int]
    rows: list[int] = field(default_factory=lambda: [0, 0])
    ragged: str = ""

    def add(self, block: Sequence[tuple[list[str] | None, list[str] | None]]) -> None:
        """Take in the next rows of both; None where one table has no more."""
        both = [(a, b) for a, b in block if a is not None and b is not None]
        start = min(self.rows)
        self.rows[0] += sum(a is not None for a, _ in block)
        self.rows[1] += sum(b is not None for _, b in block)
        if any(len(a) != self.widths[0] or len(b) != self.widths[1] for a, b in both):
            both = self._even(both, start)
        if both:
            left, right = [list(zip(*(pair[i] for pair in both), strict=True)) for i in (0, 1)]
            for i, j, column in self.columns:
                column.add(left[i], right[j], start)

    def _even(
        self, rows: list[tuple[list[str], list[str]]], start: int
    ) -> list[tuple[list[str], list[str]]]:
        """Cut or fill uneven rows; a row that is uneven in one table only is a difference."""
        even = []
        for at, (a, b) in enumerate(rows, start + 1):
            missed = len(a) - self.widths[0], len(b) - self.widths[1]
            extra = a[self.widths[0] :] != b[self.widths[1] :]
            if (missed[0] != missed[1] or extra) and not self.ragged:
                self.ragged = f"row {at}: {len(a)} → {len(b)} cells"
            even.append((_filled(a, self.widths[0]), _filled(b, self.widths[1])))
        return even


def _filled(row: list[str], width: int) -> list[str]:
    return row[:width] + [""] * (width - len(row))


def _tables(name: str, a: _Table, b: _Table, tolerance: Tolerance) -> Difference:
    found = Findings("cells")
    if not a.header or not b.header or a.named != b.named:
        side = "recorded" if (a.header and not b.header) or (a.named and not b.named) else "rebuilt"
        what = "has rows" if not (a.header and b.header) else "has a header line"
        found.break_structure(f"only the {side} table {what}")
        return found.difference(name)
    _compare_headers(a, b, found)
    common = [(i, b.header.index(n), n) for i, n in enumerate(a.header) if n in set(b.header)]
    comparison = Rows(
        [(i, j, Column(n, tolerance, timed=is_clock_name(n))) for i, j, n in common],
        (len(a.header), len(b.header)),
    )
    rows = itertools.zip_longest(a.rows, b.rows)
    while block := list(itertools.islice(rows, _BLOCK)):
        comparison.add(block)
    finish(found, comparison)
    return found.difference(name)


def _compare_headers(a: _Table, b: _Table, found: Findings) -> None:
    for names, others, side in ((a.header, b.header, "recorded"), (b.header, a.header, "rebuilt")):
        for name in names:
            if name not in others:
                found.break_structure(f"column {name}: only {side}")
    if a.delimiter != b.delimiter:
        found.metadata.append(f"delimiter: {a.delimiter!r} → {b.delimiter!r}")
    # Readers take columns by name; whoever takes them by place finds this line.
    if a.header != b.header and sorted(a.header) == sorted(b.header):
        found.metadata.append(f"column order: {', '.join(a.header)} → {', '.join(b.header)}"[:200])


def finish(found: Findings, comparison: Rows) -> None:
    """Add to the findings of a table what its columns have found."""
    if comparison.rows[0] != comparison.rows[1]:
        found.break_structure(f"{comparison.rows[0]} → {comparison.rows[1]} rows")
        gap = float(comparison.rows[1] - comparison.rows[0])
        found.measures.append(Measure("rows, rebuilt − recorded", gap, "rows"))
    if comparison.ragged:
        found.break_structure(comparison.ragged)
    firsts = []
    for _, _, column in comparison.columns:
        node = column.finish()
        found.compared += node.compared
        found.differing += node.differing
        found.beyond += node.beyond
        found.set_aside += node.set_aside
        found.metadata += node.metadata
        if node.differing:
            firsts.append((not node.beyond, column.first_row, node.first))
            if len(found.children) < LISTED:
                found.children.append(node.difference(column.name))
    if firsts and not found.structural:
        found.first = min(firsts)[2]


COMPARATOR = Comparator("table", _recognises, _compare)
