"""Courses: two lines over the same steps, and how far they are apart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from mlrepro.present import svg
from mlrepro.present.htmlparts import Html, number

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_BOX = 1000
"""Units across and down the box in which lines are drawn."""

_TALL, _LOW = 170, 64
"""Heights of a course and of the difference below it, in pixels."""


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
    x, y = _array(a), _array(b)
    apart = _apart(x, y)
    axis, across = svg.Axis.around([*_ends(x), *_ends(y)]), svg.Axis(1, max(steps, 2))
    if axis is None:
        return Html("")
    far = _ends(apart)
    below = svg.Axis.around([*far, 0.0], 0.1) if any(far) else None
    letters = max(
        map(len, [*svg.labels(axis.ticks(4)), *svg.labels(below.ticks(3) if below else [])])
    )
    told = f", the first that differs is step {first}" if first else ""
    inner = [
        *_grid(axis, _TALL, 4),
        *_steps(across, steps, _TALL),
        *_first(across, first, _TALL),
        _box(
            _path("s1", x, across, axis, points, first),
            _path("s2", y, across, axis, points, first),
            height=_TALL,
        ),
    ]
    title = f"{name}: {steps} steps, recorded and rebuilt{told}"
    top = svg.plot(title, inner, height=_TALL, space=(20 if first else 6, 24, letters))
    if below is None:
        return top
    inner = [
        *_grid(below, _LOW, 3),
        f"<line class='zero' x1='0' x2='100%' {svg.level(_down(below, 0.0, _LOW))}/>",
        _box(_path("s3", apart, across, below, points, first), height=_LOW),
    ]
    title = f"{name}: rebuilt less recorded, at most {number(max(map(abs, far)), 3)} apart"
    said = "<p class='over'>rebuilt less recorded</p>"
    return Html(top + said + svg.plot(title, inner, height=_LOW, space=(8, 8, letters)))


def thinned(values: Array, points: int, keep: int | None = None) -> list[int]:
    """Return which values to draw: of each of some stretches the smallest and the largest.

    A stretch with a value that is not finite shows a gap, and `keep` stands with the one before.
    """
    import numpy as np  # noqa: PLC0415  0.1 s, paid when a course is drawn

    if len(values) <= points:
        return list(range(len(values)))
    kept = {0, len(values) - 1}
    if keep is not None and 0 <= keep < len(values):
        kept |= {max(keep - 1, 0), keep}
    edges = np.linspace(0, len(values), max(points // 2, 1) + 1).astype(int)
    for begin, end in itertools.pairwise(edges.tolist()):
        part = values[begin:end]
        fit = np.isfinite(part)
        if not fit.all():
            kept.add(begin + int(fit.argmin()))
        if fit.any():
            kept.add(begin + int(np.where(fit, part, np.inf).argmin()))
            kept.add(begin + int(np.where(fit, part, -np.inf).argmax()))
    return sorted(kept)


def _array(values: Sequence[float]) -> Array:
    import numpy as np  # noqa: PLC0415  as above

    return np.asarray(values, dtype=np.float64)


def _apart(x: Array, y: Array) -> Array:
    import numpy as np  # noqa: PLC0415  as above

    both = min(len(x), len(y))
    with np.errstate(all="ignore"):
        found: Array = y[:both] - x[:both]
    return found


def _ends(values: Array) -> list[float]:
    """Return the smallest and the largest finite value; nothing where there is none."""
    import numpy as np  # noqa: PLC0415  as above

    finite = values[np.isfinite(values)]
    return [float(finite.min()), float(finite.max())] if finite.size else []


def _box(*paths: str, height: int) -> str:
    return (
        f"<svg viewBox='0 0 {_BOX} {_BOX}' preserveAspectRatio='none' width='100%'"
        f" height='{height}' aria-hidden='true'>{''.join(paths)}</svg>"
    )


def _path(
    kind: str, values: Array, across: svg.Axis, axis: svg.Axis, points: int, first: int | None
) -> str:
    words, pen = [], "M"
    for at in thinned(values, points, None if first is None else first - 1):
        value = float(values[at])
        if not math.isfinite(value):
            pen = "M"
            continue
        x, y = _BOX * across.part(at + 1), _BOX * (1 - axis.part(value))
        words.append(f"{pen}{x:.1f} {y:.1f}")
        if pen == "M":
            words.append("h0")  # a lone value is a dot: its stroke has round ends
        pen = "L"
    return f"<path class='line {kind}' d='{''.join(words)}'/>" if words else ""


def _grid(axis: svg.Axis, height: int, most: int) -> Iterator[str]:
    ticks = axis.ticks(most)
    for tick, word in zip(ticks, svg.labels(ticks), strict=True):
        down = _down(axis, tick, height)
        yield f"<line class='grid' x1='0' x2='100%' {svg.level(down)}/>"
        yield svg.text("0", down + 4, "end", word, -8)


def _steps(across: svg.Axis, steps: int, height: int) -> Iterator[str]:
    wanted = [round(tick) for tick in across.ticks(4) if tick >= 1]
    shown = sorted({1, *(t for t in wanted if t > 0.12 * steps)})
    for i, tick in enumerate(shown):
        side = "start" if i == 0 else "end" if across.part(tick) > 0.9 else "middle"
        word = f"step {tick:,}" if i == 0 else svg.short(tick)
        yield svg.text(across.across(tick), height + 18, side, word)


def _first(across: svg.Axis, first: int | None, height: int) -> Iterator[str]:
    if first is None:
        return
    at = across.across(first)
    side, gap = ("end", 4) if across.part(first) > 0.5 else ("start", -4)
    yield f"<line class='first' x1='{at}' x2='{at}' y1='0' y2='{height}'/>"
    yield svg.text(at, -7, side, f"first difference: step {first:,}", gap)


def _down(axis: svg.Axis, value: float, height: int) -> float:
    return height * (1 - axis.part(value))
