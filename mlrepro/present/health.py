"""Health: what `mlrepro doctor` found, one line for each check, for a person at a terminal."""

from __future__ import annotations

import re

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mlrepro.commands.health import Check, Health, State

_STYLES = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def write(console: Console, found: Health) -> None:
    """Write all checks, and how many of them do not pass."""
    for check in found.checks:
        _check(console, check)
    counts = [sum(c.state is state for c in found.checks) for state in (State.WARN, State.FAIL)]
    words = [
        f"{n} {w}{'s' * (n != 1)}" for n, w in zip(counts, ("warning", "failure"), strict=True)
    ]
    console.print("all is well" if not any(counts) else ", ".join(words))


def _check(console: Console, check: Check) -> None:
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_column(width=4, no_wrap=True)
    row.add_column(width=10, no_wrap=True)
    row.add_row(
        _text(check.state.value, _STYLES[check.state]), _text(check.about), _text(check.sentence)
    )
    console.print(row)
    if check.hint and check.state is not State.OK:
        console.print(Padding(_text(f"hint: {check.hint}", "dim"), (0, 0, 0, 18)))


def _text(value: str, style: str = "") -> Text:
    """Return text without control characters: a remote's words must not move the cursor."""
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", value), style=style)
