"""Room: an isolated folder with the recorded code and its own git, removed when it is left."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlrepro.errors import GitError, RestoreError, StoreError
from mlrepro.manifest import CodeState, Manifest
from mlrepro.stores import git, ledger
from mlrepro.stores.place import Place

_CODE_FILES = (
    "*.py", "*.sh", "*.yaml", "*.yml", "*.json", "*.toml", "*.cfg", "*.ini", "*.ipynb", "*.conf",
    "*Makefile", "*.mk", "*.R", "*.txt",
)  # fmt: skip


@dataclass(frozen=True)
class Room:
    """A clean room.

    Attributes
    ----------
    folder : Path
        All of it: ``<user cache>/mlrepro/rooms/<uuid>``.
    root : Path
        The project inside it; its name is that of the recorded folder.
    work : Path
        What the rebuild needs beside the project: the observer's log, the recorded artifacts.
    tree : str
        The git tree that was laid out.
    """

    folder: Path
    root: Path
    work: Path
    tree: str


def cache_home() -> Path:
    """Return mlrepro's folder in the user's cache."""
    import platformdirs  # noqa: PLC0415  10 ms, paid by a rebuild

    return Path(platformdirs.user_cache_dir("mlrepro"))


@contextlib.contextmanager
def opened(
    here: Place,
    record: Manifest,
    *,
    head: bool = False,
    keep: bool = False,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> Iterator[Room]:
    """Lay out the code of a run in a folder of its own, and remove it in the end.

    Parameters
    ----------
    here : Place
        The project whose git holds the code, or whose remote does.
    record : Manifest
        The run.
    head : bool
        Take the code of HEAD instead of the recorded one.
    keep : bool
        Leave the room behind.
    notify : callable
        Takes a sentence before something slow.

    Raises
    ------
    RestoreError
        If the code cannot be had.
    """
    repo = here.repository
    code = _head(repo, record) if head else _recorded(repo, record, notify)
    folder = cache_home() / "rooms" / uuid.uuid4().hex
    name = Path(record.run.root).name or "project"
    room = Room(folder, folder / name, folder / "work", code.tree)
    try:
        room.work.mkdir(parents=True)
        _lay_out(repo, code, room.root)
        yield room
    except OSError as error:
        raise RestoreError(f"the clean room could not be made: {error}") from error
    finally:
        if not keep:
            remove(folder)


def remove(folder: Path) -> None:
    """Remove a room, read-only folders of the training included."""
    if not folder.exists():
        return
    for top, names, _files in os.walk(folder):
        for name in names:
            path = Path(top, name)
            if not path.is_symlink() and not os.access(path, os.W_OK | os.X_OK):
                path.chmod(stat.S_IRWXU)
    shutil.rmtree(folder, ignore_errors=True)


def mentions(here: Place, room: Room, folder: str) -> list[str]:
    """Return the files of the recorded code in which an absolute folder is written out."""
    if not folder.startswith("/") or folder == "/":
        return []
    found = git.call(
        here.repository, "grep", "-l", "-z", "-I", "-F", "-e", folder, room.tree,
        "--", *_CODE_FILES, check=False,
    )  # fmt: skip
    return [os.fsdecode(name).partition(":")[2] for name in found.split(b"\0") if name]


def _recorded(repo: git.Repository, record: Manifest, notify: Callable[[str], None]) -> CodeState:
    if record.code is None:
        raise RestoreError(
            "the run recorded no code", hint="`mlrepro show` says why; run it again to record it."
        )
    if git.has(repo, f"{record.code.tree}^{{tree}}"):
        return record.code
    remote = git.default_remote(repo)
    if not remote:
        raise RestoreError(
            f"the code of run {record.short} is not in this repository, which has no remote",
            hint="Add the author's remote with `git remote add`, then `mlrepro pull`.",
        )
    notify(f"fetching the code of run {record.short} from {remote}")
    try:
        ledger.fetch_code(repo, remote, record.code.snapshot)
    except StoreError as error:
        raise RestoreError(
            f"the code of run {record.short} is neither here nor on {remote}: {error}",
            hint="Ask the author for `mlrepro push`.",
        ) from error
    if not git.has(repo, f"{record.code.tree}^{{tree}}"):
        raise RestoreError(f"the snapshot of run {record.short} does not hold its code")
    return record.code


def _head(repo: git.Repository, record: Manifest) -> CodeState:
    commit = git.head(repo).commit
    if not commit:
        raise RestoreError("there is no commit yet that `--code head` could take")
    tree = git.call(repo, "rev-parse", f"{commit}^{{tree}}").decode().strip()
    return CodeState(tree=tree, snapshot=record.code.snapshot if record.code else "", commit=commit)


def _lay_out(repo: git.Repository, code: CodeState, root: Path) -> None:
    """Clone without copying objects, so that scripts that ask git get an answer; then the files."""
    if repo.shadow:
        root.mkdir()
        git.export(repo, code.tree, root)
        return
    try:
        git.call(
            repo, "clone", "--shared", "--no-checkout", "--quiet", str(repo.common_dir), str(root)
        )
        inner = git.open_repository(root)
        git.call(inner, "read-tree", "--reset", "-u", code.tree)
        commit = next((c for c in (code.commit, code.snapshot) if c and git.has(inner, c)), "")
        if commit:
            git.call(inner, "update-ref", "--no-deref", "HEAD", commit)
            git.call(inner, "read-tree", commit)
    except GitError as error:
        raise RestoreError(f"the code could not be laid out: {error}") from error
