"""Decades: how many differences there are of each size, while the scale is not known yet."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from mlrepro.comparators.kernel import STEPS, Found

_EXACT = 1 << 16
"""So many distances are kept as they are; more are counted in steps of an eighth of an octave, and
one that lies within 9 % of a power of ten may count to its neighbour."""

_LARGEST = 1.7976931348623157e308


@dataclass
class Decades:
    """Distances counted in eighths of an octave, and as they are where they are few."""

    kept: int = 0
    exact: list[Any] = field(default_factory=list)
    steps: Counter[int] = field(default_factory=Counter)
    counts: dict[int, Any] = field(default_factory=dict)

    def add(self, found: Found) -> None:
        """Take in the distances of a chunk."""
        if self.kept + found.differing <= _EXACT:
            self._keep(found.distances())
            return
        self._count_kept()
        longer, shorter = found.steps, self.counts.get(found.origin)
        if shorter is not None:
            if len(shorter) > len(longer):
                longer, shorter = shorter, longer
            longer[: len(shorter)] += shorter
        self.counts[found.origin] = longer

    def add_distances(self, distance: Any) -> None:
        """Take in finite float64 distances; 0 is one that underflowed."""
        if self.kept + len(distance) <= _EXACT:
            self._keep(distance)
        else:
            self._count_kept()
            self._count(distance)

    def merge(self, other: Decades) -> None:
        """Take in those of another part of the stream."""
        self._count_kept()
        other._count_kept()
        self.steps.update(other.all_steps())

    def all_steps(self) -> Counter[int]:
        """Return step → how many, where step / 8 is the logarithm to the base of 2."""
        found = Counter(self.steps)
        for origin, counts in self.counts.items():
            places = counts.nonzero()[0]
            for at, count in zip(places.tolist(), counts[places].tolist(), strict=True):
                found[at - origin] += count
        return found

    def scaled(self, scale: float) -> dict[int, int]:
        """Return exponent of ten → how many distances are so many times `scale`."""
        found: Counter[int] = Counter()
        base = math.log10(scale)
        for part in self.exact:
            found.update(_decade(x, base) for x in part.tolist())
        for step, count in self.all_steps().items():
            octave, eighth = divmod(step, STEPS)
            middle = math.log10(1 + (eighth + 0.5) / STEPS) + octave * math.log10(2)
            found[math.floor(middle - base)] += count
        return dict(sorted(found.items()))

    def _keep(self, distance: Any) -> None:
        self.exact.append(distance)
        self.kept += len(distance)

    def _count_kept(self) -> None:
        for part in self.exact:
            self._count(part)
        self.exact.clear()
        self.kept = _EXACT

    def _count(self, distance: Any) -> None:
        import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

        mantissa, exponent = np.frexp(np.minimum(distance, _LARGEST))
        octave = (exponent.astype(np.int64) - 1) * STEPS
        values, counts = np.unique(
            octave + ((mantissa * 2 - 1) * STEPS).astype(np.int64), return_counts=True
        )
        self.steps.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _decade(distance: float, base: float) -> int:
    # Neither the distance that underflowed to 0 nor the one that overflowed has a logarithm.
    return math.floor(math.log10(min(max(distance, 5e-324), _LARGEST)) - base)
