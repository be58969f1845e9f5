"""Histories: the course of each score on both sides, and the first step that differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlrepro.cleanroom import restore
from mlrepro.commands import curves, judging, predicting
from mlrepro.commands.remaking import Made
from mlrepro.drift import History
from mlrepro.errors import MlreproError

MOST = 20
"""Histories of one report, those that differ first."""

MOST_STEPS = 10_000
"""Steps of one history."""


@dataclass(frozen=True)
class _Course:
    """All values of one score."""

    name: str
    values: tuple[float, ...]


def compare(made: Made, *, notify: Callable[[str], None]) -> tuple[History, ...]:
    """Return the histories that both trainings have; those that differ first."""
    try:
        found = [*_of_fits(made, notify), *_of_files(made)]
    except (MlreproError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        notify(f"histories could not be compared: {error}")
        return ()
    found.sort(key=lambda one: one.first is None)
    return tuple(found[:MOST])


def _of_fits(made: Made, notify: Callable[[str], None]) -> Iterator[History]:
    """Pair the histories of the fits that correspond, by call and order."""
    if "fits" not in made.record.lists or not made.trained.effective.listing:
        return
    a = _fits(restore.listing(made.here, made.record, "fits", notify=notify))
    b = _fits(made.trained.effective.listing)
    several = len(a) > 1
    for number, call, recorded, rebuilt in _paired(a, b):
        title = f"fit {number}, {call}" if several else call
        for name in recorded:
            if name in rebuilt:
                yield history(f"{title}: {name}", recorded[name], rebuilt[name])


def _paired(
    a: Sequence[tuple[str, Mapping[str, Sequence[float]]]],
    b: Sequence[tuple[str, Mapping[str, Sequence[float]]]],
) -> Iterator[tuple[int, str, Mapping[str, Sequence[float]], Mapping[str, Sequence[float]]]]:
    waiting: dict[str, list[Mapping[str, Sequence[float]]]] = {}
    for call, courses in reversed(b):
        waiting.setdefault(call, []).append(courses)
    for number, (call, courses) in enumerate(a, start=1):
        if waiting.get(call):
            yield number, call, courses, waiting[call].pop()


def _fits(listing: bytes) -> list[tuple[str, Mapping[str, Sequence[float]]]]:
    """Return call and histories of each fit of a ledger's list, which nobody vouches for."""
    rows = json.loads(listing)["fits"]
    return [(str(row.get("call", "fit")), dict(_courses(row.get("history")))) for row in rows]


def _courses(data: Any) -> Iterator[tuple[str, Sequence[float]]]:
    if isinstance(data, dict):
        for name, values in data.items():
            numbers = curves.numbers(values)
            if numbers:
                yield str(name), numbers


def _of_files(made: Made) -> Iterator[History]:
    """Pair the histories of tables and metric files that moved."""
    for old, rebuilt in judging.counterparts(made.record, made.trained, made.room):
        if not curves.may_hold(old.path) or not rebuilt.is_file():
            continue
        if restore.is_file(rebuilt, old.digest):
            continue
        recorded = predicting.recorded_file(made, old)
        if recorded is None:
            continue
        a, b = curves.read(recorded), curves.read(rebuilt)
        for name in a:
            if name in b:
                yield history(f"{old.path}: {name}", a[name], b[name])


def history(name: str, recorded: Sequence[float], rebuilt: Sequence[float]) -> History:
    """Return two courses of one score, and where they part.

    A long one is thinned, evenly; then a step is one of those that are left, while `first` counts
    all of them.
    """
    first = next(
        (n for n, (a, b) in enumerate(zip(recorded, rebuilt, strict=False), 1) if not _same(a, b)),
        None,
    )
    if first is None and len(recorded) != len(rebuilt):
        first = min(len(recorded), len(rebuilt)) + 1
    longest = max(len(recorded), len(rebuilt))
    step = -(-longest // MOST_STEPS)
    return History(name, tuple(recorded[::step]), tuple(rebuilt[::step]), first)


def _same(a: float, b: float) -> bool:
    return a == b or (a != a and b != b)
