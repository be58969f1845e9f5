"""Fit table: what a run trained, and what was in effect, for a person at a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from mlrepro.capture import effective
from mlrepro.commands.fitlist import FitList, Trained
from mlrepro.manifest import Fit, Generator, Manifest, Rounds

_MOST_VALUES = 40
_SHORTEST = 6
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def write(console: Console, found: FitList) -> None:
    """Write one block for each fit: all parameters, and where the scores went."""
    name = f" ({found.name})" if found.name else ""
    console.print(_text(f"{found.run[:12]}{name}: {_counted(found.count, 'fit')}"))
    for one in found.fits:
        _fit(console, one.fit, one)
    for other in found.others:
        console.print(_text(f"{other.get('call')}: {other.get('count')} more"))


def write_shown(console: Console, record: Manifest) -> None:
    """Write what a manifest says of the training: its fits, and who was seeded."""
    if record.fits:
        console.print(_text("trained:", "bold"))
    count = record.lists["fits"].count if "fits" in record.lists else len(record.fits)
    left_out = count - len(record.fits)
    # Fewer than there is room for: the parts of a search in worker processes are left out.
    gap = left_out > 0 and len(record.fits) == effective.INLINE
    middle = len(record.fits) // 2 if gap else len(record.fits)
    for fit in record.fits[:middle]:
        _fit(console, fit)
    if left_out > 0:
        said = f"… and {_counted(left_out, 'more fit')} (`mlrepro show --fits` has all)"
        console.print(Padding(_text(said), (0, 0, 0, 2)))
    for fit in record.fits[middle:]:
        _fit(console, fit)
    if record.generators:
        console.print(_text("randomness:", "bold"))
        for one in record.generators:
            _below(console, 2, _generator(one))


def headline(fit: Fit) -> str:
    """Say in a line how a training went: ``10 of 500 rounds, kept 5 (early stopping)``."""
    words = [_rounds(fit.rounds)] if fit.rounds else []
    if fit.failed:
        words.append(f"failed with {fit.failed}")
    if fit.seconds:
        words.append(f"{fit.seconds:.3g} s")
    return f"{fit.call}: {', '.join(filter(None, words))}" if words else fit.call


def _rounds(rounds: Rounds) -> str:
    ran, asked, kept = rounds.trained, rounds.asked, rounds.kept
    words = f"{asked} rounds" if ran is None else f"{ran} rounds"
    if None not in (ran, asked) and ran != asked:
        words = f"{ran} of {asked} rounds"
    if ran is None and asked is None:
        words = ""
    if kept is not None and kept != ran:
        words = f"{words}, kept {kept}" if words else f"kept {kept} rounds"
    stopped = rounds.stopped_by if rounds.stopped_by != "rounds" else ""
    return f"{words} ({stopped})" if stopped else words


def _fit(console: Console, fit: Fit, trained: Trained | None = None) -> None:
    name = f", {fit.model}" if fit.model else ""
    _below(console, 2, headline(fit) + name)
    for line in _lines(fit):
        _below(console, 4, line)
    if trained and trained.resolved:
        _below(console, 4, f"in effect: {_pairs(trained.resolved, most=len(trained.resolved))}")
    if trained:
        for what, values in trained.history.items():
            if isinstance(values, list) and values:
                first, last = (_word(value) for value in (values[0], values[-1]))
                said = f"{what}: {first} → {last} in {_counted(len(values), 'value')}"
                _below(console, 4, said)


def _lines(fit: Fit) -> Iterator[str]:
    rows: tuple[tuple[str, str], ...] = (
        ("ignored", f"{', '.join(fit.ignored)} (unknown to the library)" if fit.ignored else ""),
        ("not as passed", ", ".join(f"{n} ({why})" for n, why in fit.overridden.items())),
        ("parameters", _pairs({n: v for n, v in fit.params.items() if n not in fit.ignored})),
        ("data", "; ".join(fit.data)),
        ("threads", str(fit.threads or "")),
        ("scores", _pairs(fit.scores)),
        ("inside", ", ".join(f"{count} × {call}" for call, count in fit.inside.items())),
        ("time budget", fit.budget),
    )
    for name, other in fit.aliased.items():
        yield f"{name} is {other}"
    yield from (f"{what}: {said}" for what, said in rows if said)


def _generator(one: Generator) -> str:
    times = f", {one.count} times" if one.count > 1 else ""
    if one.seeded:
        return f"{one.name}: seeded with {', '.join(one.seeds) or 'a value'}{times}"
    where = f" at {one.where}" if ":" in one.where else f", drawn from by {one.where}"
    return f"{one.name}: not seeded{where if one.where else ''}{times}"


def _pairs(values: Mapping[str, Any], most: int = _MOST_VALUES) -> str:
    said = [f"{name}={_word(value)}" for name, value in values.items() if value != ""]
    shown, more = said[:most], [f"… and {len(said) - most} more"] * (len(said) > most)
    return " ".join([*shown, *more])


def _word(value: Any) -> str:
    return f"{value:.{_SHORTEST}g}" if isinstance(value, float) else str(value)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _below(console: Console, indent: int, line: str) -> None:
    console.print(Padding(_text(line), (0, 0, 0, indent)))


def _text(value: str, style: str = "") -> Text:
    """Return text without control characters: a stranger's record must not move the cursor."""
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", value), style=style)
