"""Run: snapshot the code, let the training go under observation, record what it read and made."""

from __future__ import annotations

import datetime as dt
import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlrepro import process
from mlrepro.capture import code, observers, variables
from mlrepro.capture import work as works
from mlrepro.capture.work import Options, State, Work
from mlrepro.errors import MlreproError
from mlrepro.stores import git, place
from mlrepro.stores.place import Place

if TYPE_CHECKING:
    from mlrepro.capture.inputs import Known
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
    options = options or Options()
    start = (start or Path.cwd()).resolve()
    here = place.find(start)
    with works.begin(here.root) as work:
        environ, state = _prepare(here, work, command, start, options)
        observer = observers.choose(options.observer, log=work.log, root=here.root, command=command)
        meanwhile = _Meanwhile(here, work, state)
        try:
            ended = process.execute(
                command,
                cwd=start,
                variables=observer.prepare(environ),
                stdout=work.stdout,
                stderr=work.stderr,
                started=meanwhile,
            )
        except process.CannotStartError:
            _forget(here, work)
            raise
        state = replace(state, observer=observer.name)
        recorded, troubles = _record(meanwhile, state, ended, observer, notify)
    return RunResult(ended.status_for_shell, recorded, troubles)


@dataclass
class _Meanwhile:
    """What is done while the training runs; its time costs nobody anything."""

    here: Place
    work: Work
    state: State
    known: Known | None = None

    def __call__(self, pid: int) -> None:
        self.work.started(pid)
        from mlrepro.commands import recording  # noqa: PLC0415  40 ms beside the training

        self.known = recording.prepare(self.here, self.state)


def _prepare(
    here: Place, work: Work, command: Sequence[str], start: Path, options: Options
) -> tuple[dict[str, str], State]:
    """Write down what must survive a kill, and return the child's variables."""
    environ = dict(os.environ)
    # What Python would do by itself, but repeatable.
    environ.setdefault("PYTHONHASHSEED", str(random.SystemRandom().randrange(1, 2**32)))
    troubles: list[str] = []
    snapshot = None
    if here.repo:
        try:
            snapshot = code.snapshot(here.repo, work=work.name)
        except Exception as error:  # noqa: BLE001  recording never stands in the way of a training
            troubles.append(f"the code could not be recorded: {str(error) or type(error).__name__}")
    else:
        troubles.append(f"the code could not be recorded: `{here.root}` cannot be written to")
    now = time.time()
    state = State(
        work=work.name,
        command=tuple(command),
        directory=_directory(here.root, start),
        root=str(here.root),
        started=_utc(now),
        began=now,
        options=options,
        author=git.author(here.repo) if here.repo else "",
        variables=variables.tables(environ, (), salt=work.name),
        snapshot=snapshot,
        troubles=tuple(troubles),
    )
    try:
        work.write(state)
    except OSError as error:
        troubles.append(f"the run's state could not be written: {error.strerror}")
    return environ, replace(state, troubles=tuple(troubles))


def _record(
    meanwhile: _Meanwhile,
    state: State,
    ended: process.Ended,
    observer: observers.Observer,
    notify: Callable[[str], None],
) -> tuple[Recorded | None, tuple[str, ...]]:
    from mlrepro.commands import recording  # noqa: PLC0415  loaded while the training ran

    try:
        recorded = recording.seal(
            meanwhile.here,
            meanwhile.work,
            state,
            ended,
            observer.finish(),
            known=meanwhile.known,
            notify=notify,
        )
    except Exception as error:  # noqa: BLE001  the training is over: its result must stand
        sentence = str(error) or type(error).__name__
        return None, (*state.troubles, f"the run could not be recorded: {sentence}")
    return recorded, recorded.troubles


def _forget(here: Place, work: Work) -> None:
    """Unpin the code of a command that did not start."""
    if here.repo:
        with suppress(MlreproError):
            code.unpin(here.repo, work.name)


def _directory(root: Path, start: Path) -> str:
    directory = os.path.relpath(start.resolve(), root)
    return "" if directory == "." else directory


def _utc(seconds: float) -> str:
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
