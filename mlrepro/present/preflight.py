"""Preflight: what may be expected of a rebuild, for a person at a terminal; the worst first."""

from __future__ import annotations

import re

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mlrepro.commands.expectations import Expectation, Preflight, Reason

_STYLES = {
    Expectation.BIT_FOR_BIT: "green",
    Expectation.NUMBERS_CLOSE: "yellow",
    Expectation.UNLIKELY: "bold red",
    Expectation.IMPOSSIBLE: "bold red",
}
_MEANINGS = {
    Expectation.BIT_FOR_BIT: "nothing is known that would move a number",
    Expectation.NUMBERS_CLOSE: "the last digits may move, and trees with them",
    Expectation.UNLIKELY: "the same model would be luck",
    Expectation.IMPOSSIBLE: "it cannot be trained here as it is",
}
_NARROW = 80
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def write(console: Console, found: Preflight) -> None:
    """Write the expectation, its reasons, and what the rebuild will take."""
    name = f" ({found.name})" if found.name else ""
    console.print(_text(f"{found.run[:12]}{name}, if it were rebuilt here:"))
    style = _STYLES[found.expectation]
    console.print(
        Text.assemble(
            "expected: ",
            _text(str(found.expectation), style),
            f" · {_MEANINGS[found.expectation]}",
        )
    )
    # A reason for less comes before what is only worth knowing; else the order of the rules.
    for reason in sorted(found.reasons, key=lambda reason: -reason.expectation):
        _reason(console, reason)
    console.print(_takes(found))


def _reason(console: Console, reason: Reason) -> None:
    lowers = reason.expectation > Expectation.BIT_FOR_BIT
    word = str(reason.expectation) if lowers else "note"
    style = _STYLES[reason.expectation] if lowers else "dim"
    if console.width < _NARROW:
        head = Text.assemble(_text(word, style), f": {reason.about}")
        console.print(Padding(head, (0, 0, 0, 2)))
        console.print(Padding(_text(reason.sentence), (0, 0, 0, 4)))
        _hint(console, reason, 4)
        return
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=13, no_wrap=True)
    row.add_column(width=11, no_wrap=True)
    row.add_row(_text(word, style), _text(reason.about), _text(reason.sentence))
    console.print(Padding(row, (0, 0, 0, 2)))
    _hint(console, reason, 30)


def _hint(console: Console, reason: Reason, indent: int) -> None:
    if reason.hint:
        console.print(Padding(_text(f"hint: {reason.hint}", "dim"), (0, 0, 0, indent)))


def _takes(found: Preflight) -> str:
    where = {"lock": "its own environment", "current": "the active environment"}
    trained = where.get(found.environment, "no environment of Python")
    return (
        f"about {_time(found.seconds)} of training in {trained}, and {_size(found.bytes)} of files"
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _size(size: int) -> str:
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def _text(value: str, style: str = "") -> Text:
    """Return text without control characters: a stranger's record must not move the cursor."""
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", value), style=style)
