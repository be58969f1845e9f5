"""Arrow columns: one column of two tables of Arrow, a batch at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from mlrepro.comparators.elements import Elements
from mlrepro.comparators.pairing import tells_no_result
from mlrepro.comparators.values import Findings, is_clock_name, show, worst
from mlrepro.drift import Difference, Tolerance, Verdict

Words = Callable[[int], str]
"""From the place of a value in its batch to its place in words: ``row 812, column price``."""


@dataclass
class Column:
    """What all kinds of columns know.

    Attributes
    ----------
    name : str
        The column's.
    tolerance : Tolerance
        The user's.
    first_row : int
        The first row, counted from 1, in which the two differ; 0 where none does.
    """

    name: str
    tolerance: Tolerance
    first_row: int = 0
    found: Findings = field(default_factory=lambda: Findings("cells"))

    def add(self, a: Any, b: Any, start: int, words: Words) -> None:
        """Take in the same rows of both; `start` rows came before them."""
        raise NotImplementedError

    def finish(self) -> Difference:
        """Return the node of the column."""
        return self.found.difference(self.name)

    def nulls(self, a: Any, b: Any, start: int, words: Words) -> Any:
        """Note values that stand on one side only; return their places."""
        import numpy as np  # noqa: PLC0415  0.1 s: paid where tables are compared

        if not a.null_count and not b.null_count:
            return np.zeros(0, np.int64)
        lost = np.flatnonzero(_numpy(a.is_valid()) != _numpy(b.is_valid()))
        if len(lost):
            self.differ(int(lost[0]), len(lost), a, b, start, words)
        return lost

    def differ(self, at: int, count: int, a: Any, b: Any, start: int, words: Words) -> None:
        """Note so many values that differ; the first of them is at a place of the batch."""
        self.met(start + at + 1)
        self.found.differing += count
        self.found.beyond += count
        if not self.found.first:
            self.found.first = f"{words(at)}: {_shown(a[at])} → {_shown(b[at])}"

    def met(self, row: int) -> None:
        """Note a row in which the two differ."""
        self.first_row = min(self.first_row or row, row)


@dataclass
class Numbers(Column):
    """Floats by their spread, whole numbers and truth values exactly."""

    elements: Elements | None = None
    places: dict[int, str] = field(default_factory=dict)

    def add(self, a: Any, b: Any, start: int, words: Words) -> None:
        """Take in the same rows of both; `start` rows came before them."""
        lost = self.nulls(a, b, start, words)
        x, y = _filled(a), _filled(b)
        if len(lost):
            x, y = x.copy(), y.copy()
            x[lost] = y[lost] = 0
        if self.elements is None:
            self.elements = Elements.of(x.dtype, self.tolerance)
        elements, before = self.elements, self.elements.compared
        elements.add(x, y)
        where = elements.spread.where if elements.spread else elements.where
        for at in (elements.first, where):
            if at >= before and len(x):
                self.places[at] = words(at - before)
        if elements.first >= before and len(x):
            self.met(start + elements.first - before + 1)

    def finish(self) -> Difference:
        """Return the node of the column."""
        if self.elements is None:
            return Difference(self.name, Verdict.EQUIVALENT)
        node = self.elements.difference(self.name, lambda at: self.places.get(at, ""))
        if not self.found.differing:
            return node
        count = self.found.differing
        return replace(
            node,
            verdict=Verdict.DRIFTED,
            summary=f"{count} missing on one side only; {node.summary}".removesuffix("; "),
            first=self.found.first,
        )


@dataclass
class Exact(Column):
    """Words, times, decimals: equal or not."""

    def add(self, a: Any, b: Any, start: int, words: Words) -> None:
        """Take in the same rows of both; `start` rows came before them."""
        import numpy as np  # noqa: PLC0415  see nulls

        self.found.compared += len(a)
        unequal = np.flatnonzero(_unequal(a, b))
        for at in unequal.tolist():
            x, y = a[at].as_py(), b[at].as_py()
            if isinstance(x, str) and isinstance(y, str) and tells_no_result(x, y):
                self.found.compared -= 1
                self.found.put_aside(f"{words(at)}: {show(x)} → {show(y)} (set aside)")
            else:
                self.differ(at, 1, a, b, start, words)


@dataclass
class Aside(Column):
    """A clock: no result of the training, as in a table of text."""

    def add(self, a: Any, b: Any, start: int, words: Words) -> None:  # noqa: ARG002  of the class
        """Take in the same rows of both; `start` rows came before them."""
        import numpy as np  # noqa: PLC0415  see nulls

        unequal = np.flatnonzero(_unequal(a, b))
        if len(unequal) and not self.found.set_aside:
            at = int(unequal[0])
            change = f"{_shown(a[at])} → {_shown(b[at])}"
            self.found.metadata.append(f"{words(at)}: {change} (a time, set aside)")
        self.found.set_aside += len(unequal)

    def finish(self) -> Difference:
        """Return the node of the column, which decides nothing."""
        return replace(self.found.difference(self.name), verdict=Verdict.EQUIVALENT, summary="")


@dataclass
class Lists(Column):
    """Lists: first how long each is, then all their members as one column."""

    members: Column | None = None

    def add(self, a: Any, b: Any, start: int, words: Words) -> None:
        """Take in the same rows of both; `start` rows came before them."""
        import numpy as np  # noqa: PLC0415  see nulls
        import pyarrow.compute as pc  # noqa: PLC0415  see parquets

        self.found.compared += len(a)
        lengths = [_numpy(pc.fill_null(pc.list_value_length(v), -1)) for v in (a, b)]
        unequal = np.flatnonzero(lengths[0] != lengths[1])
        if len(unequal):
            self.differ(int(unequal[0]), len(unequal), a, b, start, words)
            keep = lengths[0] == lengths[1]
            rows = np.flatnonzero(keep)
            a, b, lengths = a.filter(_mask(keep)), b.filter(_mask(keep)), [lengths[0][keep]]
        else:
            rows = np.arange(len(a))
        x, y = plain(a.flatten()), plain(b.flatten())
        if self.members is None:
            self.members = column(x.type, self.name, self.tolerance)
        ends = np.cumsum(np.maximum(lengths[0], 0))

        def inside(at: int) -> str:
            row = int(np.searchsorted(ends, at, side="right"))
            return f"{words(int(rows[row]))}[{at - int(ends[row] - lengths[0][row])}]"

        before = self.members.first_row
        self.members.first_row = 0
        self.members.add(x, y, 0, inside)
        if self.members.first_row:
            row = int(np.searchsorted(ends, self.members.first_row - 1, side="right"))
            self.met(start + int(rows[row]) + 1)
        self.members.first_row = before

    def finish(self) -> Difference:
        """Return the node of the column."""
        own = self.found.difference(self.name)
        inner = self.members.finish() if self.members is not None else own
        if own.verdict > Verdict.EQUIVALENT:
            return replace(inner, verdict=own.verdict, summary=own.summary, first=own.first)
        return inner if inner.compared else replace(own, verdict=Verdict.EQUIVALENT)


@dataclass
class Structs(Column):
    """Structs: each field is a column of its own."""

    fields: dict[str, Column] = field(default_factory=dict)

    def add(self, a: Any, b: Any, start: int, words: Words) -> None:
        """Take in the same rows of both; `start` rows came before them."""
        self.found.compared += len(a)
        self.nulls(a, b, start, words)
        for number, (x, y) in enumerate(zip(a.flatten(), b.flatten(), strict=True)):
            name = f"{self.name}.{a.type.field(number).name}"
            x, y = plain(x), plain(y)  # noqa: PLW2901  decoded
            if name not in self.fields:
                self.fields[name] = column(x.type, name, self.tolerance)
            inner = self.fields[name]
            inner.add(x, y, start, _inside(words, name))
            if inner.first_row:
                self.met(inner.first_row)

    def finish(self) -> Difference:
        """Return the node of the column."""
        own = self.found.difference(self.name)
        nodes = [inner.finish() for inner in self.fields.values()]
        verdict = max(own.verdict, worst(nodes)) if nodes else own.verdict
        first = own.first or next((n.first for n in nodes if n.first), "")
        return replace(
            own,
            verdict=verdict,
            first=first,
            children=tuple(n for n in nodes if n.verdict > Verdict.EQUIVALENT),
        )


def _inside(words: Words, name: str) -> Words:
    return lambda at: f"{words(at).split(', column ')[0]}, column {name}"


def column(kind: Any, name: str, tolerance: Tolerance) -> Column:
    """Return an empty column for a type of Arrow."""
    import pyarrow as pa  # noqa: PLC0415  see parquets

    if is_clock_name(name):
        return Aside(name, tolerance)
    types = pa.types
    if types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind):
        return Numbers(name, tolerance)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return Lists(name, tolerance)
    return Structs(name, tolerance) if types.is_struct(kind) else Exact(name, tolerance)


def plain_type(kind: Any) -> Any:
    """Return what a type holds, without how: a dictionary or a long string is a string."""
    import pyarrow as pa  # noqa: PLC0415  see parquets

    types = pa.types
    if types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if types.is_large_string(kind) or str(kind) == "string_view":
        return pa.string()
    if types.is_large_binary(kind) or str(kind) == "binary_view":
        return pa.binary()
    if types.is_large_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if types.is_list(kind):
        return pa.list_(plain_type(kind.value_type))
    return kind


def plain(array: Any) -> Any:
    """Return an array without what only says how it is stored."""
    import pyarrow as pa  # noqa: PLC0415  see parquets

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    wanted = plain_type(array.type)
    return array if array.type == wanted else array.cast(wanted)


def _unequal(a: Any, b: Any) -> Any:
    """Return which values differ, a missing one and a present one among them."""
    import numpy as np  # noqa: PLC0415  see nulls
    import pyarrow as pa  # noqa: PLC0415  see parquets
    import pyarrow.compute as pc  # noqa: PLC0415  see parquets

    try:
        differ = _numpy(pc.fill_null(pc.not_equal(a, b), False))
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):  # maps, unions
        return np.array([not x.equals(y) for x, y in zip(a, b, strict=True)], bool)
    if a.null_count or b.null_count:
        differ = differ | (_numpy(a.is_valid()) != _numpy(b.is_valid()))
    return differ


def _filled(array: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415  see parquets

    if array.null_count:
        # NaN stays out of the spread, as what is missing should.
        kind = array.type
        nothing = float("nan") if pa.types.is_floating(kind) else 0
        array = array.fill_null(pa.scalar(nothing).cast(kind))
    return _numpy(array)


def _numpy(array: Any) -> Any:
    return array.to_numpy(zero_copy_only=False)


def _mask(keep: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415  see parquets

    return pa.array(keep)


def _shown(scalar: Any) -> str:
    if not scalar.is_valid:
        return "null"
    value = scalar.as_py() if not hasattr(scalar, "value") or _is_simple(scalar) else str(scalar)
    return show(value)


def _is_simple(scalar: Any) -> bool:
    import pyarrow as pa  # noqa: PLC0415  see parquets

    return not pa.types.is_temporal(scalar.type)
