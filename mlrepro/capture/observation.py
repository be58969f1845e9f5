"""Observation: what observers saw of a run, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlrepro.facts import Folder
from mlrepro.manifest import ThreadPool


@dataclass(frozen=True)
class Stat:
    """What tells one state of a file from another; `ctime_ns` is 0 where it is not known."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int = 0


@dataclass(frozen=True)
class Read:
    """A file that the run opened for reading.

    Attributes
    ----------
    path : str
        Absolute; its folder is free of symlinks, the file itself may be one.
    stat : Stat or None
        Of the file as it was opened for the first time; of a symlink's target.
    seen : str
        ``native`` or ``audit``, after the observer; ``wrapper`` (a native library that Python
        called), ``import`` (source of a module that was loaded, the script among them),
        ``stream`` (standard input), ``program`` (a program of the project's that was started),
        ``library`` (one that was loaded) or ``argument`` (a file that was named to a program
        which could not be watched: a guess).
    wrote_before : bool
        True where the run itself wrote the file before: it is no input.
    relative : bool
        Whether the program gave a relative path.
    copy : str
        Absolute path of a copy made before the run overwrote, moved over or deleted the file;
        empty where there is none. The copy has the state of `stat`, and lies in the log's folder.
    time : int
        When it was opened for the first time, in ns of the monotonic clock; 0 where not known.
    """

    path: str
    stat: Stat | None
    seen: str
    wrote_before: bool = False
    relative: bool = True
    copy: str = ""
    time: int = 0


@dataclass(frozen=True)
class Write:
    """A file that the run made or changed, and that is there at its end.

    Attributes
    ----------
    path : str
        Absolute, as in `Read`; the last name of a file that was moved.
    seen : str
        Who saw it: ``native``, ``audit``, ``wrapper``, ``stream``, ``scan``, or two of them:
        ``native+scan``.
        Seen by ``scan`` alone, it may have been changed by somebody else meanwhile.
    relative : bool
        Whether the program gave a relative path; True where that is not known.
    """

    path: str
    seen: str
    relative: bool = True


@dataclass(frozen=True)
class Interpreter:
    """A Python process of the run.

    Attributes
    ----------
    pid : int
    argv : tuple of str
        The whole command line, the interpreter first.
    executable, prefix, base_prefix : str
    version, implementation : str
        For instance ``3.11.7`` and ``cpython``.
    path : tuple of str
        ``sys.path`` after site's work, without the script's folder.
    build : str
        ``sys.version``: compiler and build.
    parent : int
        Process id of its parent.
    random_hashes : bool
        Whether string hashes differed from process to process (no ``PYTHONHASHSEED``).
    """

    pid: int
    argv: tuple[str, ...]
    executable: str
    prefix: str
    base_prefix: str
    version: str
    implementation: str
    path: tuple[str, ...]
    build: str = ""
    parent: int = 0
    random_hashes: bool = False


@dataclass(frozen=True)
class Fitted:
    """A call that trained a model, as the probe in that process told it.

    Attributes
    ----------
    pid, time : int
        Where and when it ended; the clock is the monotonic one, in ns.
    record : mapping
        From the process's JSON: it is the user's process, so nothing of it can be trusted.
    model : str
        Absolute path of the model's text in the log's folder; empty where it was not kept.
    saved : bool
        Whether the program itself saved that model, or serialised it.
    """

    pid: int
    time: int
    record: Mapping[str, Any]
    model: str = ""
    saved: bool = False


@dataclass(frozen=True)
class Observation:
    """All that was seen of one run.

    Attributes
    ----------
    reads : tuple of Read
        By path; those of the interpreter and its packages left out.
    writes : tuple of Write
        By path; only what is there at the end.
    interpreters : tuple of Interpreter
        In the order of their start: the first is the training's own, or that of its launcher.
    threads : tuple of ThreadPool
        Each pool once, with its largest number of threads.
    consulted : tuple of str
        Environment variables that the program looked up, whether they were set or not.
    blind_spots : tuple of str
        One sentence each.
    name : str
        For instance ``native+scan``.
    listed : tuple of Folder
        Folders whose content the program listed; their paths are absolute here.
    unwatched : bool
        Whether programs ran whose writes only the scan can see.
    libraries : tuple of str
        Absolute paths of the native libraries that were mapped.
    fits : tuple of Fitted
        In the order of their ends.
    seedings : tuple of mapping
        Seedings of global generators, and unseeded generators that were made, each with its
        ``"pid"``; as little to be trusted as `Fitted.record`.
    imported : tuple of str
        Absolute paths of the installed files that were modules of a Python process at its end.
    lost : int
        How many events there was no room for.
    clock : int
        What to add to a monotonic time to get ns since the epoch; 0 where it is not known.
    """

    reads: tuple[Read, ...] = ()
    writes: tuple[Write, ...] = ()
    interpreters: tuple[Interpreter, ...] = ()
    threads: tuple[ThreadPool, ...] = ()
    consulted: tuple[str, ...] = ()
    blind_spots: tuple[str, ...] = ()
    name: str = "off"
    listed: tuple[Folder, ...] = ()
    unwatched: bool = False
    libraries: tuple[str, ...] = ()
    fits: tuple[Fitted, ...] = ()
    seedings: tuple[Mapping[str, Any], ...] = ()
    imported: tuple[str, ...] = ()
    lost: int = 0
    clock: int = 0
