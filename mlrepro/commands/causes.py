"""Causes: what was effective in two trainings, and what may be why their numbers differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from mlrepro import plain
from mlrepro.capture import effective, libraries
from mlrepro.capture.libraries import Library
from mlrepro.cleanroom import restore
from mlrepro.cleanroom.training import Trained
from mlrepro.drift import Change
from mlrepro.errors import MlreproError
from mlrepro.manifest import Fit, Folder, Generator, Manifest, Rounds
from mlrepro.stores.place import Place

_MOST_FOLDERS = 3
_ABSENT = "absent"


@dataclass(frozen=True)
class Side:
    """What was effective in one training, as far as its manifest shows it."""

    fits: tuple[Fit, ...]
    count: int
    generators: tuple[Generator, ...]
    listed: tuple[Folder, ...]


def of_record(record: Manifest) -> Side:
    """Return what a recorded run says of itself."""
    count = record.lists["fits"].count if "fits" in record.lists else len(record.fits)
    return Side(record.fits, count, record.generators, record.listed)


def of_training(trained: Trained, record: Manifest) -> Side:
    """Return what was seen of a rebuild."""
    seen = trained.effective
    listed = effective.folders(trained.observation, trained.root, record.inputs)
    return Side(seen.fits, seen.count, seen.generators, listed)


def changes(a: Side, b: Side) -> tuple[Change, ...]:
    """Name what the training libraries did otherwise; nothing where one side shows no fit."""
    if not a.fits or not b.fits:
        return ()
    if a.count != b.count or len(a.fits) != len(b.fits):
        words = [", ".join(dict.fromkeys(fit.call for fit in side.fits)) for side in (a, b)]
        same = words[0] == words[1]
        counts = [
            str(n) if same else f"{n} ({w})" for n, w in zip((a.count, b.count), words, strict=True)
        ]
        return (Change("fits", *counts),)
    pairs = zip(_titles(a), a.fits, b.fits, strict=True)
    return tuple(change for title, x, y in pairs for change in _of_fit(title, x, y))


def scores(a: Side, b: Side) -> tuple[Change, ...]:
    """Name the last scores that differ between fits that correspond."""
    if not a.fits or a.count != b.count or [f.call for f in a.fits] != [f.call for f in b.fits]:
        return ()
    pairs = zip(_titles(a), a.fits, b.fits, strict=True)
    return tuple(
        change
        for title, x, y in pairs
        if _is_brief(x) == _is_brief(y)
        for change in _unequal(title, x.scores, y.scores)
    )


def suspects(a: Side, b: Side, record: Manifest) -> tuple[str, ...]:
    """Say what may have made two trainings of the same code differ, the likeliest first."""
    return tuple(
        dict.fromkeys(
            [*_budgets((*a.fits, *b.fits)), *_unseeded(a, b), *_drawn(a, b), *_orders(a, b, record)]
        )
    )


def native(
    here: Place,
    record: Manifest,
    current: Sequence[Library] | None,
    explained: Iterable[Change],
    *,
    notify: Callable[[str], None],
) -> tuple[Change, ...]:
    """Name the native libraries of which another build was loaded.

    Parameters
    ----------
    current : sequence of Library or None
        Those of the other training.
    explained : iterable of Change
        What is said of packages already.
    """
    recorded = loaded(here, record, notify=notify) if current else None
    if not recorded or not current:
        return ()
    kinds = ("package ", "wheel of ", "content of ")
    names = (c.what.removeprefix(k).split(" ")[0] for c in explained for k in kinds)
    return libraries.changes(recorded, current, explained=frozenset(names))


def loaded(here: Place, record: Manifest, *, notify: Callable[[str], None]) -> list[Library] | None:
    """Return the native libraries of a run; None where the ledger's list cannot be had."""
    if "libraries" not in record.lists:
        return None
    try:
        data = json.loads(restore.listing(here, record, "libraries", notify=notify))
        return [plain.load(Library, one, where="library") for one in data]
    except (MlreproError, ValueError, TypeError):
        return None


def _titles(side: Side) -> list[str]:
    """Return the name of each fit that is shown: its call, with its number where there are more."""
    shown = len(side.fits)
    if shown == 1:
        return [fit.call for fit in side.fits]
    gap = shown == effective.INLINE and side.count > shown
    names = [f"fit {n}" for n in range(1, shown + 1)]
    for back in range(shown // 2 if gap else 0):
        names[-1 - back] = f"last fit but {back}" if back else "last fit"
    return [f"{name}, {fit.call}" for name, fit in zip(names, side.fits, strict=True)]


def _of_fit(title: str, a: Fit, b: Fit) -> Iterator[Change]:
    if a.call != b.call:
        yield Change(title.partition(",")[0], a.call, b.call)
        return
    if _is_brief(a) != _is_brief(b):  # what one of them does not tell is no difference
        if a.rounds and b.rounds:
            yield from _unequal(title, _of_rounds(a.rounds), _of_rounds(b.rounds))
        if a.params and b.params:
            yield from _unequal(title, plain.dump(a.params), plain.dump(b.params))
        return
    yield from _unequal(title, _of_rounds(a.rounds), _of_rounds(b.rounds))
    facts = (
        ("threads", str(a.threads or "not known"), str(b.threads or "not known")),
        ("ignored parameters", _listed(a.ignored), _listed(b.ignored)),
        ("data", _listed(a.data), _listed(b.data)),
        ("time budget", a.budget or "none", b.budget or "none"),
        ("failed", a.failed or "no", b.failed or "no"),
        ("fits inside", _listed(_times(a.inside)), _listed(_times(b.inside))),
    )
    yield from (Change(f"{title}: {what}", x, y) for what, x, y in facts if x != y)
    yield from _unequal(title, plain.dump(a.params), plain.dump(b.params))


def _is_brief(fit: Fit) -> bool:
    """Whether a fit late among many was told in short; a slow one is told in full."""
    return fit.threads is None and not fit.data


def _of_rounds(rounds: Rounds | None) -> dict[str, Any]:
    words = {"asked": "rounds asked", "trained": "rounds trained", "kept": "rounds kept"}
    return {
        words.get(name, "stopped by"): value for name, value in plain.dump(rounds or {}).items()
    }


def _unequal(title: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Change]:
    for name in {**a, **b}:
        x, y = (str(side.get(name, _ABSENT)) for side in (a, b))
        if x != y:
            yield Change(f"{title}: {name}", x, y)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"


def _times(inside: Mapping[str, int]) -> list[str]:
    # A manifest's keys are sorted, those of a training that has just ended are not.
    return [f"{count} {call}" for call, count in sorted(inside.items())]


def _budgets(fits: Iterable[Fit]) -> Iterator[str]:
    for fit in fits:
        if fit.budget:
            yield (
                f"a time budget was in play ({fit.call}, {fit.budget}): such a training does not"
                " repeat itself"
            )


def _unseeded(a: Side, b: Side) -> Iterator[str]:
    for one in (*a.generators, *b.generators):
        if not one.seeded:
            times = f" ({one.count} of them)" if one.count > 1 else ""
            yield f"{one.name}{_at(one.where)} was not seeded{times}"


def _at(where: str) -> str:
    """Say where a generator was made, or the call that drew from a global one."""
    if not where:
        return ""
    return f" at {where}" if ":" in where else f", which {where} drew from,"


def _drawn(a: Side, b: Side) -> Iterator[str]:
    """Name the first fit at whose start a generator that was seeded stood elsewhere."""
    seeded = {one.name for side in (a, b) for one in side.generators if one.seeded}
    if a.count != b.count:
        return
    for title, x, y in zip(_titles(a), a.fits, b.fits, strict=False):
        for name in sorted(seeded & x.random.keys() & y.random.keys()):
            if x.random[name].split(" ")[0] != y.random[name].split(" ")[0]:
                yield (
                    f"{name}'s generator was in another state when {title} began, though it was"
                    " seeded: something drew from it before"
                )
                return


def _orders(a: Side, b: Side, record: Manifest) -> Iterator[str]:
    """Name the folders of inputs that the file system listed otherwise."""
    holding = [str(PurePosixPath(one.path).parent) for one in record.inputs]
    now = {one.path: one for one in b.listed}
    told = 0
    for one in a.listed:
        other = now.get(one.path)
        if other is None or not one.order or not other.order or one.order == other.order:
            continue
        if holding.count(one.path or ".") > 1 and told < _MOST_FOLDERS:
            told += 1
            yield _order(one, other)


def _order(a: Folder, b: Folder) -> str:
    name = f"{a.path}/" if a.path else "the project's folder"
    if a.names != b.names:
        return f"{name} had {a.count} entries when it was listed, and {b.count} in the other run"
    return (
        f"the order in which {name} was listed differs: it matters to a program that does not sort"
    )
