"""Trail: follow a run's records in the order of their times, and say what it read and wrote."""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from mlrepro import probe
from mlrepro.capture import blindspots, nativelog, records
from mlrepro.capture.children import Family, Program
from mlrepro.capture.filetrail import FileTrail
from mlrepro.capture.guesses import Guesser
from mlrepro.capture.observation import Observation
from mlrepro.capture.processtrail import ProcessTrail
from mlrepro.capture.records import Record
from mlrepro.capture.territory import Territory, of_interpreters


def observe(
    log: Path,
    root: Path,
    *,
    since: int = 0,
    streams: frozenset[tuple[int, int]] = frozenset(),
    shown: str = "",
    command: Sequence[str] = (),
    directory: str = "",
    word: str = "1",
    native: bool = False,
) -> Observation:
    """Read the log of a run that has ended, however it ended.

    Parameters
    ----------
    log : Path
        The folder that the processes wrote to.
    root : Path
        The project's folder, without symlinks.
    since : int
        Files that were last changed before this moment were not written, even if they were
        opened for it.
    streams : frozenset of (device, inode)
        Files that are mlrepro's own standard streams, and so no outputs of the run.
    shown : str
        Where the processes saw `root`, if it was bound to another place for them.
    command : sequence of str
        The command of the run.
    directory : str
        Where it was started; the root otherwise.
    word : str
        As `children.Program.word`, of the command.
    native : bool
        Whether the native observer was to watch; the observation's name says whether it did.
    """
    found = records.read(log)
    trail = Trail(log, Territory(str(root)), shown)
    if command:
        trail.processes.programs.append(Program(tuple(command), word))
    both = nativelog.read(log) if native else nativelog.NativeLog()
    trail.files.by = "native" if both.records else "audit"
    for record in heapq.merge(found.records, both.records, key=lambda record: record.time):
        trail.follow(record)
    trail.malformed += found.damaged + both.damaged
    trail.lost = both.lost
    # A program that leaves the library aside leaves no record either.
    native = native and (bool(trail.processes.started) or word != "1")
    return trail.observation(since, streams, directory=directory, native=native)


class Trail:
    """What the records up to now amount to."""

    def __init__(self, log: Path, territory: Territory, shown: str = "") -> None:
        self.log = log
        self.files = FileTrail(log, territory, shown)
        self.processes = ProcessTrail(log)
        self.malformed = 0
        self.lost = 0
        self._verbs = {**self.files.verbs, **self.processes.verbs}

    def follow(self, record: Record) -> None:
        """Take one record into account; one that is malformed says nothing, and is counted."""
        verb = self._verbs.get(record.kind)
        if verb is None or (record.kind in "rde" and record.pid in self.processes.tools):
            return
        try:
            verb(record)
        except (ValueError, IndexError, TypeError, RecursionError):  # it is the user's process
            self.malformed += 1

    def _own(self) -> tuple[str, ...]:
        """Return the beginnings of the paths of what watches."""
        inject = probe.folder()
        return f"{self.log}/", f"{inject}/", f"{inject.resolve()}/"

    def observation(
        self,
        since: int,
        streams: frozenset[tuple[int, int]],
        *,
        directory: str = "",
        native: bool = False,
    ) -> Observation:
        """Return what is so at the end of the run."""
        files, processes = self.files, self.processes
        skipped = (*self._own(), *of_interpreters(processes.interpreters))
        guesser = Guesser(files.territory, since, directory, skipped)
        family = Family(processes.programs, processes.interpreters, processes.started, native)
        writes = files.outputs(since, streams, skipped)
        reads = files.inputs(
            skipped,
            guessed=itertools.chain(
                guesser.programs(processes.programs),
                guesser.libraries(processes.libraries),
                guesser.arguments(program for program, _ in family.unwatched()),
            ),
        )
        both = {write.path for write in writes} - {read.path for read in reads}
        spots = [
            *family.sentences(),
            *blindspots.network(processes.connections, processes.names),
            *blindspots.appended(
                path.removeprefix(f"{files.territory.root}/")
                for path in files.appended
                if path in both
            ),
            *blindspots.compiled(processes.compiled),
            *blindspots.incomplete(damaged=self.malformed, lost=self.lost),
        ]
        return Observation(
            reads=reads,
            writes=writes,
            interpreters=tuple(processes.interpreters),
            threads=tuple(processes.threads[key] for key in sorted(processes.threads)),
            consulted=processes.looked_up(
                lambda path: files.territory.holds(path) and not path.startswith(skipped)
            ),
            blind_spots=tuple(spots),
            name="native" if native else "audit",
            listed=files.folders(skipped),
            unwatched=bool(processes.compiled) or family.write_unseen(),
            imported=tuple(sorted(processes.imported)),
            libraries=tuple(sorted({os.path.normpath(path) for path in processes.libraries})),
            fits=processes.fits(),
            seedings=tuple(processes.seedings),
            lost=self.lost,
        )
