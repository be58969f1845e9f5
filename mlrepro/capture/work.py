"""Work: the folder of a run that is going on, and how a dead one is told from a living one.

``.mlrepro/running/<uuid>/`` holds ``state.json`` (what was known at the start), ``lock`` (held by
flock as long as mlrepro lives), ``log/`` (the observer's) and the copies of what was printed. A
folder whose lock is free and whose training is gone belongs to a run that was killed: the next
command finishes it as *interrupted*. ``.mlrepro/spans.jsonl`` remembers when runs went on, so that
a change that only the scan saw is never claimed by one of two runs that overlapped.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlrepro import paths, plain
from mlrepro.capture.code import Snapshot
from mlrepro.errors import ManifestError
from mlrepro.manifest import Variables

FOLDER = ".mlrepro"
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
        """Record what is known at the start."""
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
            data: Any = json.loads((self.folder / "state.json").read_text())
        except (OSError, ValueError) as error:
            raise ManifestError(f"run {self.name[:8]} left no state") from error
        return plain.load(State, data)

    def child_lives(self) -> bool:
        """Whether the training goes on, be it without mlrepro."""
        try:
            pid, birth = (self.folder / "child").read_text().split()
        except (OSError, ValueError):
            return False
        return _birth(int(pid)) == birth != ""

    def last_sign(self) -> float:
        """When the run was last seen alive, in seconds since the epoch."""
        times = [self.folder.stat().st_mtime]
        for path in (self.stdout, self.stderr, *_children(self.log)):
            with contextlib.suppress(FileNotFoundError):
                times.append(path.stat().st_mtime)
        return max(times)

    def remove(self) -> None:
        """Forget the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def begin(root: Path, *, fallback: bool = True) -> Iterator[Work]:
    """Open the folder of a new run and hold its lock until the block ends; then remove it.

    Where the project's folder cannot be written to, the folder lies in the system's temporary
    place: the run goes on.
    """
    name = uuid.uuid4().hex
    try:
        folder = _home(root) / "running" / name
        (folder / "log").mkdir(parents=True)
    except OSError:
        if not fallback:
            raise
        folder = Path(tempfile.mkdtemp(prefix="mlrepro-")) / name
        (folder / "log").mkdir(parents=True)
    work = Work(folder)
    with _locked(folder):
        began = time.time()
        try:
            yield work
        finally:
            _remember(root, name, began)
            work.remove()
            if folder.parent.name.startswith("mlrepro-"):
                shutil.rmtree(folder.parent, ignore_errors=True)


@contextlib.contextmanager
def dead(root: Path) -> Iterator[tuple[Work, ...]]:
    """Give the runs that were killed, each locked, so that only one command finishes it."""
    with contextlib.ExitStack() as stack:
        found = []
        for folder in _children(root / FOLDER / "running"):
            work = Work(folder)
            if work.child_lives():
                continue
            with contextlib.suppress(OSError):
                stack.enter_context(_locked(folder))
                if folder.is_dir():
                    found.append(work)
        yield tuple(found)


def overlapped(root: Path, work: str, began: float) -> bool:
    """Whether another run went on in this project at some time since `began`."""
    running = [f.name for f in _children(root / FOLDER / "running") if f.name != work]
    return bool(running) or any(
        span["work"] != work and span["end"] >= began for span in _spans(root)
    )


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


def _remember(root: Path, work: str, began: float) -> None:
    file = root / FOLDER / _SPANS
    line = json.dumps({"work": work, "begin": began, "end": time.time()})
    with contextlib.suppress(OSError):
        spans = _spans(root)
        if len(spans) > 2 * _SPANS_KEPT:
            kept = [json.dumps(span) for span in spans[-_SPANS_KEPT:]]
            paths.write_beside(file, "\n".join([*kept, line, ""]))
            return
        with file.open("a") as stream:
            stream.write(line + "\n")


def _spans(root: Path) -> list[dict[str, Any]]:
    try:
        lines = (root / FOLDER / _SPANS).read_text().splitlines()
    except OSError:
        return []
    spans = []
    for line in lines:
        with contextlib.suppress(ValueError):
            span = json.loads(line)
            if isinstance(span, dict) and {"work", "end"} <= span.keys():
                spans.append(span)
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


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
