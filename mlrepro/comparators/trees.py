"""Trees: two tree ensembles, whatever library wrote them, and how far they are apart.

A parser turns a file into an `Ensemble` of flat arrays; `measure` compares two of them. What each
array means to the verdict is its `Rule`:

- structure must be equal; a tree in which it is not is another tree, and its numbers are no pair;
- leaves (and weights of a linear booster) are close within 1e-6 of their spread, the standard
  deviation over the whole model, or relative to the largest where all are equal;
- scalars, such as thresholds, are close by `Tolerance.scalar`;
- statistics (gains, counts of rows, values of inner nodes) never enter a prediction, but importances
  and SHAP values. They are numbers, so a difference is no longer *equivalent*: at the level of
  LightGBM's six printed digits it is *close*, beyond that *drifted*, because the same training gives
  the same statistics;
- notes are no content: their differences are told as metadata.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mlrepro.drift import Difference, Measure, Tolerance, Verdict

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


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
        import numpy as np  # noqa: PLC0415  0.1 s, paid when a model is compared

        assert self.starts is not None  # noqa: S101  for mypy: only fields of trees are asked
        return np.diff(self.starts)[:trees]

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
class _Part:
    """One finding, and the tree that it begins in, by which the earliest is told."""

    difference: Difference
    tree: int = -1


def measure(recorded: Ensemble, rebuilt: Ensemble, tolerance: Tolerance) -> Difference:
    """Compare two models: what they say they are, their structure, then their numbers."""
    import numpy as np  # noqa: PLC0415  0.1 s, paid when a model is compared

    with np.errstate(all="ignore"):
        same, structure = _structure(recorded, rebuilt)
        pairs = [_Pair.of(a, b, same) for a, b in _both(recorded, rebuilt)]
        parts = [*_facts(recorded, rebuilt), *structure]
        notes = list(_metadata(recorded.metadata, rebuilt.metadata))
        measures = [
            Measure("trees", recorded.trees),
            Measure("trees that differ in structure", len(same) - int(same.sum())),
        ]
        for pair in pairs:
            parts += pair.parts(tolerance)
            notes += pair.notes()
            measures += pair.headline()
    compared = len(recorded.facts) + sum(pair.x.size for pair in pairs) + len(same)
    return _whole(parts, tuple(notes), tuple(measures), compared, _summary(recorded, rebuilt, same))


def _whole(
    parts: list[_Part],
    notes: tuple[str, ...],
    measures: tuple[Measure, ...],
    compared: int,
    summary: str,
) -> Difference:
    verdict = max((p.difference.verdict for p in parts), default=Verdict.EQUIVALENT)
    worst = [p for p in parts if p.difference.verdict is verdict]
    first = min(worst, key=lambda p: p.tree).difference.first if worst else ""
    children = tuple(p.difference for p in parts)
    return Difference(
        "", verdict, summary, measures, first, notes, children=children, compared=compared
    )


def _summary(recorded: Ensemble, rebuilt: Ensemble, same: Array) -> str:
    different = len(same) - int(same.sum())
    count = f"{recorded.trees} → {rebuilt.trees} trees; " if recorded.trees != rebuilt.trees else ""
    if different:
        return f"{count}{different} of {len(same)} trees differ in structure"
    return f"{count}all {len(same)} trees have the same structure" if len(same) else f"{count}no trees"


def _metadata(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys((*a, *b)):
        if a.get(name) != b.get(name):
            head, _, key = name.partition(": ")
            # A parameter is shown as LightGBM writes it: `parameters: [num_threads: 2] → …`.
            left, right = (
                "absent" if v is None else f"[{key}: {v}]" if key else v
                for v in (a.get(name), b.get(name))
            )
            yield f"{head}: {_short(left)} → {_short(right)}"


def _facts(recorded: Ensemble, rebuilt: Ensemble) -> Iterator[_Part]:
    for name in dict.fromkeys((*recorded.facts, *rebuilt.facts)):
        a, b = recorded.facts.get(name), rebuilt.facts.get(name)
        if a != b:
            first = f"{name}{_apart(a, b)}"
            yield _Part(Difference(name, Verdict.DRIFTED, first=first, compared=1))


def _apart(a: tuple[str, ...] | None, b: tuple[str, ...] | None) -> str:
    """Say where two lists of words part."""
    if a is None or b is None or len(a) == len(b) == 1:
        left, right = ("absent" if v is None else " ".join(v) for v in (a, b))
        return f": {_short(left)} → {_short(right)}"
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return f"[{i}]: {_short(x)} → {_short(y)}"
    return f": {len(a)} → {len(b)}"


def _short(text: str, limit: int = 80) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _both(recorded: Ensemble, rebuilt: Ensemble) -> list[tuple[Field, Field]]:
    return list(zip(recorded.fields, rebuilt.fields, strict=True))


def _structure(recorded: Ensemble, rebuilt: Ensemble) -> tuple[Array, list[_Part]]:
    """Return which of the common trees have the same structure, and what is to be said of it."""
    import numpy as np  # noqa: PLC0415  as above

    common = min(recorded.trees, rebuilt.trees)
    same = np.ones(common, dtype=bool)
    fields = [pair for pair in _both(recorded, rebuilt) if pair[0].starts is not None]
    for a, b in fields:
        if a.rule is not Rule.NOTE:
            same &= a.lengths(common) == b.lengths(common)
    alike = same.copy()
    for a, b in fields:
        if a.rule is Rule.STRUCTURE:
            pair = _Pair.of(a, b, alike)
            same[pair.trees[pair.x != pair.y]] = False
    return same, [*_tree_counts(recorded, rebuilt), *_other_trees(fields, same)]


def _tree_counts(recorded: Ensemble, rebuilt: Ensemble) -> Iterator[_Part]:
    if recorded.trees != rebuilt.trees:
        first = f"trees: {recorded.trees} → {rebuilt.trees}"
        at = min(recorded.trees, rebuilt.trees)
        yield _Part(Difference("trees", Verdict.DRIFTED, first=first, compared=1), at)


def _other_trees(fields: list[tuple[Field, Field]], same: Array) -> Iterator[_Part]:
    if not same.all():
        tree = int(same.argmin())
        summary = f"{len(same) - int(same.sum())} of {len(same)} trees differ in structure"
        first = f"tree {tree}, {_first_in_tree(fields, tree)}"
        yield _Part(
            Difference("structure", Verdict.DRIFTED, summary, first=first, compared=len(same)), tree
        )


def _first_in_tree(fields: list[tuple[Field, Field]], tree: int) -> str:
    """Say where two trees part: at the first split whose decision differs, else in their size."""
    found, sizes = [], []
    for order, (a, b) in enumerate(fields):
        if a.rule not in (Rule.STRUCTURE, Rule.SCALAR):
            continue
        x, y = _segment(a, tree), _segment(b, tree)
        if len(x) != len(y):
            sizes.append(f"{a.unit or a.name} count: {len(x)} → {len(y)}")
        both = min(len(x), len(y))
        apart = (x[:both] != y[:both]) & ~((x[:both] != x[:both]) & (y[:both] != y[:both]))
        if apart.any():
            at = int(apart.argmax())
            where = f"{a.unit} {at}, {a.name}" if a.unit else f"{a.name}[{at}]"
            found.append((not a.unit, at, order, f"{where}: {x[at]} → {y[at]}"))
    return min(found)[-1] if found else sizes[0]


def _segment(a: Field, tree: int) -> Array:
    assert a.starts is not None  # noqa: S101  for mypy: only fields of trees are asked
    return a.values[a.starts[tree] : a.starts[tree + 1]]


@dataclass(frozen=True)
class _Pair:
    """The values of one field on both sides that stand against each other."""

    a: Field
    b: Field
    x: Array
    y: Array
    at: Array  # position of each value of `x` in `a.values`
    trees: Array

    @classmethod
    def of(cls, a: Field, b: Field, same: Array) -> _Pair:
        """Pair the trees marked in `same`; of lists of the whole model, as far as both go."""
        import numpy as np  # noqa: PLC0415  as above

        if a.starts is None:
            both = min(a.values.size, b.values.size)
            at = np.arange(both)
            return cls(a, b, a.values[:both], b.values[:both], at, np.full(both, -1))
        same = same & (a.lengths(len(same)) == b.lengths(len(same)))
        keep = [_mask(f, same) for f in (a, b)]
        trees = np.repeat(np.flatnonzero(same), a.lengths(len(same))[same])
        at = np.flatnonzero(keep[0])
        return cls(a, b, a.values[keep[0]], b.values[keep[1]], at, trees)

    def moved(self) -> Array:
        """Return where the values differ; NaN equals NaN and −0.0 equals 0.0."""
        both_nan = (self.x != self.x) & (self.y != self.y)
        return (self.x != self.y) & ~both_nan

    def distances(self) -> Array:
        import numpy as np  # noqa: PLC0415  as above

        return np.abs(self.x.astype(np.float64) - self.y.astype(np.float64))

    def limits(self, tolerance: Tolerance) -> Any:
        """Return how far each value may move, by the field's rule."""
        import numpy as np  # noqa: PLC0415  as above

        if self.x.dtype.kind == "i":
            return 0.0  # counts of rows: one row more is another partition
        larger = np.maximum(np.abs(self.x), np.abs(self.y)).astype(np.float64)
        rtol = 1e-6 if tolerance.rtol is None else tolerance.rtol
        if self.a.rule is Rule.SCALAR:
            return np.maximum(rtol * larger, tolerance.atol)
        # The default of `atol` is meant for scalars near 0; leaves may all be that small.
        atol = 0.0 if tolerance.atol == Tolerance().atol else tolerance.atol
        limit = max(rtol * self.spread(), atol)
        if self.a.rule is Rule.SPREAD:
            return limit
        printed = 1e-5 if tolerance.rtol is None else tolerance.rtol  # `%g`: six digits
        return np.maximum(printed * larger, limit)

    def spread(self) -> float:
        """Return the smaller spread of both sides, so that neither order is more lenient."""
        return min(_spread(self.a.values), _spread(self.b.values))

    def parts(self, tolerance: Tolerance) -> Iterator[_Part]:
        """Yield what is to be said of this field, if any value moved."""
        if self.a.rule in (Rule.STRUCTURE, Rule.NOTE):
            return
        if self.a.starts is None and self.a.values.size != self.b.values.size:
            first = f"{self.a.name}: {self.a.values.size} → {self.b.values.size} values"
            yield _Part(Difference(self.a.name, Verdict.DRIFTED, first=first, compared=1))
            return
        moved = self.moved()
        if moved.any():
            within = self.distances() <= self.limits(tolerance)  # false where either is NaN
            beyond = moved & ~(within & self.finite())
            verdict = Verdict.DRIFTED if beyond.any() else Verdict.CLOSE
            at = int((beyond if beyond.any() else moved).argmax())
            tree, first = self.shown(at)
            yield _Part(self.difference(moved, verdict, first), tree)

    def difference(self, moved: Array, verdict: Verdict, first: str) -> Difference:
        summary = f"{int(moved.sum())} of {moved.size} values differ"
        measures = tuple(self.measured(moved))
        return Difference(
            self.a.name, verdict, summary, measures, first, compared=int(moved.size)
        )

    def finite(self) -> Array:
        import numpy as np  # noqa: PLC0415  as above

        return np.isfinite(self.x) & np.isfinite(self.y)

    def shown(self, at: int) -> tuple[int, str]:
        tree, place = self.a.place(int(self.at[at]))
        return tree, f"{place}, {self.a.name}: {self.x[at]} → {self.y[at]}"

    def headline(self) -> Iterator[Measure]:
        """Yield what the model's own line shows: leaves and thresholds, also where none moved."""
        if self.a.rule in (Rule.SPREAD, Rule.SCALAR) and self.x.size:
            yield from self.measured(self.moved())

    def measured(self, moved: Array) -> Iterator[Measure]:
        import numpy as np  # noqa: PLC0415  as above

        name, distance = self.a.name, np.where(moved, self.distances(), 0.0)
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
            if self.x.dtype.kind == "f" and not odd.all():
                near = moved & ~odd
                ulps = float(np.median(_ulps(self.x[near], self.y[near])))
                yield Measure(f"{name}, median of those that differ", ulps, "ULP")

    def scale(self) -> tuple[Any, str]:
        import numpy as np  # noqa: PLC0415  as above

        if self.a.rule is Rule.SPREAD:
            return self.spread() or 1.0, "std"
        larger = np.maximum(np.abs(self.x), np.abs(self.y)).astype(np.float64)
        return np.where(larger == 0, 1.0, larger), "value"

    def notes(self) -> Iterator[str]:
        """Yield what means nothing: differing notes, and zeros of another sign."""
        import numpy as np  # noqa: PLC0415  as above

        moved = self.moved()
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

    assert a.starts is not None  # noqa: S101  for mypy: only fields of trees are asked
    lengths = np.diff(a.starts)
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

    kind = np.uint32 if x.dtype.itemsize == 4 else np.uint64
    sign = kind(1) << kind(8 * np.dtype(kind).itemsize - 1)

    def ordered(values: Array) -> Array:
        bits = values.view(kind)
        return np.where(bits & sign, ~bits, bits | sign)

    left, right = ordered(x), ordered(y)
    return np.where(left > right, left - right, right - left)
