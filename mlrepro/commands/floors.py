"""Floors: how far repeated trainings are apart, and whether a drift lies within that."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mlrepro.commands import noise
from mlrepro.comparators.ensembles import IN_PART
from mlrepro.drift import Difference, Measure, Repeated, Verdict

_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|\bnan\b|\binf\b")
_MOST_KINDS = 200
_LONGEST = 200
_UNKNOWN = "bytes"
"""The comparator of what no other knows: it cannot say how far two files are apart."""
_ROUNDED = 1 + 1e-9
"""Two equal distances differ by rounding, where each is divided by its own spread."""
_MISLEADING = "ULP"
"""A unit that says little near zero (design, §8), and so no part of a floor."""


def of(path: str, differences: Sequence[Difference]) -> Repeated:
    """Return how far the versions of one artifact are apart, from each comparison of two."""
    largest: dict[str, Measure] = {}
    for measure in (m for one in differences for m in _measures(one)):
        before = largest.get(measure.name)
        if before is None or abs(measure.value) > abs(before.value):
            largest[measure.name] = measure
    verdict = max((one.verdict for one in differences), default=Verdict.IDENTICAL)
    kinds = dict.fromkeys(kind for one in differences for kind in _kinds(one))
    return Repeated(path, verdict, noise.bounded(largest.values()), tuple(kinds)[:_MOST_KINDS])


def holds(floor: Repeated, difference: Difference) -> bool:
    """Say whether a drift lies within what the repeats themselves do.

    Never where they repeat exactly, where something is missing, where it cannot be told how far
    two files are apart, or where a part drifted that did not in the repeats.
    """
    if floor.verdict <= Verdict.EQUIVALENT or difference.verdict is not Verdict.DRIFTED:
        return False
    seen = {measure.name: abs(measure.value) for measure in floor.measures}
    measured = [m for m in _measures(difference) if m.unit != _MISLEADING]
    return (
        _is_measurable(difference)
        and any(m.value for m in measured)
        and all(abs(m.value) <= seen.get(m.name, -1.0) * _ROUNDED for m in measured)
        and set(_kinds(difference)) <= set(floor.kinds)
    )


def excess(floor: Repeated, difference: Difference) -> float | None:
    """Return how many times the floor the drift is, by its worst measure; None where unknown."""
    seen = {_whole(measure.name): abs(measure.value) for measure in floor.measures}
    if floor.verdict <= Verdict.EQUIVALENT:
        return None
    measured = ((_whole(m.name), m) for m in difference.measures if m.unit != _MISLEADING)
    ratios = (abs(m.value) / seen[name] for name, m in measured if seen.get(name))
    return max(ratios, default=None)


def _is_measurable(difference: Difference) -> bool:
    return not any(
        node.verdict is Verdict.MISSING
        or (node.comparator == _UNKNOWN and node.verdict > Verdict.EQUIVALENT)
        for node in difference.walk()
    )


def _measures(difference: Difference, prefix: str = "") -> Iterator[Measure]:
    """Yield the measures of a node and of all below it, named by their place."""
    for one in difference.measures:
        yield Measure(f"{prefix}{_whole(one.name)}", one.value, one.unit, one.where)
    for child in difference.children:
        yield from _measures(child, f"{prefix}{_masked(child.path)}: ")


def _kinds(difference: Difference, place: str = "") -> Iterator[str]:
    """Yield what is said of each part that drifted, with its numbers masked."""
    if difference.verdict >= Verdict.DRIFTED:
        for said in difference.summary.split("; "):
            if not said.endswith("set aside"):
                yield f"{place}{_masked(said)}"[:_LONGEST]
    for child in difference.children:
        yield from _kinds(child, f"{place}{_masked(child.path)}: ")


def _whole(name: str) -> str:
    """Name a measure of some trees like that of all: the same is measured."""
    return name.replace(f" {IN_PART}", "")


def _masked(text: str) -> str:
    return _NUMBER.sub("#", text)
