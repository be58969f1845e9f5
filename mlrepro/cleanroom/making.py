"""Making: an environment from a lock: its Python, its wheels, and why it cannot be made here."""

from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mlrepro.capture import environment
from mlrepro.cleanroom import borrowed
from mlrepro.errors import ObjectNotFoundError, RestoreError, StoreError
from mlrepro.locks import Lock, Requirement
from mlrepro.manifest import Digest
from mlrepro.stores import uv
from mlrepro.stores.place import Place

CURRENT = "`--env current` trains in the active environment and names what differs."


def make(
    target: Path, lock: Lock, *, here: Place | None, notify: Callable[[str], None]
) -> tuple[str, list[str]]:
    """Make an environment at a place where nothing is.

    Packages that the recording machine's index lacked already, and that are not to be had here
    either, are left out, unless they are among those that make the numbers: an environment of the
    system, or of conda, has some that no index knows.

    Returns
    -------
    version : str
        Of its Python.
    notes : list of str
        What is otherwise than recorded.

    Raises
    ------
    RestoreError
        If there is no Python for it.
    StoreError
        If a package is not to be had; `why` finds the words.
    UvMissingError
        If there is no uv.
    """
    program = uv.find()
    python, version, notes = _interpreter(program, lock)
    count = len(lock.requirements)
    packages = f"{count} package{'' if count == 1 else 's'}"
    notify(f"making the recorded environment: Python {version}, {packages}")
    wheels = target.with_name(target.name + "-wheels")

    def fill(wanted: Lock) -> None:
        borrowed.remove(target)
        uv.create(program, target, python=python)
        links = (wheels,) if wheels.exists() else ()
        where = here.root if here else None
        uv.sync(program, target, wanted.installable(), find_links=links, where=where)

    try:
        whole = _stored(lock, here, wheels)
        try:
            fill(whole)
        except StoreError as error:
            without = spared(whole, error)
            if not without:
                raise
            fill(whole.without(*(one.name for one in without)))
            left = f"left out, since not to be had here: {_listed(without)}"
            notes.append(f"{left}; {CURRENT}")
    finally:
        borrowed.remove(wheels)
    return version, notes


def spared(lock: Lock, error: StoreError) -> list[Requirement]:
    """Return what to do without: all that never had hashes, if uv complains of such alone."""
    if _of_disk(error):
        return []
    spare = [one for one in lock.unhashed if one.name not in environment.WELL_KNOWN]
    guilty = _guilty(lock, error)
    return spare if guilty and all(one in spare for one in guilty) else []


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
        return raw.rename(folder / wheel_name(one, raw))
    except (ObjectNotFoundError, zipfile.BadZipFile) as error:
        raise StoreError(f"the kept wheel of {one.name} {one.version}: {error}") from error


def wheel_name(one: Requirement, wheel: Path) -> str:
    """Return the file name of a wheel: installers read the tags from it.

    Raises
    ------
    BadZipFile
        If it is no wheel, or one that somebody made up.
    """
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".dist-info/WHEEL")]
        text = archive.read(names[0]).decode(errors="replace") if names else ""
    tags = [found.groups() for line in text.splitlines() if (found := _TAG.fullmatch(line))]
    if not tags:
        raise zipfile.BadZipFile("it is no wheel")
    parts = (".".join(sorted({tag[at] for tag in tags})) for at in range(3))
    return f"{one.name.replace('-', '_')}-{one.version}-{'-'.join(parts)}.whl"


_TAG = re.compile(r"Tag: *(\w+)-(\w+)-([\w.]+?) *", re.ASCII)


_DISK = re.compile(
    "no space left on device|disk quota exceeded|read-only file system|permission denied",
    re.IGNORECASE,
)


def _of_disk(error: StoreError) -> str:
    """Return what the disk refused: no package is to blame for that; empty if it is not that."""
    found = _DISK.search(str(error))
    return found[0].lower() if found else ""


def why(lock: Lock, error: StoreError) -> str:
    """Return one sentence that names the packages which are not to be had."""
    if said := _of_disk(error):
        return f"the recorded environment cannot be made: {said}"
    guilty = _guilty(lock, error)
    if not guilty:
        return f"the recorded environment cannot be made: {error}"
    verb = "is" if len(guilty) == 1 else "are"
    said = str(error).lower()
    if "failed to build" in said or "build backend" in said:
        return f"the recorded environment cannot be made: {_listed(guilty)} cannot be built here"
    known = f" (recorded with the index {', '.join(lock.indexes)})" if lock.indexes else ""
    gone = f"{_listed(guilty)} {verb} not to be had here{known}"
    return f"the recorded environment cannot be made: {gone}"


def _guilty(lock: Lock, error: StoreError) -> list[Requirement]:
    """Return the packages that uv complains of."""
    said = f"{error} {error.hint or ''}".lower()
    named = [one for one in lock.requirements if re.search(_NAMED.format(_loose(one.name)), said)]
    return [one for one in named if one.version in said] or named


_NAMED = r"(?<![\w.-]){}(?![\w-])"
_MOST_NAMED = 6


def _listed(found: Sequence[Requirement]) -> str:
    more = f" and {len(found) - _MOST_NAMED} more" if len(found) > _MOST_NAMED else ""
    return (
        ", ".join(f"{one.name} {one.version}{_marked(one)}" for one in found[:_MOST_NAMED]) + more
    )


def _loose(name: str) -> str:
    return re.escape(name.lower()).replace(r"\-", "[-_.]")


def _marked(one: Requirement) -> str:
    return f" ({one.unhashed})" if one.unhashed else ""
