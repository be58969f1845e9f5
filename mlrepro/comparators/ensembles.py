"""Ensembles: tree models as flat arrays, and what a difference in each of them means.

What an array means to the verdict is its `Rule`:

- structure must be equal; a tree in which it is not is another tree, and its numbers are no pair;
- leaves (and weights of a linear booster) are close within 1e-6 of their spread, the standard
  deviation over the whole model, or relative to the largest where all are equal;
- scalars, such as thresholds, are close by `Tolerance.scalar`;
- statistics (gains, counts of rows, values of inner nodes) never enter a prediction, but
  importances and SHAP values. They are numbers, so a difference is no longer *equivalent*: at the
  level of LightGBM's six printed digits it is *close*, beyond that *drifted*, because the same
  training gives the same statistics;
- notes are no content: their differences are told as metadata.
"""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlrepro.comparators.spread import MOST_ULPS
from mlrepro.drift import Difference, Measure, Tolerance, Verdict

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


_HEADLINES = ("leaf value", "threshold", "weight")
IN_PART = "in trees of equal structure"
"""What a number is of that leaves out the trees that have no counterpart."""


class Rule(enum.Enum):
    """What an array means to the verdict."""

    STRUCTURE = "structure"
    SPREAD = "spread"
    SCALAR = "scalar"
    STATISTIC = "statistic"
    NOTE = "note"


@dataclass(frozen=True)
class Field:
    """One array over all trees.

    Attributes
    ----------
    name : str
        What it holds: ``threshold``.
    unit : str
        What each value belongs to, ``split``, ``leaf`` or ``node``; empty for a plain list.
    rule : Rule
        What a difference means.
    values : ndarray
        The values of all trees, one after the other.
    starts : ndarray or None
        Where each tree begins, and the end; None for an array of the whole model.
    numbers : ndarray or None
        The number of each value's unit as the library counts it; its position in the tree if None.
    """

    name: str
    unit: str
    rule: Rule
    values: Array
    starts: Array | None = None
    numbers: Array | None = None

    def lengths(self, trees: int) -> Array:
        """Return how many values each of the first `trees` trees has."""
        edges = self.edges[: trees + 1]
        return edges[1:] - edges[:-1]

    @property
    def edges(self) -> Array:
        """Return where each tree begins, and the end; a list of the whole model is one piece."""
        import numpy as np  # noqa: PLC0415  0.1 s, paid when a model is compared

        return np.array([0, self.values.size]) if self.starts is None else self.starts

    def segment(self, tree: int) -> Array:
        """Return the values of one tree."""
        edges = self.edges
        return self.values[edges[tree] : edges[tree + 1]]

    def place(self, at: int) -> tuple[int, str]:
        """Return the tree of the value at `at` (-1 for none), and its place in words."""
        import numpy as np  # noqa: PLC0415  as above

        tree, begin = -1, 0
        if self.starts is not None:
            tree = int(np.searchsorted(self.starts, at, side="right")) - 1
            begin = int(self.starts[tree])
        number = at - begin if self.numbers is None else int(self.numbers[at])
        words = [f"tree {tree}"] if tree >= 0 else []
        return tree, ", ".join([*words, f"{self.unit} {number}" if self.unit else f"[{number}]"])


@dataclass(frozen=True)
class Ensemble:
    """A model as its comparator sees it.

    Attributes
    ----------
    trees : int
        How many trees it has.
    facts : mapping
        What must be equal, each a list of words: ``objective``, ``feature_names``.
    fields : tuple of Field
        The arrays; the two sides of a comparison have the same names in the same order.
    metadata : mapping
        What means nothing for the content: ``version``, ``parameters: num_threads``.
    """

    trees: int
    facts: Mapping[str, tuple[str, ...]]
    fields: tuple[Field, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One finding, and the tree that it begins in, by which the earliest is told."""

    difference: Difference
    tree: int = -1


@dataclass(frozen=True)
class Pair:
    """The values of one field on both sides that stand against each other."""

    a: Field
    b: Field
    x: Array
    y: Array
    at: Array  # position of each value of `x` in `a.values`
    trees: Array
    tolerance: Tolerance = field(default_factory=Tolerance)

    @classmethod
    def of(cls, a: Field, b: Field, same: Array, tolerance: Tolerance) -> Pair:
        """Pair the trees marked in `same`; of lists of the whole model, as far as both go."""
        import numpy as np  # noqa: PLC0415  as above

        if a.starts is None:
            both = min(a.values.size, b.values.size)
            at = np.arange(both)
            return cls(a, b, a.values[:both], b.values[:both], at, np.full(both, -1), tolerance)
        same = same & (a.lengths(len(same)) == b.lengths(len(same)))
        if same.all() and len(a.edges) == len(b.edges) == len(same) + 1:
            trees = np.repeat(np.arange(len(same)), a.lengths(len(same)))
            return cls(a, b, a.values, b.values, np.arange(a.values.size), trees, tolerance)
        keep = [_mask(f, same) for f in (a, b)]
        trees = np.repeat(np.flatnonzero(same), a.lengths(len(same))[same])
        at = np.flatnonzero(keep[0])
        return cls(a, b, a.values[keep[0]], b.values[keep[1]], at, trees, tolerance)

    @property
    def is_part(self) -> bool:
        """Whether trees of another structure are left out."""
        return self.a.starts is not None and self.x.size < max(
            self.a.values.size, self.b.values.size
        )

    @cached_property
    def moved(self) -> Array:
        """Return where the values differ; NaN equals NaN and −0.0 equals 0.0."""
        both_nan = (self.x != self.x) & (self.y != self.y)
        moved: Array = (self.x != self.y) & ~both_nan
        return moved

    @cached_property
    def beyond(self) -> Array:
        """Return where the values differ by more than they may."""
        within = self.distances <= self.limits()  # false where either is NaN
        beyond: Array = self.moved & ~(within & self.finite())
        return beyond

    @cached_property
    def distances(self) -> Array:
        """Return how far the values are apart."""
        import numpy as np  # noqa: PLC0415  as above

        apart: Array = np.abs(self.x.astype(np.float64) - self.y.astype(np.float64))
        return apart

    def limits(self) -> Any:
        """Return how far each value may move, by the field's rule."""
        import numpy as np  # noqa: PLC0415  as above

        tolerance = self.tolerance
        if self.x.dtype.kind == "i":
            return 0.0  # counts of rows: one row more is another partition
        larger = np.maximum(np.abs(self.x), np.abs(self.y)).astype(np.float64)
        rtol = 1e-6 if tolerance.rtol is None else tolerance.rtol
        if self.a.rule is Rule.SCALAR:
            return np.maximum(rtol * larger, tolerance.atol)
        # The default of `atol` is meant for scalars near 0; leaves may all be that small.
        atol = 0.0 if tolerance.atol == Tolerance().atol else tolerance.atol
        limit = max(rtol * self.spread, atol)
        if self.a.rule is Rule.SPREAD:
            return limit
        printed = 1e-5 if tolerance.rtol is None else tolerance.rtol  # `%g`: six digits
        return np.maximum(printed * larger, limit)

    @cached_property
    def spread(self) -> float:
        """Return the smaller spread of both sides, so that neither order is more lenient."""
        return min(_spread(self.a.values), _spread(self.b.values))

    def parts(self) -> Iterator[Part]:
        """Yield what is to be said of this field, if any value moved."""
        if self.a.rule in (Rule.STRUCTURE, Rule.NOTE):
            return
        if self.a.starts is None and self.a.values.size != self.b.values.size:
            first = f"{self.a.name}: {self.a.values.size} → {self.b.values.size} values"
            yield Part(Difference(self.a.name, Verdict.DRIFTED, first=first, compared=1))
            return
        moved = self.moved
        if moved.any():
            beyond = self.beyond
            verdict = Verdict.DRIFTED if beyond.any() else Verdict.CLOSE
            at = int((beyond if beyond.any() else moved).argmax())
            tree, first = self.shown(at)
            if self.a.starts is None:
                # A list of the whole model: a tree that differs comes first, sums of trees last.
                tree = sys.maxsize - (self.a.rule is not Rule.STATISTIC)
            yield Part(self.difference(moved, verdict, first), tree)

    def difference(self, moved: Array, verdict: Verdict, first: str) -> Difference:
        """Return this field's node of the tree of differences."""
        summary = f"{int(moved.sum())} of {moved.size} values differ"
        measures = tuple(self.measured(moved))
        return Difference(self.a.name, verdict, summary, measures, first, compared=int(moved.size))

    def finite(self) -> Array:
        """Return where both values are finite."""
        import numpy as np  # noqa: PLC0415  as above

        return np.isfinite(self.x) & np.isfinite(self.y)

    def shown(self, at: int) -> tuple[int, str]:
        """Return the tree of the value at `at`, and how it moved, in words."""
        tree, place = self.a.place(int(self.at[at]))
        return tree, f"{place}, {self.a.name}: {self.x[at]!s} → {self.y[at]!s}"

    def headline(self) -> Iterator[Measure]:
        """Yield what the model's own line shows: leaves and thresholds, also where none moved."""
        if self.a.name in _HEADLINES and self.x.size:
            yield from self.measured(self.moved)

    def measured(self, moved: Array) -> Iterator[Measure]:
        """Yield the distances; values that are not finite are counted apart."""
        import numpy as np  # noqa: PLC0415  as above

        name = f"{self.a.name}s" if self.a.name in _HEADLINES else self.a.name
        name += f" {IN_PART}" * self.is_part
        distance = np.where(moved, self.distances, 0.0)
        odd = moved & ~self.finite()
        if odd.any():
            where = self.a.place(int(self.at[int(odd.argmax())]))[1]
            yield Measure(f"{name}, not finite on one side", int(odd.sum()), where=where)
        distance = np.where(odd, 0.0, distance)
        scale, unit = self.scale()
        yield Measure(f"{name}, rms / {unit}", _rms(distance / scale))
        if moved.any():
            where = self.a.place(int(self.at[int((distance / scale).argmax())]))[1]
            largest = float((distance / scale).max())
            yield Measure(f"{name}, largest / {unit}", largest, where=where)
            near = moved & ~odd
            if self.x.dtype.kind == "f" and near.any():
                ulps = float(np.median(_ulps(self.x[near], self.y[near])))
                if ulps <= MOST_ULPS:
                    yield Measure(f"{name}, median of those that differ", ulps, "ULP")

    def scale(self) -> tuple[Any, str]:
        """Return what the distances are divided by, and its name."""
        import numpy as np  # noqa: PLC0415  as above

        if self.a.rule is Rule.SPREAD:
            return self.spread or 1.0, "std"
        larger = np.maximum(np.abs(self.x), np.abs(self.y)).astype(np.float64)
        return np.where(larger == 0, 1.0, larger), "value"

    def notes(self) -> Iterator[str]:
        """Yield what means nothing: differing notes, and zeros of another sign."""
        import numpy as np  # noqa: PLC0415  as above

        moved = self.moved
        if self.a.rule is Rule.NOTE and moved.any():
            first = self.shown(int(moved.argmax()))[1]
            yield f"{self.a.name}: {int(moved.sum())} values differ, the first at {first}"
        if self.a.rule is not Rule.NOTE and self.x.dtype.kind == "f":
            flipped = (self.x == 0) & (self.y == 0) & (np.signbit(self.x) != np.signbit(self.y))
            if flipped.any():
                first = self.shown(int(flipped.argmax()))[1]
                yield f"{int(flipped.sum())} zeros of another sign, the first at {first}"


def _mask(a: Field, same: Array) -> Array:
    import numpy as np  # noqa: PLC0415  as above

    lengths = a.lengths(len(a.edges))
    wanted = np.zeros(len(lengths), dtype=bool)
    wanted[: len(same)] = same
    return np.repeat(wanted, lengths)


def _spread(values: Array) -> float:
    """Return the standard deviation of the finite values; the largest of them where it is 0."""
    import numpy as np  # noqa: PLC0415  as above

    finite = values[np.isfinite(values)].astype(np.float64)
    largest = float(np.abs(finite).max(initial=0.0))
    if largest == 0.0:
        return 0.0
    # Scaled first: the squares of values near 1e308 would overflow, and then anything is close.
    scaled = finite / largest
    if float(scaled.min()) == float(scaled.max()):
        return largest
    return float(np.std(scaled)) * largest


def _rms(values: Array) -> float:
    import numpy as np  # noqa: PLC0415  as above

    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0.0 or not math.isfinite(largest):
        return largest
    return float(np.sqrt(np.mean((values / largest) ** 2))) * largest


def _ulps(x: Array, y: Array) -> Array:
    """Return how many floats lie between the values, which must be finite."""
    import numpy as np  # noqa: PLC0415  as above

    kind: Any = np.uint32 if x.dtype.itemsize == 4 else np.uint64
    sign = kind(1) << kind(8 * np.dtype(kind).itemsize - 1)

    def ordered(values: Array) -> Array:
        bits: Any = values.view(kind)
        counted: Array = np.where(bits & sign, ~bits, bits | sign)
        return counted

    left, right = ordered(x), ordered(y)
    apart: Array = np.where(left > right, left - right, right - left)
    return apart
