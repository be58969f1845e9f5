"""Tablediff: what became of the rows and columns of a table of text, wherever its rows stand.

The comparators lay row beside row, so that one row more at the top makes all the others differ.
Here the rows of both sides are sets: how many came, went, or only stand elsewhere. What stands on
one side only can then be laid side by side. Where a column came, went or stands elsewhere, rows are
compared in the columns that both have.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LARGEST = 2**28
"""A file of more bytes is not read a second time: 2 s."""
_LARGEST_PARSED = 2**26
"""The same where its cells have to be told apart: 2 s."""
_DELIMITERS = ",\t;|"
_SUFFIXES = (".csv", ".tsv", ".tab")


@dataclass(frozen=True)
class Rows:
    """How the lines of two tables overlap.

    Attributes
    ----------
    a, b : int
        How many rows either has.
    both : int
        How many stand in both.
    moved : bool
        Whether those that stand in both have another order.
    shifted : bool
        Whether some that stand in both have another number, since rows before them came or went.
    gone, come : tuple of str
        Names of columns that only the one or the other has.
    """

    a: int
    b: int
    both: int
    moved: bool
    shifted: bool
    gone: tuple[str, ...] = ()
    come: tuple[str, ...] = ()


def rows(a: Path, b: Path, name: str) -> Rows | None:
    """Compare the rows of two tables; None of what is no table of text, or is too large."""
    if not name.lower().endswith(_SUFFIXES) or max(_size(a), _size(b)) > _LARGEST:
        return None
    try:
        left, right = _Lines.read(a), _Lines.read(b)
        gone = tuple(one for one in left.columns if one not in right.columns)
        come = tuple(one for one in right.columns if one not in left.columns)
        if shared := _shared(a, b, left, right):
            left, right = _in_columns(a, shared), _in_columns(b, shared)
    except csv.Error:
        return None
    return _overlap(left, right, gone, come)


def write_apart(a: Path, b: Path, x: Path, y: Path) -> None:
    """Write the rows of two tables that only one of them has, each below its header."""
    left, right = _Lines.read(a), _Lines.read(b)
    if shared := _shared(a, b, left, right):
        _write_columns_apart(a, b, x, y, shared)
        return
    common = {*left.hashes} & {*right.hashes}
    for source, target, lines in ((a, x, left), (b, y, right)):
        with source.open("rb") as file, target.open("wb") as written:
            if lines.columns:
                written.write(file.readline())
            # `hash` of bytes is the same again within one process.
            written.writelines(one for one in file if (h := _hash(one)) and h not in common)


def _size(path: Path) -> int:
    return path.stat().st_size


@dataclass
class _Lines:
    columns: list[str]
    hashes: Any

    @classmethod
    def read(cls, path: Path) -> _Lines:
        """Take the header apart, and a hash of every other line; a line costs 8 bytes."""
        hashes = array("q")
        with path.open("rb") as file:
            first = file.readline(2**20)
            hashes.extend(h for line in file if (h := _hash(line)))
        text = first.decode("utf-8-sig", "replace").rstrip("\r\n")
        delimiter = max(_DELIMITERS, key=text.count)
        columns = next(csv.reader([text], delimiter=delimiter), [])
        if any(map(_is_number, columns)):  # a table without a header
            hashes.insert(0, _hash(first))
            columns = []
        return cls([one.strip() for one in columns], hashes)


def _shared(a: Path, b: Path, left: _Lines, right: _Lines) -> list[str]:
    """Return the columns that both have; none where both have the same in the same order."""
    unique = all(len({*one.columns}) == len(one.columns) for one in (left, right))
    if left.columns == right.columns or not unique or max(_size(a), _size(b)) > _LARGEST_PARSED:
        return []
    return [one for one in left.columns if one in right.columns]


@contextmanager
def _cells(path: Path, columns: Sequence[str]) -> Iterator[Iterator[list[str]]]:
    """Open a table, and yield the cells of each row in some columns, in their order."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        first = file.readline(2**20)
        delimiter = max(_DELIMITERS, key=first.count)
        header = [one.strip() for one in next(csv.reader([first], delimiter=delimiter))]
        at = [header.index(one) for one in columns]
        parsed = csv.reader(file, delimiter=delimiter)
        yield ([row[i] if i < len(row) else "" for i in at] for row in parsed if row)


def _in_columns(path: Path, columns: Sequence[str]) -> _Lines:
    with _cells(path, columns) as rows_:
        return _Lines([*columns], array("q", (hash(tuple(row)) for row in rows_)))


def _write_columns_apart(a: Path, b: Path, x: Path, y: Path, columns: Sequence[str]) -> None:
    both = [_in_columns(one, columns).hashes for one in (a, b)]
    common: Collection[int] = {*both[0]} & {*both[1]}
    for source, target in ((a, x), (b, y)):
        with (
            _cells(source, columns) as rows_,
            target.open("w", encoding="utf-8", errors="surrogateescape", newline="") as written,
        ):
            writer = csv.writer(written)
            writer.writerow(columns)
            writer.writerows(row for row in rows_ if hash(tuple(row)) not in common)


def _hash(line: bytes) -> int:
    """Return a number that is the same for equal lines; 0 for an empty one."""
    bare = line.rstrip(b"\r\n")
    return (hash(bare) or 1) if bare else 0


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _overlap(left: _Lines, right: _Lines, gone: tuple[str, ...], come: tuple[str, ...]) -> Rows:
    import numpy as np  # noqa: PLC0415  0.1 s: paid where tables are compared

    a, b = np.frombuffer(left.hashes, np.int64), np.frombuffer(right.hashes, np.int64)
    (x, m), (y, n) = np.unique(a, return_counts=True), np.unique(b, return_counts=True)
    _, i, j = np.intersect1d(x, y, assume_unique=True, return_indices=True)
    common = np.minimum(m[i], n[j])
    # Rows that one side has more often have no place of their own to compare.
    alike = x[i][m[i] == n[j]]
    moved = not np.array_equal(a[np.isin(a, alike)], b[np.isin(b, alike)])
    both, short = int(common.sum()), min(len(a), len(b))
    shifted = int((a[:short] == b[:short]).sum()) < both
    return Rows(len(a), len(b), both, moved, shifted, gone, come)
