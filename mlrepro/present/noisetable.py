"""Noisetable: a noise floor, a seed ensemble and gates as text."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mlrepro.drift import DriftReport, Ensemble, Gate, Measure, Noise, Repeated, Verdict
from mlrepro.present import gatewords

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STYLES = {
    Verdict.IDENTICAL: "bold green",
    Verdict.EQUIVALENT: "green",
    Verdict.CLOSE: "yellow",
    Verdict.DRIFTED: "bold red",
    Verdict.MISSING: "bold red",
}
_MOST_MEASURES = 4
_MOST_METRICS = 12
_NARROW = 80


def write(console: Console, noise: Noise) -> None:
    """Write what `calibrate` measured."""
    if noise.machine:
        console.print(_text(f"machine: {noise.machine}"))
    if noise.repeats:
        said = _same(noise).partition(": ")[0]
        console.print(_text(f"noise floor of {noise.repeats} repeats: {said}"))
        for one in noise.artifacts:
            _repeated(console, one)
        _recorded(console, noise)
    if noise.ensemble:
        _ensemble(console, noise.ensemble)
    for note in noise.notes:
        _line(console, 0, "note: ", note)


def in_brief(noise: Noise | None) -> str:
    """Return the noise floor and the seeds in one line; empty where none were measured."""
    if noise is None:
        return ""
    repeats = f"{noise.repeats} repeats: {_same(noise)}" if noise.repeats else ""
    ensemble = noise.ensemble
    seeds = f"{len(ensemble.seeds)} other seeds ({ensemble.parameter})" if ensemble else ""
    return "; ".join(filter(None, (repeats, seeds)))


def write_below(console: Console, report: DriftReport) -> None:
    """Write what a report says of noise, seeds and gates, and its remarks."""
    if report.noise and report.noise.repeats:
        noise = report.noise
        where = "here" if noise.here else f"on {noise.machine}"
        said = f"{_same(noise)} ({where}, {noise.measured[:10]})"
        _line(console, 0, f"noise floor of {noise.repeats} repeats: ", said)
    for gate in report.gates:
        _gate(console, gate)
    for remark in report.remarks:
        _line(console, 0, "so: ", remark)


def _same(noise: Noise) -> str:
    """Say how far repeats are apart, in a few words."""
    if noise.identical == noise.repeats:
        return "identical, bit for bit"
    worst = max((one.verdict for one in noise.artifacts), default=Verdict.IDENTICAL)
    if worst <= Verdict.EQUIVALENT:
        return "other bytes, but no number differs"
    moved = [one for one in noise.artifacts if one.verdict > Verdict.EQUIVALENT]
    told = (f"{one.path} by {_measure(m)}" for one in moved for m in _sizes(one.measures)[:1])
    return f"they differ: {', '.join(told) or ', '.join(one.path for one in moved)}"


def _repeated(console: Console, one: Repeated) -> None:
    verdict = (str(one.verdict), _STYLES[one.verdict])
    console.print(Padding(Text.assemble(_text(f"{one.path}  "), verdict), (0, 0, 0, 2)))
    for measure in _telling(one.measures)[:_MOST_MEASURES]:
        _line(console, 6, "", f"{_measure(measure)} at most")


def _telling(measures: Sequence[Measure]) -> list[Measure]:
    """Return the measures that say something: those of the whole, else those of its parts."""
    moved = [m for m in measures if m.value]
    return [m for m in moved if ": " not in m.name] or moved


def _sizes(measures: Sequence[Measure]) -> list[Measure]:
    """Return what tells how far it is before what counts how much of it differs: ``2 of 4``."""
    return sorted(_telling(measures), key=lambda m: "rms" not in m.name)


def _measure(measure: Measure) -> str:
    unit = f" {measure.unit}" if measure.unit else ""
    return f"{measure.name} {measure.value:.3g}{unit}"


def _recorded(console: Console, noise: Noise) -> None:
    """Say where the recorded run lies among its repeats."""
    if not noise.recorded:
        return
    floors = {one.path: one for one in noise.artifacts}
    for one in noise.recorded:
        floor = floors.get(one.path)
        _line(console, 2, "recorded ", f"{one.path}: {_lies(one, floor)}")


def _lies(one: Repeated, floor: Repeated | None) -> str:
    if one.verdict is Verdict.IDENTICAL:
        return "the same, bit for bit"
    if one.verdict is Verdict.EQUIVALENT:
        return "other bytes, but no number differs"
    seen = {m.name: abs(m.value) for m in floor.measures} if floor else {}
    if one.measures and all(abs(m.value) <= seen.get(m.name, -1.0) for m in one.measures):
        return "it lies among them"
    far = "; ".join(map(_measure, _telling(one.measures)[:2]))
    return f"it lies apart from them: {one.verdict}{f', {far}' if far else ''}"


def _ensemble(console: Console, ensemble: Ensemble) -> None:
    seeds = ", ".join(map(str, ensemble.seeds[:_MOST_METRICS]))
    more = " …" if len(ensemble.seeds) > _MOST_METRICS else ""
    own = "not known" if ensemble.recorded_seed is None else str(ensemble.recorded_seed)
    count = len(ensemble.seeds)
    title = f"{count} other seed{'' if count == 1 else 's'} by {ensemble.parameter}: "
    _line(console, 0, title, f"{seeds}{more} (recorded: {own})")
    if not ensemble.metrics:
        return
    names = list(ensemble.metrics)[:_MOST_METRICS]
    if console.width < _NARROW:
        for name in names:
            _line(console, 2, f"{name}: ", _in_line(ensemble, name))
    else:
        console.print(Padding(_table(ensemble, names), (0, 0, 0, 2)))
    if len(ensemble.metrics) > len(names):
        hidden = len(ensemble.metrics) - len(names)
        _line(console, 2, "", f"… and {hidden} more (--json lists all)")


def _table(ensemble: Ensemble, names: Iterable[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("metric", overflow="fold")
    for title in ("recorded", "lowest", "mean", "highest", "deviation", "rank"):
        table.add_column(title, justify="right", no_wrap=True)
    for name in names:
        low, mean, high, deviation = _spread(ensemble.metrics[name])
        own = ensemble.recorded.get(name)
        wide = "–" if deviation is None else f"{deviation:.2g}"
        cells = (_number(own), _number(low), _number(mean), _number(high), wide)
        table.add_row(_text(name), *cells, _rank(ensemble, name))
    return table


def _in_line(ensemble: Ensemble, name: str) -> str:
    low, mean, high, deviation = _spread(ensemble.metrics[name])
    own = _number(ensemble.recorded.get(name))
    wide = "" if deviation is None else f" ± {deviation:.2g}"
    spread = f"{_number(low)} to {_number(high)}, mean {_number(mean)}{wide}"
    rank = _rank(ensemble, name)
    return f"{spread}; recorded {own}{f', {rank}' if rank else ''}"


def _spread(column: Sequence[float]) -> tuple[float, float, float, float | None]:
    deviation = statistics.stdev(column) if len(column) > 1 else None  # one value has no spread
    return min(column), statistics.fmean(column), max(column), deviation


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.6g}"


def _rank(ensemble: Ensemble, name: str) -> str:
    """Return the place of the recorded value, counted from the highest."""
    own, column = ensemble.recorded.get(name), ensemble.metrics[name]
    if own is None or min(column) == max(column):
        return ""
    return f"{1 + sum(value > own for value in column)} of {len(column) + 1}"


def _gate(console: Console, gate: Gate) -> None:
    style = "green" if gate.passed else "bold red"
    _line(console, 0, "gate: ", gatewords.sentence(gate), style=style)


def _line(console: Console, indent: int, title: str, said: str, style: str = "") -> None:
    """Print a line that keeps its indent where it is wrapped."""
    if title and len(title) <= _NARROW // 8:
        shown = Table.grid()
        shown.add_row(_text(title), _text(said, style=style))
        console.print(Padding(shown, (0, 0, 0, indent)))
    else:
        whole = Text.assemble(_text(title), _text(said, style=style))
        console.print(Padding(whole, (0, 0, 0, indent)))


def _text(value: str, style: str = "") -> Text:
    """Return text without control characters: a stranger's record must not move the cursor."""
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", value), style=style)
