"""Objects: a content-addressed store in DVC's layout, shared with DVC's cache by hard links."""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mlrepro import paths
from mlrepro.errors import ObjectNotFoundError, StoreError
from mlrepro.manifest import Digest
from mlrepro.stores import listing, reflink
from mlrepro.stores.shelf import Shelves, Store
from mlrepro.stores.statcache import StatCache

__all__ = ["Ignore", "Store", "Stored", "Stores", "digest_dir", "digest_file", "stores"]

Ignore = Callable[[Path, bool], bool]
"""``(path, is_dir) -> bool``: whether a file or folder inside a stored folder is left out."""

_CACHED_FROM = 64 * 1024
# Below this size reading a file is as cheap as looking its digest up.


@dataclass(frozen=True)
class Stored:
    """Bytes that a store holds, or could.

    Attributes
    ----------
    digest : Digest
        Their name.
    size : int
        In bytes; of a folder, the sum of its files.
    files : int or None
        How many files a folder holds.
    """

    digest: Digest
    size: int
    files: int | None = None


@dataclass(frozen=True)
class Stores:
    """The objects of all runs, and DVC's cache beside them.

    Attributes
    ----------
    own : Store
        Every object that any run names; out of reach of ``dvc gc``.
    dvc : Store
        The objects that a ``.dvc`` pointer names: DVC's own place.
    shared : bool
        Whether folders are made group-writable, as DVC's ``cache.shared = group`` asks.
    """

    own: Store
    dvc: Store
    shared: bool = False

    def add(
        self,
        path: Path,
        *,
        into_dvc: bool,
        ignore: Ignore | None = None,
        cache: StatCache | None = None,
    ) -> Stored:
        """Store a file, or all files of a folder; the working files stay as they are.

        Parameters
        ----------
        path : Path
            A file or folder; links to files are followed, links to folders left out, as DVC does.
        into_dvc : bool
            Whether DVC's cache gets the objects too: for what a ``.dvc`` will name.
        ignore : callable, optional
            What to leave out of a folder, see `mlrepro.stores.dvc.ignore_rules`.
        cache : StatCache, optional
            Spares reading large files that were stored before.

        Raises
        ------
        StoreError
            If it cannot be read, is neither file nor folder, or the store cannot be written.
        """
        with _translated(path):
            status = path.stat()
            if not modes.S_ISDIR(status.st_mode):
                return self._add_file(os.fspath(path), status, into_dvc, cache)
            members = {
                name: self._add_file(file, status, into_dvc, cache)
                for name, file, status in listing.walk(path, ignore)
            }
            return self._add_listing(members, into_dvc)

    def add_bytes(self, data: bytes, *, into_dvc: bool = False) -> Stored:
        """Store some bytes."""
        with _translated(self.own.root):
            return Stored(self._add_small(data, into_dvc), len(data))

    def find(self, digest: Digest) -> Path | None:
        """Return the object's file, from either store; None where neither has it."""
        return next(self._places(digest), None)

    def put(self, digest: Digest, target: Path) -> None:
        """Restore a file or folder, by reflink or copy, writable, and checked while it is copied.

        Parameters
        ----------
        digest : Digest
            What to restore.
        target : Path
            A file is replaced; a folder's files are put among those that are there.

        Raises
        ------
        ObjectNotFoundError
            If an object is absent or damaged; nothing has come to the target then.
        ManifestError
            If a folder's listing names a path outside the folder.
        """
        with _translated(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if digest.is_dir:
                self._put_folder(digest, target)
                return
            with paths.beside(target, mode=0o644) as file:
                self._fetch(digest, file.fileno())

    def missing(self, digests: Iterable[Digest]) -> list[Digest]:
        """Return those that are absent from both stores, the files of folders among them."""
        absent: dict[Digest, None] = {}
        for digest in digests:
            if self.find(digest) is None:
                absent[digest] = None
            elif digest.is_dir:
                members = self.listing(digest).values()
                absent.update((member, None) for member in members if self.find(member) is None)
        return list(absent)

    def listing(self, digest: Digest) -> dict[str, Digest]:
        """Return the files of a stored folder, each path checked to stay inside it.

        Raises
        ------
        ObjectNotFoundError
            If the listing is absent or damaged.
        ManifestError
            If it names a path outside the folder: it may come from a stranger.
        """
        for place in self._places(digest):
            data = place.read_bytes()
            if f"{reflink.md5(data)}.dir" == digest.value:
                return listing.read(data, str(digest))
        raise self._absent(digest)

    def sweep(self, *, before: float) -> int:
        """Remove the temporary files that killed processes left before that time (`time.time`)."""
        return self._shelves.sweep(before=before)

    @cached_property
    def _shelves(self) -> Shelves:
        workshop = self.own.root.parent.parent / "tmp"
        return Shelves(self.own, self.dvc, os.fspath(workshop), self.shared)

    def _add_file(
        self, path: str, status: os.stat_result, into_dvc: bool, cache: StatCache | None
    ) -> Stored:
        if not modes.S_ISREG(status.st_mode):
            raise StoreError(f"`{path}` is neither a file nor a folder")
        if status.st_size <= _CACHED_FROM or (cache is None and status.st_size <= reflink.SMALL):
            with open(path, "rb", buffering=0) as file:
                data = file.readall()
            return Stored(self._add_small(data, into_dvc), len(data))
        known = cache.get(status) if cache else None
        if known and self._shelves.share(known, status.st_size, into_dvc=into_dvc):
            return Stored(Digest("md5", known), status.st_size)
        return self._add_large(path, into_dvc, cache)

    def _add_small(self, data: bytes, into_dvc: bool, suffix: str = "") -> Digest:
        value = reflink.md5(data) + suffix
        if not self._shelves.share(value, len(data), into_dvc=into_dvc):
            self._shelves.write(value, data, into_dvc=into_dvc)
        return Digest("md5", value)

    def _add_large(self, path: str, into_dvc: bool, cache: StatCache | None) -> Stored:
        with Path(path).open("rb", buffering=0) as file:
            before = os.fstat(file.fileno())
            with self._shelves.temporary() as (descriptor, name):
                value, size = reflink.carry(file.fileno(), descriptor)
                if not self._shelves.share(value, size, into_dvc=into_dvc):
                    self._shelves.settle(descriptor, name, value, into_dvc=into_dvc)
            after = os.fstat(file.fileno())
        if cache and size == before.st_size and _unchanged(before, after):
            cache.put(after, value)
            cache.save()
        return Stored(Digest("md5", value), size)

    def _add_listing(self, members: Mapping[str, Stored], into_dvc: bool) -> Stored:
        data = listing.write({name: stored.digest for name, stored in members.items()})
        digest = self._add_small(data, into_dvc, ".dir")
        return Stored(digest, sum(stored.size for stored in members.values()), len(members))

    def _put_folder(self, digest: Digest, target: Path) -> None:
        """Restore beside the target first, so that a damaged member leaves nothing there."""
        members = self.listing(digest)
        with _folder_beside(target) as room:
            for name, member in members.items():
                path = room / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb", buffering=0) as file:
                    self._fetch(member, file.fileno())
            target.mkdir(exist_ok=True)
            for name in members:
                path = paths.resolve_inside(target, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                (room / name).replace(path)

    def _fetch(self, digest: Digest, descriptor: int) -> None:
        """Write an object's bytes into an empty file, from whichever store has them undamaged."""
        for place in self._places(digest):
            with place.open("rb", buffering=0) as source:
                if reflink.carry(source.fileno(), descriptor)[0] == digest.value:
                    return
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.truncate(descriptor, 0)
        raise self._absent(digest)

    def _places(self, digest: Digest) -> Iterator[Path]:
        for store in (self.own, self.dvc):
            if digest.algorithm == "md5" and (place := store.path(digest)).is_file():
                yield place

    def _absent(self, digest: Digest) -> ObjectNotFoundError:
        if place := self.find(digest):
            return ObjectNotFoundError(
                f"object {digest} is damaged: `{place}` holds other bytes",
                hint="Remove that file, then run `mlrepro pull`.",
            )
        return ObjectNotFoundError(f"object {digest} is not in `{self.dvc.root.parent.parent}`")


def stores(cache: Path, *, shared: bool = False) -> Stores:
    """Return the two stores of a DVC cache folder; nothing is created."""
    parts = ("files", "md5")
    return Stores(Store(cache.joinpath("mlrepro", *parts)), Store(cache.joinpath(*parts)), shared)


def digest_file(path: Path) -> Digest:
    """Return the digest of a file's bytes, without storing them."""
    with _translated(path), path.open("rb", buffering=0) as file:
        return Digest("md5", reflink.digest(file.fileno())[0])


def digest_dir(path: Path, ignore: Ignore | None = None) -> Stored:
    """Return what storing a folder would give, without storing it."""
    members, size = {}, 0
    with _translated(path):
        for name, file, status in listing.walk(path, ignore):
            members[name] = digest_file(Path(file))
            size += status.st_size
    value = f"{reflink.md5(listing.write(members))}.dir"
    return Stored(Digest("md5", value), size, len(members))


def _unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size)


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    import shutil  # noqa: PLC0415  4 ms, paid when a folder is restored
    import tempfile  # noqa: PLC0415

    room = Path(tempfile.mkdtemp(dir=target.parent, prefix=".mlrepro-"))
    room.chmod(0o755)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        name = error.filename if isinstance(error.filename, str) else path
        raise StoreError(f"`{name}`: {error.strerror or error}") from error
