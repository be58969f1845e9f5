"""Room: an isolated folder with the recorded code and its own git, removed when it is left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlrepro.cleanroom import borrowed
from mlrepro.errors import GitError, RestoreError, StoreError
from mlrepro.manifest import SUFFIX, CodeState, Manifest
from mlrepro.stores import git, gitcall, ledger
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
        All of it: ``<user cache>/mlrepro/rooms/<id>``.
    root : Path
        The project inside it; its name is that of the recorded folder.
    work : Path
        What the rebuild needs beside the project: the observer's log, the recorded artifacts.
    temporary : Path
        The training's ``TMPDIR``.
    tree : str
        The git tree that was laid out.
    """

    folder: Path
    root: Path
    work: Path
    temporary: Path
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
        If the code cannot be had, or the room cannot be made or written.
    """
    repo = here.repository
    code = _head(repo, record) if head else _recorded(repo, record, notify)
    try:
        with borrowed.folder(cache_home() / "rooms", keep=keep) as folder:
            room = _furnished(folder, record, code.tree)
            _lay_out(repo, code, room.root)
            yield room
    except OSError as error:
        where = f" `{error.filename}`" if error.filename else ""
        raise RestoreError(
            f"the clean room cannot be used: {error.strerror or error}{where}",
            hint="It lies in the user's cache; set XDG_CACHE_HOME to place it elsewhere.",
        ) from error


def _furnished(folder: Path, record: Manifest, tree: str) -> Room:
    """Make the folders of a room. A name from a manifest never leads out of it."""
    name = Path(record.run.root).name
    name = "project" if name in ("", ".", "..", ".git") or "\0" in name else name
    room = Room(folder, folder / "at" / name, folder / "work", folder / "tmp", tree)
    for made in (room.root, room.work, room.temporary):
        made.mkdir(parents=True)
    return room


def mentions(here: Place, record: Manifest, room: Room, folder: str) -> list[str]:
    """Return the files of the recorded code in which an absolute folder is written out.

    What mlrepro and DVC wrote is left out, and so is what the run made: the manifest of every
    model says where it was trained, and is nothing that a training follows.
    """
    if not folder.startswith("/") or folder == "/":
        return []
    found = git.call(
        here.repository, "grep", "-l", "-z", "-I", "-F", "-e", folder, room.tree,
        "--", *_CODE_FILES, check=False,
    )  # fmt: skip
    made = {artifact.path for artifact in record.artifacts} - {one.path for one in record.inputs}
    names = [os.fsdecode(name).partition(":")[2] for name in found.split(b"\0") if name]
    return [name for name in names if not (name in made or name.endswith((SUFFIX, ".dvc")))]


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
    """Write the files, with a `.git` that borrows all objects, so that scripts get an answer.

    Not `git clone --shared`: it copies everything where the source is shallow, and lacks what no
    branch holds then.
    """
    try:
        if repo.shadow:
            git.export(repo, code.tree, root)
            return
        inner = _borrowing(repo, root)
        git.call(inner, "read-tree", "--reset", "-u", code.tree)
        commit = next((c for c in (code.commit, code.snapshot) if c and git.has(inner, c)), "")
        if commit:
            _stand_at(inner, commit, code.branch)
    except GitError as error:
        raise RestoreError(f"the code could not be laid out: {error}") from error


def _borrowing(repo: git.Repository, root: Path) -> git.Repository:
    """Make a repository that sees the objects, branches and tags of another."""
    kind = git.call(repo, "rev-parse", "--show-object-format").decode().strip()
    made = ("git", "init", "--quiet", "--template=", f"--object-format={kind}")
    gitcall.run(made, cwd=root)
    inner = git.open_repository(root)
    objects = json.dumps(str(repo.common_dir / "objects"), ensure_ascii=False)
    (inner.git_dir / "objects/info").mkdir(exist_ok=True)
    (inner.git_dir / "objects/info/alternates").write_bytes(os.fsencode(objects) + b"\n")
    if (repo.common_dir / "shallow").exists():
        shutil.copyfile(repo.common_dir / "shallow", inner.git_dir / "shallow")
    known = {**git.refs(repo, "refs/heads/"), **git.refs(repo, "refs/tags/")}
    lines = "".join(f"create {ref} {name}\n" for ref, name in known.items())
    # A branch of a partial clone may name what is not here: the room has no branches then.
    git.call(inner, "update-ref", "--stdin", data=os.fsencode(lines), check=False)
    address = git.address(repo, git.default_remote(repo))
    if address:
        git.call(inner, "config", "remote.origin.url", address, check=False)
    return inner


def _stand_at(inner: git.Repository, commit: str, branch: str) -> None:
    """Let HEAD be where it was, so that what had been modified is seen as modified."""
    ref = f"refs/heads/{branch}"
    valid = branch and git.attempt(inner, "check-ref-format", ref).returncode == 0
    if valid and git.attempt(inner, "update-ref", ref, commit).returncode == 0:
        git.call(inner, "symbolic-ref", "HEAD", ref)
    else:
        git.call(inner, "update-ref", "--no-deref", "HEAD", commit)
    git.call(inner, "read-tree", commit)
    git.call(inner, "update-index", "-q", "--refresh", check=False)
