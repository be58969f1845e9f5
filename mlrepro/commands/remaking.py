"""Remaking: a recorded run, restored into a clean room and trained again; lent for a while."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlrepro import manifest
from mlrepro.capture import variables
from mlrepro.cleanroom import interpreter, restore, training
from mlrepro.cleanroom import room as rooms
from mlrepro.cleanroom.factors import EVALUATIONS, Factors
from mlrepro.cleanroom.interpreter import Chosen
from mlrepro.cleanroom.restore import Restored
from mlrepro.cleanroom.room import Room
from mlrepro.cleanroom.training import Plan, Trained
from mlrepro.drift import Tolerance
from mlrepro.errors import MlreproError
from mlrepro.manifest import Manifest
from mlrepro.stores.place import Place


@dataclass(frozen=True)
class How:
    """How a rebuild is made.

    Attributes
    ----------
    head : bool
        Train with the code of HEAD instead of the recorded one.
    threads : bool
        Give every pool of threads its recorded size.
    tolerance : Tolerance
        What counts as close.
    keep_room : bool
        Leave the clean room behind.
    env : str
        ``lock``: train in the recorded environment, where it can be had; ``current``: in the
        active one.
    factors : Factors
        What is changed on purpose, to find out what matters.
    probe_data : Path or None
        Rows that both models are asked about where they differ; a table with a header.
    gates : tuple of (str, float)
        Metric and the least that its rebuilt value has to be.
    sign : bool
        Sign the record of the rebuild as git signs commits.
    brief : bool
        Only the artifacts are compared: no predictions, no attestation (for repeats).
    """

    head: bool = False
    threads: bool = True
    tolerance: Tolerance = field(default_factory=Tolerance)
    keep_room: bool = False
    env: str = "lock"
    factors: Factors = field(default_factory=Factors)
    probe_data: Path | None = None
    gates: tuple[tuple[str, float], ...] = ()
    sign: bool = False
    brief: bool = False


@dataclass(frozen=True)
class Made:
    """A run that was trained again; its room and its environment stand as long as it is lent.

    Attributes
    ----------
    here : Place
    record : Manifest
        The recorded run.
    room : Room
        Where it was trained.
    chosen : Chosen
        The environment that it was trained in.
    restored : Restored
        What was put into the room.
    trained : Trained
        How the training ended and what it made.
    absent : tuple of str
        What this machine lacks, in sentences.
    evaluations : Path
        The folder in which the probe kept the rows that models were tested on.
    plan : Plan or None
        How the training was started.
    """

    here: Place
    record: Manifest
    room: Room
    chosen: Chosen
    restored: Restored
    trained: Trained
    absent: tuple[str, ...]
    evaluations: Path
    plan: Plan | None = None


@contextlib.contextmanager
def made(
    here: Place,
    record: Manifest,
    how: How,
    *,
    folders: bool = True,
    notify: Callable[[str], None],
) -> Iterator[Made]:
    """Restore a run into a clean room and train it again.

    Parameters
    ----------
    folders : bool
        Whether the folders of recorded outputs are made beforehand.

    Raises
    ------
    MlreproError
        If it cannot be restored, or its training fails.
    """
    factors = how.factors
    with (
        rooms.opened(here, record, head=how.head, keep=how.keep_room, notify=notify) as room,
        _named_room(room if how.keep_room else None),
        interpreter.lent(
            here, record, how.env, os.environ, lock=factors.lock, notify=notify
        ) as chosen,
    ):
        restored = restore.restore(
            here, record, room, folders=folders, head=how.head, notify=notify
        )
        factors.edit(room)
        plan = training.plan(here, _commanded(record, factors), chosen, room, restored.binds)
        absent = _absent(record)
        for sentence in (*absent, *_elsewhere(record)):
            notify(sentence)
        notify(f"training (it took {record.run.seconds:.1f} s when it was recorded)")
        evaluations = room.work / "evaluations"
        if not how.brief:
            evaluations.mkdir()
            factors = replace(
                factors, variables={**factors.variables, EVALUATIONS: str(evaluations)}
            )
        trained = training.train(record, plan, room, threads=how.threads, factors=factors)
        yield Made(here, record, room, chosen, restored, trained, absent, evaluations, plan)


def _commanded(record: Manifest, factors: Factors) -> Manifest:
    if not factors.command:
        return record
    return manifest.replace(record, run=replace(record.run, command=factors.command))


@contextlib.contextmanager
def _named_room(kept: Room | None) -> Iterator[None]:
    """Say of a rebuild that failed where its room is kept: that is when one needs it."""
    try:
        yield
    except MlreproError as error:
        if kept:
            told = [error.hint] if error.hint else []
            error.hint = "\n".join([*told, f"The clean room is kept: {kept.folder}"])
        raise


def _absent(record: Manifest) -> tuple[str, ...]:
    names = variables.absent(record.variables, os.environ)
    return (f"variables of the recorded run that are not set here: {', '.join(names)}",) * bool(
        names
    )


_WRITTEN = "written outside the project"
_LIES = "it lies outside the project: "


def _elsewhere(record: Manifest) -> list[str]:
    """Say that a rebuild writes where the run did, in the places that no room covers."""
    seen = (s for s in record.blind_spots if _LIES in s or s.startswith(_WRITTEN))
    return [f"{sentence}; the rebuild writes there too" for sentence in seen]
