"""Plots: whiskers, bars, strips and dots as SVG, to be read at any width."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from mlrepro.present import svg
from mlrepro.present.htmlparts import SYMBOLS, Html, kind_of, number
from mlrepro.verdicts import Verdict

_STRIP_TALL = {Verdict.IDENTICAL: 6, Verdict.EQUIVALENT: 6, Verdict.CLOSE: 18}
_APART = 60
"""Up to so many cells of a strip stand apart from each other."""


def whisker(title: str, *, low: float, dot: float, high: float, mark: float) -> Html:
    """Draw an estimate with its interval, and a mark to hold it against."""
    axis = svg.Axis.around([low, dot, high, mark], 0.12)
    if axis is None or not math.isfinite(dot) or not math.isfinite(mark):
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
        f"<svg class='whisker' width='100%' height='24' {svg.said(title)}{''.join(inner)}</svg>"
    )


def bars(title: str, columns: Sequence[tuple[str, int]], *, height: int = 120) -> Html:
    """Draw how often each of some classes occurs; a class that occurs is never too low to see."""
    most = max((count for _, count in columns), default=0)
    if not most:
        return Html("")
    wide = 100 / len(columns)
    every = math.ceil(len(columns) / 6)
    inner = [f"<line class='axis' x1='0' x2='100%' {svg.level(height)}/>"]
    for i, (name, count) in enumerate(columns):
        middle = wide * (i + 0.5)
        tall = max(height * 0.86 * count / most, 2.0 if count else 0.0)
        if count:
            inner.append(
                f"<rect class='bar' x='{wide * i + wide * 0.1:.2f}%' width='{wide * 0.8:.2f}%'"
                f" y='{height - tall:.1f}' height='{tall:.1f}'/>"
            )
        if count and (len(columns) <= 8 or count == most):
            inner.append(svg.text(f"{middle:.2f}%", height - tall - 5, "middle", svg.short(count)))
        if i % every == 0:
            inner.append(svg.text(f"{middle:.2f}%", height + 16, "middle", name))
    return svg.plot(title, inner, height=height, space=(4, 22, 0))


def strip(title: str, runs: Sequence[tuple[int, Verdict]], *, points: int = 400) -> Html:
    """Draw a cell for each part, in order: the worse its verdict, the taller and the redder.

    Where there are more parts than points, a cell stands for several of them and shows the worst.
    """
    total = sum(count for count, _ in runs)
    if not total:
        return Html("")
    cells = min(total, points)
    height, wide = 36, 100 / cells
    inner = []
    for begin, end, verdict in _cells(runs, total, cells):
        high = _STRIP_TALL.get(verdict, height)
        for at in range(begin, end) if cells <= _APART else (begin,):
            across = wide * 0.86 if cells <= _APART else wide * (end - begin)
            inner.append(
                f"<rect class='{kind_of(verdict)}' x='{wide * at:.3f}%' width='{across:.3f}%'"
                f" y='{height - high}' height='{high}'/>"
            )
    inner.append(svg.text("0", height + 16, "start", "0"))
    inner.append(svg.text("100%", height + 16, "end", f"{total - 1:,}"))
    return svg.plot(title, inner, height=height, space=(2, 22, 0))


def legend(runs: Sequence[tuple[int, Verdict]]) -> Html:
    """Return what the cells of a strip mean, with their counts."""
    counts = {v: sum(count for count, x in runs if x is v) for v in Verdict}
    said = [
        f"<span><span class='key {kind_of(v)}'></span><span aria-hidden='true'>{SYMBOLS[v]}</span>"
        f" {count:,} {v}</span>"
        for v, count in counts.items()
        if count
    ]
    return Html(f"<p class='legend'>{''.join(said)}</p>")


def swarm(title: str, values: Sequence[float], marks: Sequence[tuple[str, str, float]]) -> Html:
    """Draw values as dots on a line, and marks with their names: (class, name, value)."""
    finite = sorted(v for v in values if math.isfinite(v))
    marks = [mark for mark in marks if math.isfinite(mark[2])]
    axis = svg.Axis.around([*finite, *(value for _, _, value in marks)], 0.08)
    if axis is None or not finite:
        return Html("")
    placed = list(_stacked([axis.part(v) for v in finite]))
    floor = 16 * len(marks) + 14 + 9 * max(level for _, level in placed)
    inner = [f"<line class='axis' x1='0' x2='100%' {svg.level(floor + 8)}/>"]
    words = []  # above all lines, which end where a word stands
    for i, (kind, name, value) in enumerate(marks):
        at, part = axis.across(value), axis.part(value)
        inner.append(
            f"<line class='{kind}' x1='{at}' x2='{at}' y1='{16 * i + 4}' y2='{floor + 8}'/>"
        )
        side, gap = ("end", -5) if part > 0.55 else ("start", 5)
        words.append(svg.text(at, 16 * i + 12, side, f"{name} {number(value)}", gap, kind))
    inner += [
        f"<circle class='seed' cx='{100 * part:.2f}%' cy='{floor - 9 * level}' r='4'/>"
        for part, level in placed
    ]
    inner += words
    ticks = axis.ticks(4)
    inner += [
        svg.text(axis.across(tick), floor + 24, svg.side(axis.part(tick)), word)
        for tick, word in zip(ticks, svg.labels(ticks), strict=True)
    ]
    return svg.plot(title, inner, height=floor + 8, space=(2, 22, 0))


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


def _cells(
    runs: Sequence[tuple[int, Verdict]], total: int, cells: int
) -> Iterator[tuple[int, int, Verdict]]:
    """Yield the runs of cells with one verdict: where each begins and ends."""
    worst = [Verdict.IDENTICAL] * cells
    at = 0
    for count, verdict in runs:
        for cell in range(at * cells // total, (at + count - 1) * cells // total + 1):
            worst[cell] = max(worst[cell], verdict)
        at += count
    for verdict, group in itertools.groupby(enumerate(worst), key=lambda pair: pair[1]):
        places = [place for place, _ in group]
        yield places[0], places[-1] + 1, verdict
