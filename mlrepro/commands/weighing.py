"""Weighing: a drift set against predictions, noise and seeds: what it means, in sentences."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from mlrepro.commands import floors
from mlrepro.commands.metricvalues import better, plain_name
from mlrepro.comparators.values import is_given
from mlrepro.drift import (
    ArtifactDrift,
    Delta,
    DriftReport,
    Ensemble,
    Noise,
    Predicted,
    Repeated,
    Tolerance,
    Verdict,
)
from mlrepro.manifest import Manifest, Role

_SAME = 1e-9
"""Predictions that are no further apart, rms / std, are those of the same model (design, §8)."""
_LEARNED = "training rows"
"""How the name of rows begins that the model was trained on (`probe` …/evaluations.py)."""
_NEAR = 3.0
"""A drift so many times as large as the largest of few repeats may be one of more repeats."""
_TINY = -5
"""Powers of ten that are told as such."""
_MOST = 4
"""So many metrics of an ensemble are spoken of; the table has all."""


def weighed(
    report: DriftReport,
    record: Manifest,
    *,
    metrics: Mapping[str, float] | None = None,
    tolerance: Tolerance | None = None,
    given: bool = False,
) -> DriftReport:
    """Return a report whose verdicts know of predictions and the noise floor, with its remarks.

    A model that drifted is *close* where its predictions are within ``rms / std ≤ 1e-9``, or where
    all of its measures lie inside the noise floor; never of a run that repeats itself exactly.

    Parameters
    ----------
    metrics : mapping, optional
        The rebuilt numbers by their names.
    tolerance : Tolerance, optional
        The user's: with one of his own, or with `exact`, it alone decides.
    given : bool
        Whether the models were asked about rows of the user's, not those of the rebuild's tests.
    """
    tolerance = tolerance or Tolerance()
    artifacts = report.artifacts
    if not (tolerance.exact or is_given(tolerance)):
        artifacts = tuple(_judged(one, report) for one in artifacts)
    found = replace(report, artifacts=artifacts)
    drawn = "" if given else _unseeded(record)
    remarks = dict.fromkeys(_remarks(report, found, metrics or {}, drawn))
    return replace(found, remarks=(*report.remarks, *remarks))


def _judged(one: ArtifactDrift, report: DriftReport) -> ArtifactDrift:
    why = _excuse(one, report)
    if not why:
        return one
    difference = one.difference
    said = f"{difference.summary}; " if difference.summary else ""
    return replace(
        one, difference=replace(difference, verdict=Verdict.CLOSE, summary=f"{said}close: {why}")
    )


def _excuse(one: ArtifactDrift, report: DriftReport) -> str:
    """Say why an artifact that drifted counts as close; empty where it does not."""
    if one.difference.verdict is not Verdict.DRIFTED:
        return ""
    asked = [p for p in report.predictions if p.path == one.path]
    if one.role is Role.WEIGHTS and asked and all(map(_predicts_the_same, asked)):
        rows = sum(p.rows for p in asked)
        worst = max(p.ratio for p in asked)
        return f"but its predictions of {rows} rows are the same (rms / std {worst:.2g})"
    noise = report.noise
    floor = _floor(noise, one.path)
    if noise and noise.trusted and floor and floors.holds(floor, one.difference):
        return f"inside the noise floor of {noise.repeats} repeats{_elsewhere(noise)}"
    return ""


def _predicts_the_same(one: Predicted) -> bool:
    return one.rows > 0 and one.outputs > 0 and one.ratio <= _SAME and not one.flips


def _floor(noise: Noise | None, path: str) -> Repeated | None:
    if noise is None or noise.repeats < 2:
        return None
    return next((one for one in noise.artifacts if one.path == path), None)


def _elsewhere(noise: Noise) -> str:
    return "" if noise.here else f" on another machine ({noise.machine})"


def _remarks(
    before: DriftReport, after: DriftReport, metrics: Mapping[str, float], drawn: str
) -> Iterator[str]:
    """Say what it means, the most telling first."""
    moved = [a for a in before.artifacts if a.difference.verdict is Verdict.DRIFTED]
    left = {a.path for a in after.artifacts if a.difference.verdict is Verdict.DRIFTED}
    if after.noise:
        yield from _of_floors([one for one in moved if one.decides], left, after.noise)
    for path, asked in _by_model(after.predictions):
        if path in left:
            yield from _of_quality(path, asked, drawn, several=_models(moved) > 1)
    if after.noise and after.noise.ensemble:
        values = {**_of_deltas(after.predictions), **metrics}
        yield from _of_ensemble(after.noise.ensemble, values, moved=bool(moved))


def _models(artifacts: Sequence[ArtifactDrift]) -> int:
    return sum(one.role is Role.WEIGHTS for one in artifacts)


def _of_floors(
    moved: Sequence[ArtifactDrift], left: Collection[str], noise: Noise
) -> Iterator[str]:
    """Set each drift against the floor; those of `left` are still one."""
    pairs = [(one, floor) for one in moved if (floor := _floor(noise, one.path))]
    exact = [one.path for one, floor in pairs if floor.verdict <= Verdict.EQUIVALENT]
    if exact:
        on = f"on this machine ({noise.repeats} repeats)"
        if not noise.here:
            on = f"on another machine ({noise.repeats} repeats, {noise.machine})"
        which = "" if len(exact) == len(moved) else f"{', '.join(exact)}: "
        yield f"{which}identical to itself {on}, so this drift has a cause"
    for one, floor in pairs:
        if one.path not in exact:
            yield f"{one.path}: {_beside(floor, one, noise, decided=one.path in left)}"


def _beside(floor: Repeated, one: ArtifactDrift, noise: Noise, *, decided: bool) -> str:
    """Say how a drift compares with the noise floor."""
    if not floors.holds(floor, one.difference):
        return _outside(floor, one, noise.repeats)
    if not noise.trusted:
        return (
            "the drift is inside a noise floor that neither this clone nor the run's author"
            " measured, which turns no verdict; `mlrepro calibrate` measures your own"
        )
    but = ", but the tolerance that was given decides" if decided else ""
    return f"the drift is inside the noise floor of {noise.repeats} repeats{but}"


def _outside(floor: Repeated, one: ArtifactDrift, repeats: int) -> str:
    times = floors.excess(floor, one.difference)
    if times is None or not 1 < times < math.inf:
        return f"the drift is of another kind than the noise of {repeats} repeats"
    more = "; more repeats would tell whether it belongs to it" if times < _NEAR else ""
    return f"the drift is {times:.3g} times the noise floor of {repeats} repeats{more}"


def _by_model(predictions: Sequence[Predicted]) -> Iterator[tuple[str, list[Predicted]]]:
    for path in dict.fromkeys(one.path for one in predictions):
        yield path, [one for one in predictions if one.path == path]


def _unseeded(record: Manifest) -> str:
    """Name a generator without a seed: the rebuild may have left out other rows for its tests."""
    names = [f"{one.name} at {one.where}" if ":" in one.where else one.name
             for one in record.generators if not one.seeded]  # fmt: skip
    return names[0] if names else ""


def _of_quality(
    path: str, asked: Sequence[Predicted], drawn: str, *, several: bool
) -> Iterator[str]:
    """Compare the quality of two models where the labels of the rows are known.

    Parameters
    ----------
    drawn : str
        What may have drawn the rows anew; one of the two may then have learned from them.
    """
    told = [one for one in asked if one.deltas]
    tested = [one for one in told if not one.data.startswith(_LEARNED)] or told
    if all(map(_predicts_the_same, asked)) or not tested:
        return
    title = f"{path}: " if several else ""
    on = " on the rows it learned from" if tested[0].data.startswith(_LEARNED) else ""
    deltas = [delta for one in tested for delta in one.deltas]
    apart = [delta for delta in deltas if not delta.low <= 0 <= delta.high]
    delta = (apart or deltas)[0]
    said = f"{delta.metric} {_delta(delta)}"
    if drawn and apart:
        yield (
            f"{title}another model; these rows cannot tell which is better ({said}): {drawn}"
            " was not seeded, so the recorded model may have learned from some of them"
        )
        return
    if not any(one.rebuilt - one.recorded or one.low or one.high for one in deltas):
        yield f"{title}another model of the same quality{on}: {delta.metric} is equal"
        return
    if not apart:
        yield f"{title}another model of the same quality{on}: {said} includes 0"
        return
    up = (delta.rebuilt > delta.recorded) == (better(delta.metric) >= 0)
    word = {True: "better", False: "worse"}[up] if better(delta.metric) else "other"
    yield f"{title}another model of {word} quality{on}: {said} excludes 0"


def _delta(delta: Delta) -> str:
    """Return a difference with its interval, in the digits that the interval allows."""
    numbers = (delta.rebuilt - delta.recorded, delta.low, delta.high)
    moved, low, high = signed(numbers)
    return f"{moved}, 95 % interval {low} to {high}"


def signed(numbers: Sequence[float]) -> list[str]:
    """Return numbers with their signs, the largest with two digits, and the minus as wide as +."""
    largest = max(map(abs, numbers))
    exponent = int(f"{largest:e}".partition("e")[2]) if 0 < largest < math.inf else 0
    form = "+.1e" if exponent < _TINY else f"+.{max(1 - exponent, 0)}f"
    texts = [f"{n:{form}}" for n in numbers]
    # An end that is rounded to 0 would stand on both sides of it.
    texts = [f"{n:+.1g}" if n and not float(t) else t for n, t in zip(numbers, texts, strict=True)]
    return [
        t.replace("-", "\N{MINUS SIGN}") if n else "0" for n, t in zip(numbers, texts, strict=True)
    ]


def _of_deltas(predictions: Sequence[Predicted]) -> dict[str, float]:
    return {delta.metric: delta.rebuilt for one in predictions for delta in one.deltas}


def _of_ensemble(ensemble: Ensemble, values: Mapping[str, float], *, moved: bool) -> Iterator[str]:
    """Place the rebuilt and the recorded numbers among those of other seeds."""
    named = [name for name in ensemble.metrics if better(name)] or list(ensemble.metrics)
    first = {plain_name(name): name for name in reversed(named)}  # a file's before a fit's
    for name in [name for name in named if name in first.values()][:_MOST]:
        column = ensemble.metrics[name]
        if len(column) < 2 or min(column) == max(column):
            continue
        value = _value(values, name)
        if moved and value is not None:
            yield _place(name, value, column)
        if luck := _luck(ensemble, name, column):
            yield luck


def _value(values: Mapping[str, float], name: str) -> float | None:
    """Return a number by its name, or by its last word where only one of the numbers has it."""
    if name in values:
        return values[name]
    alike = {value for other, value in values.items() if plain_name(other) == plain_name(name)}
    return alike.pop() if len(alike) == 1 else None


def _place(name: str, value: float, column: Sequence[float]) -> str:
    low, high = min(column), max(column)
    where = "inside" if low <= value <= high else "outside"
    a, b = _range(low, high)
    error = statistics.stdev(column)
    mean = statistics.fmean(column)
    far = f", {abs(value - mean) / error:.1f} standard deviations from its mean" * (
        where != "inside"
    )
    return (
        f"its {spoken(name)} {value:.6g} lies {where} the ensemble of {len(column)} seeds"
        f" ({a} to {b}){far}"
    )


def _range(low: float, high: float) -> tuple[str, str]:
    """Return both ends in as few digits as tell them apart by a tenth of their distance."""
    for digits in range(3, 17):
        a, b = f"{low:.{digits}g}", f"{high:.{digits}g}"
        if abs(float(a) - low) + abs(float(b) - high) < (high - low) / 5:
            return a, b
    return repr(low), repr(high)


def spoken(name: str) -> str:
    """Return a metric as one says it: ``auc`` for ``metrics.json: auc``."""
    return name.partition(": ")[2] or name


def _luck(ensemble: Ensemble, name: str, column: Sequence[float]) -> str:
    """Say of the recorded seed that it is the best, or the worst, of all that were tried."""
    own = ensemble.recorded.get(name)
    if own is None:
        return ""
    seed = (
        "the recorded seed" if ensemble.recorded_seed is None else f"seed {ensemble.recorded_seed}"
    )
    way = better(name)
    above, below = own > max(column), own < min(column)
    if not above and not below:
        return ""
    word = "luckiest" if above == (way > 0) else "unluckiest"
    if not way:
        word = "highest" if above else "lowest"
    return f"{seed} is the {word} of {len(column) + 1} by its {spoken(name)}"
