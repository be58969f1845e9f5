"""Observers: watch a run from its start to its end; one interface, several ways to see."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from mlrepro import probe
from mlrepro.capture import scan
from mlrepro.capture.observation import Observation, Write
from mlrepro.errors import UsageError

_STATE = "watch.json"


class Observer(Protocol):
    """One way to see what a run reads and writes."""

    @property
    def name(self) -> str:
        """How the manifest calls it: ``audit+scan``."""

    def prepare(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Make ready just before the child starts, and return the variables for it.

        Never raises for a folder that cannot be written: the run goes on, and what is not seen
        is a blind spot of the observation.
        """

    def finish(self) -> Observation:
        """Say what was seen, after the child has ended."""


NAMES = ("auto", "native", "audit", "scan", "off")


def choose(
    name: str, *, log: Path, root: Path, command: Sequence[str] = (), shown: str = ""
) -> Observer:
    """Return the observer of a name.

    Parameters
    ----------
    name : str
        ``auto`` (the best there is here), ``audit``, ``scan`` or ``off``.
    log : Path
        A folder of this run alone; made by `prepare`. `recover` reads it after a crash.
    root : Path
        The project's folder, without symlinks.
    command : sequence of str
        The training command; a program that cannot be watched is named.
    shown : str
        Where the processes see `root`, if it is bound to another place for them; what they read
        and write there is told by its place in `root`.

    Raises
    ------
    UsageError
        If there is no such observer.
    """
    if name == "native":
        raise UsageError(
            "the native observer is not built yet", hint="Use `--observer auto` or `audit`."
        )
    table = {"auto": ("audit", "scan"), "audit": ("audit",), "scan": ("scan",), "off": ()}
    if name not in table:
        raise UsageError(f"no observer is called `{name}`", hint=f"There are {', '.join(NAMES)}.")
    # Absolute: the processes of the run have working directories of their own.
    watching = Watching(log=log.resolve(), root=root, command=tuple(command), shown=shown)
    return _Together(watching, _watchers(table[name], watching))


def recover(log: Path, root: Path, *, until: float = 0.0) -> Observation:
    """Say what was seen of a run whose mlrepro was killed, from the log that it left.

    Parameters
    ----------
    log, root : Path
        As for `choose`.
    until : float
        When the run ended, in seconds since the epoch, where that is known: a file that changed
        later is not claimed. Where it is not, that holds two seconds after the run's last sign of
        life for what only the scan saw: it may have been somebody else, days later.
    """
    watching = Watching.load(log, root)
    last = max((path.stat().st_mtime_ns for path in _entries(log)), default=0)
    end = int(until * 1e9) or last + 2 * 10**9
    watching = dataclasses.replace(watching, until=end)
    seen = _Together(watching, _watchers(watching.names or ("audit",), watching)).finish()
    if not until:
        return seen
    changed = [write.path for write in seen.writes if _changed_after(write.path, end)]
    if not changed:
        return seen
    sentence = f"changed after the run, so what it wrote is not known: {', '.join(changed[:5])}"
    return dataclasses.replace(
        seen,
        writes=tuple(write for write in seen.writes if write.path not in changed),
        blind_spots=(*seen.blind_spots, sentence),
    )


def _changed_after(path: str, moment: int) -> bool:
    try:
        return Path(path).stat().st_ctime_ns > moment
    except OSError:
        return False


def _watchers(names: Sequence[str], watching: Watching) -> tuple[AuditObserver | ScanObserver, ...]:
    kinds: dict[str, Callable[[Watching], AuditObserver | ScanObserver]]
    kinds = {"audit": AuditObserver, "scan": ScanObserver}
    return tuple(kinds[name](watching) for name in names if name in kinds)


@dataclass
class Watching:
    """What observers must know at the end; it lies in the log's folder for another process."""

    log: Path
    root: Path
    command: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    since: int = 0
    until: int | None = None
    streams: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    shown: str = ""
    clock: int = 0
    directory: str = ""
    blind: list[str] = field(default_factory=list)

    def begin(self, names: Sequence[str]) -> bool:
        """Make the folder and write the state; False where that cannot be."""
        self.names, self.streams = tuple(names), _own_files()
        self.clock = time.time_ns() - time.monotonic_ns()
        self.directory = _below(self.root, os.getcwd())
        try:
            self.log.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.since = scan.marker(self.root, self.log).since
            (self.log / _STATE).write_text(json.dumps(self._state()))
        except OSError as error:
            self.blind.append(f"nothing of this run was observed: {_words(error)}")
            self.names = ()
        return bool(self.names)

    def _state(self) -> dict[str, Any]:
        return {
            "names": self.names,
            "since": self.since,
            "streams": sorted(self.streams),
            "command": self.command,
            "shown": self.shown,
            "clock": self.clock,
            "directory": self.directory,
        }

    @classmethod
    def load(cls, log: Path, root: Path) -> Watching:
        """Read what `begin` wrote; what cannot be read is not known."""
        try:
            state = json.loads((log / _STATE).read_text())
            return cls(
                log=log,
                root=root,
                command=tuple(map(str, state["command"])),
                names=tuple(map(str, state["names"])),
                since=int(state["since"]),
                shown=str(state["shown"]),
                clock=int(state["clock"]),
                directory=str(state["directory"]),
                streams=frozenset((int(dev), int(ino)) for dev, ino in state["streams"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return cls(log=log, root=root)


@dataclass
class AuditObserver:
    """The probe inside each Python process: its audit hook and the wrapped native calls."""

    watching: Watching
    name = "audit"

    def prepare(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Let Python processes find the probe, and the probe its log."""
        folder = str(probe.folder())
        path = [entry for entry in variables.get("PYTHONPATH", "").split(":") if entry != folder]
        # An empty entry means the working directory to Python: one that was there stays there.
        rest = ":".join(path)
        result = {k: v for k, v in variables.items() if k != f"{probe.LOG}_SAID"}
        return result | {
            "PYTHONPATH": f"{folder}:{rest}" if rest else folder,
            probe.LOG: str(self.watching.log),
        }

    def finish(self) -> Observation:
        """Read the log of all processes."""
        from mlrepro.capture import trail  # noqa: PLC0415  5 ms, which the run's end needs

        watching = self.watching
        seen = trail.observe(
            watching.log,
            watching.root,
            since=watching.since,
            streams=watching.streams,
            shown=watching.shown,
            command=watching.command,
            directory=watching.directory,
        )
        spots = seen.blind_spots
        if not seen.interpreters:
            spots = (*spots, "no Python process of this run could be watched")
        return dataclasses.replace(
            seen,
            clock=watching.clock,
            blind_spots=spots,
            unwatched=seen.unwatched or not seen.interpreters,
        )


@dataclass
class ScanObserver:
    """The project's folder before and after: it sees what was changed, by whomever."""

    watching: Watching
    name = "scan"

    def prepare(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Leave the variables as they are; the moment was marked by `Watching.begin`."""
        return dict(variables)

    def finish(self) -> Observation:
        """Look for what has changed since."""
        if not self.watching.since:
            return Observation(name=self.name)
        watching = self.watching
        changes = scan.changes(
            watching.root, watching.since, until=watching.until, skip=watching.log
        )
        writes = [Write(path, "scan") for path in changes.paths if not self._is_stream(path)]
        spots = (
            () if changes.complete else (f"more than {scan.MOST:,} files: not all were scanned",)
        )
        return Observation(writes=tuple(writes), name=self.name, blind_spots=spots, unwatched=True)

    def _is_stream(self, path: str) -> bool:
        try:
            status = Path(path).stat()
        except OSError:
            return True  # gone again
        return (status.st_dev, status.st_ino) in self.watching.streams


@dataclass
class _Together:
    """Several observers of one run; none of them means that nothing is observed."""

    watching: Watching
    watchers: tuple[AuditObserver | ScanObserver, ...]

    @property
    def name(self) -> str:
        return "+".join(watcher.name for watcher in self.watchers) or "off"

    def prepare(self, variables: Mapping[str, str]) -> dict[str, str]:
        result = dict(variables)
        if self.watchers and not self.watching.begin([w.name for w in self.watchers]):
            self.watchers = ()
        for watcher in self.watchers:
            result = watcher.prepare(result)
        return result

    def finish(self) -> Observation:
        seen = [watcher.finish() for watcher in self.watchers]
        if not seen:
            spots = self.watching.blind or ["the observer was off: reads and writes are not known"]
            return Observation(blind_spots=tuple(spots), name=self.name)
        if len(seen) == 1:
            return seen[0]
        first, second = seen
        return dataclasses.replace(
            first,
            writes=_merged(first.writes, second.writes),
            blind_spots=(*first.blind_spots, *second.blind_spots),
            name=self.name,
        )


def _merged(audited: Sequence[Write], scanned: Sequence[Write]) -> tuple[Write, ...]:
    found = {write.path: write for write in audited}
    for write in scanned:
        known = found.get(write.path)
        if known is not None:
            write = dataclasses.replace(known, seen=f"{known.seen}+{write.seen}")  # noqa: PLW2901
        found[write.path] = write
    return tuple(found[path] for path in sorted(found))


def _below(root: Path, folder: str) -> str:
    """Return the folder where it lies in the root: that of a clean room is not ours."""
    return folder if f"{folder}/".startswith(f"{root}/") else str(root)


def _own_files() -> frozenset[tuple[int, int]]:
    """Files that mlrepro's own output goes to: ``mlrepro run … > train.log``."""
    found = set()
    for descriptor in (1, 2):
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        if stat.S_ISREG(status.st_mode):
            found.add((status.st_dev, status.st_ino))
    return frozenset(found)


def _entries(log: Path) -> list[Path]:
    try:
        return list(log.iterdir())
    except OSError:
        return []


def _words(error: OSError) -> str:
    return f"{error.strerror or error} ({error.filename})" if error.filename else str(error)
