"""Rebuild: open a clean room, restore code and inputs, train again, measure the drift."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlrepro.capture import libraries, machine, variables
from mlrepro.cleanroom import interpreter, restore, training
from mlrepro.cleanroom import room as rooms
from mlrepro.cleanroom.room import Room
from mlrepro.cleanroom.training import Trained
from mlrepro.commands import causes, codechanges, judging, packages, refs, trust
from mlrepro.commands.refs import Target
from mlrepro.drift import Change, DriftReport, Tolerance, Verdict
from mlrepro.errors import (
    ComparisonError,
    InconclusiveError,
    MlreproError,
    StoreError,
    TrainingFailedError,
)
from mlrepro.manifest import Manifest
from mlrepro.stores import place
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
    """

    head: bool = False
    threads: bool = True
    tolerance: Tolerance = field(default_factory=Tolerance)
    keep_room: bool = False
    env: str = "lock"


def rebuild(
    ref: str,
    *,
    start: Path | None = None,
    how: How | None = None,
    confirm: Callable[[Manifest], bool] = lambda _record: True,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> DriftReport:
    """Train again from a manifest and report the drift of every artifact.

    Parameters
    ----------
    ref : str
        An artifact, a manifest or a run; an artifact is judged alone.
    start : Path, optional
        Where the user stands; the current folder otherwise.
    how : How, optional
        What is taken from the record and what is not.
    confirm : callable
        Asked before a command that somebody else recorded is run for the first time.
    notify : callable
        Takes a sentence before each step.

    Returns
    -------
    DriftReport

    Raises
    ------
    UsageError
        If the REF or its manifest cannot be used.
    InconclusiveError
        If the run cannot be restored, its training fails, or there is nothing to compare.
    """
    with _never_drifted():
        here = place.strict((start or Path.cwd()).resolve())
        target = refs.resolve(here, ref, start=start, notify=notify)
        trust.require(here, target.manifest, confirm)
        return _rebuilt_at_last(here, target, how or How(), notify)


def rebuild_all(
    names: Sequence[str],
    *,
    start: Path | None = None,
    how: How | None = None,
    confirm: Callable[[Manifest], bool] = lambda _record: True,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> Iterator[DriftReport | MlreproError]:
    """Rebuild several, one after the other; one that cannot be told does not stop the next.

    The exit code of all is 1 if any has drifted, else 125 if any could not be told, else 0: what
    has moved is known, whatever else is not. See `exit_code`.

    Yields
    ------
    DriftReport or MlreproError
        For each REF in order; an error of exit code 125.

    Raises
    ------
    UsageError
        If a REF names nothing; before anything is trained.
    """
    with _never_drifted():
        here = place.strict((start or Path.cwd()).resolve())
        for name in names:
            refs.resolve(here, name, start=start, notify=notify)
    for name in names:
        try:
            yield rebuild(name, start=start, how=how, confirm=confirm, notify=notify)
        except (ComparisonError, InconclusiveError) as error:
            yield error


def exit_code(outcomes: Iterable[DriftReport | MlreproError], *, exact: bool = False) -> int:
    """Return the exit code of several rebuilds: 1 before 125 before 0."""
    limit = Verdict.IDENTICAL if exact else Verdict.CLOSE
    codes = [
        one.exit_code if isinstance(one, MlreproError) else int(one.verdict > limit)
        for one in outcomes
    ]
    return 1 if 1 in codes else max(codes, default=0)


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


@contextlib.contextmanager
def _never_drifted() -> Iterator[None]:
    """Let no trouble of ours end with 1, which is *drifted* to `git bisect run`."""
    try:
        yield
    except BrokenPipeError:
        raise
    except StoreError as error:
        raise InconclusiveError(str(error), hint=error.hint) from error
    except OSError as error:
        where = f" `{error.filename}`" if error.filename else ""
        raise InconclusiveError(f"{error.strerror or error}{where}") from error


def _rebuilt_at_last(
    here: Place, target: Target, how: How, notify: Callable[[str], None]
) -> DriftReport:
    try:
        return _rebuilt(here, target, how, notify, folders=True)
    except TrainingFailedError as error:
        if "File exists" not in (error.hint or ""):
            raise
    # A folder that the room had made beforehand was in the way of a plain `os.makedirs`.
    notify("training again: it wants to make its folders by itself")
    return _rebuilt(here, target, how, notify, folders=False)


def _rebuilt(
    here: Place, target: Target, how: How, notify: Callable[[str], None], *, folders: bool
) -> DriftReport:
    record = target.manifest
    with (
        rooms.opened(here, record, head=how.head, keep=how.keep_room, notify=notify) as room,
        _named_room(room if how.keep_room else None),
        interpreter.lent(here, record, how.env, os.environ, notify=notify) as chosen,
    ):
        restored = restore.restore(
            here, record, room, folders=folders, head=how.head, notify=notify
        )
        had = packages.recorded(here, record, notify=notify)
        plan = training.plan(here, record, chosen, room, restored.binds)
        absent = _absent(record)
        for sentence in (*absent, *_elsewhere(record)):
            notify(sentence)
        notify(f"training (it took {record.run.seconds:.1f} s when it was recorded)")
        trained = training.train(record, plan, room, threads=how.threads)
        artifacts, uncompared = judging.judge(
            here, record, target.artifact, trained, room, how.tolerance, notify=notify
        )
        environment = (
            *interpreter.changes(record, had, chosen),
            *machine.changes(record.platform, machine.platform()),
        )
        report = DriftReport(
            run=record.id,
            name=record.run.name,
            artifacts=artifacts,
            code=_code_changes(here, record, room) if how.head else (),
            environment=environment,
            inputs=restored.changes,
            environment_used=chosen.used,
            notes=(*chosen.notes, *absent, *restored.notes, *trained.notes, *uncompared),
            seconds=trained.ended.seconds,
            recorded_seconds=record.run.seconds,
            room=str(room.folder) if how.keep_room else "",
        )
        report = _explained(here, report, record, trained, notify)
    return _with_stdin(report, record)


def _explained(
    here: Place,
    report: DriftReport,
    record: Manifest,
    trained: Trained,
    notify: Callable[[str], None],
) -> DriftReport:
    """Say of a training that moved what was effective otherwise, and what may be the cause."""
    if report.verdict is Verdict.IDENTICAL:
        return report
    was, now = causes.of_record(record), causes.of_training(trained, record)
    suspects = causes.suspects(was, now, record) if report.verdict > Verdict.EQUIVALENT else ()
    loaded = libraries.found(trained.observation.libraries)
    native = causes.native(here, record, loaded, report.environment, notify=notify)
    return replace(
        report,
        environment=(*report.environment, *native),
        training=causes.changes(was, now),
        notes=(*report.notes, *suspects),
    )


def _with_stdin(report: DriftReport, record: Manifest) -> DriftReport:
    """Say that a pipe's content is not recorded, where that may be why something moved."""
    if record.run.stdin != "pipe" or report.verdict <= Verdict.EQUIVALENT:
        return report
    note = "the run had a pipe as its standard input, which is not recorded and was empty here"
    return replace(report, notes=(*report.notes, note))


def _code_changes(here: Place, record: Manifest, room: Room) -> tuple[Change, ...]:
    """Name the code files that differ between the record and HEAD."""
    if record.code is None:
        return ()
    return codechanges.between(here, record.code.tree, room.tree, record)


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
