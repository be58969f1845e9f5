"""Trail: follow a run's records in the order of their times, and say what it read and wrote."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable
from pathlib import Path

from mlrepro.capture import children, records
from mlrepro.capture.observation import Interpreter, Observation, Read, Stat, Write
from mlrepro.capture.records import Record
from mlrepro.capture.territory import Territory, real
from mlrepro.manifest import ThreadPool

_LOCAL = ("127.", "localhost", "::1", "0.0.0.0")  # noqa: S104  names to tell apart, nothing is bound
_OWN_SOCKETS = ("pymp-", "/nscd/", "/.X11-unix/", "listener-", "/run/systemd/")


def observe(
    log: Path,
    root: Path,
    *,
    since: int = 0,
    streams: frozenset[tuple[int, int]] = frozenset(),
    shown: str = "",
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
    """
    found = records.read(log)
    trail = Trail(log, Territory(str(root)), shown)
    for record in found.records:
        trail.follow(record)
    return trail.observation(since, streams, damaged=found.damaged)


class Trail:
    """What the records up to now amount to."""

    def __init__(self, log: Path, territory: Territory, shown: str = "") -> None:
        self.log = log
        self.shown = shown.rstrip("/")
        self.territory = territory
        self.reads: dict[str, Read] = {}
        self.writes: dict[str, Write] = {}
        self.made: set[str] = set()
        self.appended: dict[str, None] = {}
        self.interpreters: list[Interpreter] = []
        self.threads: dict[tuple[str, str], ThreadPool] = {}
        self.consulted: set[str] = set()
        self.listed: set[str] = set()
        self.programs: list[tuple[tuple[str, ...], bool]] = []
        self.connections: dict[str, None] = {}
        self.names: dict[str, None] = {}
        self.compiled: dict[str, None] = {}
        self._folders: dict[str, str] = {}
        self._verbs: dict[str, Callable[[Record], None]] = {
            "r": self._read,
            "w": self._write,
            "a": self._append,
            "u": self._update,
            "m": self._move,
            "k": self._keep,
            "i": self._start,
            "t": self._pool,
            "e": self._consult,
            "d": self._list,
            "x": self._run,
            "n": self._connect,
            "b": self._import,
        }

    def follow(self, record: Record) -> None:
        """Take one record into account; one that is malformed says nothing."""
        verb = self._verbs.get(record.kind)
        if verb is None:
            return
        try:
            verb(record)
        except (ValueError, IndexError):  # cut off in the middle, and still with an end
            return

    def observation(
        self, since: int, streams: frozenset[tuple[int, int]], *, damaged: int
    ) -> Observation:
        """Return what is so at the end of the run."""
        reads = [read for read in self.reads.values() if self._is_input(read)]
        writes = [w for w in self.writes.values() if self._is_output(w.path, since, streams)]
        return Observation(
            reads=tuple(sorted(reads, key=lambda r: r.path)),
            writes=tuple(sorted(writes, key=lambda w: w.path)),
            interpreters=tuple(self.interpreters),
            threads=tuple(self.threads[key] for key in sorted(self.threads)),
            consulted=tuple(sorted(self.consulted)),
            blind_spots=tuple(self._blind_spots(damaged, {w.path for w in writes})),
            name="audit",
            listed=tuple(sorted(filter(self._is_folder, self.listed))),
            unwatched=bool(self.compiled)
            or children.write_unseen(self.programs, self.interpreters),
        )

    # --- files

    def _read(self, record: Record) -> None:
        seen, relative, *_, path = record.fields
        path = self._real(path)
        if path not in self.reads:
            self.reads[path] = Read(
                path, _stat(record.fields[2:6]), seen, path in self.made, relative == "1"
            )

    def _write(self, record: Record) -> None:
        seen, relative, *_, path = record.fields
        path = self._real(path)
        self.made.add(path)
        if path not in self.writes:
            self.writes[path] = Write(path, seen, relative == "1")

    def _append(self, record: Record) -> None:
        path, before = self._real(record.fields[-1]), _stat(record.fields[2:6])
        if path not in self.made and before is not None and before.size:
            self.appended[path] = None
        self._write(record)

    def _update(self, record: Record) -> None:
        if _stat(record.fields[2:6]) is not None:
            self._read(record)
        self._write(record)

    def _move(self, record: Record) -> None:
        relative, source, target = record.fields
        source, target = self._real(source), self._real(target)
        if source in self.writes:
            self._rename(source, target)
            return
        inside = [path for path in self.writes if path.startswith(source + "/")]
        for path in inside:
            self._rename(path, target + path[len(source) :])
        if not inside:  # the run moved a file, or a folder, that was there before
            self.made.add(target)
            self.writes[target] = Write(target, "audit", relative == "1")

    def _rename(self, source: str, target: str) -> None:
        self.writes[target] = dataclasses.replace(self.writes.pop(source), path=target)
        self.made.add(target)

    def _keep(self, record: Record) -> None:
        copy, path = record.fields[4:]
        path, state = self._real(path), _stat(record.fields[:4])
        read = self.reads.get(path)
        if read is not None and read.stat == state and "/" not in copy:
            self.reads[path] = dataclasses.replace(read, copy=str(self.log / copy))

    def _real(self, path: str) -> str:
        if self.shown and path.startswith(self.shown + "/"):
            path = self.territory.root + path[len(self.shown) :]
        return real(path, self._folders)

    def _is_input(self, read: Read) -> bool:
        passing = read.wrote_before and not os.path.lexists(read.path)  # a temporary file
        return self.territory.holds(read.path) and not passing

    def _is_output(self, path: str, since: int, streams: frozenset[tuple[int, int]]) -> bool:
        if path.startswith(("/proc/", "/sys/", "/dev/")) or not self.territory.holds(path):
            return False
        try:
            own = Path(path).lstat()
            status = Path(path).stat()
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) in streams:
            return False
        return max(own.st_ctime_ns, status.st_ctime_ns) >= since

    def _is_folder(self, path: str) -> bool:
        return self.territory.holds(path) and Path(path).is_dir()

    # --- the process

    def _start(self, record: Record) -> None:
        pid, parent, executable, prefix, base, version, implementation, build = record.fields[:8]
        count = int(record.fields[9])
        rest = record.fields[10:]
        self.interpreters.append(
            Interpreter(
                pid=int(pid),
                argv=rest[:count],
                executable=executable,
                prefix=prefix,
                base_prefix=base,
                version=version,
                implementation=implementation,
                path=rest[count:],
                build=build,
                parent=int(parent),
                random_hashes=record.fields[8] == "1",
            )
        )

    def _pool(self, record: Record) -> None:
        api, library, threads, kernel = record.fields
        known = self.threads.get((api, library))
        if known is None or known.threads < int(threads):
            self.threads[api, library] = ThreadPool(api, library, int(threads), kernel)

    def _consult(self, record: Record) -> None:
        self.consulted.add(record.fields[0])

    def _list(self, record: Record) -> None:
        self.listed.add(self._real(record.fields[0] + "/.")[:-2])

    def _run(self, record: Record) -> None:
        executable, watched, *arguments = record.fields
        self.programs.append(((executable, *arguments[1:]), watched == "1"))

    def _connect(self, record: Record) -> None:
        word, address = record.fields
        (self.connections if word == "connect" else self.names)[address] = None

    def _import(self, record: Record) -> None:
        self.compiled[record.fields[0]] = None

    # --- what could not be seen

    def _blind_spots(self, damaged: int, written: set[str]) -> list[str]:
        found = children.sentences(self.programs, self.interpreters)
        found += _network(self.connections, self.names)
        found += [
            f"`{path}` was appended to; what it held before the run is not recorded"
            for path in self.appended
            if path in written and path not in self.reads
        ]
        found += [
            f"`{module}` was imported; what its compiled code reads is not seen"
            for module in self.compiled
        ]
        if damaged:
            found.append("the log of this run is incomplete: not all of it could be written")
        return found


def _stat(fields: tuple[str, ...]) -> Stat | None:
    dev, ino, size, mtime = map(int, fields)
    return Stat(dev, ino, size, mtime) if ino else None


def _network(connections: dict[str, None], names: dict[str, None]) -> list[str]:
    here: list[str] = []
    there: list[str] = []
    for address in connections:
        if address.startswith(("\0", "@")) or any(word in address for word in _OWN_SOCKETS):
            continue
        local = address.startswith(("/", *_LOCAL)) or address == ""
        (here if local else there).append(address)
    found = []
    if there:
        hosts = [name for name in names if not name.startswith(_LOCAL)] or there
        found.append(f"the network was used ({_list(hosts)}); what came from there is not recorded")
    if here:
        found.append(
            f"a service on this machine was used ({_list(here)}); what it answered is not recorded"
        )
    return found


def _list(words: list[str]) -> str:
    shown = ", ".join(words[:5])
    return shown if len(words) <= 5 else f"{shown} and {len(words) - 5} more"
