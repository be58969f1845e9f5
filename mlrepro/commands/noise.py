"""Noise: the measured noise floor and seed ensemble of a run, as the ledger knows them."""

from __future__ import annotations

import json
import math
import platform as interpreter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from mlrepro import documents, plain
from mlrepro.capture import machine
from mlrepro.drift import Ensemble, Measure, Noise, Repeated
from mlrepro.errors import MlreproError
from mlrepro.manifest import Manifest, Platform
from mlrepro.stores import git, ledger, ledgernotes
from mlrepro.stores.place import Place

KIND = "noise"
SCHEMA = 1
_LONGEST = 300
_MOST = 1_000
_MOST_SEEDS = 10_000
# What numbers depend on; the host's name, the kernel and the memory change none.
_DECIDES = ("machine", "cpu", "cpu_flags", "affinity", "gpu")


@dataclass(frozen=True)
class Measured:
    """A note of the ledger: what somebody measured, where and when.

    Attributes
    ----------
    noise : Noise
        What was found.
    platform : Platform
        The machine, as far as numbers depend on it, and its name.
    threads : int
        Threads that the training had.
    when : str
        UTC, ISO 8601.
    who : str
        ``Name <address>`` as git knows it.
    environment : str
        The environment that was used, in words.
    python : str
        Version of the Python that mlrepro itself ran on.
    schema : int
        Version of the note's format.
    """

    noise: Noise
    platform: Platform = field(default_factory=Platform)
    threads: int = 0
    when: str = ""
    who: str = ""
    environment: str = ""
    python: str = ""
    schema: int = SCHEMA


def known(here: Place, record: Manifest) -> Noise | None:
    """Return what was measured of a run, on this machine where possible; None where nothing was.

    Repeats and seeds may come from two notes. Those that neither this clone nor the run's own
    writer measured are shown, and turn no verdict.
    """
    found = _notes(here, record)
    repeats = _best(found, lambda noise: noise.repeats)
    seeds = _best(found, _seeds)
    if repeats is None or seeds is None:
        one = repeats or seeds
        return one.noise if one else None
    return replace(repeats.noise, ensemble=seeds.noise.ensemble)


def keep(here: Place, record: Manifest, noise: Noise, *, environment: str) -> Noise:
    """Leave a note of what was measured on this machine; return it with its time and place.

    Raises
    ------
    StoreError
        If it cannot be kept.
    """
    current = machine.platform()
    threads = _threads(record)
    when = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    told = tuple(note[:_LONGEST] for note in noise.notes)
    noise = replace(noise, machine=words(current, threads), measured=when, notes=told)
    note = Measured(
        noise=noise,
        platform=replace(Platform(), **{n: getattr(current, n) for n in (*_DECIDES, "host")}),
        threads=threads,
        when=when,
        who=git.author(here.repository),
        environment=environment[:_LONGEST],
        python=interpreter.python_version(),
    )
    data = {**plain.dump(note), "schema": SCHEMA}
    ledgernotes.put(here.repository, record.id, KIND, documents.canonical_json(data))
    return noise


def words(platform: Platform, threads: int) -> str:
    """Return a machine in words: the processor, its usable cores, the threads of the training."""
    cores = f"{platform.affinity} of {platform.cores or platform.affinity} cores"
    told = f", {threads} thread{'' if threads == 1 else 's'}" if threads else ""
    return f"{platform.cpu or platform.machine or 'an unknown machine'}, {cores}{told}"


def _threads(record: Manifest) -> int:
    return max((pool.threads for pool in record.threads), default=0)


def _notes(here: Place, record: Manifest) -> list[Measured]:
    try:
        notes = ledgernotes.of_run(here.repository, record.id, KIND)
    except MlreproError:
        return []
    current = machine.platform()
    recorders = {e.writer for e in ledger.entries(here.repository) if notes and e.id == record.id}
    found = []
    for note in notes[:_MOST]:
        one = _read(note.data)
        if one is not None:
            trusted = note.mine or note.writer in recorders
            is_here = all(getattr(one.platform, n) == getattr(current, n) for n in _DECIDES)
            told = replace(one.noise, trusted=trusted, here=is_here, measured=one.when)
            found.append(replace(one, noise=told))
    return found


def _read(data: bytes) -> Measured | None:
    """Return a note that anybody may have written, its sizes checked; None where it is none."""
    try:
        raw = json.loads(data)
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            return None
        one = plain.load(Measured, raw, where="note")
    except (MlreproError, ValueError, RecursionError, TypeError, AttributeError):
        return None
    return one if _is_sound(one) else None


def _is_sound(one: Measured) -> bool:
    noise = one.noise
    texts = [one.when, one.who, one.environment, noise.machine, noise.measured, *noise.notes]
    counts = 0 <= noise.identical <= noise.repeats <= _MOST_SEEDS and noise.repeats != 1
    return (
        counts
        and all(len(text) <= _LONGEST for text in texts)
        and all(map(_is_sound_part, _bounded((*noise.artifacts, *noise.recorded))))
        and (noise.ensemble is None or _is_sound_ensemble(noise.ensemble))
    )


def _bounded(parts: Sequence[Repeated]) -> Sequence[Repeated]:
    return parts[:_MOST]


def _is_sound_part(one: Repeated) -> bool:
    return all(_is_finite(m.value) and len(m.name) <= _LONGEST for m in one.measures)


def _is_sound_ensemble(one: Ensemble) -> bool:
    values = [value for column in one.metrics.values() for value in column]
    return (
        len(one.seeds) == len(set(one.seeds)) <= _MOST_SEEDS
        and all(len(column) == len(one.seeds) for column in one.metrics.values())
        and all(map(_is_finite, (*values, *one.recorded.values())))
    )


def _is_finite(value: float) -> bool:
    return math.isfinite(value)


def _best(notes: Iterable[Measured], size: Callable[[Noise], int]) -> Measured | None:
    """Return the note that tells most: of such a machine, trusted, this very one, large, new."""
    host = machine.platform().host

    def worth(one: Measured) -> tuple[bool, bool, bool, int, str]:
        found = one.noise
        return found.here, found.trusted, one.platform.host == host, size(found), one.when

    return max((one for one in notes if size(one.noise)), key=worth, default=None)


def _seeds(noise: Noise) -> int:
    """Count the seeds that were tried; those that moved no number count less than any that did."""
    if noise.ensemble is None:
        return 0
    moved = any(len(set(column)) > 1 for column in noise.ensemble.metrics.values())
    return len(noise.ensemble.seeds) if moved else min(len(noise.ensemble.seeds), 1)


def bounded(measures: Iterable[Measure]) -> tuple[Measure, ...]:
    """Return the measures that a note can hold: finite, their names and places not too long."""
    return tuple(
        replace(m, value=float(m.value), name=m.name[:_LONGEST], where=m.where[:_LONGEST])
        for m in measures
        if _is_finite(m.value)
    )[:_MOST]
