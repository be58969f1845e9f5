"""Htmlnoise: the noise floor beside this drift, and the seed ensemble."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlrepro.drift import ArtifactDrift, DriftReport
from mlrepro.evidence import Ensemble, Noise, Repeated
from mlrepro.present import plots
from mlrepro.present.htmlmetrics import Moved
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
)
from mlrepro.verdicts import Measure


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
        parts.append(_ensemble(size, found.ensemble, report, moved))
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


def _rebuilt(
    report: DriftReport, moved: Sequence[Moved], name: str, recorded: float | None
) -> float | None:
    """Return the rebuilt value of a metric, by its whole name; a short one may be another's.

    Then it, or the course that ended in it, has to have the recorded value on the recorded side.
    """
    whole = {f"{one.where}: {one.name}": one.rebuilt for one in moved}
    whole |= {gate.metric: gate.value for gate in report.gates}
    short = name.rpartition(": ")[2]
    pairs = [(one.name, one.recorded, one.rebuilt) for one in moved]
    pairs += [
        (one.name.rpartition(": ")[2], one.recorded[-1], one.rebuilt[-1])
        for one in report.histories
        if one.recorded and one.rebuilt
    ]
    alike = (now for named, was, now in pairs if named == short and was == recorded)
    return whole.get(name, next(alike, None))


def _ensemble(size: Size, found: Ensemble, report: DriftReport, moved: Sequence[Moved]) -> Html:
    own = (
        "" if found.recorded_seed is None else f"; the recorded run's own is {found.recorded_seed}"
    )
    said = f"The same training with {counted(len(found.seeds), 'seed')} ({found.parameter}){own}."
    parts = [Html("<h3>Other seeds</h3>"), Html(f"<p>{size.text(said)}</p>")]
    named = list(found.metrics.items())
    for name, values in named[: size.plots]:
        recorded = found.recorded.get(name)
        marks = (("recorded", recorded), ("rebuilt", _rebuilt(report, moved, name, recorded)))
        parts.append(_seeds(size, name, values, marks))
    if len(named) > size.plots:
        parts.append(Html(f"<p class='more'>{more(len(named) - size.plots)}</p>"))
    rows = [
        [str(seed), *(number(v[i]) if i < len(v) else "" for _, v in named[:4])]
        for i, seed in enumerate(found.seeds)
    ]
    heads = ["seed", *(name for name, _ in named[:4])]
    table = size.table("Metrics of each seed", heads, rows, numeric=range(1, 5))
    return joined([*parts, folded("As a table", table if named else Html(""), "again")])


def _seeds(
    size: Size, name: str, values: Sequence[float], found: Sequence[tuple[str, float | None]]
) -> Html:
    marks, said = [], []
    for kind, (word, value) in zip(("s1", "s2"), found, strict=True):
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
