"""Decades: how many differences there are of each size, while the scale is not known yet."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

_EXACT = 1 << 16
"""So many distances are kept as they are; all together are counted in finer steps than decades."""

_STEPS = 8
"""Of each octave: a distance that lies within 9 % of a power of ten may count to its neighbour."""

_LARGEST = 1.7976931348623157e308


@dataclass
class Decades:
    """Distances counted in eighths of an octave, and as they are where they are few."""

    exact: list[Any] = field(default_factory=list)
    kept: int = 0
    steps: Counter[int] = field(default_factory=Counter)

    def add(self, distance: Any) -> None:
        """Take in finite float64 distances; 0 is one that underflowed."""
        import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

        if self.kept + len(distance) <= _EXACT and not self.steps:
            self.exact.append(distance)
            self.kept += len(distance)
            return
        for part in (*self.exact, distance):
            mantissa, exponent = np.frexp(np.minimum(part, _LARGEST))
            step = exponent.astype(np.int64) * _STEPS + ((mantissa - 0.5) * 2 * _STEPS).astype(int)
            values, counts = np.unique(step, return_counts=True)
            self.steps.update(dict(zip(values.tolist(), counts.tolist(), strict=True)))
        self.exact.clear()

    def scaled(self, scale: float) -> dict[int, int]:
        """Return exponent of ten → how many distances are so many times `scale`."""
        found: Counter[int] = Counter()
        base = math.log10(scale)
        for part in self.exact:
            found.update(_decade(x, base) for x in part.tolist())
        for step, count in self.steps.items():
            exponent, eighth = divmod(step, _STEPS)
            middle = math.log10((1 + (eighth + 0.5) / _STEPS) / 2) + exponent * math.log10(2)
            found[math.floor(middle - base)] += count
        return dict(sorted(found.items()))


def _decade(distance: float, base: float) -> int:
    # Neither the distance that underflowed to 0 nor the one that overflowed has a logarithm.
    return math.floor(math.log10(min(max(distance, 5e-324), _LARGEST)) - base)
