"""Observers: watch a run from its start to its end; one interface, several ways to see."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlrepro import probe
from mlrepro.capture import blindspots
from mlrepro.capture.observation import Observation, Write
from mlrepro.capture.watchers import (
    AuditObserver,
    NativeObserver,
    ScanObserver,
    Watcher,
)
from mlrepro.capture.watching import Watching
from mlrepro.errors import UsageError


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
_MEANING = {"auto": "native+scan", "off": ""}
_KINDS: Mapping[str, Callable[[Watching], Watcher]] = {
    "native": NativeObserver,
    "audit": AuditObserver,
    "scan": ScanObserver,
}


def choose(
    name: str, *, log: Path, root: Path, command: Sequence[str] = (), shown: str = ""
) -> Observer:
    """Return the observer of a name.

    Parameters
    ----------
    name : str
        ``auto`` (the best there is here), ``native``, ``audit``, ``scan``, ``off``, or several
        as they are told in a manifest: ``audit+scan``.
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
    names = tuple(filter(None, _MEANING.get(name, name).split("+")))
    if not set(names) <= _KINDS.keys():
        raise UsageError(f"no observer is called `{name}`", hint=f"There are {', '.join(NAMES)}.")
    if name == "native" and probe.library() is None:
        raise UsageError(
            f"the native observer is not there: {probe.why_not()}",
            hint="Use `--observer auto`, which takes the best that there is.",
        )
    # Absolute: the processes of the run have working directories of their own.
    watching = Watching(log=log.resolve(), root=root, command=tuple(command), shown=shown)
    return _Together(watching, _watchers(names, watching))


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


def _watchers(names: Sequence[str], watching: Watching) -> tuple[Watcher, ...]:
    return tuple(_KINDS[name](watching) for name in names if name in _KINDS)


@dataclass
class _Together:
    """Several observers of one run; none of them means that nothing is observed."""

    watching: Watching
    watchers: tuple[Watcher, ...]

    @property
    def name(self) -> str:
        return "+".join(watcher.name for watcher in self.watchers) or "off"

    def prepare(self, variables: Mapping[str, str]) -> dict[str, str]:
        result = dict(variables)
        if self.watchers and not self.watching.begin([w.name for w in self.watchers]):
            self.watchers = ()
        for watcher in self.watchers:
            result = watcher.prepare(result)
        if self.watchers:
            self.watching.names = tuple(watcher.name for watcher in self.watchers)
            with suppress(OSError):  # full by now: the first state is there
                self.watching.save()
        return result

    def finish(self) -> Observation:
        seen = [watcher.finish() for watcher in self.watchers]
        if not seen:
            spots = self.watching.facts or ["the observer was off: reads and writes are not known"]
            return Observation(blind_spots=tuple(spots), name=self.name)
        if len(seen) == 1:
            return seen[0]
        first, second = seen
        writes = _merged(first.writes, second.writes)
        spots = [*first.blind_spots, *second.blind_spots]
        if first.name == "native" and not first.unwatched:
            spots += blindspots.without_event(self._names(w for w in writes if w.seen == "scan"))
        return dataclasses.replace(
            first,
            writes=writes,
            blind_spots=tuple(spots),
            name=self.name,
        )

    def _names(self, writes: Iterable[Write]) -> list[str]:
        return [write.path.removeprefix(f"{self.watching.root}/") for write in writes]


def _merged(audited: Sequence[Write], scanned: Sequence[Write]) -> tuple[Write, ...]:
    found = {write.path: write for write in audited}
    for write in scanned:
        known = found.get(write.path)
        if known is not None:
            write = dataclasses.replace(known, seen=f"{known.seen}+{write.seen}")  # noqa: PLW2901
        found[write.path] = write
    return tuple(found[path] for path in sorted(found))


def _entries(log: Path) -> list[Path]:
    try:
        return list(log.iterdir())
    except OSError:
        return []
