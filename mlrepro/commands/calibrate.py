"""Calibrate: repeat a recorded training, to learn how far it moves by itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlrepro import paths
from mlrepro.cleanroom import borrowed, restore
from mlrepro.cleanroom import room as rooms
from mlrepro.commands import metricvalues, noise, refs, repeating, seeding, trust
from mlrepro.commands.repeating import Repeat
from mlrepro.commands.seeding import Seed
from mlrepro.drift import Ensemble, Noise
from mlrepro.errors import ComparisonError, InconclusiveError, MlreproError, StoreError, UsageError
from mlrepro.manifest import Manifest
from mlrepro.stores import place
from mlrepro.stores.place import Place

_LARGEST_SEED = 2**53


def calibrate(
    ref: str,
    *,
    repeats: int = 2,
    seeds: int = 0,
    seed_param: str = "",
    recorded_counts: bool = False,
    start: Path | None = None,
    confirm: Callable[[Manifest], bool] = lambda _record: True,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> Noise:
    """Measure the run-to-run spread of a run on this machine, and its spread over seeds.

    What was measured is kept in the ledger. Where it is interrupted, what is finished is kept.

    Parameters
    ----------
    ref : str
        An artifact, a manifest or a run.
    repeats : int
        Trainings with nothing changed; at least 2, or 0 for none.
    seeds : int
        Trainings with another seed each; at least 2, or 0 for none.
    seed_param : str
        The seed's name; found in the recorded parameters otherwise.
    recorded_counts : bool
        Whether the recorded run, made just now on this machine, is the first of the repeats.
    start : Path, optional
        Where the user stands.
    confirm : callable
        Asked before a command that somebody else recorded is run for the first time.
    notify : callable
        Takes a sentence before each step.

    Raises
    ------
    UsageError
        If the REF cannot be used, or no seed is found.
    InconclusiveError
        If the training cannot be repeated.
    """
    if repeats == 1 or not (repeats or seeds):
        raise UsageError("one training tells nothing of its spread: at least 2 repeats, or seeds")
    if seeds == 1:
        raise UsageError("one other seed tells nothing of their spread: at least 2 seeds")
    try:
        here = place.strict((start or Path.cwd()).resolve())
        record = refs.resolve(here, ref, start=start, notify=notify).manifest
        trust.require(here, record, confirm)
        seed = _seed(here, record, seed_param, notify) if seeds else None
        with borrowed.folder(rooms.cache_home() / "rooms") as folder:
            work = _Work(here, record, folder, notify)
            return work.measure(repeats, recorded_counts, seed, seeds)
    except StoreError as error:
        raise InconclusiveError(str(error), hint=error.hint) from error
    except OSError as error:
        where = f" `{error.filename}`" if error.filename else ""
        raise InconclusiveError(f"{error.strerror or error}{where}") from error


def _seed(here: Place, record: Manifest, wanted: str, notify: Callable[[str], None]) -> Seed:
    def content(path: str) -> bytes:
        paths.inside(path, where="file of parameters")
        with rooms.opened(here, record, notify=notify) as room:
            restore.restore(here, record, room, notify=notify)
            file = paths.resolve_inside(room.root, path)
            if not file.is_file():
                raise UsageError(f"run {record.short} has no such file")
            return file.read_bytes()

    return seeding.find(record, wanted, content)


@dataclass
class _Work:
    """Trainings that are going on, and what is known so far."""

    here: Place
    record: Manifest
    folder: Path
    notify: Callable[[str], None]
    repeats: list[Repeat] = field(default_factory=list)
    seeds: dict[int, Repeat] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    wanted: int = 0
    started: int = 0
    began: float = 0.0

    def measure(self, repeats: int, recorded_counts: bool, seed: Seed | None, seeds: int) -> Noise:
        """Train all, and keep what is finished even if somebody stops it."""
        trainings = max(repeats - recorded_counts, 0)
        self.wanted = trainings + seeds
        try:
            for number in range(trainings):
                self._repeat(number)
            if seed:
                for one in seed.others(seeds):
                    self._seeded(one, seed)
        except KeyboardInterrupt:
            self._keep_partly(recorded_counts, seed)
            raise
        return self._kept(self._noise(recorded_counts, seed))

    def _repeat(self, number: int) -> None:
        self._tell()
        try:
            into = self.folder / str(number)
            one = repeating.trained(
                self.here, self.record, into=into, earlier=self.repeats, notify=self._aside()
            )
        except InconclusiveError as error:
            if not self.repeats:
                raise
            self.notes.append(f"repeat {number + 1} failed and is left out: {_why(error)}")
            return
        self.repeats.append(one)

    def _seeded(self, number: int, seed: Seed) -> None:
        self._tell()
        try:
            self.seeds[number] = repeating.trained(
                self.here, self.record, factors=seed.factors(number), notify=self._aside()
            )
        except InconclusiveError as error:
            self.notes.append(f"seed {number} failed and is left out: {_why(error)}")

    def _tell(self) -> None:
        """Say how far it is, and how long it will take, as far as the trainings so far tell."""
        now = time.monotonic()
        self.began = self.began or now
        each = (now - self.began) / self.started if self.started else self.record.run.seconds
        left = each * (self.wanted - self.started)
        self.started += 1
        self.notify(f"training {self.started} of {self.wanted}, about {_duration(left)} left")

    def _aside(self) -> Callable[[str], None]:
        """Pass on what is said of the first training; the others say the same."""
        first = self.started == 1
        return lambda sentence: None if not first or _is_told(sentence) else self.notify(sentence)

    def _keep_partly(self, recorded_counts: bool, seed: Seed | None) -> None:
        enough = len(self.repeats) + recorded_counts >= 2 or len(self.seeds) >= 2
        if not enough:
            return
        done = len(self.repeats) + len(self.seeds)
        self.notes.append(f"interrupted after {done} of {self.wanted} trainings")
        kept = self._kept(self._noise(recorded_counts, seed)).measured
        what = "is kept" if kept else "could not be kept"
        self.notify(f"interrupted: what {done} of {self.wanted} trainings told {what}")

    def _noise(self, recorded_counts: bool, seed: Seed | None) -> Noise:
        noise_ = self._floor(recorded_counts)
        ensemble = self._ensemble(seed) if seed else None
        if not noise_.repeats and ensemble is None:
            raise InconclusiveError(
                "fewer than two trainings succeeded, so nothing is known of their spread",
                hint="; ".join(self.notes) or None,
            )
        return replace(noise_, ensemble=ensemble, notes=tuple(self.notes))

    def _floor(self, recorded_counts: bool) -> Noise:
        count = len(self.repeats) + recorded_counts
        if count < 2 or not self.repeats:
            return Noise()
        try:
            identical, artifacts = repeating.spread(
                self.record, self.repeats, recorded_counts=recorded_counts
            )
        except ComparisonError as error:
            self.notes.append(f"the repeats cannot be compared: {error}")
            return Noise()
        against = () if recorded_counts else repeating.recorded(self.record, self.repeats)
        return Noise(count, identical, artifacts=artifacts, recorded=against)

    def _ensemble(self, seed: Seed) -> Ensemble | None:
        if not self.seeds:
            return None
        columns = _columns([one.metrics for one in self.seeds.values()])
        if not columns:
            self.notes.append("the trainings with other seeds told no number to be compared")
        known = seed.recorded is not None and abs(seed.recorded) < _LARGEST_SEED
        recorded = metricvalues.of_record(self.here, self.record)
        if not _moved(columns, recorded):
            self.notes.append(
                f"no number moved with {seed.parameter}: either this training is seeded otherwise,"
                " or its numbers do not depend on the seed"
            )
        return Ensemble(
            parameter=seed.parameter,
            seeds=tuple(self.seeds),
            recorded_seed=seed.recorded if known else None,
            metrics=columns,
            recorded={name: value for name, value in recorded.items() if name in columns},
        )

    def _kept(self, noise_: Noise) -> Noise:
        environments = [one.environment for one in (*self.repeats, *self.seeds.values())]
        try:
            return noise.keep(self.here, self.record, noise_, environment=environments[0])
        except MlreproError as error:
            return replace(noise_, notes=(*noise_.notes, f"it could not be kept: {error}"))


def _why(error: MlreproError) -> str:
    """Return an error in one line, with the last words of a training that failed."""
    _, said, last = (error.hint or "").partition("It said:\n")
    return f"{error}: {last.rpartition(chr(10))[2]:.160}" if said else str(error)


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, tuple[float, ...]]:
    """Return the metrics that every training has, each with its values."""
    names = [name for name in rows[0] if all(name in row for row in rows)]
    return {name: tuple(row[name] for row in rows) for name in names}


def _moved(columns: Mapping[str, Sequence[float]], recorded: Mapping[str, float]) -> bool:
    return not columns or any(
        len({*column, *([recorded[name]] if name in recorded else [])}) > 1
        for name, column in columns.items()
    )


def _is_told(sentence: str) -> bool:
    return sentence.startswith("training (")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
