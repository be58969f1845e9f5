"""Htmlevidence: why a rebuild drifted, metrics, predictions, histories, noise and gates."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlrepro.drift import ArtifactDrift, Change, DriftReport
from mlrepro.evidence import (
    Attribution,
    Delta,
    Ensemble,
    Gate,
    History,
    Noise,
    Predicted,
    Repeated,
    Tried,
)
from mlrepro.facts import Role
from mlrepro.present import plots
from mlrepro.present.htmlparts import (
    Html,
    Size,
    badge,
    counted,
    escaped,
    folded,
    joined,
    more,
    number,
    pair,
    signed,
    tagged,
)
from mlrepro.verdicts import Measure

_NUMBER = r"-?(?:\d+(?:\.\d*)?(?:[eE][-+]?\d+)?|nan|inf)"
_MOVED = re.compile(rf"({_NUMBER}) → ({_NUMBER})")


@dataclass(frozen=True)
class Moved:
    """A metric that differs: its name, where it stands, its two values."""

    name: str
    where: str
    recorded: float
    rebuilt: float


def why(size: Size, found: Attribution) -> Html:
    """Return the answer, and what was tried to find it."""
    parts = [
        Html(f"<p class='answer'>{size.text(found.sentence)}</p>") if found.sentence else Html(""),
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
    """Return metrics side by side, with their intervals where they are known, and the gates."""
    asked = [(one, one.deltas) for one in predictions if one.deltas]
    parts = [_deltas(size, one, deltas) for one, deltas in asked[: size.plots]]
    parts.append(
        size.table(
            "Recorded metrics that differ",
            ("metric", "recorded", "rebuilt", "difference", "relative", "in"),
            [_side_by_side(size, one) for one in moved],
            numeric=(1, 2, 3, 4),
        )
    )
    parts.append(_gates(size, gates))
    return joined(parts)


def _side_by_side(size: Size, one: Moved) -> tuple[str, ...]:
    apart = one.rebuilt - one.recorded
    larger = max(abs(one.recorded), abs(one.rebuilt))
    share = apart / larger if larger and math.isfinite(larger) else math.nan
    relative = "" if math.isnan(share) else percent(share)
    return one.name, *pair(one.recorded, one.rebuilt), signed(apart), relative, size.code(one.where)


def percent(share: float) -> str:
    """Return a share as a percentage; one too small for two digits as a power of ten."""
    return f"{signed(share * 100)} %"


def _deltas(size: Size, one: Predicted, deltas: Sequence[Delta]) -> Html:
    said = f"On {counted(one.rows, 'row')} of {one.data}, by {one.path}"
    table = size.table(
        said,
        ("metric", "recorded", "rebuilt", "difference", "95 % interval", "against no difference"),
        [_delta(delta) for delta in deltas],
        numeric=(1, 2, 3, 4),
    )
    resamples = max(delta.resamples for delta in deltas)
    note = (
        f"The dot is the difference, the bar its 95 % interval by a paired bootstrap"
        f" ({resamples:,} resamples), the dashed line no difference."
    )
    return Html(f"{table}<p class='note'>{escaped(note)}</p>")


def _delta(delta: Delta) -> tuple[str, ...]:
    apart = delta.rebuilt - delta.recorded
    interval = f"{signed(delta.low)} … {signed(delta.high)}"
    holds = delta.low <= 0 <= delta.high
    word = "no difference lies inside" if holds else "no difference lies outside"
    title = f"{delta.metric}: {signed(apart)}, 95 % interval {interval}; {word}"
    drawing = plots.whisker(title, low=delta.low, dot=apart, high=delta.high, mark=0.0)
    shown = Html(f"{drawing}<small>{'inside' if holds else 'outside'} the interval</small>")
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
    far, drawing = Html("no standard error is known"), Html("")
    if gate.distance is not None and gate.error:
        side = "above" if gate.distance >= 0 else "below"
        said = f"{number(abs(gate.distance), 2)} standard errors {side}"
        source = f" ({number(gate.error, 2)}, by {gate.source})" if gate.source else ""
        far = size.text(f"{said}{source}")
        half = 1.96 * gate.error
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
    flips = ""
    if one.flips is not None:
        share = 100 * one.flips / one.rows if one.rows else 0.0
        flips = f"{one.flips:,} of {one.rows:,} ({number(share, 3)} %)"
    correlation = "" if one.correlation is None else number(one.correlation, 6)
    largest = number(one.largest, 3) + (f", {one.where}" if one.where else "")
    facts = (
        ("rms / standard deviation", number(one.ratio, 3)),
        ("largest difference", largest),
        ("first row that differs", one.first),
        ("labels that flip", flips),
        ("rank correlation", correlation),
        ("rows", f"{one.rows:,}" + (f" × {one.outputs:,}" if one.outputs > 1 else "")),
    )
    head = f"<h3>{size.code(one.path)} on {size.text(one.data)}</h3>"
    return Html(f"{head}{size.tiles(facts)}")


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
    drawing = plots.course(
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


def noise(size: Size, report: DriftReport, moved: Sequence[Moved]) -> Html:
    """Return the noise floor with this drift beside it, and the seed ensemble."""
    found = report.noise
    if found is None:
        return Html("")
    parts = [_floor(size, found)] if found.repeats else []
    parts.append(_between(size, "How far the repeats are apart", found.artifacts, report.artifacts))
    parts.append(
        _between(size, "How far the recorded files lie from the repeats", found.recorded, ())
    )
    if found.ensemble:
        parts.append(_ensemble(size, found.ensemble, _rebuilt(report, moved)))
    parts.append(size.items(found.notes))
    return joined(parts)


def _floor(size: Size, found: Noise) -> Html:
    same = f"{found.identical:,} of {found.repeats:,} bit for bit"
    parts = [
        size.tiles(
            (
                ("repeated trainings", f"{found.repeats:,}"),
                ("the same", same),
                ("measured on", found.machine + ("" if found.here else " (another machine)")),
                ("measured at", found.measured),
            )
        )
    ]
    if not found.trusted:
        said = "Neither this clone nor the recording one measured it, so it turns no verdict."
        parts.append(Html(f"<p>{said}</p>"))
    return joined(parts)


def _between(
    size: Size, title: str, found: Sequence[Repeated], artifacts: Sequence[ArtifactDrift]
) -> Html:
    here = {
        (one.path, measure.name): measure.value
        for one in artifacts
        for measure in one.difference.measures
    }
    heads = ["file", "verdict", "measure", "between repeats"]
    rows = []
    for one in found:
        for measure in one.measures or (Measure("", math.nan),):
            value = number(measure.value, 3) if measure.name else ""
            row: list[str] = [size.code(one.path), badge(one.verdict), measure.name, value]
            if here:
                now = here.get((one.path, measure.name))
                row.append("" if now is None else number(now, 3))
            rows.append(row)
    if here:
        heads.append("this rebuild")
    return size.table(title, heads, rows, numeric=(3, 4))


def _rebuilt(report: DriftReport, moved: Sequence[Moved]) -> Mapping[str, float]:
    """Return the rebuilt value of each metric that is known, by its names, long and short."""
    found = {gate.metric: gate.value for gate in report.gates}
    for one in moved:
        found |= {one.name: one.rebuilt, f"{one.where}: {one.name}": one.rebuilt}
    for history in report.histories:
        if history.rebuilt:
            found.setdefault(history.name, history.rebuilt[-1])
    return found


def _ensemble(size: Size, found: Ensemble, rebuilt: Mapping[str, float]) -> Html:
    own = (
        "" if found.recorded_seed is None else f"; the recorded run's own is {found.recorded_seed}"
    )
    said = f"The same training with {counted(len(found.seeds), 'seed')} ({found.parameter}){own}."
    parts = [Html("<h3>Other seeds</h3>"), Html(f"<p>{size.text(said)}</p>")]
    named = list(found.metrics.items())
    parts += [_seeds(size, found, name, values, rebuilt) for name, values in named[: size.plots]]
    if len(named) > size.plots:
        parts.append(Html(f"<p class='more'>{more(len(named) - size.plots)}</p>"))
    rows = [
        [str(seed), *(number(v[i]) if i < len(v) else "" for _, v in named[:4])]
        for i, seed in enumerate(found.seeds)
    ]
    heads = ["seed", *(name for name, _ in named[:4])]
    table = size.table("Metrics of each seed", heads, rows, numeric=range(1, 5))
    return joined([*parts, folded("As a table", table if named else Html(""))])


def _seeds(
    size: Size,
    found: Ensemble,
    name: str,
    values: Sequence[float],
    rebuilt: Mapping[str, float],
) -> Html:
    marks, said = [], []
    ours = rebuilt.get(name, rebuilt.get(name.rpartition(": ")[2]))
    for kind, word, value in (
        ("s1", "recorded", found.recorded.get(name)),
        ("s2", "rebuilt", ours),
    ):
        if value is not None and math.isfinite(value):
            below = sum(v < value for v in values)
            marks.append((kind, word, value))
            said.append(f"{word}: {below} of {len(values)} seeds are lower")
    title = f"{name} of {counted(len(values), 'seed')}. {'; '.join(said)}"
    drawing = plots.swarm(title, values[: size.points], marks)
    if not drawing:
        return drawing
    caption = f"<figcaption>{escaped('; '.join(said))}.</figcaption>" if said else ""
    return Html(f"<figure><h4>{size.text(name)}</h4>{drawing}{caption}</figure>")


def changes(size: Size, title: str, found: Sequence[Change], heads: tuple[str, str]) -> Html:
    """Return facts that are unequal as a table."""
    rows = [(one.what, size.text(one.recorded), size.text(one.current)) for one in found]
    return tagged("div", size.table(title, ("what", *heads), rows))
