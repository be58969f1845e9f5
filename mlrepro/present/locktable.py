"""Lock table: what the lock of an environment holds, for a person at a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlrepro.commands.lock import Locked

_MOST = 30


def write(console: Console, found: Locked) -> None:
    """Write one line for the whole, and one for each package that only its version holds."""
    done = "locked" if found.changed else "was locked"
    console.print(
        Text(
            f"{done} the environment of run {found.run[:12]}: {found.python},"
            f" {found.hashed} of {found.packages} packages hashed"
        )
    )
    table = Table.grid(padding=(0, 2))
    for one in found.unhashed:
        words = Text(one.name), Text(one.version), Text("unhashed", "yellow"), Text(one.unhashed)
        table.add_row("", *words)
    if found.unhashed:
        console.print(table)
    for address in found.indexes:
        console.print(Text(f"asked beside the usual index: {address}"))
    if found.beside:
        console.print(Text("recorded and compared, not restored:"))
        for line in found.beside[:_MOST]:
            console.print(Text(f"  {line}"))
        if len(found.beside) > _MOST:
            console.print(Text(f"  and {len(found.beside) - _MOST} more"))
