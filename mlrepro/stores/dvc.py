"""DVC: the one module that imports it, for its remotes; its files are in the modules beside."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from mlrepro.errors import DvcError, MlreproError
from mlrepro.manifest import Digest
from mlrepro.stores import git, objects
from mlrepro.stores.dvcconfig import cache_dir, is_initialised, is_shared, setting
from mlrepro.stores.dvcfiles import Pointer, parse_pointer, read_pointer
from mlrepro.stores.dvcignore import ignore_rules
from mlrepro.stores.dvckeep import keep, obstacle
from mlrepro.stores.dvcstages import Owned, owned

__all__ = [
    "Owned",
    "Pointer",
    "cache_dir",
    "ignore_rules",
    "init",
    "is_initialised",
    "keep",
    "obstacle",
    "owned",
    "parse_pointer",
    "pull",
    "push",
    "read_pointer",
    "setting",
    "stores",
    "verify_remote",
]

PLACE = "mlrepro"
"""Folder of the remote that holds the objects of all runs, out of reach of ``dvc gc -c``."""

_REMOTE = "mlrepro-objects"

Progress = Callable[[int, int], None]
"""``(done, total)``, in objects."""


def stores(root: Path) -> objects.Stores:
    """Return the object stores of a project, as its DVC configuration places them."""
    return objects.stores(cache_dir(root), shared=is_shared(root))


def init(root: Path) -> None:
    """Do what `dvc init` does: at the top of a git repository, below it, or without git.

    Raises
    ------
    DvcError
        If DVC refuses.
    """
    repo = git.find(root)
    with _translated("DVC could not be initialised"):
        from dvc.repo import Repo  # noqa: PLC0415  0.5 s, paid once for a project

        from mlrepro.stores import dvcquiet  # noqa: PLC0415  loaded already

        is_below = repo is not None and repo.root != root.resolve()
        with dvcquiet.quiet():  # it sets its log up while it is imported, and greets the user
            Repo.init(str(root), no_scm=repo is None, subdir=is_below).close()


def push(
    root: Path,
    digests: Collection[Digest],
    *,
    remote: str | None = None,
    nested: bool = True,
    progress: Progress | None = None,
) -> int:
    """Send objects to a DVC remote, the files of folders among them.

    Parameters
    ----------
    root : Path
        The folder that holds ``.dvc``.
    digests : collection of Digest
        What to send; what is not here is passed over (see `verify_remote`).
    remote : str, optional
        A remote of DVC's configuration; its default otherwise.
    nested : bool
        Whether they go to mlrepro's own place on the remote, or to DVC's.
    progress : callable, optional
        Gets ``(done, total)``.

    Returns
    -------
    int
        How many objects the remote did not have.

    Raises
    ------
    DvcError
        If there is no remote, or it cannot be written.
    """
    here = stores(root)
    wanted = {digest.value for digest in _with_members(here, digests)}
    own = {value for value in wanted if here.own.path(Digest("md5", value)).is_file()}
    with _remote(root, remote, nested=nested, verb="sent to") as (repo, odb):
        sent = _transfer(_local(repo, here.own), odb, own, progress)
        return sent + _transfer(repo.cache.local, odb, wanted - own, progress)


def pull(
    root: Path,
    digests: Collection[Digest],
    *,
    remote: str | None = None,
    nested: bool = True,
    progress: Progress | None = None,
) -> int:
    """Bring absent objects from a DVC remote, the files of folders among them.

    Whether all came is for the caller to check, with `Stores.missing`: an object may be in the
    other place of the remote. Each object's bytes are checked as it arrives. See `push`.

    Raises
    ------
    DvcError
        If there is no remote, or it cannot be read.
    """
    here = stores(root)
    absent = here.missing(digests)
    if not absent:
        return 0
    with _remote(root, remote, nested=nested, verb="fetched from") as (repo, odb):
        target = _local(repo, here.own) if nested else repo.cache.local
        folders = {digest.value for digest in absent if digest.is_dir}
        brought = _transfer(odb, target, folders, None)
        files = {digest.value for digest in here.missing(digests)} - folders
        return brought + _transfer(odb, target, files, progress)


def verify_remote(
    root: Path, digests: Collection[Digest], *, remote: str | None = None, nested: bool = True
) -> list[Digest]:
    """Ask a DVC remote for objects, and return those that it does not hold.

    The files of a folder are asked for where its listing is in the local stores.

    Raises
    ------
    DvcError
        If there is no remote, or it cannot be read.
    """
    wanted = _with_members(stores(root), digests)
    with _remote(root, remote, nested=nested, verb="looked for on") as (_, odb):
        held = set(odb.oids_exist([digest.value for digest in wanted])) if wanted else set()
    return [digest for digest in wanted if digest.value not in held]


def _with_members(here: objects.Stores, digests: Iterable[Digest]) -> list[Digest]:
    wanted: dict[Digest, None] = {}
    for digest in digests:
        wanted[digest] = None
        if digest.is_dir and here.find(digest):
            wanted.update(dict.fromkeys(here.listing(digest).values()))
    return list(wanted)


@contextmanager
def _remote(root: Path, name: str | None, *, nested: bool, verb: str) -> Iterator[tuple[Any, Any]]:
    """Open DVC's repository and the object database of one of its remotes."""
    if not is_initialised(root):
        raise DvcError(f"`{root}` has no DVC, so it has no remote", hint="Run `mlrepro init`.")
    name = name or setting(root, "core.remote")
    if name is None:
        raise DvcError(
            "no DVC remote is configured", hint="Set one with `dvc remote add -d NAME URL`."
        )
    with _translated(f"objects could not be {verb} the DVC remote `{name}`"):
        from dvc.repo import Repo  # noqa: PLC0415  0.5 s, paid by the commands that share

        with closing(Repo(str(root), config=_overlay(name))) as repo:
            yield repo, repo.cloud.get_remote_odb(_REMOTE if nested else name)


def _overlay(name: str) -> dict[str, Any]:
    """Declare our place as a remote of DVC's own kind, in memory; no file is changed.

    It holds plain objects also where the remote keeps versions (``version_aware``).
    """
    place = {"url": f"remote://{name}/{PLACE}", "version_aware": False, "worktree": False}
    return {"remote": {_REMOTE: place}}


def _local(repo: Any, store: objects.Store) -> Any:
    from dvc_data.hashfile.db import get_odb  # noqa: PLC0415  loaded with DVC

    local = repo.cache.local
    return get_odb(local.fs, str(store.root), state=local.state, hash_name="md5")


def _transfer(source: Any, target: Any, values: Collection[str], progress: Progress | None) -> int:
    """Copy objects from one database to another; return how many have arrived whole."""
    if not values:
        return 0
    from dvc_data.hashfile.hash_info import HashInfo  # noqa: PLC0415  loaded with DVC
    from dvc_data.hashfile.transfer import transfer  # noqa: PLC0415
    from fsspec.callbacks import Callback  # type: ignore[import-untyped]  # noqa: PLC0415

    to_here = target.fs.protocol == "local"
    result = transfer(
        source,
        target,
        [HashInfo("md5", value) for value in sorted(values)],
        cache_odb=None if to_here else source,
        verify=to_here,  # on a cloud it would fetch every object back
        callback=Callback(hooks={"mlrepro": _Steps(progress)}),
    )
    if result.failed:
        raise _TransferError(f"{len(result.failed)} of {len(values)} failed")
    sent = {one.value for one in result.transferred}
    # DVC removes what arrived with other bytes, and says nothing.
    return sum(target.exists(value) for value in sent) if to_here else len(sent)


class _Steps:
    """Tells how far a transfer is; DVC restarts its total with every folder."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._total = 0

    def __call__(self, size: int | None, value: int, **_: object) -> None:
        self._total = max(self._total, size or 0, value)
        if self._progress and value:
            self._progress(value, self._total)


class _TransferError(Exception):
    """Some objects did not arrive; DVC logged why."""


@contextmanager
def _translated(sentence: str) -> Iterator[None]:
    from mlrepro.stores import dvcquiet  # noqa: PLC0415  logging: 5 ms, paid where DVC is

    with dvcquiet.quiet() as heard:
        try:
            yield
        except MlreproError:
            raise
        except Exception as error:
            told = heard[0] if heard and isinstance(error, _TransferError) else error
            reason = " ".join(str(told).split()).rstrip(".")[:300] or type(told).__name__
            raise DvcError(f"{sentence}: {reason}") from error
