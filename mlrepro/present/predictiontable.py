"""Predictiontable: predictions, metric deltas and histories as text."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from mlrepro.drift import Delta, DriftReport, History, Predicted

_MOST_HISTORIES = 6
_RAW = ", raw scores"


def write(console: Console, report: DriftReport) -> None:
    """Write what a report says of predictions and histories."""
    several = len({one.path for one in report.predictions}) > 1
    for one in report.predictions:
        if one.data.endswith(_RAW):  # what it has to say besides was said of the predictions
            if one.first:
                _put(console, 2, f"raw scores: {next(_parts(one))}")
            continue
        name = f" of {one.path}" if several else ""
        _put(console, 0, f"predictions{name} for {_rows(one)}:", style="bold")
        _put(console, 2, "; ".join(_parts(one)))
        for delta in one.deltas:
            _put(console, 2, _delta(delta))
    moved = [one for one in report.histories if one.first is not None]
    if moved:
        _put(console, 0, "histories:", style="bold")
    for history in moved[:_MOST_HISTORIES]:
        _put(console, 2, _history(history))
    if len(moved) > _MOST_HISTORIES:
        _put(console, 2, f"… and {len(moved) - _MOST_HISTORIES} more (--json lists all)")


def _put(console: Console, indent: int, line: str, *, style: str = "") -> None:
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
    console.print(Padding(Text(clean, style=style), (0, 0, 0, indent)))


def _rows(one: Predicted) -> str:
    return f"{one.rows} row{'s' * (one.rows != 1)} ({one.data})"


def _parts(one: Predicted) -> Iterator[str]:
    if not one.first:
        yield "all equal"
        return
    largest = f"largest {one.largest:.3g} at {one.where}"
    first = f", first at {one.first}" if one.first != one.where else ""
    yield f"rms / std {one.ratio:.3g}, {largest}{first}"
    if one.flips is not None:
        yield f"{one.flips or 'no'} label{'s' * (one.flips != 1)} flip{'s' * (one.flips == 1)}"
    if one.correlation is not None:
        yield f"rank correlation {_near_one(one.correlation)}"


def _near_one(value: float) -> str:
    """Never let rounding make a correlation perfect that is not."""
    if value == 1:
        return "1"
    text = f"{value:.3f}"
    return f"1 − {1 - value:.1g}" if text == "1.000" and value < 1 else text


def _delta(delta: Delta) -> str:
    if delta.recorded == delta.rebuilt and not delta.low and not delta.high:
        return f"{delta.metric}: {delta.recorded:.4g}, equal"
    recorded, rebuilt = _apart(delta.recorded, delta.rebuilt)
    moved = delta.rebuilt - delta.recorded
    interval = f"95 % {_signed(delta.low)} to {_signed(delta.high)}"
    return (
        f"{delta.metric}: {recorded} → {rebuilt}"
        f" ({_signed(moved)}, {interval}, {delta.resamples} resamples)"
    )


def _history(one: History) -> str:
    # A long history is thinned, so its values are not found by the number of the step.
    pairs = zip(one.recorded, one.rebuilt, strict=False)
    moved = next(((a, b) for a, b in pairs if a != b and (a == a or b == b)), None)
    counts = [f"{len(one.recorded)}", f"{len(one.rebuilt)}"]
    steps = f"{' → '.join(dict.fromkeys(counts))} steps"
    if moved is None:
        return f"{one.name}: the same as far as both go, {steps}"
    a, b = _apart(*moved)
    return f"{one.name}: first differs at step {one.first}: {a} → {b} ({steps})"


def _apart(a: float, b: float) -> tuple[str, str]:
    """Return two numbers in as few digits as tell them apart."""
    for digits in (4, 6, 9):
        texts = f"{a:.{digits}g}", f"{b:.{digits}g}"
        if a == b or texts[0] != texts[1]:
            return texts
    return repr(a), repr(b)


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", "−") if value else "0"
