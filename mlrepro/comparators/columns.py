"""Columns: one column of two tables, told from its text: whole numbers, floats, words or times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlrepro.comparators.pairing import tells_no_result
from mlrepro.comparators.spread import Spread
from mlrepro.comparators.values import Findings, is_given, scalars_close, show
from mlrepro.drift import Tolerance

_MISSING = frozenset({"", "na", "nan", "n/a", "null", "none", "<na>", "-nan"})


class Column:
    """What is known of one column that both tables have.

    Numbers are floats of the 1e-6 class whatever their digits: a float32 prints with nine, and a
    rounding in the last of them stays below 1e-6 of the spread. A column of whole numbers alone
    (ids, labels, counts) is exact.
    """

    def __init__(self, name: str, tolerance: Tolerance, *, timed: bool) -> None:
        self.name = name
        self.tolerance = tolerance
        self.timed = timed
        self.first_row = 0
        self.found = Findings("cells")
        self.spread = Spread()
        self.numbers_differ = 0
        self.whole = True
        self.whole_beyond = 0
        self.words_beyond = 0
        self.largest_row = 0

    def add(self, a: Sequence[str], b: Sequence[str], start: int) -> None:
        """Take in the same rows of both tables; `start` rows came before them."""
        if self.timed:
            self._set_aside(a, b, start)
            return
        self.found.compared += len(a)
        x, y = _floats(a), _floats(b)
        if x is None or y is None:
            self._mixed(a, b, start)
        else:
            self._numbers(x, y, a, b, range(start + 1, start + 1 + len(a)))

    def _mixed(self, a: Sequence[str], b: Sequence[str], start: int) -> None:
        """Compare a block in which words stand, cell by cell."""
        numeric = []
        for row, (s, t) in enumerate(zip(a, b, strict=True), start + 1):
            if _is_numeric(s) and _is_numeric(t):
                numeric.append((row, s, t))
            elif s == t:
                continue
            elif tells_no_result(s, t):
                self.found.compared -= 1
                self.found.put_aside(
                    f"row {row}, column {self.name}: {show(s)} → {show(t)} (set aside)"
                )
            else:
                self.words_beyond += 1
                self._note(row, s, t)
        if numeric:
            rows, s_, t_ = zip(*numeric, strict=True)
            self._numbers(_floats(s_), _floats(t_), s_, t_, rows)

    def _numbers(
        self, x: Any, y: Any, a: Sequence[str], b: Sequence[str], rows: Sequence[int]
    ) -> None:
        import numpy as np  # noqa: PLC0415  0.1 s: paid where tables are compared

        self.whole = self.whole and bool(_whole(np, x).all() and _whole(np, y).all())
        before = self.spread.where
        offset = self.spread.count
        self.spread.add(x, y)
        if self.spread.where != before:
            self.largest_row = rows[self.spread.where - offset]
        # Two whole numbers beyond 2**53 may be one float.
        unequal = np.flatnonzero(
            ~((x == y) | (np.isnan(x) & np.isnan(y))) | (_huge(np, x) & _huge(np, y))
        )
        for at in unequal.tolist():
            if x[at] != y[at] or _integer(a[at]) != _integer(b[at]):
                self.numbers_differ += 1
                self._note(rows[at], a[at], b[at])
                if self.whole:
                    self.whole_beyond += not _whole_close(a[at], b[at], self.tolerance)

    def _set_aside(self, a: Sequence[str], b: Sequence[str], start: int) -> None:
        unequal = [i for i, (s, t) in enumerate(zip(a, b, strict=True)) if s != t]
        if unequal and not self.found.set_aside:
            at = unequal[0]
            change = f"{show(a[at])} → {show(b[at])} (a time, set aside)"
            self.found.metadata.append(f"row {start + at + 1}, column {self.name}: {change}")
        self.found.set_aside += len(unequal)

    def _note(self, row: int, a: str, b: str) -> None:
        if not self.first_row:
            self.first_row = row
            self.found.first = f"row {row}, column {self.name}: {show(a)} → {show(b)}"

    def finish(self) -> Findings:
        """Return what was found, judged."""
        found = self.found
        found.differing = self.words_beyond + self.numbers_differ
        found.beyond = self.words_beyond
        if self.numbers_differ:
            if self.whole:
                found.beyond += self.whole_beyond
            elif not self.spread.is_close(self.tolerance):
                found.beyond += self.numbers_differ
            found.measures += self.spread.measures(f"row {self.largest_row}, column {self.name}")
        return found


def _floats(cells: Sequence[str]) -> Any:
    """Return the cells as an array, NaN where one is missing; None where one is a word."""
    import numpy as np  # noqa: PLC0415  see Column

    if any("_" in cell for cell in cells):  # float("1_0") is 10, but a name to everyone else
        return None
    try:
        return np.array(list(map(float, cells)))
    except ValueError:
        pass
    try:
        return np.array([_float(cell) for cell in cells])
    except ValueError:
        return None


def _is_numeric(cell: str) -> bool:
    if "_" in cell:
        return False
    try:
        _float(cell)
    except ValueError:
        return False
    return True


def _float(cell: str) -> float:
    return float("nan") if cell.strip().lower() in _MISSING else float(cell)


def _whole(np: Any, x: Any) -> Any:
    return np.isnan(x) | (np.floor(x) == x)


def _huge(np: Any, x: Any) -> Any:
    return np.abs(x) >= 2.0**53


def _integer(cell: str) -> int | float:
    try:
        return int(cell)
    except ValueError:
        return _float(cell)


def _whole_close(a: str, b: str, tolerance: Tolerance) -> bool:
    return is_given(tolerance) and scalars_close(_integer(a), _integer(b), tolerance)
