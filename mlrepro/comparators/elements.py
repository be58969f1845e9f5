"""Elements: one stream of equal elements of two arrays: floats by spread, all else exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mlrepro.comparators.formats import FORMATS, Format
from mlrepro.comparators.pieces import Pairs, Stored, Stream
from mlrepro.comparators.spread import Spread
from mlrepro.comparators.values import Findings, is_given, show
from mlrepro.drift import Difference, Measure, Tolerance, Verdict

_BLOCK = 1 << 15
"""Whole numbers that are compared at once."""

_LONG = 1 << 22
"""Of a stream of more floats the distribution is counted on a part where all differ."""

_CHILDREN = 1000
"""So many named arrays are listed."""


@dataclass
class Elements:
    """What is known of two equally long streams.

    Attributes
    ----------
    tolerance : Tolerance
        The user's.
    spread : Spread or None
        Of floats; complex numbers are two floats each.
    complex : bool
        Whether they are.
    """

    tolerance: Tolerance
    spread: Spread | None = None
    complex: bool = False
    compared: int = 0
    differing: int = 0
    beyond: int = 0
    first: int = -1
    example: tuple[Any, Any] | None = None
    largest: int | None = None
    where: int = -1
    plain: Callable[[Any], Any] = field(default=lambda value: value)

    @classmethod
    def of(cls, dtype: Any, tolerance: Tolerance) -> Elements:
        """Return an empty one for a type of numpy."""
        if dtype.kind not in "fc":
            return cls(tolerance)
        name = f"float{dtype.itemsize * 4}" if dtype.kind == "c" else dtype.name
        if name in FORMATS:
            return cls(tolerance, Spread.of(FORMATS[name]), dtype.kind == "c")
        import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

        return cls(tolerance, Spread(epsilon=float(np.finfo(dtype).eps)), dtype.kind == "c")

    @classmethod
    def stored(cls, form: Format, tolerance: Tolerance) -> Elements:
        """Return an empty one for floats that numpy has no type for; they come as integers."""
        read = form.exact or (lambda raw: raw)
        return cls(tolerance, Spread.of(form), plain=lambda value: read(value.reshape(1))[0])

    def part(self) -> Elements:
        """Return an empty one for a part of the same long stream, to be merged later."""
        spread = self.spread.part() if self.spread else None
        return Elements(self.tolerance, spread, self.complex, plain=self.plain)

    def add(self, a: Any, b: Any) -> None:
        """Take in two pieces of one length and type."""
        a, b = _native(a), _native(b)
        if self.spread:
            self._floats(a, b, self.spread)
        else:
            for start in range(0, len(a), _BLOCK):
                self._others(a[start : start + _BLOCK], b[start : start + _BLOCK])

    def stream(self, a: Stored, b: Stored, dtype: Any, count: int) -> Stream[Elements]:
        """Return two stored streams, whose parts are to be merged into this."""
        if self.spread:
            self.spread.sampled = count > _LONG
        return Stream(a, b, dtype, count, self.of_pairs)

    def of_pairs(self, pairs: Pairs) -> Elements:
        """Return the part of the stream that these pieces are; may run in any thread."""
        part = self.part()
        for a, b in pairs:
            part.add(a, b)
        return part

    def merge(self, other: Elements) -> None:
        """Take in the next part of the stream."""
        if self.first < 0 <= other.first:
            self.first, self.example = self.compared + other.first, other.example
        if other.largest is not None and (self.largest is None or other.largest > self.largest):
            self.largest, self.where = other.largest, self.compared + other.where
        self.compared += other.compared
        self.differing += other.differing
        self.beyond += other.beyond
        if self.spread and other.spread:
            self.spread.merge(other.spread)

    def _floats(self, a: Any, b: Any, spread: Spread) -> None:
        x, y, unequal, before = a, b, spread.first, spread.count
        if self.complex:
            real = a.real.dtype
            x, y = (v.ravel().view(real) for v in (a, b))
        elif a.dtype.name == "float16":
            x, y = a.view("uint16"), b.view("uint16")
        spread.add(x, y)
        if unequal < 0 <= spread.first:
            at = (spread.first - before) // (2 if self.complex else 1)
            self.first, self.example = self.compared + at, (a[at], b[at])
        self.compared += len(a)

    def _others(self, a: Any, b: Any) -> None:
        import numpy as np  # noqa: PLC0415  see of

        differ = a != b
        if a.dtype.kind in "mM":
            differ &= ~(np.isnat(a) & np.isnat(b))
        count = int(np.count_nonzero(differ))
        if count:
            if self.first < 0:
                at = int(differ.argmax())
                self.first, self.example = self.compared + at, (a[at], b[at])
            self.differing += count
            close = is_given(self.tolerance) and _whole_close(
                np, a[differ], b[differ], self.tolerance
            )
            self.beyond += 0 if close else count
            if a.dtype.kind in "iu":
                self._distance(np, a, b)
        self.compared += len(a)

    def _distance(self, np: Any, a: Any, b: Any) -> None:
        unsigned = f"u{a.dtype.itemsize}"
        upper, lower = np.maximum(a, b), np.minimum(a, b)
        # The difference of two signed numbers may need one bit more; unsigned it has it.
        distance = np.subtract(upper.view(unsigned), lower.view(unsigned))
        at = int(distance.argmax())
        if self.largest is None or int(distance[at]) > self.largest:
            self.largest, self.where = int(distance[at]), self.compared + at

    def difference(self, path: str, place: Callable[[int], str], parts: int = 1) -> Difference:
        """Return the node of the stream.

        Parameters
        ----------
        path : str
            Its name.
        place : callable
            Index of an element → the words for it: ``[3, 1]``.
        parts : int
            So many of the stream's elements make one that `place` counts.
        """
        found = Findings("elements", self.compared, self.differing, self.beyond)
        distribution = None
        if self.spread:
            distribution = self._judge(found, self.spread, place, parts)
        elif found.differing:
            found.measures.append(Measure("differing", found.differing, "elements"))
            if self.largest is not None:
                where = place(self.where // parts)
                found.measures.append(Measure("largest |a−b|", float(self.largest), where=where))
        if self.example:
            x, y = (_shown(self.plain(v)) for v in self.example)
            found.first = f"{place(self.first // parts)}: {x} → {y}"
        return replace(found.difference(path), distribution=distribution)

    def _judge(
        self, found: Findings, spread: Spread, place: Callable[[int], str], parts: int
    ) -> Any:
        wide = 2 if self.complex else 1
        found.differing = min(spread.differing, self.compared)
        found.beyond = 0 if spread.is_close(self.tolerance) else found.differing
        if spread.signed_zeros:
            found.metadata.append(f"{spread.signed_zeros} zeros differ in their sign")
        if not found.differing:
            return None
        found.measures += spread.measures(place(spread.where // (wide * parts)))
        return spread.distribution()


def _native(x: Any) -> Any:
    return x if x.dtype.isnative else x.astype(x.dtype.newbyteorder("="))


def _whole_close(np: Any, a: Any, b: Any, tolerance: Tolerance) -> bool:
    if a.dtype.kind not in "iu":
        return False
    x, y = a.astype(np.float64), b.astype(np.float64)
    bound = np.maximum((tolerance.rtol or 0.0) * np.maximum(abs(x), abs(y)), tolerance.atol)
    return bool((abs(x - y) <= bound).all())


def _shown(value: Any) -> str:
    return show(value.item() if value.dtype.kind in "fciub" else value)


def place(at: int, shape: Sequence[int], *, fortran: bool = False) -> str:
    """Return the index of the element that is stored at position `at`: ``[3, 1]``."""
    index = []
    for n in shape if fortran else reversed(shape):
        at, rest = divmod(at, n)
        index.append(str(rest))
    return f"[{', '.join(index if fortran else reversed(index))}]"


def whole(name: str, parts: Sequence[Difference], what: str) -> Difference:
    """Return the node of a file of named arrays; its children are those that differ.

    Its measures are those of the part that is farthest apart.
    """
    differing = [p for p in parts if p.verdict > Verdict.EQUIVALENT or p.metadata]
    unequal = [p for p in differing if p.verdict > Verdict.EQUIVALENT]
    verdict = max((p.verdict for p in unequal), default=Verdict.EQUIVALENT)
    telling = next((p for p in unequal if p.verdict == verdict), None)
    measured = [p for p in unequal if p.measures]
    farthest = max(measured, key=_apart) if measured else None
    return Difference(
        name,
        verdict if parts else Verdict.DRIFTED,
        summary=f"{len(unequal)} of {len(parts)} {what} differ" if unequal else _none(parts, what),
        measures=farthest.measures if farthest else (),
        first=(telling.first or f"{telling.path}: {telling.summary}") if telling else "",
        children=tuple(differing[:_CHILDREN]),
        compared=sum(p.compared for p in parts),
        distribution=farthest.distribution if farthest else None,
    )


def _none(parts: Sequence[Difference], what: str) -> str:
    return "" if parts else f"it holds no {what}"


def _apart(part: Difference) -> tuple[bool, float]:
    # Counts of whole numbers are no ratio; they come after all that is one.
    return part.distribution is not None, part.measures[0].value
