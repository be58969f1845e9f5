"""Rebuild: open a clean room, restore code and inputs, train again, measure the drift."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mlrepro.capture import libraries, machine
from mlrepro.cleanroom import interpreter
from mlrepro.cleanroom.room import Room
from mlrepro.commands import (
    attesting,
    causes,
    codechanges,
    explaining,
    gates,
    histories,
    judging,
    metricvalues,
    noise,
    packages,
    predicting,
    refs,
    remaking,
    trust,
    weighing,
)
from mlrepro.commands.explaining import Search
from mlrepro.commands.refs import Target
from mlrepro.commands.remaking import How, Made
from mlrepro.drift import Change, DriftReport, Verdict
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

__all__ = ["How", "Search", "exit_code", "rebuild", "rebuild_all"]


def rebuild(
    ref: str,
    *,
    start: Path | None = None,
    how: How | None = None,
    search: Search | None = None,
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
    search : Search, optional
        Look for the cause of a drift by further rebuilds.
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
        how = how or How()
        attesting.check_signing(here, how)
        if how.probe_data is None:  # which may have metrics of its own
            gates.expect(here, target.manifest, how.gates)
        report = _rebuilt_at_last(here, target, how, notify)
        if search is None:
            return report

        told = explaining.Progress(notify)

        def attempt(changed: How) -> DriftReport:
            return _rebuilt_at_last(here, target, changed, told.within)

        found = explaining.explain(here, target, how, report, attempt, search, notify=told.begin)
        return replace(report, attribution=found)


def rebuild_all(
    names: Sequence[str],
    *,
    start: Path | None = None,
    how: How | None = None,
    search: Search | None = None,
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
            yield rebuild(name, start=start, how=how, search=search, confirm=confirm, notify=notify)
        except (ComparisonError, InconclusiveError) as error:
            yield error


def exit_code(outcomes: Iterable[DriftReport | MlreproError], *, exact: bool = False) -> int:
    """Return the exit code of several rebuilds: 1 before 125 before 0."""
    limit = Verdict.IDENTICAL if exact else Verdict.CLOSE
    codes = [
        one.exit_code
        if isinstance(one, MlreproError)
        else int(one.verdict > limit or not all(gate.passed for gate in one.gates))
        for one in outcomes
    ]
    return 1 if 1 in codes else max(codes, default=0)


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
    with remaking.made(here, record, how, folders=folders, notify=notify) as made:
        report = _judged(made, target, how, notify)
        if how.brief:
            return report
        report = _explained(made, report, notify)
        if report.verdict > Verdict.EQUIVALENT:
            predictions, unasked = predicting.predict(
                made, report.artifacts, how.probe_data, notify=notify
            )
            report = replace(
                report,
                predictions=predictions,
                histories=histories.compare(made, notify=notify),
                notes=(*report.notes, *unasked),
            )
        report = replace(report, noise=noise.known(here, record))
        report = replace(report, gates=gates.check(how.gates, made, report))
        numbers, tolerance = metricvalues.of_made(made), how.tolerance
        report = _with_stdin(report, record)
        given = how.probe_data is not None
        report = weighing.weighed(report, record, metrics=numbers, tolerance=tolerance, given=given)
        return attesting.attested(made, report, how, notify=notify)


def _judged(made: Made, target: Target, how: How, notify: Callable[[str], None]) -> DriftReport:
    record, chosen, trained = made.record, made.chosen, made.trained
    had = packages.recorded(made.here, record, notify=notify)
    artifacts, uncompared = judging.judge(
        made.here, record, target.artifact, trained, made.room, how.tolerance, notify=notify
    )
    environment = (
        *interpreter.changes(record, had, chosen),
        *machine.changes(record.platform, machine.platform()),
        *machine.kernels(record.threads, trained.observation.threads),
    )
    return DriftReport(
        run=record.id,
        name=record.run.name,
        artifacts=artifacts,
        code=_code_changes(made.here, record, made.room) if how.head else (),
        environment=environment,
        inputs=made.restored.changes,
        environment_used=chosen.used,
        notes=(*chosen.notes, *made.absent, *made.restored.notes, *trained.notes, *uncompared),
        seconds=trained.ended.seconds,
        recorded_seconds=record.run.seconds,
        room=str(made.room.folder) if how.keep_room else "",
    )


def _explained(made: Made, report: DriftReport, notify: Callable[[str], None]) -> DriftReport:
    """Say of a training that moved what was effective otherwise, and what may be the cause."""
    if report.verdict is Verdict.IDENTICAL:
        return report
    here, record, trained = made.here, made.record, made.trained
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
