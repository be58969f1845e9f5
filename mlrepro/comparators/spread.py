"""Spread: the distance of two streams of floats, scaled by their spread, in bounded memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from mlrepro.comparators.compiled import measured
from mlrepro.comparators.decades import Decades
from mlrepro.comparators.formats import Format
from mlrepro.comparators.kernel import CHUNK, Found
from mlrepro.comparators.moments import Moments
from mlrepro.drift import Distribution, Measure, Tolerance

MOST_ULPS = 1000
"""More between two values, near zero most of all, say nothing (design, §8)."""
_ULP_SAMPLE = 1024
"""So many differing values of a chunk enter the median ULP."""

_ULP_CHUNKS = 32
"""Of so many chunks; where there are more, of every second, every fourth …"""

_OUTLIER = 1000
"""The largest difference may be so many times the limit of the rms: in a billion values, one that
moved by a tenth of the spread leaves the rms below 1e-6 and is still no rounding."""

_WIDE = {"f": "float32", "d": "float64"}


@dataclass
class Spread:
    """What is known of the distance of two equally long streams of floats.

    Attributes
    ----------
    limit : float
        Class limit of rms / std; the user's `rtol` replaces it.
    epsilon : float
        Distance of 1 to the next number of the stored type.
    form : Format or None
        Where the stream is one of stored integers: how they are read.
    sampled : bool
        Whether the distribution may be counted on a part of a long stream.
    """

    limit: float = 1e-6
    epsilon: float = 2.0**-52
    form: Format | None = None
    sampled: bool = False
    count: int = 0
    differing: int = 0
    broken: int = 0
    first: int = -1
    largest: float = 0.0
    where: int = -1
    squares: float = 0.0
    signed_zeros: int = 0
    a: Moments = field(default_factory=Moments)
    b: Moments = field(default_factory=Moments)
    decades: Decades = field(default_factory=Decades)
    _ulps: list[Any] = field(default_factory=list)
    _stride: int = 1
    _chunks: int = 0

    @classmethod
    def of(cls, form: Format) -> Spread:
        """Return an empty one for a stored type."""
        return cls(form.limit, form.epsilon, form)

    def part(self) -> Spread:
        """Return an empty one for a part of the same long stream, to be merged later."""
        return Spread(
            self.limit,
            self.epsilon,
            self.form,
            sampled=self.sampled,
            decades=Decades(kept=1 << 62),
            _stride=1 << 62,
        )

    def add(self, a: Any, b: Any) -> None:
        """Take in two pieces of the same length; NaN equals NaN."""
        import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

        with np.errstate(all="ignore"):
            for start in range(0, len(a), CHUNK):
                x, y = (np.ascontiguousarray(v[start : start + CHUNK]) for v in (a, b))
                self._chunk(np, x, y)
                self.count += len(x)
                self._chunks += 1

    def merge(self, other: Spread) -> None:
        """Take in the next part of the stream."""
        if other.differing and self.first < 0:
            self.first = self.count + other.first
        if (other.broken and not self.broken) or (other.largest > self.largest and not self.broken):
            self.where = self.count + other.where
        self.largest = max(self.largest, other.largest)
        self.count += other.count
        self.differing += other.differing
        self.broken += other.broken
        self.squares += other.squares
        self.signed_zeros += other.signed_zeros
        self.a.merge(other.a)
        self.b.merge(other.b)
        self.decades.merge(other.decades)
        self._chunks += 1
        if other._ulps and self._chunks % self._stride == 0:
            self._keep_ulps(other._ulps[0])

    def _chunk(self, np: Any, a: Any, b: Any) -> None:
        found = self._measured(np, a, b)
        x, y = (self._exact(v) for v in (a, b)) if found is None or self._is_sampled else (a, b)
        if found is None:
            found = self._measured(np, x.astype(np.float64), y.astype(np.float64), "float64")
        if found is None:
            self._sifted(np, x, y)
        else:
            self._take(found)
            if found.differing and self._is_sampled:
                self._sample_ulps(np, x, y)

    @property
    def _is_sampled(self) -> bool:
        return not self._chunks % self._stride

    def _exact(self, raw: Any) -> Any:
        return self.form.exact(raw) if self.form is not None and self.form.exact else raw

    def _measured(self, np: Any, a: Any, b: Any, name: str = "") -> Found | None:
        """Measure numbers; without a name they are as they are stored."""
        stored = self.form.name if self.form is not None and self.form.exact else ""
        name = name or stored or _WIDE.get(a.dtype.char, "")
        return measured(np, name, a, b, sampled=self.sampled) if name else None

    def _take(self, found: Found) -> None:
        """Add what a kernel measured of finite numbers."""
        self.signed_zeros += found.signed_zeros
        self.a.merge(found.a)
        self.b.merge(found.b)
        if not found.differing:
            return
        if self.first < 0:
            self.first = self.count + found.first
        if found.largest > self.largest and not self.broken:
            self.where = self.count + found.where
        self.largest = max(self.largest, found.largest)
        self.differing += found.differing
        self.squares += found.squares
        self.decades.add(found)

    def _sifted(self, np: Any, x: Any, y: Any) -> None:
        """Take in a chunk with NaN or infinities: pairs of numbers fast, the others in passes."""
        whole = np.isfinite(x) & np.isfinite(y)
        numbers, others = np.flatnonzero(whole), np.flatnonzero(~whole)
        wide = _WIDE.get(x.dtype.char, "")
        found = self._measured(np, x[numbers], y[numbers], wide) if len(numbers) else None
        if found is None:
            self._odd(np, x, y, np.arange(len(x)))
            return
        before, self.first = self.first, -1
        if found.differing:
            found.first, found.where = int(numbers[found.first]), int(numbers[found.where])
            self._sample_ulps(np, x[numbers], y[numbers])
        self._take(found)
        firsts, self.first = [self.first], -1
        self._odd(np, x[others], y[others], others)
        firsts.append(self.first)
        self.first = before if before >= 0 else min((f for f in firsts if f >= 0), default=-1)

    def _odd(self, np: Any, a: Any, b: Any, places: Any) -> None:
        """Take in values with NaN, infinities or extremes, which lie at these places of a chunk."""
        self.signed_zeros += int(((a == 0) & (b == 0) & (np.signbit(a) != np.signbit(b))).sum())
        unequal = np.flatnonzero(~((a == b) | (np.isnan(a) & np.isnan(b))))
        x, y = a.astype(np.float64), b.astype(np.float64)
        self.a.add(x[np.isfinite(x)])
        self.b.add(y[np.isfinite(y)])
        if not len(unequal):
            return
        if self.first < 0:
            self.first = self.count + int(places[unequal[0]])
        self.differing += len(unequal)
        self._measure(np, places[unequal], x[unequal], y[unequal])
        self._sample_ulps(np, x, y)

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
            self.decades.add_distances(distance)

    def _sample_ulps(self, np: Any, x: Any, y: Any) -> None:
        if not self._is_sampled:
            return
        # The first of a chunk, so that looking for them costs nothing where all differ.
        at = np.flatnonzero(x[: 2 * _ULP_SAMPLE] != y[: 2 * _ULP_SAMPLE])[:_ULP_SAMPLE]
        if not len(at):
            at = np.flatnonzero(x != y)[:_ULP_SAMPLE]
        a, b = x[at].astype(np.float64), y[at].astype(np.float64)
        _, exponent = np.frexp(np.maximum(np.abs(a), np.abs(b)))
        smallest = self.form.smallest if self.form else 5e-324
        gap = np.maximum(np.ldexp(self.epsilon, exponent - 1), smallest)
        ulps = np.abs(a - b) / gap
        self._keep_ulps(ulps[np.isfinite(ulps)])

    def _keep_ulps(self, ulps: Any) -> None:
        self._ulps.append(ulps)
        if len(self._ulps) >= 2 * _ULP_CHUNKS:
            self._ulps = self._ulps[::2]
            self._stride *= 2

    @property
    def scale(self) -> float:
        """The smaller spread of the two; where it is 0, the largest magnitude."""
        return self._std or min(self.a.largest, self.b.largest)

    @property
    def _std(self) -> float:
        return min(self.a.std(self.epsilon), self.b.std(self.epsilon))

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
        # No rounding of any type moves a number by the whole spread.
        outlier = min(_OUTLIER * limit, 1.0) if tolerance.rtol is None else _OUTLIER * limit
        bounded = self.largest <= outlier * self.scale
        return self.largest <= tolerance.atol or (self.ratio <= limit and bounded)

    def distribution(self) -> Distribution:
        """Return how large the differences are; where the scale is 0, in their own unit.

        Up to 65,536 of them are counted exactly; of more one that lies within 9 % of a power of
        ten may count to its neighbour, and of millions that all differ every fourth is counted.
        """
        unit = "of the standard deviation" if self._std else "of the largest magnitude"
        return Distribution(
            unit if self.scale else "in the unit of the values",
            equal=self.count - self.differing,
            decades=self.decades.scaled(self.scale or 1.0),
            broken=self.broken,
        )

    def measures(self, where: str) -> list[Measure]:
        """Return what was measured; `where` is the place of the largest difference in words."""
        import numpy as np  # noqa: PLC0415  see add

        ulps = np.concatenate(self._ulps) if self._ulps else np.zeros(0)
        middle = float(np.median(ulps)) if len(ulps) else math.inf
        median = [Measure("median of the differing", middle, "ULP")] if middle <= MOST_ULPS else []
        return [
            Measure("rms / std", self.ratio),
            Measure("largest |a−b|", self.largest, where=where),
            *median,
        ]
