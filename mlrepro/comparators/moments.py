"""Moments: mean and spread of a stream of numbers, merged chunk by chunk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any


@dataclass
class Moments:
    """Count, mean and sum of squared deviations, merged chunk by chunk (Chan, Golub, LeVeque)."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    largest: float = 0.0

    def add(self, x: Any) -> None:
        """Take in finite float64 values."""
        if len(x):
            mean = float(x.mean())
            squares = float(((x - mean) ** 2).sum())
            self.merge(Moments(len(x), mean, squares, float(abs(x).max())))

    def merge(self, other: Moments) -> None:
        """Take in what another part of the stream has."""
        if not other.count:
            return
        count = self.count + other.count
        delta = other.mean - self.mean
        share = delta * self.count / count  # first, so that no product of counts grows beyond all
        self.squares += other.squares + delta * share * other.count
        self.mean += delta * other.count / count
        self.count = count
        self.largest = max(self.largest, other.largest)

    def std(self, epsilon: float) -> float:
        """Return the standard deviation; 0 where it overflows or is the rounding of a constant."""
        std = math.sqrt(self.squares / self.count) if self.count and self.squares > 0 else 0.0
        return std if 8 * epsilon * self.largest < std < math.inf else 0.0
