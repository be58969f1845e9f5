"""Effective: what the training libraries really did, from what the probe wrote of each fit."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlrepro.capture import fitrecords
from mlrepro.capture.observation import Fitted, Interpreter, Observation
from mlrepro.manifest import Fit, Folder, Generator, Input, unsaved_model

INLINE = 6
"""Fits that a manifest shows; of more, the first and the last ones.

Those of worker processes, which are parts of a search, only where the main process has none.
"""

INLINE_FOLDERS = 20
"""Listed folders that a manifest shows."""

MOST_MODELS = 8
"""Models that were trained and not saved: the last one of each call, then the last ones of all."""

_MOST_DETAILED = 5_000
_MOST_BYTES = 2 * 2**20
_MOST_SEEDS = 5
_MOST_GENERATORS = 50
_LARGEST_COMPARED = 64 * 2**20


@dataclass(frozen=True)
class Effective:
    """What was effective in one run.

    Attributes
    ----------
    fits : tuple of Fit
        Those that the manifest shows.
    count : int
        How many there were.
    generators : tuple of Generator
        Sources of randomness.
    models : tuple of (str, Path)
        Artifact path (``<model 1>``) and file of each model that the program did not save.
    ignored : mapping of str to tuple of str
        Call → what was passed to it, in any of the fits, and was unknown to the library.
    listing : bytes
        The ledger's list ``fits``, JSON: ``fits``, each with all its parameters and its history,
        up to a size; ``others``, a summary of those beyond it.
    """

    fits: tuple[Fit, ...] = ()
    count: int = 0
    generators: tuple[Generator, ...] = ()
    models: tuple[tuple[str, Path], ...] = ()
    ignored: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    listing: bytes = b""


def find(observation: Observation, root: Path, weights: Sequence[Path] = ()) -> Effective:
    """Return what was effective.

    Parameters
    ----------
    observation : Observation
        What the observers saw; nothing in it is trusted.
    root : Path
        The project's folder, without symlinks.
    weights : sequence of Path
        The models that the run did save: one with the same trees is not kept twice.
    """
    if not observation.fits and not observation.seedings:
        return Effective()
    main, workers = _ordered(observation.fits, observation.interpreters)
    ordered = [*main, *workers]
    models = _unsaved(main, weights) or _unsaved(workers, weights)
    names = {id(one): name for name, one in models.items()}
    fits = [fitrecords.fit(one.record, model=names.get(id(one), "")) for one in ordered]
    return Effective(
        fits=_shown(fits[: len(main)] or fits),
        count=len(fits),
        generators=_generators(observation, fits, root),
        models=tuple((name, Path(one.model)) for name, one in models.items()),
        ignored=_ignored(fits),
        listing=_listing(fits, ordered) if fits else b"",
    )


def folders(observation: Observation, root: Path, inputs: Sequence[Input]) -> tuple[Folder, ...]:
    """Return the listed folders that the training's data may have come from, relative to the root.

    Those from which Python imports have no digests: it lists them for itself, in any order, and
    what else lies there changes nothing.

    Parameters
    ----------
    observation : Observation
        Its folders have absolute paths.
    root : Path
        The project's folder; all in it count, and outside it those that hold an input.
    inputs : sequence of Input
        What the run read.
    """
    top = str(root)
    outside = {os.path.dirname(one.path) for one in inputs if one.path.startswith("/")}
    imported = {path for one in observation.interpreters for path in (*one.path, _script(one, top))}
    found = {}
    for one in observation.listed:
        inside = one.path == top or one.path.startswith(f"{top}/")
        name = one.path[len(top) + 1 :] if inside else one.path
        if (inside and not _is_ours(name)) or one.path in outside:
            told = Folder(name, one.count) if one.path in imported else one
            found[name] = dataclasses.replace(told, path=name)
    return tuple(found[name] for name in sorted(found))


def _script(interpreter: Interpreter, top: str) -> str:
    """Return the folder that Python put first on its path: the script's, or where it started."""
    words = [word for word in interpreter.argv[1:] if not word.startswith("-")]
    script = os.path.join(top, words[0]) if words else top
    return os.path.realpath(os.path.dirname(script)) if os.path.isfile(script) else top


def _is_ours(name: str) -> bool:
    parts = name.split("/")
    return parts[0] in (".git", ".dvc", ".mlrepro") or "__pycache__" in parts


def _ordered(
    fits: Sequence[Fitted], interpreters: Sequence[Interpreter]
) -> tuple[list[Fitted], list[Fitted]]:
    """Return the main processes' fits by time, and those of workers by what they are.

    Which worker is given which piece of work, and which ends first, is another in each run.
    """
    alone = {one.pid for one in interpreters if not _is_worker(one)} or {f.pid for f in fits}
    main = sorted((f for f in fits if f.pid in alone), key=lambda f: f.time)
    return main, sorted((f for f in fits if f.pid not in alone), key=_content)


def _is_worker(interpreter: Interpreter) -> bool:
    words = " ".join(interpreter.argv[1:5])
    return any(word in words for word in ("multiprocessing", "loky"))


def _content(one: Fitted) -> tuple[str, str, str, int]:
    record = one.record
    told = [record.get(name) for name in ("params", "data", "scores")]
    try:
        words = json.dumps(told, sort_keys=True, default=str, skipkeys=True)
    except (TypeError, ValueError, RecursionError):
        words = ""
    return str(record.get("call")), words, _trees(Path(one.model)) if one.model else "", one.time


def _shown(fits: Sequence[Fit]) -> tuple[Fit, ...]:
    if len(fits) <= INLINE:
        return tuple(fits)
    return (*fits[: INLINE // 2], *fits[-INLINE // 2 :])


def _ignored(fits: Sequence[Fit]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for fit in fits:
        if fit.ignored:
            found[fit.call] = tuple(dict.fromkeys((*found.get(fit.call, ()), *fit.ignored)))
    return found


def _unsaved(ordered: Sequence[Fitted], weights: Sequence[Path]) -> dict[str, Fitted]:
    """Name the models that the program did not save; a search does not crowd out the others."""
    waiting = [one for one in ordered if one.model and not one.saved and _is_file(one.model)]
    if waiting and weights:
        saved = {_trees(path) for path in weights} - {""}
        waiting = [one for one in waiting if _trees(Path(one.model)) not in saved]
    return {unsaved_model(n): one for n, one in enumerate(_chosen(waiting), start=1)}


def _chosen(waiting: Sequence[Fitted]) -> list[Fitted]:
    """Choose among too many, and leave them in their order."""
    last = {str(one.record.get("call")): n for n, one in enumerate(waiting)}
    first = sorted(last.values(), reverse=True)
    rest = (n for n in reversed(range(len(waiting))) if n not in first)
    return [waiting[n] for n in sorted([*first, *rest][:MOST_MODELS])]


def _is_file(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)


def _trees(path: Path) -> str:
    """Return a digest of a model's content: of LightGBM's text its trees, for its end may differ.

    Empty where it cannot be read, or is too long to be one of the texts that are kept.
    """
    import hashlib  # noqa: PLC0415  where models were trained only

    try:
        if not path.is_file() or path.stat().st_size > _LARGEST_COMPARED:
            return ""
        data = path.read_bytes()
    except OSError:
        return ""
    if data.startswith(b"tree\n"):
        data = data[data.find(b"\nTree=0") :].partition(b"\nend of trees")[0]
    return hashlib.sha256(data).hexdigest()


def _listing(fits: Sequence[Fit], ordered: Sequence[Fitted]) -> bytes:
    """Return all fits, each with its details, as long as they are not too many."""
    rows: list[str] = []
    size = 0
    for one, fitted in zip(fits, ordered, strict=True):
        row = _json(fitrecords.row(one, fitted.record))
        size += len(row)
        if len(rows) == _MOST_DETAILED or size > _MOST_BYTES:
            break
        rows.append(row)
    others = _summary(fits[len(rows) :])
    rest = f',"others":{_json(others)}' if others else ""
    return f'{{"fits":[{",".join(rows)}]{rest}}}'.encode()


def _json(data: Any) -> str:
    # Not in the canonical form: its floats, in Python, take 0.1 s for 500 fits.
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _summary(fits: Sequence[Fit]) -> list[dict[str, Any]]:
    """Say of each call how often it was made, and how long it took."""
    seconds: dict[str, list[float]] = {}
    for one in fits:
        seconds.setdefault(one.call, []).append(one.seconds)
    return [
        {
            "call": call,
            "count": len(took),
            "seconds": dict(zip(("min", "median", "max"), _spread(took), strict=True)),
        }
        for call, took in seconds.items()
    ]


def _spread(numbers: Sequence[float]) -> tuple[float, float, float]:
    """Return the least, the middle and the largest one; `statistics` takes 10 ms to import."""
    ranked = sorted(numbers)
    return ranked[0], ranked[len(ranked) // 2], ranked[-1]


def _generators(observation: Observation, fits: Sequence[Fit], root: Path) -> tuple[Generator, ...]:
    """Bring together what was seeded, what was made without a seed, and what nobody seeded."""
    found: dict[tuple[str, bool], Generator] = {}
    counts: dict[tuple[str, bool], dict[Any, int]] = {}
    for row in _seedings(observation):
        name, seed = fitrecords.text(row.get("name")), row.get("seed")
        key = name, seed is not None
        if name and (key in found or len(found) < _MOST_GENERATORS):
            where = "" if seed is not None else _where(row.get("where"), root)
            _add(found, Generator(*key, _seed(seed), where=where))
            # Each process counts for itself, and tells how many there were by then.
            of = counts.setdefault(key, {})
            pid = str(row.get("pid"))[:20]
            of[pid] = max(of.get(pid, 0) + 1, _times(row))
    for key, of in counts.items():
        found[key] = dataclasses.replace(found[key], count=sum(of.values()))
    for fit in fits:
        for name in fitrecords.moved(fit):
            if (name, True) not in found and (name, False) not in counts:
                _add(found, Generator(name, False, where=fit.call))
    return tuple(found.values())


def _seedings(observation: Observation) -> list[Mapping[str, Any]]:
    rows = [row for row in observation.seedings if isinstance(row, Mapping)]
    alone = {one.pid for one in observation.interpreters if not _is_worker(one)}
    main = [row for row in rows if not alone or row.get("pid") in alone]
    rest = [row for row in rows if alone and row.get("pid") not in alone]
    return main + sorted(rest, key=lambda row: (str(row.get("name")), str(row.get("seed"))[:99]))


def _seed(seed: Any) -> tuple[str, ...]:
    if isinstance(seed, int) and abs(seed) < 10**40:
        return (str(seed),)
    return (fitrecords.text(seed),) if isinstance(seed, str) and seed else ()


def _where(place: Any, root: Path) -> str:
    return fitrecords.text(place).removeprefix(f"{root}/")


def _times(row: Mapping[str, Any]) -> int:
    count = row.get("count")
    if not isinstance(count, int) or isinstance(count, bool):
        return 0
    return count if 0 < count < 2**40 else 0


def _add(found: dict[tuple[str, bool], Generator], one: Generator) -> None:
    before = found.setdefault((one.name, one.seeded), one)
    if before is not one:
        seeds = tuple(dict.fromkeys((*before.seeds, *one.seeds)))[:_MOST_SEEDS]
        found[one.name, one.seeded] = dataclasses.replace(
            before, seeds=seeds, count=before.count + 1, where=before.where or one.where
        )
