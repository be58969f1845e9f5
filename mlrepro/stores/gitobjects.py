"""Gitobjects: blobs, trees and commits, read in one process, written without the user's index."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlrepro.errors import GitError
from mlrepro.stores.gitcall import Repository, attempt, call, started


@dataclass(frozen=True)
class TreeEntry:
    """A file of a tree: its mode as git writes it (``100644``), and its object."""

    mode: str
    name: str


def has(repo: Repository, name: str) -> bool:
    """Say whether an object is here, without fetching it from a promisor."""
    done = attempt(repo, "cat-file", "-e", name, variables={"GIT_NO_LAZY_FETCH": "1"})
    return done.returncode == 0


def read_objects(repo: Repository, names: Sequence[str]) -> Iterator[bytes | None]:
    """Yield the content of each object in order, None where it is absent, by one `cat-file`."""
    if not names:
        return
    data = "".join(f"{name}\n" for name in names).encode()
    with started(repo, "cat-file", "--batch", "--buffer", data=data) as process:
        if process.stdout is None:
            return
        for _ in names:
            head = process.stdout.readline()
            if not head:
                raise GitError("git ended while objects were read")
            words = head.split()
            # A damaged object makes git end; an absent one is said in place of its size.
            yield None if words[-1] in _NOT_READ else process.stdout.read(int(words[-1]) + 1)[:-1]


_NOT_READ = (b"missing", b"ambiguous")


def files(repo: Repository, tree: str) -> dict[str, TreeEntry]:
    """Return all files of a tree by their paths; submodules are files of mode ``160000``."""
    listed = call(repo, "ls-tree", "-r", "-z", "--full-tree", tree)
    found = {}
    for line in listed.split(b"\0")[:-1]:
        words, _, path = line.partition(b"\t")
        mode, _, name = words.decode().split(" ")
        found[os.fsdecode(path)] = TreeEntry(mode, name)
    return found


def commit_tree(
    repo: Repository,
    tree: str,
    *,
    parents: Sequence[str] = (),
    message: str,
    author: str = "mlrepro <mlrepro>",
    when: int = 0,
) -> str:
    """Write a commit and return its name; its author is given, since containers have no identity.

    Parameters
    ----------
    repo, tree, parents, message
        As for `git commit-tree`.
    author : str
        ``Name <address>``.
    when : int
        Seconds since 1970. The constant makes equal trees equal commits: a snapshot of
        unchanged code is stored and sent once.
    """
    author = " ".join(author.replace("\0", "").split())
    lines = [f"tree {tree}", *(f"parent {p}" for p in parents)]
    lines += [f"author {author} {when} +0000", f"committer {author} {when} +0000", "", message, ""]
    data = "\n".join(lines).encode(errors="surrogateescape")
    return call(repo, "hash-object", "-t", "commit", "-w", "--stdin", data=data).decode().strip()


def without(
    repo: Repository, tree: str, paths: Collection[str], *, index: Path | None = None
) -> str:
    """Return the name of a tree that lacks some files of another.

    An index of that very tree, where there is one, spares a process; it is not changed.
    """
    if not paths:
        return tree
    with tempfile.TemporaryDirectory(prefix="mlrepro-") as folder:
        copy = Path(folder, "index")
        variables = {"GIT_INDEX_FILE": str(copy)}
        if index and index.is_file():
            copy.write_bytes(index.read_bytes())
        else:
            call(repo, *PLAIN_INDEX, "read-tree", tree, variables=variables)
        data = b"".join(os.fsencode(path) + b"\0" for path in paths)
        call(
            repo, *PLAIN_INDEX, "update-index", "-z", "--force-remove", "--stdin",
            data=data, variables=variables,
        )  # fmt: skip
        return write_tree(repo, variables)


def write_tree(repo: Repository, variables: Mapping[str, str]) -> str:
    """Return the name of the tree that an index stands for."""
    # --missing-ok: the objects were named or written a moment ago; a partial clone lacks some.
    written = call(repo, *PLAIN_INDEX, "write-tree", "--missing-ok", variables=variables)
    return written.decode().strip()


# An index of ours shares nothing with the user's: a split index would write into `.git`.
PLAIN_INDEX = ("-c", "core.splitIndex=false", "-c", "core.untrackedCache=false",
               "-c", "core.sparseCheckout=false", "-c", "core.safecrlf=false")  # fmt: skip


def export(repo: Repository, tree: str, target: Path) -> None:
    """Write the files of a tree into an empty folder: modes, symlinks, the tree's own attributes.

    Raises
    ------
    GitError
        If a name would leave the folder (git refuses ``..`` and ``.git``), or a file cannot be
        written.
    """
    target = target.resolve()
    if any(target.iterdir()):
        raise GitError(f"`{target}` is not empty")
    with tempfile.TemporaryDirectory(prefix="mlrepro-") as folder:
        call(
            repo, *PLAIN_INDEX, "-C", str(target), "read-tree", "--reset", "-u", tree,
            variables={
                "GIT_INDEX_FILE": str(Path(folder, "index")),
                "GIT_DIR": str(repo.git_dir),
                "GIT_WORK_TREE": str(target),
            },
        )  # fmt: skip
