"""Trees: two tree ensembles, whatever library wrote them, and how far they are apart.

A parser turns a file into an `Ensemble` of flat arrays; `measure` compares two of them: what they
say they are, their structure, and then, tree by tree of equal structure, their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mlrepro.comparators.ensembles import Ensemble, Field, Pair, Part, Rule
from mlrepro.comparators.treewise import Treewise
from mlrepro.drift import Difference, Measure, Tolerance, Verdict

if TYPE_CHECKING:
    from mlrepro.comparators.ensembles import Array

_LISTED = 8
"""Lists of more values than that are counted where they mean nothing."""


def measure(recorded: Ensemble, rebuilt: Ensemble, tolerance: Tolerance) -> Difference:
    """Compare two models: what they say they are, their structure, then their numbers."""
    import numpy as np  # noqa: PLC0415  0.1 s, paid when a model is compared

    with np.errstate(all="ignore"):
        same, structure = _structure(recorded, rebuilt)
        parts = [*_facts(recorded, rebuilt), *structure]
        notes = list(_metadata(recorded.metadata, rebuilt.metadata))
        measures = [
            Measure("trees", recorded.trees),
            Measure("trees that differ in structure", len(same) - int(same.sum())),
        ]
        treewise = Treewise(same)
        compared = len(recorded.facts) + len(same)
        for a, b in _both(recorded, rebuilt):  # one at a time: a pair holds copies
            pair = Pair.of(a, b, same, tolerance)
            compared += pair.x.size
            parts += pair.parts()
            notes += pair.notes()
            measures += pair.headline()
            treewise.take(pair)
        fields = _by_tree(recorded, rebuilt)
        parts += treewise.parts(lambda tree: _first_in_tree(fields, tree))
    return _whole(
        parts,
        Difference(
            "",
            Verdict.EQUIVALENT,
            _summary(recorded, rebuilt, same),
            tuple(measures),
            metadata=tuple(notes),
            compared=compared,
            distribution=treewise.distribution,
        ),
    )


def _whole(parts: list[Part], found: Difference) -> Difference:
    """Return the node of the model, with the verdict of its worst part and what comes first."""
    verdict = max((p.difference.verdict for p in parts), default=Verdict.EQUIVALENT)
    worst = [p for p in parts if p.difference.verdict is verdict]
    first = min(worst, key=lambda p: p.tree).difference.first if worst else ""
    children = tuple(p.difference for p in parts)
    return replace(found, verdict=verdict, first=first, children=children)


def _summary(recorded: Ensemble, rebuilt: Ensemble, same: Array) -> str:
    different = len(same) - int(same.sum())
    count = f"{recorded.trees} → {rebuilt.trees} trees; " if recorded.trees != rebuilt.trees else ""
    if different:
        return f"{count}{different} of {len(same)} trees differ in structure"
    return (
        f"{count}all {len(same)} trees have the same structure" if len(same) else f"{count}no trees"
    )


def _metadata(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[str]:
    for name in dict.fromkeys((*a, *b)):
        if a.get(name) != b.get(name):
            head, _, key = name.partition(": ")
            # A parameter is shown as LightGBM writes it: `parameters: [num_threads: 2] → …`.
            left, right = (
                "absent" if v is None else f"[{key}: {v}]" if key else v
                for v in (a.get(name), b.get(name))
            )
            yield f"{head}: {_many(left, right) or f'{_short(left)} → {_short(right)}'}"


def _many(left: str, right: str) -> str:
    """Count what differs in two long lists; nothing of what is no such pair."""
    a, b = left.split(), right.split()
    if len(a) != len(b) or len(a) <= _LISTED:
        return ""
    return f"{sum(x != y for x, y in zip(a, b, strict=True))} of {len(a)} values differ"


def _facts(recorded: Ensemble, rebuilt: Ensemble) -> Iterator[Part]:
    for name in dict.fromkeys((*recorded.facts, *rebuilt.facts)):
        a, b = recorded.facts.get(name), rebuilt.facts.get(name)
        if a != b:
            first = f"{name}{_apart(a, b)}"
            yield Part(Difference(name, Verdict.DRIFTED, first=first, compared=1))


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


def _by_tree(recorded: Ensemble, rebuilt: Ensemble) -> list[tuple[Field, Field]]:
    return [pair for pair in _both(recorded, rebuilt) if pair[0].starts is not None]


def _structure(recorded: Ensemble, rebuilt: Ensemble) -> tuple[Array, list[Part]]:
    """Return which of the common trees have the same structure, and what is to be said of it."""
    import numpy as np  # noqa: PLC0415  as above

    common = min(recorded.trees, rebuilt.trees)
    same = np.ones(common, dtype=bool)
    fields = _by_tree(recorded, rebuilt)
    for a, b in fields:
        if a.rule is not Rule.NOTE:
            same &= a.lengths(common) == b.lengths(common)
    alike = same.copy()
    for a, b in fields:
        if a.rule is Rule.STRUCTURE:
            pair = Pair.of(a, b, alike, Tolerance())
            same[pair.trees[pair.x != pair.y]] = False
    return same, [*_tree_counts(recorded, rebuilt), *_other_trees(fields, same)]


def _tree_counts(recorded: Ensemble, rebuilt: Ensemble) -> Iterator[Part]:
    if recorded.trees != rebuilt.trees:
        first = f"trees: {recorded.trees} → {rebuilt.trees}"
        at = min(recorded.trees, rebuilt.trees)
        yield Part(Difference("trees", Verdict.DRIFTED, first=first, compared=1), at)


def _other_trees(fields: list[tuple[Field, Field]], same: Array) -> Iterator[Part]:
    if not same.all():
        tree = int(same.argmin())
        summary = f"{len(same) - int(same.sum())} of {len(same)} trees differ in structure"
        first = f"tree {tree}, {_first_in_tree(fields, tree)}"
        yield Part(
            Difference("structure", Verdict.DRIFTED, summary, first=first, compared=len(same)), tree
        )


def _first_in_tree(fields: list[tuple[Field, Field]], tree: int) -> str:
    """Say where two trees part: at the first split whose decision differs, else in their size."""
    found, sizes = [], []
    for order, (a, b) in enumerate(fields):
        if a.rule not in (Rule.STRUCTURE, Rule.SCALAR):
            continue
        x, y = a.segment(tree), b.segment(tree)
        if len(x) != len(y):
            sizes.append(f"{a.unit or a.name} count: {len(x)} → {len(y)}")
        both = min(len(x), len(y))
        apart = (x[:both] != y[:both]) & ~((x[:both] != x[:both]) & (y[:both] != y[:both]))
        if apart.any():
            at = int(apart.argmax())
            where = f"{a.unit} {at}, {a.name}" if a.unit else f"{a.name}[{at}]"
            found.append((not a.unit, at, order, f"{where}: {x[at]!s} → {y[at]!s}"))
    return min(found)[-1] if found else sizes[0]
