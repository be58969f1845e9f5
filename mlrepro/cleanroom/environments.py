"""Environments: virtual environments made from locks, shared by rebuilds, kept in the user's cache.

::

    <user cache>/mlrepro/environments/
        <first 32 digits of the lock's digest>/            whole, and never changed again
            mlrepro.json                                   what it is; written before the move
        <the same>.building/                               left by a killed process: removed
        <the same>.lock                                    exclusive: being made; shared: in use
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mlrepro import paths
from mlrepro.cleanroom import borrowed, room
from mlrepro.errors import MlreproError, ObjectNotFoundError, RestoreError, StoreError
from mlrepro.locks import Lock, Requirement
from mlrepro.manifest import Digest
from mlrepro.stores import uv
from mlrepro.stores.place import Place

_MARK = "mlrepro.json"
_LOCK = ".lock"
_BUILDING = ".building"
_DIGITS = 32
_FORM = 1
UNUSED = 30 * 24 * 3600.0
"""Seconds after which an environment that no rebuild used may go."""


@dataclass(frozen=True)
class Built:
    """An environment to train in.

    Attributes
    ----------
    prefix : Path
        Its folder.
    python : Path
        Its interpreter.
    version : str
        The interpreter's version.
    source : str
        ``lock`` or ``current``.
    notes : tuple of str
        What is otherwise than recorded.
    """

    prefix: Path
    python: Path
    version: str
    source: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Kept:
    """An environment in the user's cache.

    Attributes
    ----------
    folder : Path
        Where it lies.
    used : float
        When a rebuild last used it, in seconds since 1970.
    """

    folder: Path
    used: float


def home() -> Path:
    """Return the folder of all environments."""
    return room.cache_home() / "environments"


@contextlib.contextmanager
def borrow(
    lock: Lock, *, here: Place | None, notify: Callable[[str], None] = lambda _sentence: None
) -> Iterator[Built]:
    """Lend the environment of a lock: made once, whoever asks, and kept for the next rebuild.

    Parameters
    ----------
    lock : Lock
        What it is made from.
    here : Place or None
        The project: its settings name indexes, and wheels that no index has lie in its store.
    notify : callable
        Takes a sentence before something slow.

    Raises
    ------
    RestoreError
        If it cannot be made here; one sentence, which names the packages that are not to be had.
    UvMissingError
        If it has to be made, and there is no uv.
    """
    folder = home() / lock.digest.value[:_DIGITS]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RestoreError(f"no environment can be kept in the user's cache: {error}") from error
    with _shared(
        folder,
        lambda: _made(folder, lock, here, notify),
        lambda built: _is_better_here(built, lock),
        notify,
    ) as built:
        # The moment of the last use, for `gc`.
        with contextlib.suppress(OSError):
            os.utime(folder / _MARK)
        yield built


@contextlib.contextmanager
def _shared(
    folder: Path,
    make: Callable[[], Built],
    outdated: Callable[[Built], bool],
    notify: Callable[[str], None],
) -> Iterator[Built]:
    """Keep an environment from being removed; make it where it is not there, one at a time."""
    while True:
        with _locked(folder, fcntl.LOCK_SH, notify):
            built = _whole(folder)
            if built and not outdated(built):
                yield built
                return
        with _locked(folder, fcntl.LOCK_EX, notify):
            built = _whole(folder)
            if built is None or outdated(built):
                make()


@contextlib.contextmanager
def _locked(
    folder: Path, how: int, notify: Callable[[str], None] = lambda _sentence: None
) -> Iterator[None]:
    """Hold the lock of an environment; `gc` may have removed the file that was just opened."""
    path = folder.with_name(folder.name + _LOCK)
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            except BlockingIOError:
                notify("waiting for another rebuild, which makes the same environment")
                fcntl.flock(descriptor, how)
            if _is_still(path, descriptor):
                yield
                return
        finally:
            os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _whole(folder: Path) -> Built | None:
    """Return an environment that is there and as it was made; None otherwise."""
    try:
        mark = json.loads((folder / _MARK).read_text(encoding="utf-8"))
        python = folder / "bin/python"
        sound = mark["form"] == _FORM and mark["census"] == _census(folder)
        if not sound or not os.access(python, os.X_OK):
            return None
        notes = tuple(map(str, mark["notes"]))
        return Built(folder, python, str(mark["python"]), "lock", notes)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _census(folder: Path) -> str:
    """Return a digest of the state of all files; what Python compiles is left out.

    8,000 files take 60 ms.
    """
    lines = sorted(_files(str(folder), ""))
    return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()


def _files(top: str, below: str) -> Iterator[str]:
    with os.scandir(f"{top}/{below}") as entries:
        for entry in entries:
            name = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if entry.name != "__pycache__":
                    yield from _files(top, f"{name}/")
            elif entry.is_symlink():
                yield f"{name} -> {os.readlink(entry.path)}"
            elif name != _MARK:
                found = entry.stat(follow_symlinks=False)
                yield f"{name} {found.st_size} {found.st_mtime_ns}"


def _made(folder: Path, lock: Lock, here: Place | None, notify: Callable[[str], None]) -> Built:
    """Make an environment beside its place and move it there, whole."""
    program = uv.find()
    python, version, notes = _interpreter(program, lock)
    building = folder.with_name(folder.name + _BUILDING)
    borrowed.remove(building)
    borrowed.remove(folder)
    count = len(lock.requirements)
    notify(f"making the recorded environment: Python {version}, {_count(count, 'package')}")
    try:
        wheels = folder.with_name(folder.name + _BUILDING + "-wheels")
        try:
            text = _stored(lock, here, wheels).installable()
            links = (wheels,) if wheels.exists() else ()
            uv.create(program, building, python=python)
            where = here.root if here else None
            uv.sync(program, building, text, find_links=links, where=where)
        finally:
            borrowed.remove(wheels)
        mark = {"form": _FORM, "lock": str(lock.digest), "python": version, "notes": notes,
                "census": _census(building)}  # fmt: skip
        paths.write_beside(building / _MARK, json.dumps(mark))
        os.replace(building, folder)
    except OSError as error:
        borrowed.remove(building)
        raise RestoreError(f"the recorded environment cannot be made: {error}") from error
    except StoreError as error:
        borrowed.remove(building)
        raise RestoreError(why(lock, error), hint=CURRENT) from error
    except BaseException:
        borrowed.remove(building)
        raise
    return Built(folder, folder / "bin/python", version, "lock", tuple(notes))


CURRENT = "`--env current` trains in the active environment and names what differs."


def _interpreter(program: Path, lock: Lock) -> tuple[Path, str, list[str]]:
    """Return the recorded Python, or the nearest one and a sentence; nothing is downloaded."""
    if exact := uv.python(program, lock.python, lock.implementation):
        return exact, lock.python, []
    hint = f"`uv python install {lock.python}` brings it; {CURRENT}"
    near = uv.nearest(program, lock.python) if lock.implementation == "cpython" else None
    if near is None:
        raise RestoreError(
            f"there is no {lock.implementation} {lock.python} on this machine, nor a similar one",
            hint=hint,
        )
    python, version = near
    return python, version, [
        f"Python {version} instead of the recorded {lock.python}, which this machine does not have"
        f" (`uv python install {lock.python}` brings it)"
    ]  # fmt: skip


def _is_better_here(built: Built, lock: Lock) -> bool:
    """Say whether the recorded Python has come since an environment was made with another one."""
    if built.version == lock.python:
        return False
    try:
        return uv.python(uv.find(), lock.python, lock.implementation) is not None
    except MlreproError:
        return False


def _stored(lock: Lock, here: Place | None, folder: Path) -> Lock:
    """Lay out the wheels that the ledger's objects keep; return a lock that takes them by hash."""
    found = []
    for one in lock.requirements:
        if here and one.source.startswith("object:"):
            digest = hashlib.sha256(_laid_out(one, here, folder).read_bytes()).hexdigest()
            one = replace(one, source="", hashes=(f"sha256:{digest}",))  # noqa: PLW2901
        found.append(one)
    return replace(lock, requirements=tuple(found))


def _laid_out(one: Requirement, here: Place, folder: Path) -> Path:
    from mlrepro.cleanroom import restore  # noqa: PLC0415  a ring otherwise

    digest = Digest.parse(one.source.removeprefix("object:"))
    folder.mkdir(parents=True, exist_ok=True)
    raw = folder / digest.value
    restore.fetch(here, [digest], notify=lambda _sentence: None)
    try:
        here.stores.put(digest, raw)
        return raw.rename(folder / _wheel_name(one, raw))
    except (ObjectNotFoundError, zipfile.BadZipFile, KeyError) as error:
        raise StoreError(f"the kept wheel of {one.name} {one.version}: {error}") from error


def _wheel_name(one: Requirement, wheel: Path) -> str:
    """Return the file name of a wheel: installers read the tags from it."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".dist-info/WHEEL"))
        text = archive.read(name).decode()
    tags = [line[5:].strip().split("-") for line in text.splitlines() if line.startswith("Tag: ")]
    parts = (".".join(sorted({tag[at] for tag in tags})) for at in range(3))
    return f"{one.name.replace('-', '_')}-{one.version}-{'-'.join(parts)}.whl"


def why(lock: Lock, error: StoreError) -> str:
    """Return one sentence that names the packages which are not to be had."""
    said = f"{error} {error.hint or ''}".lower()
    named = [one for one in lock.requirements if re.search(_NAMED.format(_loose(one.name)), said)]
    guilty = [one for one in named if one.version in said] or named
    if not guilty:
        return f"the recorded environment cannot be made: {error}"
    listed = ", ".join(f"{one.name} {one.version}{_marked(one)}" for one in guilty[:_MOST_NAMED])
    more = f" and {len(guilty) - _MOST_NAMED} more" if len(guilty) > _MOST_NAMED else ""
    verb = "is" if len(guilty) == 1 else "are"
    known = f" (recorded with the index {', '.join(lock.indexes)})" if lock.indexes else ""
    gone = f"{listed}{more} {verb} not to be had here{known}"
    return f"the recorded environment cannot be made: {gone}"


_NAMED = r"(?<![\w.-]){}(?![\w-])"
_MOST_NAMED = 6


def _loose(name: str) -> str:
    return re.escape(name.lower()).replace(r"\-", "[-_.]")


def _marked(one: Requirement) -> str:
    return f" ({one.unhashed})" if one.unhashed else ""


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def kept() -> list[Kept]:
    """Return the environments of the user's cache, and what killed processes left there."""
    found = []
    with contextlib.suppress(OSError):
        for folder in sorted(home().iterdir()):
            if folder.is_dir():
                mark = folder / _MARK
                used = (mark if mark.exists() else folder).stat().st_mtime
                found.append(Kept(folder, used))
    return found


def remove(one: Kept) -> bool:
    """Remove an environment, unless a rebuild uses or makes it; say whether it is gone."""
    folder = one.folder.with_name(one.folder.name.partition(".")[0])
    path = folder.with_name(folder.name + _LOCK)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        borrowed.remove(one.folder)
        path.unlink(missing_ok=True)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return not one.folder.exists()
