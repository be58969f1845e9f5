"""Input table: what a run read, for a person at a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlrepro.commands.inputlist import InputList
from mlrepro.manifest import Folder, Grade, Input, Source

_SOURCES = {
    Source.CODE: "git",
    Source.DVC: "DVC",
    Source.STORED: "stored",
    Source.ELSEWHERE: "only here",
}
_GRADES = {
    Grade.VERIFIED: "verified",
    Grade.BEFORE_WRITE: "as before the run changed it",
    Grade.CHANGED: "changed during the run",
    Grade.GONE: "deleted during the run",
    Grade.TOO_LARGE: "too large to digest",
    Grade.RACY: "changed as it was opened",
    Grade.UNVERIFIED: "not verified",
}
_SEEN = {
    "native": "opened",
    "audit": "opened by Python",
    "wrapper": "read by a library",
    "import": "imported",
    "stream": "standard input",
    "program": "started",
    "library": "loaded",
    "argument": "named to a program",
    "declared": "declared",
}
_GOOD = (Grade.VERIFIED, Grade.BEFORE_WRITE)
_MOST_FOLDERS = 8
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Name of the column, and least width of the terminal that has room for it.
_COLUMNS = (("path", 0), ("from", 60), ("size", 48), ("known", 0), ("seen", 72), ("digest", 90))


def write(console: Console, found: InputList) -> None:
    """Write one row for each input, and a line for the folders that were listed."""
    count = f"{len(found.inputs)} input{'' if len(found.inputs) == 1 else 's'}"
    name = f" ({found.name})" if found.name else ""
    console.print(
        _text(f"{found.run[:12]}{name}: {count}, watched by {found.observer or 'nobody'}")
    )
    shown = [column for column, room in _COLUMNS if console.width >= room]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in shown:
        table.add_column(
            column,
            overflow="fold",
            no_wrap=column not in ("path", "known"),
            justify="right" if column == "size" else "left",
        )
    for one in found.inputs:
        cells = _cells(one)
        table.add_row(*(cells[column] for column in shown))
    if found.inputs:
        console.print(table)
    if found.listed:
        console.print(_text(f"listed: {_folders(found.listed)}"))
    for sentence in found.blind_spots:
        console.print(_text(f"blind spot: {sentence}"))


def _cells(one: Input) -> dict[str, Text]:
    return {
        "path": _text(one.path),
        "from": _text(_SOURCES[one.source]),
        "size": _text(_size(one.size)),
        "known": _text(_GRADES[one.grade], "" if one.grade in _GOOD else "yellow"),
        "seen": _text(_SEEN.get(one.seen, one.seen)),
        "digest": _text(one.digest.value[:12] if one.digest else "", "dim"),
    }


def _size(size: int | None) -> str:
    if size is None:
        return ""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{size} B" if unit == "B" else f"{value:.1f} {unit}"


def _folders(listed: Iterable[Folder]) -> str:
    words = [
        f"{folder.path or '.'}/" + (f" ({folder.count} entries)" if folder.count >= 0 else "")
        for folder in listed
    ]
    more = f" and {len(words) - _MOST_FOLDERS} more" if len(words) > _MOST_FOLDERS else ""
    return ", ".join(words[:_MOST_FOLDERS]) + more


def _text(value: str, style: str = "") -> Text:
    """Return text without control characters: a stranger's record must not move the cursor."""
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", value), style=style)
