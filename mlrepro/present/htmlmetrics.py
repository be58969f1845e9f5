"""Htmlmetrics: metrics side by side, gates, and predictions of both models."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlrepro.drift import ArtifactDrift, Change
from mlrepro.evidence import Delta, Gate, Predicted
from mlrepro.facts import Role
from mlrepro.present import plots
from mlrepro.present.htmlparts import (
    Html,
    Size,
    counted,
    escaped,
    joined,
    more,
    number,
    pair,
    signed,
)

_NUMBER = r"-?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|nan|inf)"
_NEAR = 1.96
"""Standard errors that a normal distribution leaves in 1 of 20 cases."""
_MOVED = re.compile(rf"({_NUMBER}) → ({_NUMBER})")


@dataclass(frozen=True)
class Moved:
    """A metric that differs: its name, where it stands, its two values."""

    name: str
    where: str
    recorded: float
    rebuilt: float


def moved_of(artifacts: Sequence[ArtifactDrift]) -> list[Moved]:
    """Return the metrics that differ in the files that hold metrics."""
    return [
        found
        for one in artifacts
        if one.role is Role.METRICS
        for child in one.difference.children
        for found in _moved(child.path, one.path, child.summary)
    ]


def moved_in(changes: Sequence[Change]) -> tuple[list[Moved], list[Change]]:
    """Part metrics that differ into those with two numbers and the others."""
    found, others = [], []
    for change in changes:
        where, _, name = change.what.rpartition(": ")
        known = list(_moved(name, where, f"{change.recorded} → {change.current}"))
        found += known
        others += [] if known else [change]
    return found, others


def _moved(name: str, where: str, words: str) -> Iterator[Moved]:
    match = _MOVED.fullmatch(words)
    if match:
        yield Moved(name, where, float(match[1]), float(match[2]))


def metrics(
    size: Size, moved: Sequence[Moved], predictions: Sequence[Predicted], gates: Sequence[Gate]
) -> Html:
    """Return metrics of a rebuild, with their intervals where they are known, and the gates."""
    asked = [(one, one.deltas) for one in predictions if one.deltas]
    parts = [_deltas(size, one, deltas) for one, deltas in asked[: size.plots]]
    parts.append(side_by_side(size, moved, ("recorded", "rebuilt")))
    parts.append(_gates(size, gates))
    return joined(parts)


def side_by_side(size: Size, moved: Sequence[Moved], heads: tuple[str, str]) -> Html:
    """Return the metrics of files that differ, with their difference."""
    return size.table(
        "Metrics that differ",
        ("metric", *heads, "difference", "relative", "in"),
        [_side_by_side(size, one) for one in moved],
        numeric=(1, 2, 3, 4),
    )


def _side_by_side(size: Size, one: Moved) -> tuple[str, ...]:
    apart = one.rebuilt - one.recorded
    share = apart / abs(one.recorded) if one.recorded else math.nan
    relative = percent(share) if math.isfinite(share) else ""
    return one.name, *pair(one.recorded, one.rebuilt), signed(apart), relative, size.code(one.where)


def percent(share: float) -> str:
    """Return a share as a percentage; one too small for two digits as a power of ten."""
    return f"{signed(share * 100)} %"


def _deltas(size: Size, one: Predicted, deltas: Sequence[Delta]) -> Html:
    said = f"{one.path}, on {counted(one.rows, 'row')} ({one.data})"
    table = size.table(
        said,
        ("metric", "recorded", "rebuilt", "difference", "95 % interval", "difference against 0"),
        [_delta(delta) for delta in deltas],
        numeric=(1, 2, 3, 4),
    )
    resamples = max(delta.resamples for delta in deltas)
    note = (
        f"The dot is the difference, the bar its 95 % interval by a paired bootstrap"
        f" ({resamples:,} resamples), the dashed line 0."
    )
    return Html(f"{table}<p class='note'>{escaped(note)}</p>")


def _delta(delta: Delta) -> tuple[str, ...]:
    apart = delta.rebuilt - delta.recorded
    interval = f"{signed(delta.low)} … {signed(delta.high)}"
    holds = delta.low <= 0 <= delta.high
    word = "0 lies inside" if holds else "0 lies outside"
    title = f"{delta.metric}: {signed(apart)}, 95 % interval {interval}; {word}"
    drawing = plots.whisker(title, low=delta.low, dot=apart, high=delta.high, mark=0.0)
    shown = Html(f"{drawing}<small>{word}</small>")
    values = pair(delta.recorded, delta.rebuilt)
    return delta.metric, *values, signed(apart), interval, shown


def _gates(size: Size, gates: Sequence[Gate]) -> Html:
    return size.table(
        "Gates: what the rebuilt metrics had to reach",
        ("metric", "result", "limit", "measured", "distance", "measured against the limit"),
        [_gate(size, gate) for gate in gates],
        numeric=(2, 3),
    )


def _gate(size: Size, gate: Gate) -> tuple[str, ...]:
    answer = Html("<b class='good'>✓ passed</b>" if gate.passed else "<b class='bad'>✗ failed</b>")
    limit, value = pair(gate.limit, gate.value)
    if math.isnan(gate.value):
        return gate.metric, answer, limit, "not known", gate.source, ""
    far, drawing = Html("no standard error is known"), Html("")
    if gate.distance is not None and gate.error:
        side = "above" if gate.distance >= 0 else "below"
        said = f"{number(abs(gate.distance), 2)} standard errors {side}"
        source = f" ({number(gate.error, 2)}, by {gate.source})" if gate.source else ""
        near = not gate.passed and abs(gate.distance) <= _NEAR
        far = size.text(f"{said}{source}{': within its sampling error' if near else ''}")
        half = _NEAR * gate.error
        title = f"{gate.metric}: {value} ± {number(half, 2)} against {limit}, {said} the limit"
        drawing = plots.whisker(
            title, low=gate.value - half, dot=gate.value, high=gate.value + half, mark=gate.limit
        )
    return gate.metric, answer, limit, value, far, drawing


def predictions(size: Size, found: Sequence[Predicted]) -> Html:
    """Return how far the two models' predictions are apart."""
    parts = [_predicted(size, one) for one in found[: size.plots]]
    if len(found) > size.plots:
        parts.append(Html(f"<p class='more'>{more(len(found) - size.plots)}</p>"))
    return joined(parts)


def _predicted(size: Size, one: Predicted) -> Html:
    raw = one.data.endswith(", raw scores")  # the rest is said of the predictions
    flips = ""
    if one.flips is not None and not raw:
        share = 100 * one.flips / one.rows if one.rows else 0.0
        flips = f"{one.flips:,} of {one.rows:,} ({number(share, 3)} %)"
    correlation = "" if one.correlation is None or raw else number(one.correlation, 6)
    largest = number(one.largest, 3) + (f", {one.where}" if one.where else "")
    facts = (
        ("rms / standard deviation", number(one.ratio, 3)),
        ("largest difference", largest),
        ("first row that differs", one.first),
        ("labels that flip", flips),
        ("rank correlation", correlation),
        ("rows", "" if raw else f"{one.rows:,}" + f" × {one.outputs:,}" * (one.outputs > 1)),
    )
    head = f"<h3>{size.code(one.path)} on {size.text(one.data)}</h3>"
    return Html(f"{head}{size.tiles(facts)}")
