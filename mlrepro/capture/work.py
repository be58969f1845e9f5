"""Work: the folder of a run that is going on, and how a dead one is told from a living one.

``.mlrepro/running/<uuid>/`` holds ``state.json`` (what was known at the start), ``ended.json`` (how
the training ended, if mlrepro lived to see it), ``lock`` (held by flock as long as mlrepro lives),
``log/`` (the observer's) and the copies of what was printed. It goes when the run is recorded. A
folder whose lock is free and whose training is gone belongs to a run that was killed, or whose
record could not be written: the next command finishes it. ``.mlrepro/spans.jsonl`` remembers when
runs went on, so that a change that only the scan saw is never claimed by one of two runs that
overlapped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from mlrepro import paths, plain
from mlrepro.capture.code import Snapshot
from mlrepro.errors import ManifestError
from mlrepro.manifest import Variables

T = TypeVar("T")

FOLDER = ".mlrepro"
_UNBORN = "unborn-"
_ROOM = 2048
_SPANS = "spans.jsonl"
_SPANS_KEPT = 200


@dataclass(frozen=True)
class Options:
    """What the user asked of a run, beside the command."""

    name: str = ""
    message: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    keep: bool = True
    observer: str = "auto"


@dataclass(frozen=True)
class State:
    """All that must survive a ``kill -9`` of mlrepro: written before the training starts.

    Attributes
    ----------
    work : str
        The uuid that names the run while it goes on.
    command, directory, root, started, began : see `manifest.Run`
        `began` is the start in seconds since the epoch.
    options : Options
    author : str
    variables : Variables
        What could be said of them at the start.
    snapshot : Snapshot or None
        The pinned code.
    observer : str
        Name of the observer that the training was started under.
    streams : dict of str to str
        What descriptors 0, 1 and 2 were.
    troubles : tuple of str
        What could not be recorded, one sentence each.
    """

    work: str
    command: tuple[str, ...]
    directory: str
    root: str
    started: str
    began: float
    options: Options
    author: str = ""
    variables: Variables = field(default_factory=Variables)
    snapshot: Snapshot | None = None
    observer: str = ""
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """The folder of one run that is going on or was killed."""

    folder: Path

    @property
    def name(self) -> str:
        """The run's uuid."""
        return self.folder.name

    @property
    def lasts(self) -> bool:
        """Whether another command will find it."""
        return self.folder.parent.parent.name == FOLDER and (self.folder / "state.json").exists()

    @property
    def log(self) -> Path:
        """The observer's folder."""
        return self.folder / "log"

    @property
    def stdout(self) -> Path:
        """The copy of what was printed."""
        return self.folder / "stdout"

    @property
    def stderr(self) -> Path:
        """The copy of what was printed to standard error."""
        return self.folder / "stderr"

    def write(self, state: State) -> None:
        """Record what is known at the start, and take the room for how it ends."""
        (self.folder / "ended.json").write_text(" " * _ROOM)
        paths.write_beside(self.folder / "state.json", json.dumps(plain.dump(state)))

    def started(self, pid: int) -> None:
        """Record the training's process."""
        paths.write_beside(self.folder / "child", f"{pid} {_birth(pid)}")

    def read(self) -> State:
        """Return what was known at the start.

        Raises
        ------
        ManifestError
            If the run was killed before it was written.
        """
        try:
            data: Any = json.loads(paths.content(self.folder / "state.json"))
        except (OSError, ValueError) as error:
            raise ManifestError(f"run {self.name[:8]} left no state") from error
        return plain.load(State, data)

    def write_ended(self, ended: Any) -> None:
        """Record how the training ended, before its record is made; on a full disk too."""
        with (self.folder / "ended.json").open("r+") as file:
            file.write(json.dumps(plain.dump(ended)))

    def read_ended(self, kind: type[T]) -> tuple[T | None, float]:
        """Return how the training ended and when that was written down; None where nobody saw."""
        file = self.folder / "ended.json"
        try:
            return plain.load(kind, json.loads(paths.content(file))), file.stat().st_mtime
        except (OSError, ValueError, ManifestError):
            return None, 0.0

    def child_lives(self) -> bool:
        """Whether the training goes on, be it without mlrepro."""
        try:
            pid, birth = paths.content(self.folder / "child").decode().split()
            return _birth(int(pid)) == birth != ""
        except FileNotFoundError:  # killed before it was noted: whoever has our log is of this run
            return _is_in_use(self.log)
        except (OSError, ValueError):
            return False

    def last_sign(self) -> float:
        """When the run was last seen alive, in seconds since the epoch."""
        times = [0.0]
        for path in (self.folder, self.stdout, self.stderr, *_children(self.log)):
            with contextlib.suppress(OSError):
                times.append(path.stat().st_mtime)
        return max(times)

    def remove(self) -> None:
        """Forget the folder: the run is recorded, or there is nothing to record."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_held(self) -> bool:
        """Whether the mlrepro that made it lives."""
        try:
            with (self.folder / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


@contextlib.contextmanager
def begin(root: Path) -> Iterator[Work]:
    """Open the folder of a new run and hold its lock until the block ends.

    It stays until `conclude`, so that the next command finishes what this one could not.
    Where the project's folder cannot be written to, the folder lies in the system's temporary
    place and goes with the block: the run goes on.

    Raises
    ------
    OSError
        If that cannot be written either.
    """
    name = uuid.uuid4().hex
    with contextlib.ExitStack() as stack:
        try:
            folder = _folder(_home(root) / "running", name, stack)
        except OSError:
            import tempfile  # noqa: PLC0415  3 ms, for a folder that cannot be written

            place = tempfile.TemporaryDirectory(prefix="mlrepro-", ignore_cleanup_errors=True)
            folder = _folder(Path(stack.enter_context(place)), name, stack)
        yield Work(folder)


def conclude(root: Path, work: Work, *, began: float | None = None, end: float = 0.0) -> None:
    """Forget the folder of a run that is recorded, but not when it went on."""
    if began is not None:
        _remember(root, {"work": work.name, "begin": began, "end": end or time.time()})
    work.remove()


def _folder(home: Path, name: str, stack: contextlib.ExitStack) -> Path:
    """Make a run's folder, locked before it has its name: nobody may take it for a dead one."""
    unborn = home / f"{_UNBORN}{name}"
    try:
        (unborn / "log").mkdir(parents=True)
        stack.enter_context(_locked(unborn))
        return unborn.rename(home / name)
    except OSError:
        shutil.rmtree(unborn, ignore_errors=True)
        raise


@contextlib.contextmanager
def dead(root: Path) -> Iterator[tuple[Work, ...]]:
    """Give the runs that were killed, each locked, so that only one command finishes it."""
    with contextlib.ExitStack() as stack:
        found = []
        for work in _works(root):
            folder = work.folder
            if work.child_lives():
                continue
            with contextlib.suppress(OSError):
                stack.enter_context(_locked(folder))
                if folder.is_dir():
                    found.append(work)
        yield tuple(found)


def left(root: Path) -> bool:
    """Whether there are runs that nobody attends to any more."""
    return any(not (work.is_held() or work.child_lives()) for work in _works(root))


def overlapped(root: Path, work: str, began: float) -> bool:
    """Whether another run went on in this project at some time since `began`."""
    for other in _works(root):
        goes_on = other.is_held() or other.child_lives()
        if other.name != work and (goes_on or other.last_sign() >= began):
            return True
    return any(span["work"] != work and span["end"] >= began for span in _spans(root))


def _works(root: Path) -> Iterator[Work]:
    """Yield the runs' folders; remove those whose making was killed an hour ago."""
    for folder in _children(root / FOLDER / "running"):
        if not folder.name.startswith(_UNBORN):
            yield Work(folder)
        elif _age(folder) > 3600:
            shutil.rmtree(folder, ignore_errors=True)


def _age(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except OSError:
        return 0.0


def _home(root: Path) -> Path:
    """Return `.mlrepro`, which ignores itself, so that no file of the user's needs a line."""
    home = root / FOLDER
    home.mkdir(exist_ok=True)
    if not (home / ".gitignore").exists():
        paths.write_beside(home / ".gitignore", "*\n")
    return home


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a run's lock; raises BlockingIOError where mlrepro lives and holds it."""
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _remember(root: Path, span: dict[str, Any]) -> None:
    with contextlib.suppress(OSError), (root / FOLDER / _SPANS).open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        spans = _spans(root)
        if len(spans) > 2 * _SPANS_KEPT:
            file.truncate(0)
            file.writelines(json.dumps(kept) + "\n" for kept in spans[-_SPANS_KEPT:])
        # A line that was cut off must not swallow this one.
        file.write("\n" + json.dumps(span) + "\n")


def _spans(root: Path) -> list[dict[str, Any]]:
    try:
        lines = (root / FOLDER / _SPANS).read_text().splitlines()
    except (OSError, ValueError):
        return []
    spans = []
    for line in lines:
        # Cut off by a full disk, or damaged.
        with contextlib.suppress(ValueError, TypeError, KeyError):
            span = json.loads(line)
            spans.append({**span, "end": float(span["end"]), "work": str(span["work"])})
    return spans


def _birth(pid: int) -> str:
    """Return when a process began, in clock ticks since boot: a pid alone may be used again."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return _birth_without_proc(pid)
    return "" if fields[0] in "ZX" else fields[19]


def _birth_without_proc(pid: int) -> str:
    if Path("/proc/self").exists():
        return ""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"


def _is_in_use(log: Path) -> bool:
    """Whether a process of ours was started with this folder for its log."""
    entry = b"MLREPRO_LOG=" + os.fsencode(log.resolve())
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry in (process / "environ").read_bytes().split(b"\0"):
                return True
    return False


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
