"""Kernel: one chunk of two float arrays, measured in few passes that stay in the cache."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mlrepro.comparators.moments import Moments

CHUNK = 1 << 16
"""Numbers that are measured at once: fewer cost more calls, more leave the cache."""

_ROW = 1 << 13
"""Numbers of one scalar product: OpenBLAS would start threads of its own for more than 10,000, and
sums of float32 stay exact to six digits."""

_SAMPLED = 4
"""Of a long stream in which all differ the first of so many runs of distances is counted."""

_RUN = 64

_GLANCE = 64
"""Where none of so many is equal, all of a chunk are taken to differ until the counts say no."""

STEPS = 8
"""Of an octave: a distance is counted by its exponent and the first three bits of its mantissa."""


_own = threading.local()


def kernel(np: Any, name: str) -> Kernel:
    """Return this thread's own kernel for ``float32`` or ``float64``."""
    if not hasattr(_own, name):
        setattr(_own, name, Kernel(np, name))
    found: Kernel = getattr(_own, name)
    return found


@dataclass(frozen=True)
class Kind:
    """What of the layout of a float type is needed.

    These are: integer types, shift to a step, safe range, the step of 1, how many steps there are.
    """

    signed: Any
    unsigned: Any
    shift: int
    least: float
    most: float
    origin: int
    most_steps: int


@functools.cache
def kinds(np: Any) -> dict[str, Kind]:
    """Return the two layouts. Within their range no square over- or underflows."""
    return {
        "float32": Kind(np.int32, np.uint32, 20, 1e-13, 1e16, 127 * STEPS, 1 << 11),
        "float64": Kind(np.int64, np.uint64, 49, 1e-140, 1e150, 1023 * STEPS, 1 << 14),
    }


@dataclass
class Found:
    """What was measured of a chunk; places count from its begin."""

    differing: int = 0
    signed_zeros: int = 0
    first: int = -1
    largest: float = 0.0
    where: int = -1
    squares: float = 0.0
    steps: Any = None
    origin: int = 0
    distance: Callable[[], Any] = field(default=lambda: None)
    a: Moments = field(default_factory=Moments)
    b: Moments = field(default_factory=Moments)

    def distances(self) -> Any:
        """Return those that are not 0, as float64; the next chunk overwrites where they lie."""
        distance = self.distance()
        return distance[distance > 0].astype("float64")


class Kernel:
    """The buffers of one thread for one of the two layouts."""

    def __init__(self, np: Any, name: str) -> None:
        self.np = np
        self.kind = kinds(np)[name]
        self.distance = np.empty(CHUNK, name)
        self.ones = np.ones(CHUNK, name)
        self.unequal = np.empty(CHUNK, bool)
        self.keys = np.empty(CHUNK, self.kind.signed)

    def measure(self, a: Any, b: Any, bound: float, *, sampled: bool) -> Found | None:
        """Measure two chunks; None where one is not finite or leaves the safe range."""
        tops, most = (self._top(a), self._top(b)), min(bound, self.kind.most)
        if not all(top == 0 or self.kind.least < top < most for top in tops):
            return None
        found = Found(a=self._moments(a, tops[0]), b=self._moments(b, tops[1]))
        if not self._all_differ(a[:_GLANCE], b[:_GLANCE]) and not self._differing(found, a, b):
            return found
        return found if self._distances(found, a, b, sampled=sampled) else None

    def _all_differ(self, a: Any, b: Any) -> bool:
        return not self.np.count_nonzero(a == b)

    def _differing(self, found: Found, a: Any, b: Any) -> int:
        """Count the unequal bits, then the unequal numbers: the rest are zeros of two signs."""
        unequal = self.unequal[: len(a)]
        signed = self.kind.signed
        bits = int(
            self.np.count_nonzero(self.np.not_equal(a.view(signed), b.view(signed), unequal))
        )
        found.differing = (
            int(self.np.count_nonzero(self.np.not_equal(a, b, unequal))) if bits else 0
        )
        found.signed_zeros = bits - found.differing
        found.first = int(unequal.argmax()) if found.differing else -1
        return found.differing

    def _top(self, x: Any) -> float:
        # Floats of one sign are in the order of their bits, and argmax is numpy's fastest look.
        sign = 1 << (8 * x.itemsize - 1)
        signed, unsigned = x.view(self.kind.signed), x.view(self.kind.unsigned)
        lowest = int(unsigned[unsigned.argmax()])
        bits = max(int(signed[signed.argmax()]), lowest ^ sign if lowest & sign else 0)
        return float(self.np.array(bits, self.kind.unsigned).view(x.dtype))

    def _moments(self, x: Any, top: float) -> Moments:
        mean = self._dot(x, self.ones) / len(x)
        squares = self._dot(x, x)
        if mean * mean * len(x) <= 0.5 * squares:
            return Moments(len(x), mean, max(squares - mean * mean * len(x), 0.0), top)
        # Far from 0 the two would cancel: the deviations from about the mean do not.
        shift = x.dtype.type(mean)
        rest = self.np.subtract(x, shift, out=self.distance[: len(x)])
        left = self._dot(rest, self.ones) / len(x)
        squares = self._dot(rest, rest) - left * left * len(x)
        return Moments(len(x), float(shift) + left, max(squares, 0.0), top)

    def _dot(self, x: Any, y: Any) -> float:
        rows = len(x) // _ROW
        whole = rows * _ROW
        y, total = y[: len(x)], 0.0
        if rows:
            products = self.np.matmul(
                x[:whole].reshape(rows, 1, _ROW), y[:whole].reshape(rows, _ROW, 1)
            )
            total = float(products.sum(dtype=self.np.float64))
        return total + float(self.np.dot(x[whole:], y[whole:]))

    def _distances(self, found: Found, a: Any, b: Any, *, sampled: bool) -> bool:
        np, n = self.np, len(a)
        distance = np.subtract(a, b, out=self.distance[:n])
        np.abs(distance, out=distance)
        bits = distance.view(self.kind.signed)
        if not found.differing:
            if int(bits[bits.argmin()]):
                found.differing, found.first = n, 0
            elif not self._differing(found, a, b):
                return True
        found.where = int(bits.argmax())
        found.largest = abs(float(a[found.where]) - float(b[found.where]))
        found.squares = self._dot(distance, distance)
        found.origin, found.distance = self.kind.origin, lambda: distance
        found.steps = self._steps(found, bits, sampled=sampled)
        return self.kind.least < found.largest < self.kind.most

    def _steps(self, found: Found, bits: Any, *, sampled: bool) -> Any:
        """Count the distances by their steps: all, or of a chunk of a long stream a part.

        Counting takes as long as all else together. The counts of a part are scaled up to the
        number that differ, and the largest distance is always among them.
        """
        np, n = self.np, len(bits)
        if not (sampled and found.differing == n == CHUNK):
            steps = np.bincount(np.right_shift(bits, self.kind.shift, out=self.keys[:n]))
            steps[0] -= n - found.differing  # what is left there are distances that are subnormal
            return steps
        # Short runs from all over the chunk, which neither a period nor a trend can hide from.
        part = bits.reshape(-1, _SAMPLED, _RUN)[:, 0]
        keys = self.keys[: part.size].reshape(part.shape)
        np.right_shift(part, self.kind.shift, out=keys)
        steps = np.bincount(keys.reshape(-1)) * _SAMPLED
        top = int(bits[found.where]) >> self.kind.shift
        if top >= len(steps):
            steps = np.pad(steps, (0, top + 1 - len(steps)))
            steps[int(steps.argmax())] -= 1
            steps[top] = 1
        return steps
