"""Watching: what observers must know at the end of a run, kept in the log's folder meanwhile."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlrepro import paths
from mlrepro.capture import scan

_STATE = "watch.json"


@dataclass
class Watching:
    """One run that is watched; `load` reads it in another process, after a kill.

    Attributes
    ----------
    log, root : Path
        The folder of the run's log, and that of the project.
    command : tuple of str
        As it is started.
    names : tuple of str
        The observers.
    since, until : int
        When the run began, by the project's file system; when it ended, if that is known.
    streams : frozenset of (device, inode)
        Files that mlrepro's own output goes to.
    shown : str
        Where the processes see `root`, if it is bound to another place for them.
    clock : int
        What to add to a monotonic time to get ns since the epoch.
    directory : str
        Where the command is started.
    word : str
        Why the command's program cannot load the native observer; ``1`` where it can.
    facts : list of str
        What should be told of the observers themselves.
    """

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
    word: str = "1"
    facts: list[str] = field(default_factory=list)

    def begin(self, names: Sequence[str]) -> bool:
        """Make the folder and write the state; False where that cannot be."""
        self.names, self.streams = tuple(names), _own_files()
        self.clock = time.time_ns() - time.monotonic_ns()
        self.directory = _below(self.root, os.getcwd())
        try:
            self.log.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.since = scan.marker(self.root, self.log).since
            self.save()
        except OSError as error:
            self.facts.append(f"nothing of this run was observed: {words(error)}")
            self.names = ()
        return bool(self.names)

    def save(self) -> None:
        """Write down what another process must know."""
        (self.log / _STATE).write_text(json.dumps(self._state()))

    def _state(self) -> dict[str, Any]:
        return {
            "names": self.names,
            "since": self.since,
            "streams": sorted(self.streams),
            "command": self.command,
            "shown": self.shown,
            "clock": self.clock,
            "directory": self.directory,
            "word": self.word,
            "facts": self.facts,
        }

    @classmethod
    def load(cls, log: Path, root: Path) -> Watching:
        """Read what `begin` wrote; what cannot be read is not known."""
        try:
            state = json.loads(paths.content(log / _STATE))
            return cls(
                log=log,
                root=root,
                command=tuple(map(str, state["command"])),
                names=tuple(map(str, state["names"])),
                since=int(state["since"]),
                shown=str(state["shown"]),
                clock=int(state["clock"]),
                directory=str(state["directory"]),
                word=str(state["word"]),
                facts=list(map(str, state["facts"])),
                streams=frozenset((int(dev), int(ino)) for dev, ino in state["streams"]),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return cls(log=log, root=root)


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


def words(error: OSError) -> str:
    """Say in words what went wrong."""
    return f"{error.strerror or error} ({error.filename})" if error.filename else str(error)
