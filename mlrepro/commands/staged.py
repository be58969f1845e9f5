"""Staged: what the next commit changes, read from the index, never from the working tree."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlrepro.stores import git
from mlrepro.stores.git import Repository

_REGULAR = ("100644", "100755")
_MANY = 400  # paths on one command line
_RAW = (
    "diff", "--cached", "--raw", "-z", "--no-abbrev", "--no-renames", "--no-ext-diff",
    "--ignore-submodules=all",
)  # fmt: skip


@dataclass(frozen=True)
class Change:
    """A path that differs between the index and a tree.

    Attributes
    ----------
    path : str
        Relative to the top of the working tree.
    mode : str
        Git's mode in the index: ``100644`` …; ``000000`` for a deletion.
    blob : str
        Git's name of the staged content; empty for a deletion.
    before : str
        Git's name of the tree's content; empty where the path is new.
    """

    path: str
    mode: str
    blob: str
    before: str

    @property
    def is_new(self) -> bool:
        """Whether the tree does not have it."""
        return not self.before and bool(self.blob)

    @property
    def is_file(self) -> bool:
        """Whether a regular file is staged, no link, submodule or deletion."""
        return self.mode in _REGULAR and bool(self.blob)


def call(repo: Repository, *arguments: str, data: bytes | None = None, check: bool = True) -> bytes:
    """Call git on the index of the commit that is being made, with paths taken literally.

    ``git commit FILE`` and ``git commit -a`` hand an index of their own to the hook; `Repository`
    knows of it.
    """
    variables = {"GIT_LITERAL_PATHSPECS": "1"}
    return git.call(repo, *arguments, data=data, variables=variables, check=check)


def matching(repo: Repository, *arguments: str) -> list[str]:
    """Return the paths that a ``git … -z`` with glob pathspecs lists."""
    return [os.fsdecode(name) for name in git.call(repo, *arguments).split(b"\0") if name]


def changes(repo: Repository, against: str = "", paths: Iterable[str] = ()) -> tuple[Change, ...]:
    """Return how the index differs from a commit or tree.

    Parameters
    ----------
    repo : Repository
        Where.
    against : str
        Name of a commit or tree; HEAD, or nothing before the first commit, by default.
    paths : iterable of str
        Limits it to these paths.
    """
    base = [against] if against else []
    fields = iter(call(repo, *_RAW, *base, "--", *paths).split(b"\0"))
    found = []
    for head in fields:
        if head:
            _, mode, before, blob, _ = head.decode("ascii").split(" ")
            found.append(Change(os.fsdecode(next(fields)), mode, _name(blob), _name(before)))
    return tuple(found)


def entries(repo: Repository, paths: Collection[str]) -> dict[str, str]:
    """Return the blobs of those of the given paths that are regular files of the index."""
    found = {}
    ordered = sorted(paths)
    for start in range(0, len(ordered), _MANY):
        listed = call(repo, "ls-files", "-s", "-z", "--", *ordered[start : start + _MANY])
        for line in filter(None, listed.split(b"\0")):
            head, _, name = line.partition(b"\t")
            mode, blob, _stage = head.decode("ascii").split(" ")
            if mode in _REGULAR:
                found[os.fsdecode(name)] = blob
    return {path: found[path] for path in ordered if path in found}


def in_tree(repo: Repository, tree: str, paths: Collection[str]) -> dict[str, str]:
    """Return the blobs of those of the given paths that a commit or tree has."""
    found = {}
    ordered = sorted(paths)
    for start in range(0, len(ordered), _MANY):
        listed = call(repo, "ls-tree", "-z", tree, "--", *ordered[start : start + _MANY])
        for line in filter(None, listed.split(b"\0")):
            head, _, name = line.partition(b"\t")
            found[os.fsdecode(name)] = head.decode("ascii").split(" ")[2]
    return found


def contents(repo: Repository, blobs: Iterable[str], *, largest: int) -> dict[str, bytes | None]:
    """Return the bytes of blobs by their names; None for those above a size, which are not read."""
    unique = list(dict.fromkeys(blobs))
    if not unique:
        return {}
    data = "\n".join(unique).encode() + b"\n"
    sizes = call(repo, "cat-file", "--batch-check=%(objectsize)", data=data).decode().splitlines()
    wanted = [
        name
        for name, size in zip(unique, sizes, strict=True)
        if size.isdigit() and int(size) <= largest
    ]
    found: dict[str, bytes | None] = dict.fromkeys(unique)
    found.update(zip(wanted, git.read_objects(repo, wanted), strict=True))
    return found


def names(repo: Repository, revisions: Sequence[str]) -> list[str]:
    """Return git's names of the objects that revisions name, in order; empty for what is absent."""
    data = "\n".join(revisions).encode() + b"\n"
    lines = call(repo, "cat-file", "--batch-check=%(objectname)", data=data).splitlines()
    return ["" if b" " in line else line.decode() for line in lines]


def commit(repo: Repository, name: str) -> str:
    """Return the commit that a revision names; empty where there is none."""
    found = call(repo, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}", check=False)
    return found.decode().strip()


def empty_tree(repo: Repository) -> str:
    """Return git's name of the tree without files: it depends on the repository's hash."""
    return call(repo, "hash-object", "-t", "tree", "--stdin", data=b"").decode().strip()


def taken_over(repo: Repository, staged: Mapping[str, str]) -> frozenset[str]:
    """Return those of the staged paths that a merge, cherry-pick, revert or rebase brings.

    Parameters
    ----------
    repo : Repository
        Where.
    staged : dict of str to str
        Path to blob; an empty blob stands for a deletion.
    """
    found: set[str] = set()
    for head in _others(repo):
        theirs = in_tree(repo, head, staged)
        found |= {path for path, blob in staged.items() if theirs.get(path, "") == blob}
    return frozenset(found)


def _others(repo: Repository) -> list[str]:
    """Name the commits that git brings in, other than the user's own HEAD."""
    heads = []
    if (repo.git_dir / "MERGE_HEAD").is_file():
        heads += (repo.git_dir / "MERGE_HEAD").read_text(encoding="ascii").split()
    for name, revision in _BROUGHT.items():
        if (repo.git_dir / name).is_file():
            heads.append(commit(repo, revision))
    return [head for head in heads if head]


_BROUGHT = {
    "CHERRY_PICK_HEAD": "CHERRY_PICK_HEAD",
    "REVERT_HEAD": "REVERT_HEAD^",
    "REBASE_HEAD": "REBASE_HEAD",
}


def _name(blob: str) -> str:
    return "" if set(blob) == {"0"} else blob
