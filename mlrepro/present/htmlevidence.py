"""Htmlevidence: what was tried to explain a drift, histories, and facts that are unequal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlrepro.drift import Change
from mlrepro.evidence import (
    Attribution,
    History,
    Tried,
)
from mlrepro.present import courses, wording
from mlrepro.present.htmlparts import (
    Html,
    Size,
    badge,
    escaped,
    joined,
    pair,
)


def why(size: Size, found: Attribution) -> Html:
    """Return what was tried to find the cause; the answer stands at the top of the page."""
    parts = [
        size.table(
            "What was tried, in order",
            ("factor", "what was done", "verdict", "time", "result"),
            [_tried(size, one) for one in found.tried],
            numeric=(3,),
        ),
    ]
    if not found.finished:
        parts.append(
            Html("<p>Time ran out before all was tried; the same command goes on from there.</p>")
        )
    for title, lines in (
        ("Known of this kind of training", found.signatures),
        ("Could not be brought back here", found.unrestored),
    ):
        if lines:
            parts += [Html(f"<h3>{title}</h3>"), size.items(lines)]
    return joined(parts)


def _tried(size: Size, one: Tried) -> tuple[str, ...]:
    answer = Html("<b>✓ explains it</b>") if one.restores else Html("– does not explain it")
    if one.verdict is None:
        answer = Html("not made")
    note = Html(f"<br><small>{size.text(one.note)}</small>") if one.note else Html("")
    verdict = Html("–") if one.verdict is None else badge(one.verdict)
    return one.factor, one.what, verdict, duration(one.seconds), Html(answer + note)


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if not math.isfinite(seconds) or seconds < 0:
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def histories(size: Size, found: Sequence[History]) -> Html:
    """Return each course as a plot, those that differ first; of more than have room, a table."""
    ordered = sorted(found, key=lambda one: one.first is None)
    parts = [_history(size, one) for one in ordered[: size.plots]]
    parts.append(
        size.table(
            "Other histories",
            ("score", "first difference", "steps", "last value, recorded", "rebuilt"),
            [_last(one) for one in ordered[size.plots :]],
            numeric=(1, 2, 3, 4),
        )
    )
    return joined(parts)


def _history(size: Size, one: History) -> Html:
    drawing = courses.course(
        one.name, one.recorded, one.rebuilt, first=one.first, points=size.points
    ) or Html("<p>No value of it can be drawn.</p>")
    _, first, steps, *ends = _last(one)
    said = (
        f"{steps} steps; "
        if len(one.recorded) == len(one.rebuilt)
        else f"{steps} steps (recorded → rebuilt); "
    )
    said += "no step differs" if one.first is None else f"the first that differs is step {first}"
    if ends[0] and ends[1]:
        said += f"; it ends at {ends[0]}" + (f" → {ends[1]}" if ends[0] != ends[1] else "")
    key = (
        "<p class='legend'><span><span class='stroke s1'></span>recorded</span>"
        "<span><span class='stroke s2'></span>rebuilt</span></p>"
    )
    return Html(
        f"<figure><h3>{size.text(one.name)}</h3>{key}{drawing}"
        f"<figcaption>{escaped(said)}.</figcaption></figure>"
    )


def _last(one: History) -> tuple[str, ...]:
    a, b = len(one.recorded), len(one.rebuilt)
    steps = f"{a:,}" if a == b else f"{a:,} → {b:,}"
    ends = ("", "")
    if a and b:
        ends = pair(one.recorded[-1], one.rebuilt[-1])
    first = "none" if one.first is None else f"{one.first:,}"
    return one.name, first, steps, *ends


def changes(
    size: Size,
    title: str,
    found: Sequence[Change],
    heads: tuple[str, str],
    *,
    quiet: bool = False,
) -> Html:
    """Return facts that are unequal as a table."""
    rows = [(one.what, *map(wording.short_digests, (one.recorded, one.current))) for one in found]
    return size.table(title, ("what", *heads), rows, quiet=quiet)
