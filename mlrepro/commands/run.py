"""Run: snapshot the code, let the training go under observation, record what it read and made."""

from __future__ import annotations

import datetime as dt
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlrepro import process
from mlrepro.capture import code, observers, variables
from mlrepro.capture import work as works
from mlrepro.capture.observers import Observer
from mlrepro.capture.work import Options, State, Work
from mlrepro.errors import MlreproError
from mlrepro.stores import git, place
from mlrepro.stores.place import Place

if TYPE_CHECKING:
    from mlrepro.capture.inputs import Known
    from mlrepro.commands.locker import Locker
    from mlrepro.commands.recording import Recorded


@dataclass(frozen=True)
class RunResult:
    """What `run` did.

    Attributes
    ----------
    exit_code : int
        The command's own, or 128 + the signal that ended it, as a shell says it.
    recorded : Recorded or None
        The record; None where nothing could be recorded.
    troubles : tuple of str
        What could not be recorded, one sentence each.
    """

    exit_code: int
    recorded: Recorded | None
    troubles: tuple[str, ...] = ()


def run(
    command: Sequence[str],
    *,
    start: Path | None = None,
    options: Options | None = None,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> RunResult:
    """Run a command and record how it made its artifacts; never stand in its way.

    Parameters
    ----------
    command : sequence of str
        The command line.
    start : Path, optional
        The working directory; the current one otherwise.
    options : Options, optional
        Name, message, corrections of what is observed.
    notify : callable
        Takes sentences for the user while the recording goes on.

    Returns
    -------
    RunResult

    Raises
    ------
    process.CannotStartError
        If the command cannot be started; nothing else stops it.
    """
    with ExitStack() as stack:
        try:
            folder = (start or Path.cwd()).resolve()
            ready = _prepare(stack, tuple(command), folder, options or Options())
        except Exception as error:  # noqa: BLE001  recording never stands in the way of a training
            return _unrecorded(command, start or Path(os.curdir), error)
        meanwhile = _Meanwhile(ready.here, ready.work, ready.state)
        try:
            ended = process.execute(
                command,
                cwd=folder,
                variables=ready.variables,
                stdout=ready.work.stdout,
                stderr=ready.work.stderr,
                started=meanwhile,
            )
        except process.CannotStartError:
            _forget(ready)
            raise
        recorded, troubles = _record(ready, ended, meanwhile, notify)
    return RunResult(ended.status_for_shell, recorded, troubles)


@dataclass(frozen=True)
class _Ready:
    """All that has to be there before the command starts."""

    here: Place
    work: Work
    state: State
    observer: Observer
    variables: dict[str, str]


@dataclass
class _Meanwhile:
    """What is done while the training runs; its time costs nobody anything."""

    here: Place
    work: Work
    state: State
    known: Known | None = None
    locker: Locker | None = None

    def __call__(self, pid: int) -> None:
        self.work.started(pid)
        from mlrepro.commands import locker, recording  # noqa: PLC0415  beside the training

        self.locker = locker.begin(self.here, self.work.log)
        self.known = recording.prepare(self.here, self.state)
        if self.here.repo:
            self.state = replace(self.state, author=git.author(self.here.repo))
        recording.warm_up()


def _prepare(stack: ExitStack, command: tuple[str, ...], start: Path, options: Options) -> _Ready:
    """Write down what must survive a kill, and make the observer ready."""
    here = place.find(start)
    if works.left(here.root):
        from mlrepro.commands import recording  # noqa: PLC0415  after a kill only

        # Before this run writes over what the killed one made.
        recording.finish_dead(here)
    work = stack.enter_context(works.begin(here.root))
    environ = dict(os.environ)
    # What Python would do by itself, but repeatable.
    environ.setdefault("PYTHONHASHSEED", str(random.SystemRandom().randrange(1, 2**32)))
    snapshot, troubles = _snapshot(here, work)
    observer, odd = _observer(here, work, command, options)
    now = time.time()
    state = State(
        work=work.name,
        command=command,
        directory=_directory(here.root, start),
        root=str(here.root),
        started=_utc(now),
        began=now,
        options=options,
        variables=variables.tables(environ, (), salt=work.name),
        snapshot=snapshot,
        observer=observer.name,
        troubles=(*troubles, *odd),
    )
    try:
        work.write(state)
    except OSError as error:
        sentence = f"the run's state could not be written: {error.strerror}"
        state = replace(state, troubles=(*state.troubles, sentence))
    return _Ready(here, work, state, observer, observer.prepare(environ))


def _snapshot(here: Place, work: Work) -> tuple[code.Snapshot | None, list[str]]:
    if here.repo is None:
        return None, [f"nothing can be recorded in `{here.root}`: it cannot be written to"]
    try:
        return code.snapshot(here.repo, work=work.name), []
    except Exception as error:  # noqa: BLE001  the training goes on without a record of its code
        return None, [f"the code could not be recorded: {_sentence(error)}"]


def _observer(
    here: Place, work: Work, command: Sequence[str], options: Options
) -> tuple[Observer, list[str]]:
    try:
        chosen = observers.choose(options.observer, log=work.log, root=here.root, command=command)
    except MlreproError as error:
        auto = observers.choose("auto", log=work.log, root=here.root, command=command)
        return auto, [f"{error}; `auto` watched instead"]
    return chosen, []


def _unrecorded(command: Sequence[str], start: Path, error: Exception) -> RunResult:
    """Run the command as if mlrepro were not there."""
    nowhere = Path(os.devnull)
    ended = process.execute(
        command, cwd=start, variables=os.environ, stdout=nowhere, stderr=nowhere
    )
    hint = getattr(error, "hint", None)
    sentence = f"the run was not recorded: {_sentence(error)}" + (f" ({hint})" if hint else "")
    return RunResult(ended.status_for_shell, None, (sentence,))


def _record(
    ready: _Ready,
    ended: process.Ended,
    meanwhile: _Meanwhile,
    notify: Callable[[str], None],
) -> tuple[Recorded | None, tuple[str, ...]]:
    from mlrepro.commands import recording  # noqa: PLC0415  loaded while the training ran

    here, work, state = ready.here, ready.work, meanwhile.state
    try:
        recording.note(work, ended)
        observation = ready.observer.finish()
        recorded = recording.seal(
            here, work, state, ended, observation, known=meanwhile.known, notify=notify
        )
    except KeyboardInterrupt:
        sentence = "interrupted while recording; the next mlrepro command finishes the record"
        return None, (*state.troubles, sentence)
    except Exception as error:  # noqa: BLE001  the training is over: its result must stand
        return None, (*state.troubles, f"the run could not be recorded: {_sentence(error)}")
    if meanwhile.locker and recorded.in_ledger:
        with suppress(KeyboardInterrupt):  # the run is recorded; only its lock is not
            meanwhile.locker.finish(recorded.manifest)
    if recorded.in_ledger or here.repo is None:
        works.conclude(here.root, work, began=state.began)
    return recorded, recorded.troubles


def _forget(ready: _Ready) -> None:
    """Leave nothing of a command that did not start."""
    from mlrepro.commands import recording  # noqa: PLC0415  rarely

    recording.unpin(ready.here, ready.work)
    works.conclude(ready.here.root, ready.work)


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: `{error.filename}`" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _directory(root: Path, start: Path) -> str:
    directory = os.path.relpath(start.resolve(), root)
    return "" if directory == "." else directory


def _utc(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
