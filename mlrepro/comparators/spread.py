"""Spread: the distance of two streams of floats, scaled by their spread, in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from mlrepro.comparators.decades import Decades
from mlrepro.drift import Distribution, Measure, Tolerance

_ULP_SAMPLE = 4096
"""So many differing values of each chunk enter the median ULP."""

_OUTLIER = 1000
"""The largest difference may be so many times the limit of the rms: in a billion values, one that
moved by a tenth of the spread leaves the rms below 1e-6 and is still no rounding."""


@dataclass
class Moments:
    """Count, mean and sum of squared deviations, merged chunk by chunk (Chan, Golub, LeVeque)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    largest: float = 0.0

    def add(self, x: Any) -> None:
        """Take in a chunk of finite float64 values."""
        if not len(x):
            return
        mean = float(x.mean())
        delta, count = mean - self.mean, self.count + len(x)
        self.squares += float(((x - mean) ** 2).sum()) + delta * delta * self.count * len(x) / count
        self.mean += delta * len(x) / count
        self.count = count
        self.largest = max(self.largest, float(abs(x).max()))

    def std(self, epsilon: float) -> float:
        """Return the standard deviation; 0 where it overflows or is the rounding of a constant."""
        std = math.sqrt(self.squares / self.count) if self.count else 0.0
        return std if 8 * epsilon * self.largest < std < math.inf else 0.0


@dataclass
class Spread:
    """What is known of the distance of two equally long streams of floats.

    Attributes
    ----------
    limit : float
        Class limit of rms / std; the user's `rtol` replaces it.
    epsilon : float
        Distance of 1 to the next number of the stored type.
    """

    limit: float = 1e-6
    epsilon: float = 2.0**-52
    count: int = 0
    differing: int = 0
    broken: int = 0
    first: int = -1
    largest: float = 0.0
    where: int = -1
    squares: float = 0.0
    signed_zeros: int = 0
    ulps: list[Any] = field(default_factory=list)
    a: Moments = field(default_factory=Moments)
    b: Moments = field(default_factory=Moments)
    decades: Decades = field(default_factory=Decades)

    def add(self, a: Any, b: Any) -> None:
        """Take in two chunks of the same length, float64 or narrower; NaN equals NaN."""
        import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

        with np.errstate(all="ignore"):
            self._add(np, a, b)
        self.count += len(a)

    def _add(self, np: Any, a: Any, b: Any) -> None:
        self.signed_zeros += int(((a == 0) & (b == 0) & (np.signbit(a) != np.signbit(b))).sum())
        unequal = np.flatnonzero(~((a == b) | (np.isnan(a) & np.isnan(b))))
        x, y = a.astype(np.float64), b.astype(np.float64)
        self.a.add(x[np.isfinite(x)])
        self.b.add(y[np.isfinite(y)])
        if not len(unequal):
            return
        if self.first < 0:
            self.first = self.count + int(unequal[0])
        self.differing += len(unequal)
        self._measure(np, unequal, x[unequal], y[unequal])
        self._sample_ulps(np, a[unequal[:_ULP_SAMPLE]], b[unequal[:_ULP_SAMPLE]])

    def _measure(self, np: Any, places: Any, x: Any, y: Any) -> None:
        both = np.isfinite(x) & np.isfinite(y)
        if not both.all():
            if not self.broken:
                self.where = self.count + int(places[~both][0])
            self.broken += int((~both).sum())
        if both.any():
            distance = np.abs(x[both] - y[both])
            top = int(distance.argmax())
            if distance[top] > self.largest and not self.broken:
                self.where = self.count + int(places[both][top])
            self.largest = max(self.largest, float(distance[top]))
            self.squares += float((distance**2).sum())
            self.decades.add(distance)

    def _sample_ulps(self, np: Any, a: Any, b: Any) -> None:
        gap = np.spacing(np.maximum(np.abs(a), np.abs(b)))
        ulps = np.abs(a - b) / gap
        self.ulps.append(ulps[np.isfinite(ulps)].astype(np.float64))

    @property
    def scale(self) -> float:
        """The smaller spread of the two; where it is 0, the largest magnitude."""
        std = min(self.a.std(self.epsilon), self.b.std(self.epsilon))
        return std or min(self.a.largest, self.b.largest)

    @property
    def ratio(self) -> float:
        """Root mean square of the differences over the scale; infinite where NaN meets a number."""
        if not self.differing:
            return 0.0
        # Squares of tiny numbers underflow; the largest one bounds the rms from below.
        rms = max(math.sqrt(self.squares / self.count), self.largest / math.sqrt(self.count))
        return rms / self.scale if self.scale and not self.broken and rms < math.inf else math.inf

    def is_close(self, tolerance: Tolerance) -> bool:
        """Say whether the two streams are close."""
        if self.broken:
            return False
        limit = self.limit if tolerance.rtol is None else tolerance.rtol
        bounded = self.largest <= _OUTLIER * limit * self.scale
        return self.largest <= tolerance.atol or (self.ratio <= limit and bounded)

    def distribution(self) -> Distribution:
        """Return how large the differences are; where the scale is 0, in their own unit."""
        std = min(self.a.std(self.epsilon), self.b.std(self.epsilon))
        unit = "of the standard deviation" if std else "of the largest magnitude"
        return Distribution(
            unit if self.scale else "in the unit of the values",
            equal=self.count - self.differing,
            decades=self.decades.scaled(self.scale or 1.0),
            broken=self.broken,
        )

    def measures(self, where: str) -> list[Measure]:
        """Return what was measured; `where` is the place of the largest difference in words."""
        import numpy as np  # noqa: PLC0415  see add

        ulps = np.concatenate(self.ulps) if self.ulps else np.zeros(0)
        median = (
            [Measure("median of the differing", float(np.median(ulps)), "ULP")] if len(ulps) else []
        )
        return [
            Measure("rms / std", self.ratio),
            Measure("largest |a−b|", self.largest, where=where),
            *median,
        ]
