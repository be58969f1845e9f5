"""Restore: the inputs of a run into a clean room, from code, DVC or the ledger's objects."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mlrepro import paths, plain
from mlrepro.capture import blindspots
from mlrepro.capture.untracked import is_secret
from mlrepro.cleanroom import pathmaps
from mlrepro.cleanroom.outside import Outside
from mlrepro.cleanroom.room import Room
from mlrepro.drift import Change
from mlrepro.errors import ManifestError, ObjectNotFoundError, RestoreError, StoreError
from mlrepro.manifest import SUFFIX, Digest, Input, Manifest, Source, is_in_tree
from mlrepro.stores import dvc, git, ledger, place, reflink
from mlrepro.stores.objects import Stores
from mlrepro.stores.place import Place

LINKED_FROM = 200 * 2**20
"""Files of this many bytes are not copied for readers of our own."""
_SLOW = 100 * 2**20
"""Bytes that take about a second to copy or to digest."""


@dataclass(frozen=True)
class Restored:
    """What was put into a room.

    Attributes
    ----------
    inputs : tuple of Input
        All recorded inputs.
    binds : dict of str to Path
        Files outside the project that are to appear at their recorded absolute path.
    notes : tuple of str
        What could not be restored and may not be needed.
    changes : tuple of Change
        Inputs that come with the code and that the code of HEAD has otherwise.
    """

    inputs: tuple[Input, ...] = ()
    binds: dict[str, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()


def all_inputs(
    here: Place, record: Manifest, *, notify: Callable[[str], None] = lambda _sentence: None
) -> tuple[Input, ...]:
    """Return every input of a run, from the manifest or, where there are many, from the ledger.

    Raises
    ------
    RestoreError
        If the ledger entry is not to be had.
    """
    if "inputs" not in record.lists:
        return record.inputs
    try:
        data = json.loads(listing(here, record, "inputs", notify=notify))
        found = tuple(plain.load(Input, one, where="input") for one in data)
        for one in found:
            if not one.path.startswith("/"):
                paths.inside(one.path, where="input")
    except (StoreError, ManifestError, ValueError) as error:
        raise RestoreError(
            f"the list of inputs of run {record.short} is not here: {error}",
            hint="Bring it in with `mlrepro pull`.",
        ) from error
    return found


def listing(here: Place, record: Manifest, name: str, *, notify: Callable[[str], None]) -> bytes:
    """Return a long list of a run; the ledger is fetched once where it is not here.

    Raises
    ------
    StoreError
        If the ledger entry is not to be had.
    """
    try:
        return ledger.listing(here.repository, record, name)
    except ObjectNotFoundError:
        remote = git.default_remote(here.repository)
        if not remote or name not in record.lists:
            raise
        notify(f"fetching runs from {remote}")
        ledger.pull(here.repository, remote)
        return ledger.listing(here.repository, record, name)


def restore(
    here: Place,
    record: Manifest,
    room: Room,
    *,
    folders: bool = True,
    head: bool = False,
    notify: Callable[[str], None],
) -> Restored:
    """Put the inputs of a run into its room, and make the folders that its outputs went to.

    What lies in the room is the training's own, and writable: a clone or a copy. No path in it
    leads to the bytes of a store or of the user.

    Parameters
    ----------
    here, record, room : Place, Manifest, Room
        What, and where.
    folders : bool
        Whether the folders of outputs are made. No record tells whether the run found them.
    head : bool
        Whether the room has the code of HEAD, which may have other inputs than the record.
    notify : callable
        Takes a sentence before something slow.

    Raises
    ------
    RestoreError
        If an input is not to be had, all of them are named; or a path leads out of the room.
    """
    inputs = all_inputs(here, record, notify=notify)
    try:
        fetch(here, [i.digest for i in inputs if i.digest and i.source in _KEPT], notify=notify)
        binds, absent = _put_all(here, record, inputs, room, notify)
        changes = _changed(inputs, room)
        if not head:
            absent += [f"{one.path} ({one.digest}; the code has other bytes)"
                       for one, _ in changes if not _mended(here, one, room)]  # fmt: skip
        if absent:
            raise RestoreError(f"not to be had here: {'; '.join(absent)}", hint=_HINT)
        _make_folders(record, room.root, all_=folders)
    except (ManifestError, StoreError) as error:
        hint = error.hint if isinstance(error, StoreError) else ""
        raise RestoreError(f"run {record.short} cannot be restored: {error}", hint=hint) from error
    notes: Sequence[str] = ()
    if not _all_was_seen(record):
        notes = _pointers(here, record, room, {i.path for i in inputs}, notify=notify)
    moved = tuple(Change(one.path, str(one.digest), now) for one, now in changes if head)
    return Restored(inputs, binds, tuple(notes), moved)


def _changed(inputs: Iterable[Input], room: Room) -> list[tuple[Input, str]]:
    """Return the inputs that come with the code and are otherwise there, each with its state.

    A file may have changed after the snapshot of the code, and before the training read it.
    """
    found = []
    for one in inputs:
        path = room.root / one.path
        if one.source is Source.CODE and one.digest and not path.is_dir():
            now = place.digest(path) if path.is_file() else None
            if now != one.digest:
                found.append((one, str(now or "absent")))
    return found


def _mended(here: Place, one: Input, room: Room) -> bool:
    """Put the recorded bytes of an input over those of the code; say whether they are here."""
    if one.digest is None or here.stores.find(one.digest) is None:
        return False
    put(here.stores, one.digest, _target(room, one.path))
    return True


def _put_all(
    here: Place,
    record: Manifest,
    inputs: Iterable[Input],
    room: Room,
    notify: Callable[[str], None],
) -> tuple[dict[str, Path], list[str]]:
    """Put every input into its place; return what is to be bound, and what is not to be had."""
    outside = Outside(record, room.work / "outside", pathmaps.read(here.root))
    absent: list[str] = []
    for one in inputs:
        if one.source is Source.CODE:
            continue
        if is_secret_input(one):
            _lend_secret(here, one, room, notify)
            continue
        if (one.size or 0) > _SLOW:
            notify(f"restoring {one.path} ({(one.size or 0) / 1e9:.1f} GB)")
        absent += _put(here, one, room, outside)
        if one.seen == "program" and not one.path.startswith("/"):
            _let_start(_target(room, one.path))
    return outside.binds(), absent


def _let_start(program: Path) -> None:
    """Give a stored program back what no object has: that it may be started."""
    if program.is_file():
        program.chmod(program.stat().st_mode | stat.S_IXUSR)


def is_secret_input(one: Input) -> bool:
    """Whether only the name of an input was recorded, since it is that of a secret."""
    return one.source is Source.ELSEWHERE and one.digest is None and is_secret(one.path)


def _lend_secret(here: Place, one: Input, room: Room, notify: Callable[[str], None]) -> None:
    """Give the training this machine's own secret of that name; nothing of it was recorded."""
    own = here.root / one.path
    if own.is_file():
        if not one.path.startswith("/"):
            shutil.copy(own, _target(room, one.path))
    else:
        notify(f"{one.path}, which has the name of a secret, is not here")


def fetch(here: Place, digests: Iterable[Digest], *, notify: Callable[[str], None]) -> None:
    """Bring absent objects from the DVC remote: mlrepro's own place there first, then DVC's."""
    missing = here.stores.missing(digests)
    if not missing or not here.has_dvc or not dvc.setting(here.root, "core.remote"):
        return
    notify(f"fetching {len(missing)} object{'s' * (len(missing) > 1)} from the DVC remote")
    for nested in (True, False):
        try:
            dvc.pull(here.root, missing, remote=None, nested=nested)
        except StoreError as error:
            notify(f"the DVC remote did not answer: {error}")
            return
        missing = here.stores.missing(missing)
        if not missing:
            return


_KEPT = (Source.DVC, Source.STORED)
_HINT = "Ask the author for `mlrepro push`; `mlrepro verify` lists what is missing."


def _put(here: Place, one: Input, room: Room, outside: Outside) -> list[str]:
    """Put one input into its place; return a sentence if that is not possible."""
    if one.digest is None:
        return [f"{one.path} ({one.grade.value}, no digest was recorded)"]
    if one.path.startswith("/"):
        return _put_outside(here, one, one.digest, outside)
    target = _target(room, one.path)
    if one.source is Source.ELSEWHERE:
        if not is_file(here.root / one.path, one.digest):
            return [f"{one.path} ({one.digest}), which only its author has"]
        return _copied(here.root / one.path, one, one.digest, target)
    try:
        put(here.stores, one.digest, target)
    except StoreError as error:
        return [f"{one.path} ({error})"]
    return []


def _copied(source: Path, one: Input, digest: Digest, target: Path) -> list[str]:
    """Clone or copy a file of the user's, for a training that may write to it."""
    mode = stat.S_IMODE(source.stat().st_mode) | stat.S_IWUSR
    with source.open("rb") as old, paths.beside(target, mode=mode) as new:
        if reflink.carry(old.fileno(), new.fileno())[0] == digest.value:
            return []
    target.unlink()
    return [f"{one.path} ({digest}), which has just changed"]


def _put_outside(here: Place, one: Input, digest: Digest, outside: Outside) -> list[str]:
    """Let a file outside the project appear at each of its places that does not hold it."""
    places = outside.places(one.path)
    known = (*outside.mapped(one.path), *places)
    holding = next((place for place in known if is_file(Path(place), digest)), None)
    if holding == places[0] and len(places) == 1:
        return []
    try:
        for place in places:
            if holding:
                outside.show(place, Path(holding))
            elif one.source is Source.ELSEWHERE:
                return [f"{one.path} ({digest}), which only its author has"]
            else:
                put(here.stores, digest, outside.copy(place))
    except StoreError as error:
        return [f"{one.path} ({error})"]
    return []


def put(stores: Stores, digest: Digest, target: Path, *, size: int = 0) -> None:
    """Put an object at a path: cloned or copied.

    Parameters
    ----------
    size : int
        Given by readers of our own, for whom a large file is only linked. In a room nothing is:
        a training, as root or after a `chmod`, would write through a link into the cache.

    Raises
    ------
    ObjectNotFoundError
        If the store does not hold it, or holds other bytes under its name.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or target.is_file():
        target.unlink()
    found = stores.find(digest)
    if size < LINKED_FROM or digest.is_dir or found is None or not is_file(found, digest):
        stores.put(digest, target)
        return
    target.symlink_to(found)


def _target(room: Room, path: str) -> Path:
    target = paths.resolve_inside(room.root, path)
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def is_file(path: Path, digest: Digest) -> bool:
    """Say whether a file is there and has these bytes."""
    try:
        return path.is_file() and place.digest(path) == digest
    except (OSError, StoreError):
        return False


def _make_folders(record: Manifest, root: Path, *, all_: bool) -> None:
    for artifact in record.artifacts:
        if is_in_tree(artifact.path):
            folder = paths.resolve_inside(root, artifact.path).parent
            if all_:
                folder.mkdir(parents=True, exist_ok=True)
    for name in (*record.folders, *filter(None, [record.run.directory])):
        folder = paths.resolve_inside(root, name)
        if not folder.resolve().is_relative_to(root.resolve()):
            raise ManifestError(f"{name!r:.80} leads out of the folder")
        folder.mkdir(parents=True, exist_ok=True)


def _all_was_seen(record: Manifest) -> bool:
    """Whether no file can have been read that is not among the inputs."""
    native = "native" in record.observer.split("+")
    return native and not any(map(blindspots.hides_files, record.blind_spots))


def _pointers(
    here: Place, record: Manifest, room: Room, restored: set[str], *, notify: Callable[[str], None]
) -> Sequence[str]:
    """Restore what other `.dvc` files of the code name, for readers that no observer sees.

    Models of other runs are left out (a manifest stands beside them), and so is what this run
    made: an artifact counts as rebuilt only if the training writes it.
    """
    notes = []
    for name, digest in _pointed(record, room, restored).items():
        try:
            fetch(here, [digest], notify=notify)
            put(here.stores, digest, _target(room, name))
        except (StoreError, ManifestError) as error:
            notes.append(f"{name}, which no observer saw being read, was not restored: {error}")
    return notes


def _pointed(record: Manifest, room: Room, restored: set[str]) -> dict[str, Digest]:
    made = {artifact.path for artifact in record.artifacts}
    folders = {str(parent) for path in made for parent in PurePosixPath(path).parents}
    wanted: dict[str, Digest] = {}
    for file in sorted(room.root.rglob("*.dvc")):
        if not file.is_file() or ".dvc" in file.relative_to(room.root).parts[:-1]:
            continue
        try:
            pointer = dvc.read_pointer(file)
        except (StoreError, ManifestError):
            continue
        target = file.parent / pointer.path
        name = target.relative_to(room.root).as_posix()
        is_model = target.with_name(target.name + SUFFIX).exists()
        if name not in made | folders | restored and not is_model and not target.exists():
            wanted[name] = pointer.digest
    return wanted
