"""Plots: lines, whiskers, bars, strips and dots as SVG, to be read at any width.

Text in a scaled drawing is too small on a telephone, so nothing here is scaled: places across are
given in percent of the width, heights in pixels, and only the lines lie in a box of their own that
is stretched while their stroke is not. Labels left of the plot stand in the padding around it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlrepro.present.htmlparts import SYMBOLS, Html, escaped, kind_of, number
from mlrepro.verdicts import Verdict

_BOX = 1000
"""Units across and down the box in which lines are drawn."""

_TALL, _LOW = 170, 64
"""Heights of a course and of the difference below it, in pixels."""


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
        space = (high - low) * margin or abs(high) * 1e-3 or 1.0
        axis = cls(low - space, high + space)
        # Neither a span that overflows nor one below what a float can tell apart can be drawn.
        drawable = math.isfinite(axis.high - axis.low) and axis.low < low <= high < axis.high
        return axis if drawable else None

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


def _labels(ticks: Sequence[float]) -> list[str]:
    """Return the ticks in words, with as many digits as tell them apart."""
    for digits in (3, 4, 6, 9, 12, 17):
        words = [number(tick, digits) for tick in ticks]
        if len(set(words)) == len(words):
            break
    return words


def course(
    name: str,
    a: Sequence[float],
    b: Sequence[float],
    *,
    first: int | None = None,
    points: int = 400,
) -> Html:
    """Draw two courses over the same steps, and below them how far they are apart.

    Parameters
    ----------
    name : str
        What the course is of.
    a, b : sequence of float
        The recorded and the rebuilt values.
    first : int, optional
        The step from which on they differ, counted from 1.
    points : int
        So many points of a line are drawn; of more, the extremes of each stretch.
    """
    steps = max(len(a), len(b))
    first = first if first and 1 <= first <= steps else None
    axis, across = Axis.around([*a, *b]), Axis(1, max(steps, 2))
    if axis is None:
        return Html("")
    apart = [y - x for x, y in zip(a, b, strict=False)]
    below = Axis.around([*apart, 0.0], 0.1) if any(math.isfinite(d) and d for d in apart) else None
    letters = max(map(len, [*_labels(axis.ticks(4)), *_labels(below.ticks(3) if below else [])]))
    told = f", the first that differs is step {first}" if first else ""
    inner = [
        *_grid(axis, _TALL, 4),
        *_steps(across, steps, _TALL),
        *_first(across, first, _TALL),
        _box(
            _path("s1", a, across, axis, points, first),
            _path("s2", b, across, axis, points, first),
            height=_TALL,
        ),
    ]
    title = f"{name}: {steps} steps, recorded and rebuilt{told}"
    top = _plot(title, inner, height=_TALL, space=(20 if first else 6, 24, letters + 1))
    if below is None:
        return top
    inner = [
        *_grid(below, _LOW, 3),
        f"<line class='zero' x1='0' x2='100%' {_y12(_down(below, 0.0, _LOW))}/>",
        _box(_path("s3", apart, across, below, points, first), height=_LOW),
    ]
    largest = max(abs(d) for d in apart if math.isfinite(d))
    title = f"{name}: rebuilt less recorded, at most {number(largest, 3)} apart"
    said = "<p class='over'>rebuilt less recorded</p>"
    return Html(top + said + _plot(title, inner, height=_LOW, space=(8, 8, letters + 1)))


def whisker(title: str, *, low: float, dot: float, high: float, mark: float) -> Html:
    """Draw an estimate with its interval, and a mark to hold it against."""
    axis = Axis.around([low, dot, high, mark], 0.12)
    if axis is None:
        return Html("")
    inner = [
        f"<line class='zero' x1='{axis.across(mark)}' x2='{axis.across(mark)}' y1='2' y2='22'/>",
    ]
    if math.isfinite(low) and math.isfinite(high):
        ends = (axis.across(low), axis.across(high))
        inner.append(f"<line class='reach' x1='{ends[0]}' x2='{ends[1]}' y1='12' y2='12'/>")
        inner += [f"<line class='reach' x1='{x}' x2='{x}' y1='8' y2='16'/>" for x in ends]
    inner.append(f"<circle class='dot' cx='{axis.across(dot)}' cy='12' r='4'/>")
    return Html(
        f"<svg class='whisker' width='100%' height='24' {_said(title)}{''.join(inner)}</svg>"
    )


def bars(title: str, columns: Sequence[tuple[str, int]], *, height: int = 120) -> Html:
    """Draw how often each of some classes occurs; a class that occurs is never too low to see."""
    most = max((count for _, count in columns), default=0)
    if not most:
        return Html("")
    wide = 100 / len(columns)
    every = math.ceil(len(columns) / 6)
    inner = [f"<line class='axis' x1='0' x2='100%' {_y12(height)}/>"]
    for i, (name, count) in enumerate(columns):
        middle = wide * (i + 0.5)
        tall = max(height * 0.86 * count / most, 2.0 if count else 0.0)
        if count:
            inner.append(
                f"<rect class='bar' x='{wide * i + wide * 0.1:.2f}%' width='{wide * 0.8:.2f}%'"
                f" y='{height - tall:.1f}' height='{tall:.1f}'/>"
            )
        if count and (len(columns) <= 6 or count == most):
            inner.append(_text(f"{middle:.2f}%", height - tall - 5, "middle", short(count)))
        if i % every == 0:
            inner.append(_text(f"{middle:.2f}%", height + 16, "middle", name))
    return _plot(title, inner, height=height, space=(4, 22, 0))


def strip(title: str, verdicts: Sequence[Verdict], *, points: int = 400) -> Html:
    """Draw a cell for each part, in order: the worse its verdict, the taller and the redder.

    Where there are more parts than points, a cell stands for several of them and shows the worst.
    """
    if not verdicts:
        return Html("")
    cells = min(len(verdicts), points)
    edges = [len(verdicts) * i // cells for i in range(cells + 1)]
    shown = [max(verdicts[a:b]) for a, b in itertools.pairwise(edges)]
    height, wide = 36, 100 / cells
    tall = {Verdict.IDENTICAL: 6, Verdict.EQUIVALENT: 6, Verdict.CLOSE: 18}
    inner = []
    for begin, end, verdict in _runs(shown):
        high = tall.get(verdict, height)
        for i in range(begin, end) if cells <= 60 else (begin,):
            across = wide * (1 if cells <= 60 else end - begin)
            gap = 0.14 * wide if cells <= 60 else 0.0
            inner.append(
                f"<rect class='{kind_of(verdict)}' x='{wide * i:.3f}%' width='{across - gap:.3f}%'"
                f" y='{height - high}' height='{high}'/>"
            )
    last = len(verdicts) - 1
    inner.append(_text("0", height + 16, "start", "0"))
    inner.append(_text("100%", height + 16, "end", f"{last:,}"))
    return _plot(title, inner, height=height, space=(2, 22, 0))


def legend(verdicts: Sequence[Verdict]) -> Html:
    """Return what the cells of a strip mean, with their counts."""
    counts = {v: sum(x is v for x in verdicts) for v in Verdict}
    said = [
        f"<span class='key {kind_of(v)}'></span><span aria-hidden='true'>{SYMBOLS[v]}</span>"
        f" {v} {count:,}"
        for v, count in counts.items()
        if count
    ]
    return Html(f"<p class='legend'>{''.join(f'<span>{one}</span>' for one in said)}</p>")


def swarm(title: str, values: Sequence[float], marks: Sequence[tuple[str, str, float]]) -> Html:
    """Draw values as dots on a line, and marks with their names: (class, name, value)."""
    finite = sorted(v for v in values if math.isfinite(v))
    marks = [mark for mark in marks if math.isfinite(mark[2])]
    axis = Axis.around([*finite, *(value for _, _, value in marks)], 0.08)
    if axis is None or not finite:
        return Html("")
    placed = list(_stacked([axis.part(v) for v in finite]))
    floor = 16 * len(marks) + 14 + 9 * max(level for _, level in placed)
    inner = [f"<line class='axis' x1='0' x2='100%' {_y12(floor + 8)}/>"]
    for i, (kind, name, value) in enumerate(marks):
        at, part = axis.across(value), axis.part(value)
        inner.append(
            f"<line class='{kind}' x1='{at}' x2='{at}' y1='{16 * i + 4}' y2='{floor + 8}'/>"
        )
        side, gap = ("end", -5) if part > 0.55 else ("start", 5)
        inner.append(_text(at, 16 * i + 12, side, f"{name} {number(value)}", gap, kind))
    inner += [
        f"<circle class='seed' cx='{100 * part:.2f}%' cy='{floor - 9 * level}' r='4'/>"
        for part, level in placed
    ]
    ticks = axis.ticks(4)
    inner += [
        _text(axis.across(tick), floor + 24, "middle", word)
        for tick, word in zip(ticks, _labels(ticks), strict=True)
    ]
    return _plot(title, inner, height=floor + 8, space=(2, 22, 0))


def short(count: int) -> str:
    """Return a count in few letters: ``1.2M``."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if count >= size:
            return f"{count / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{count:,}"


def thinned(values: Sequence[float], points: int, keep: int | None = None) -> list[int]:
    """Return which values to draw: of each of some stretches the smallest and the largest."""
    if len(values) <= points:
        return list(range(len(values)))
    stretches = max(points // 2, 1)
    kept = {0, len(values) - 1}
    if keep is not None and 0 <= keep < len(values):
        kept |= {max(keep - 1, 0), keep}
    for i in range(stretches):
        part = range(len(values) * i // stretches, len(values) * (i + 1) // stretches)
        finite = [at for at in part if math.isfinite(values[at])]
        # A stretch that has a NaN shows the gap.
        kept |= {next((at for at in part if not math.isfinite(values[at])), part[0])}
        if finite:
            kept |= {min(finite, key=values.__getitem__), max(finite, key=values.__getitem__)}
    return sorted(kept)


def _stacked(parts: Sequence[float]) -> Iterator[tuple[float, int]]:
    """Yield sorted places with a level each, so that no two dots lie on each other."""
    ends: list[float] = []
    for part in parts:
        level = next((i for i, end in enumerate(ends) if part - end > 0.03), len(ends))
        if level == len(ends) and level < 12:
            ends.append(part)
        level = min(level, 11)
        ends[level] = part
        yield part, level


def _runs(verdicts: Sequence[Verdict]) -> Iterator[tuple[int, int, Verdict]]:
    begin = 0
    for i in range(1, len(verdicts) + 1):
        if i == len(verdicts) or verdicts[i] is not verdicts[begin]:
            yield begin, i, verdicts[begin]
            begin = i


def _plot(title: str, inner: Sequence[str], *, height: int, space: tuple[int, int, int]) -> Html:
    """Return a drawing of its full width; `space` is above, below (pixels) and left (letters)."""
    above, below, left = space
    sides = f"0.6rem {below}px {left}ch" if left else f"0 {below}px"
    drawing = f"<svg width='100%' height='{height}' {_said(title)}{''.join(inner)}</svg>"
    return Html(f"<div class='plot' style='padding:{above}px {sides}'>{drawing}</div>")


def _said(title: str) -> str:
    return f"role='img'><title>{escaped(title, 300)}</title>"


def _box(*paths: str, height: int) -> str:
    return (
        f"<svg viewBox='0 0 {_BOX} {_BOX}' preserveAspectRatio='none' width='100%'"
        f" height='{height}' aria-hidden='true'>{''.join(paths)}</svg>"
    )


def _path(
    kind: str, values: Sequence[float], across: Axis, axis: Axis, points: int, first: int | None
) -> str:
    words, pen = [], "M"
    for at in thinned(values, points, None if first is None else first - 1):
        if not math.isfinite(values[at]):
            pen = "M"
            continue
        x, y = _BOX * across.part(at + 1), _BOX * (1 - axis.part(values[at]))
        words.append(f"{pen}{x:.1f} {y:.1f}")
        if pen == "M":
            words.append("h0")  # a lone value is a dot: its stroke has round ends
        pen = "L"
    return f"<path class='line {kind}' d='{''.join(words)}'/>" if words else ""


def _grid(axis: Axis, height: int, most: int) -> Iterator[str]:
    ticks = axis.ticks(most)
    for tick, word in zip(ticks, _labels(ticks), strict=True):
        down = _down(axis, tick, height)
        yield f"<line class='grid' x1='0' x2='100%' {_y12(down)}/>"
        yield _text("0", down + 4, "end", word, -8)


def _steps(across: Axis, steps: int, height: int) -> Iterator[str]:
    wanted = [round(tick) for tick in across.ticks(4) if tick >= 1]
    shown = sorted({1, *(t for t in wanted if t > 0.12 * steps)})
    for i, tick in enumerate(shown):
        side = "start" if i == 0 else "end" if across.part(tick) > 0.9 else "middle"
        word = f"step {tick:,}" if i == 0 else short(tick)
        yield _text(across.across(tick), height + 18, side, word)


def _first(across: Axis, first: int | None, height: int) -> Iterator[str]:
    if first is None:
        return
    at = across.across(first)
    side, gap = ("end", 4) if across.part(first) > 0.5 else ("start", -4)
    yield f"<line class='first' x1='{at}' x2='{at}' y1='0' y2='{height}'/>"
    yield _text(at, -7, side, f"first difference: step {first:,}", gap)


def _down(axis: Axis, value: float, height: int) -> float:
    return height * (1 - axis.part(value))


def _y12(down: float) -> str:
    return f"y1='{down:.1f}' y2='{down:.1f}'"


def _text(x: str, y: float, side: str, words: str, gap: int = 0, kind: str = "") -> str:
    moved = f" dx='{gap}'" if gap else ""
    kind = f" class='{kind}'" if kind else ""
    return f"<text x='{x}' y='{y:.1f}'{moved} text-anchor='{side}'{kind}>{escaped(words)}</text>"
