"""Svg: axes, text and frames of drawings that are to be read at any width.

Text in a scaled drawing is too small on a telephone, so nothing here is scaled: places across are
given in percent of the width, heights in pixels, and only the lines lie in a box of their own that
is stretched while their stroke is not. Labels left of the plot stand in the padding around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mlrepro.present.htmlparts import Html, escaped, number

_LEAST = 1e-12
"""A span has at least so large a part of the values that lie in it."""
_TINY = 1e-290
"""What is divided by a smaller span may overflow."""
_EDGE = 0.06
"""So near to an end, a word in the middle of its place would reach over it."""


@dataclass(frozen=True)
class Axis:
    """A range of values, a little wider than what it has to show."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Sequence[float], margin: float = 0.05) -> Axis | None:
        """Return the axis for some values; None where there is no finite one, or no room."""
        finite = [v for v in values if math.isfinite(v)]
        if not finite:
            return None
        low, high = min(finite), max(finite)
        # A span near the last digit, or below what can be divided, is drawn as if it were wider.
        least = max(abs(low), abs(high)) * _LEAST if low != high else abs(high) * 1e-3
        space = max((high - low) * margin, least) or 1.0
        axis = cls(low - space, high + space)
        return axis if _TINY < axis.high - axis.low < math.inf else None

    def part(self, value: float) -> float:
        """Return where a value lies, 0 at the low end and 1 at the high one."""
        return (value - self.low) / (self.high - self.low)

    def across(self, value: float) -> str:
        """Return where a value lies, in percent of the width."""
        return f"{100 * self.part(value):.2f}%"

    def ticks(self, most: int) -> list[float]:
        """Return at most so many round values."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        for times in (1, 2, 5, 10):
            step = power * times
            first = math.ceil(self.low / step)
            count = math.floor(self.high / step) - first + 1
            if 0 < count <= most:
                return [(first + i) * step for i in range(count)]
        return [(self.low + self.high) / 2]


def labels(ticks: Sequence[float]) -> list[str]:
    """Return the ticks in words, with as many digits as tell them apart."""
    for digits in (3, 4, 6, 9, 12, 17):
        words = [number(tick, digits) for tick in ticks]
        if len(set(words)) == len(words):
            break
    return words


def plot(title: str, inner: Sequence[str], *, height: int, space: tuple[int, int, int]) -> Html:
    """Return a drawing of its full width; `space` is above, below (pixels) and left (letters)."""
    above, below, left = space
    sides = f"0.6rem {below}px {left}ch" if left else f"0 {below}px"
    drawing = f"<svg width='100%' height='{height}' {said(title)}{''.join(inner)}</svg>"
    return Html(f"<div class='plot' style='padding:{above}px {sides}'>{drawing}</div>")


def said(title: str) -> str:
    """Return the end of an `svg` tag, and the title that a screen reader reads instead of it."""
    return f"role='img'><title>{escaped(title, 300)}</title>"


def text(x: str, y: float, side: str, words: str, gap: int = 0, kind: str = "") -> str:
    """Return a word at a place; `side` is where the place is to it: start, middle or end."""
    moved = f" dx='{gap}'" if gap else ""
    kind = f" class='{kind}'" if kind else ""
    return f"<text x='{x}' y='{y:.1f}'{moved} text-anchor='{side}'{kind}>{escaped(words)}</text>"


def side(part: float) -> str:
    """Return the side on which a word stands to its place, so that it does not leave the plot."""
    return "start" if part < _EDGE else "end" if part > 1 - _EDGE else "middle"


def level(down: float) -> str:
    """Return the height of a line across, as attributes."""
    return f"y1='{down:.1f}' y2='{down:.1f}'"


def short(count: int) -> str:
    """Return a count in few letters: ``1.2M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= size:
            return f"{count / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{count:,}"
