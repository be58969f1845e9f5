"""Attributiontable: what was tried to explain a drift, and the answer, as text."""

from __future__ import annotations

import re

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mlrepro.drift import Attribution, Tried, Verdict

_NARROW = 80
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_STYLES = {
    Verdict.IDENTICAL: "bold green",
    Verdict.EQUIVALENT: "green",
    Verdict.CLOSE: "yellow",
    Verdict.DRIFTED: "red",
    Verdict.MISSING: "red",
}


def write(console: Console, found: Attribution) -> None:
    """Write the factors that were tried, and the one sentence that they end in."""
    if found.tried:
        console.print(_text("tried, one change at a time:", "bold"))
        (_lines if console.width < _NARROW else _table)(console, found.tried)
    if found.signatures:
        console.print(_text("known of such a training:", "bold"))
        for sentence in found.signatures:
            _below(console, 2, _text(sentence))
    if found.unrestored:
        console.print(_text("could not be brought back here:", "bold"))
        for sentence in found.unrestored:
            _below(console, 2, _text(sentence))
    console.print(_text(f"why: {found.sentence}", "bold"))


def _table(console: Console, tried: tuple[Tried, ...]) -> None:
    table = Table.grid(padding=(0, 2))
    for column in range(5):
        table.add_column(no_wrap=column in (1, 3), justify="right" if column == 4 else "left")
    for one in tried:
        table.add_row("", _text(one.factor), _text(one.what), _verdict(one), _seconds(one))
        if note := _note(one):
            table.add_row("", "", note)
    console.print(table)


def _lines(console: Console, tried: tuple[Tried, ...]) -> None:
    """Write two lines for each: a narrow table would be one of syllables."""
    for one in tried:
        _below(console, 2, _text(f"{one.factor}: {one.what}"))
        _below(console, 4, Text.assemble(_verdict(one), ", ", _seconds(one)))
        if note := _note(one):
            _below(console, 4, note)


def _verdict(one: Tried) -> Text:
    if one.verdict is None:
        return _text("not made", "yellow")
    return _text(str(one.verdict), _STYLES[one.verdict])


def _seconds(one: Tried) -> Text:
    return _text(f"{one.seconds:.1f} s", "dim")


def _note(one: Tried) -> Text | None:
    words = "; ".join(filter(None, ("this is it" if one.restores else "", one.note)))
    return _text(words, "bold" if one.restores else "dim") if words else None


def _below(console: Console, indent: int, text: Text) -> None:
    console.print(Padding(text, (0, 0, 0, indent)))


def _text(text: str, style: str = "") -> Text:
    return Text(_CONTROL.sub(" ", text), style)
