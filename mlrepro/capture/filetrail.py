"""File trail: which files a run read, wrote, moved and listed, as its records tell it."""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from mlrepro.capture import grading
from mlrepro.capture.observation import Read, Stat, Write
from mlrepro.capture.records import Record
from mlrepro.capture.territory import Territory, real
from mlrepro.facts import Folder

_NOT_THERE = ("/proc/", "/sys/")
_WORDS = {"native": "native", "audit": "audit", "wrapper": "wrapper", "stream": "stream"}


class FileTrail:
    """What the records up to now amount to; `by` is who sees what is moved.

    Parameters
    ----------
    log : Path
        The folder that holds the copies of files that were changed after they were read.
    territory : Territory
        Tells whose a path is.
    shown : str
        Where the processes saw the territory's root, if it was bound to another place for them.
    """

    def __init__(self, log: Path, territory: Territory, shown: str = "") -> None:
        self.log = log
        self.territory = territory
        self.shown = shown.rstrip("/")
        self.by = "audit"
        self.reads: dict[str, Read] = {}
        self.writes: dict[str, Write] = {}
        self.listed: dict[str, Folder] = {}
        self.appended: dict[str, Read] = {}
        self._made: set[str] = set()
        self._copies: dict[str, tuple[Stat | None, str]] = {}
        self._folders: dict[str, str] = {}
        self.verbs: Mapping[str, Callable[[Record], None]] = {
            "r": self._read,
            "w": self._write,
            "a": self._append,
            "u": self._update,
            "m": self._move,
            "k": self._keep,
            "d": self._list,
        }

    # --- at the end

    def inputs(self, skipped: Collection[str], *, guessed: Iterable[Read] = ()) -> tuple[Read, ...]:
        """Return what was read, by path, with the copies that were kept.

        Parameters
        ----------
        skipped : collection of str
            Beginnings of paths that belong to interpreters and their packages.
        guessed : iterable of Read
            What no observer saw being opened.
        """
        for read in guessed:
            path = self.real(read.path)
            if path not in self._made:
                known = self.reads.setdefault(path, dataclasses.replace(read, path=path))
                if read.seen == "program" and known.seen in ("native", "audit"):
                    self.reads[path] = dataclasses.replace(known, seen="program")
        for path, read in self.appended.items():
            if self._copy_of(read):  # what it held before is at hand: it is an input as well
                self.reads.setdefault(path, read)
        outside = tuple(skipped)
        found = (self.reads[path] for path in sorted(self.reads) if not path.startswith(outside))
        return tuple(self._with_copy(read) for read in found if self._is_input(read))

    def outputs(
        self, since: int, streams: frozenset[tuple[int, int]], skipped: Collection[str]
    ) -> tuple[Write, ...]:
        """Return what was written, by path, and is there at the end."""
        outside = tuple(skipped)
        return tuple(
            self.writes[path]
            for path in sorted(self.writes)
            if not path.startswith(outside) and self._is_output(path, since, streams)
        )

    def folders(self, skipped: Collection[str]) -> tuple[Folder, ...]:
        """Return the folders that were listed, by path."""
        outside = tuple(skipped)
        return tuple(
            self.listed[path]
            for path in sorted(self.listed)
            if not f"{path}/".startswith(outside)
            and self.territory.holds(path)
            and Path(path).is_dir()
        )

    def real(self, path: str) -> str:
        """Return a path of a record as this process would call it."""
        if self.shown and path.startswith(self.shown + "/"):
            path = self.territory.root + path[len(self.shown) :]
        return real(path, self._folders)

    # --- record by record

    def _read(self, record: Record) -> None:
        path, read = self._opened(record)
        if path.endswith(".pyc"):
            path, read = self._of_compiled(path, read)
        if read.seen == "import" and read.stat is None:
            return  # a compiled module without its source: the environment has it
        known = self.reads.setdefault(path, read)
        if path not in self._made and _is_other(known.stat, read.stat):
            # Somebody outside the run changed it between two readings: which bytes counted?
            self.reads[path] = known = dataclasses.replace(known, stat=None)
        if read.seen == "import" and known.seen in ("native", "audit"):
            self.reads[path] = dataclasses.replace(known, seen="import")

    def _of_compiled(self, path: str, read: Read) -> tuple[str, Read]:
        """Return the source of a project's module that lies compiled below a folder of its own.

        ``PYTHONPYCACHEPREFIX=/cache`` puts ``/project/a.py`` to
        ``/cache/project/a.cpython-311.pyc``.
        """
        start = path.find(f"{self.territory.root}/", 1)
        folder, _, name = path[max(start, 0) :].rpartition("/")
        source = f"{folder}/{name.partition('.')[0]}.py"
        found = grading.state(source) if start > 0 else None
        if found is None:
            return path, read
        return source, dataclasses.replace(read, path=source, stat=found, seen="import")

    def _opened(self, record: Record) -> tuple[str, Read]:
        seen, relative, *_, path = record.fields
        path = self.real(path)
        state = stat_of(record.fields[2:7])
        return path, Read(path, state, seen, path in self._made, relative == "1", time=record.time)

    def _write(self, record: Record) -> None:
        seen, relative, *_, path = record.fields
        path = self.real(path)
        self._made.add(path)
        self.writes.setdefault(path, Write(path, _WORDS.get(seen, "audit"), relative == "1"))

    def _append(self, record: Record) -> None:
        path, before = self._opened(record)
        if path not in self._made and before.stat is not None and before.stat.size:
            self.appended[path] = before
        self._write(record)

    def _update(self, record: Record) -> None:
        if stat_of(record.fields[2:7]) is not None:
            self._read(record)
        self._write(record)

    def _move(self, record: Record) -> None:
        relative, source, target = record.fields
        source, target = self.real(source), self.real(target)
        if source in self.writes:
            self._rename(source, target)
            return
        inside = [path for path in self.writes if path.startswith(source + "/")]
        for path in inside:
            self._rename(path, target + path[len(source) :])
        if not inside:  # the run moved a file, or a folder, that was there before
            self._made.add(target)
            self.writes[target] = Write(target, self.by, relative == "1")

    def _rename(self, source: str, target: str) -> None:
        self.writes[target] = dataclasses.replace(self.writes.pop(source), path=target)
        self._made.add(target)

    def _keep(self, record: Record) -> None:
        copy, path = record.fields[5:]
        if copy and "/" not in copy and copy not in (".", ".."):
            self._copies.setdefault(self.real(path), (stat_of(record.fields[:5]), copy))

    def _list(self, record: Record) -> None:
        name, count, names, order = record.fields
        path = self.real(name + "/.")[:-2]
        known = self.listed.get(path)
        if known is None or known.count < 0:
            self.listed[path] = Folder(path, int(count), names, order)

    # --- what counts

    def _copy_of(self, read: Read) -> str:
        state, copy = self._copies.get(read.path, (None, ""))
        return copy if read.stat is not None and state == read.stat else ""

    def _with_copy(self, read: Read) -> Read:
        copy = self._copy_of(read)
        return dataclasses.replace(read, copy=str(self.log / copy)) if copy else read

    def _is_input(self, read: Read) -> bool:
        passing = read.wrote_before and not os.path.lexists(read.path)  # a temporary file
        return self.territory.holds(read.path) and not passing

    def _is_output(self, path: str, since: int, streams: frozenset[tuple[int, int]]) -> bool:
        if path.startswith(_NOT_THERE) or not self.territory.holds(path):
            return False
        try:
            own = Path(path).lstat()
            status = Path(path).stat()
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode) or (status.st_dev, status.st_ino) in streams:
            return False
        return max(own.st_ctime_ns, status.st_ctime_ns) >= since


def _is_other(first: Stat | None, second: Stat | None) -> bool:
    if first is None or second is None:
        return False
    return dataclasses.replace(first, ctime_ns=second.ctime_ns) != second


def stat_of(fields: tuple[str, ...]) -> Stat | None:
    """Return the state that five fields of a record tell; None where the file was not there."""
    dev, ino, size, mtime, ctime = map(int, fields)
    return Stat(dev, ino, size, mtime, ctime) if ino else None
