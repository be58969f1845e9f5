"""Watchers: the single ways to see a run, each over the same folder of logs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlrepro import probe
from mlrepro.capture import scan
from mlrepro.capture.observation import Observation, Write
from mlrepro.capture.watching import Watching, words
from mlrepro.probe import native

_LIBRARY_REFUSED = frozenset({"musl", "foreign", "sanitizer"})
"""Programs that may not start with the library; the others only leave it aside."""


class Watcher(Protocol):
    """One way to see a run; `observers` puts several of them together."""

    @property
    def name(self) -> str:
        """How the manifest calls it; it may be another one after `prepare` or `finish`."""

    def prepare(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Make ready, and return the variables for the command. Never raises."""

    def finish(self) -> Observation:
        """Say what was seen, after the command has ended."""


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
        seen = _followed(self.watching, native=False)
        if seen.interpreters:
            return seen
        spots = (*seen.blind_spots, "no Python process of this run could be watched")
        return dataclasses.replace(seen, blind_spots=spots, unwatched=True)


@dataclass
class NativeObserver:
    """The preload library in each process, and the probe for what only Python can tell.

    Where it cannot work, the probe watches alone, as it does for `AuditObserver`.
    """

    watching: Watching
    why: str = ""
    """Why it does not watch; empty where it does."""

    @property
    def name(self) -> str:
        """``native``, or ``audit`` where it cannot work."""
        return "audit" if self.why else "native"

    def prepare(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Let every process load the library."""
        result = AuditObserver(self.watching).prepare(variables)
        library = probe.library()
        if library is None:
            self.why = probe.why_not()
            return result
        self.why = self._obstacle(variables)
        return result if self.why else native.preload(result, library)

    def _obstacle(self, variables: Mapping[str, str]) -> str:
        command = self.watching.command
        if command:
            self.watching.word = native.unfit(command[0], variables.get("PATH")) or "1"
        if self.watching.word in _LIBRARY_REFUSED:
            return f"`{command[0]}` does not start with it ({self.watching.word})"
        try:
            native.create(self.watching.log)
        except OSError as error:
            return f"its log cannot be made: {words(error)}"
        return ""

    def finish(self) -> Observation:
        """Read the logs of all processes."""
        if not self.why:
            seen = _followed(self.watching, native=True)
            if seen.name == "native":
                return seen
            self.why = "no process has loaded it"
        spot = f"the native observer is not there: {self.why}; {_WRAPPERS}"
        seen = AuditObserver(self.watching).finish()
        return dataclasses.replace(seen, blind_spots=(*seen.blind_spots, spot))


_WRAPPERS = "files that native libraries open by themselves are seen only through wrappers"


def _followed(watching: Watching, *, native: bool) -> Observation:
    from mlrepro.capture import trail  # noqa: PLC0415  5 ms, which the run's end needs

    seen = trail.observe(
        watching.log,
        watching.root,
        since=watching.since,
        streams=watching.streams,
        shown=watching.shown,
        command=watching.command,
        directory=watching.directory,
        word=watching.word,
        native=native,
    )
    return dataclasses.replace(seen, clock=watching.clock)


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
