"""Code: a snapshot of the code as it runs, beside the user's index, stash and working tree.

A copy of the index takes what changed, and the untracked files that git does not ignore; its
tree becomes a commit without parents (sending a run never publishes somebody's unpushed
commits), pinned under ``refs/mlrepro/running/`` against git's gc. The copy is kept until
`unpin`: its stat data tells in one process which files were edited while the run went on.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from mlrepro.capture import loosecode, untracked
from mlrepro.errors import GitError
from mlrepro.manifest import SUFFIX, CodeState, Edit
from mlrepro.stores import git

PINS = "refs/mlrepro/running/"
MOST = 10_000
"""No more untracked files than this are looked at."""


@dataclass(frozen=True)
class Snapshot:
    """The code at the start of a run.

    Attributes
    ----------
    tree, commit : str
        Git's names for it.
    modified : tuple of str
        Tracked files that differ from HEAD.
    untracked : tuple of str
        Files in the tree that git does not track.
    left_out : tuple of str
        Untracked files that are not in it, each with its reason in brackets.
    blind_spots : tuple of str
        Where git could not look, one sentence each.
    head, branch, remote : str
        Where HEAD stood.
    work : str
        The name it is pinned under.
    """

    tree: str
    commit: str
    modified: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    blind_spots: tuple[str, ...] = ()
    head: str = ""
    branch: str = ""
    remote: str = ""
    work: str = ""


@dataclass(frozen=True)
class _Found:
    """What one listing of the index and the folder says."""

    untracked: tuple[str, ...] = ()
    submodules: tuple[str, ...] = ()
    blind_spots: tuple[str, ...] = ()


def snapshot(repo: git.Repository, *, work: str) -> Snapshot:
    """Record the code of a working tree, and pin it.

    Parameters
    ----------
    repo : git.Repository
        The user's, or the shadow repository.
    work : str
        A word that names the run while it is going on.

    Raises
    ------
    GitError, OSError
        If nothing can be recorded: a read-only ``.git``, a full disk.
    """
    index = _index(repo, work)
    index.parent.mkdir(parents=True, exist_ok=True)
    variables = {"GIT_INDEX_FILE": str(index)}
    taken = _of_loose_files(repo, variables) if repo.shadow else _of_git(repo, index, variables)
    commit = git.commit_tree(repo, taken.tree, message=_MESSAGE)
    if not git.update_ref(repo, PINS + work, commit, None):
        raise GitError(f"the snapshot of the code could not be pinned as {PINS}{work}")
    return replace(taken, commit=commit, work=work)


_MESSAGE = "Code as it ran, recorded by mlrepro"


def _of_git(repo: git.Repository, index: Path, variables: Mapping[str, str]) -> Snapshot:
    _copy_index(repo, index)
    # The listing reads the user's index while `add` works on the copy: two cores, one wait.
    listing = ("ls-files", "-c", "-s", "-o", "-v", "-z", "--exclude-standard")
    with git.started(repo, *git.PLAIN_INDEX, *listing) as process:
        added = git.attempt(
            repo, *git.PLAIN_INDEX, "-c", "advice.addEmbeddedRepo=false",
            "add", "-u", "--ignore-errors", variables=variables,
        )  # fmt: skip
        head = git.head(repo)
        found = _read_listing(repo, iter(lambda: process.stdout.read(65536), b""))  # type: ignore[union-attr]
    blind = [*found.blind_spots, *_submodules(repo, found.submodules, variables)]
    if added.returncode:
        blind.append(f"git could not read all tracked files: {git.sentence(added.stderr)}")
    chosen, left_out = untracked.choose(repo.root, found.untracked)
    left_out += _add(repo, chosen, variables)
    kept = tuple(path for path in chosen if not any(o.startswith(path + " (") for o in left_out))
    tree = git.write_tree(repo, variables)
    modified = set(_changed(repo, f"{head.commit}^{{tree}}", tree)) if head.commit else set()
    return Snapshot(
        tree,
        "",
        modified=tuple(sorted(modified - set(kept))),
        untracked=kept,
        left_out=tuple(left_out),
        blind_spots=tuple(blind),
        head=head.commit,
        branch=head.branch,
        remote=head.remote,
    )


def _copy_index(repo: git.Repository, index: Path) -> None:
    try:
        # With its times: git takes a file as old as the index for one to be read again.
        shutil.copy2(repo.index or repo.git_dir / "index", index)
    except FileNotFoundError:  # before the first `git add`
        index.unlink(missing_ok=True)


def _read_listing(repo: git.Repository, chunks: Iterator[bytes]) -> _Found:
    """Sort the lines of `ls-files -c -s -o -v -z`, and stop where there are too many files."""
    others: list[str] = []
    submodules: set[str] = set()
    hidden: list[str] = []
    blind: list[str] = []
    for line in _lines(chunks):
        if line.startswith(b"? "):
            others.append(os.fsdecode(line[2:]))
            if len(others) > MOST:
                blind.append(f"more than {MOST:,} files are untracked; the rest was not recorded")
                break
        elif not line.startswith((b"H 1007", b"H 1006", b"H 1200", b"M ", b"R ", b"C ")):
            flags, _, path = line.partition(b"\t")
            (submodules.add if b" 160000 " in flags else hidden.append)(os.fsdecode(path))
        elif line.startswith(b"M 160000"):
            submodules.add(os.fsdecode(line.partition(b"\t")[2]))
    nested = [path for path in others if path.endswith("/")]
    blind += [f"`{path}` is a repository of its own; its code was not recorded" for path in nested]
    seen = [path for path in hidden if os.path.lexists(repo.root / path)]
    blind += _named(seen, "is marked assume-unchanged or skip-worktree; git did not look at it")
    files = tuple(path for path in others if not path.endswith("/"))
    return _Found(files, tuple(sorted(submodules)), tuple(blind))


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\0")
        yield from lines


def _named(paths: Sequence[str], words: str) -> list[str]:
    shown = [f"`{path}` {words}" for path in paths[:20]]
    return shown + ([f"{len(paths) - 20} more files like these"] if len(paths) > 20 else [])


def _submodules(
    repo: git.Repository, paths: Sequence[str], variables: Mapping[str, str]
) -> list[str]:
    if not paths:
        return []
    changed = git.call(
        repo, "diff-files", "--name-only", "-z", "--ignore-submodules=none",
        variables=variables, check=False,
    )  # fmt: skip
    dirty = set(_split(changed))
    return [
        f"submodule `{path}` has uncommitted content; only its commit was recorded"
        for path in paths
        if path in dirty
    ]


def _add(repo: git.Repository, paths: Sequence[str], variables: Mapping[str, str]) -> list[str]:
    """Add files to an index; return those that could not be read."""
    if not paths:
        return []
    data = b"".join(os.fsencode(path) + b"\0" for path in paths)
    # --remove: a file that vanished since it was listed is no failure.
    command = (*git.PLAIN_INDEX, "update-index", "-z", "--add", "--remove", "--replace", "--stdin")
    done = git.attempt(repo, *command, data=data, variables=variables)
    if done.returncode == 0:
        return []
    readable = [
        p for p in paths if os.access(repo.root / p, os.R_OK) or (repo.root / p).is_symlink()
    ]
    if len(readable) == len(paths):
        raise GitError(git.sentence(done.stderr))
    lost = set(paths) - set(readable)
    return [f"{path} (not readable)" for path in sorted(lost)] + _add(repo, readable, variables)


def _of_loose_files(repo: git.Repository, variables: Mapping[str, str]) -> Snapshot:
    Path(variables["GIT_INDEX_FILE"]).unlink(missing_ok=True)
    found = loosecode.find(repo.root)
    paths = found.paths
    if (repo.root / ".gitignore").is_file():
        ignored = git.ignored(repo, paths)
        paths = tuple(path for path in paths if path not in ignored)
    chosen, left_out = untracked.choose(repo.root, paths)
    left_out += _add(repo, chosen, variables)
    tree = git.write_tree(repo, variables)
    return Snapshot(tree, "", left_out=tuple(left_out), blind_spots=found.blind_spots)


def settle(
    repo: git.Repository,
    taken: Snapshot,
    *,
    opened: Mapping[str, int],
    outputs: Collection[str],
    read: Mapping[str, int] | None = None,
    changed: Collection[str] = (),
) -> CodeState:
    """Complete the record after the run: what it did not use leaves it, what was edited is named.

    Parameters
    ----------
    repo : git.Repository
        Where the snapshot was taken.
    taken : Snapshot
        The code at the start.
    opened : mapping of str to int
        Files that the run opened or imported, relative to the root, and their ``st_mtime_ns`` at
        that moment. An untracked file that is not among them (a customer's CSV beside the
        script) leaves the tree. Name the files of the command here, too.
    outputs : collection of str
        What the run wrote; where git did not track it, it leaves the tree.
    read : mapping of str to int, optional
        As `opened`, of all that was read: settings and data too may be edited meanwhile.
    changed : collection of str
        What the run read and then changed, moved or deleted itself: nobody edited it.
    """
    made = set(outputs)
    dropped = {path for path in taken.untracked if path not in opened or path in made}
    if repo.shadow:
        dropped = made & git.files(repo, taken.tree).keys()
    tree, commit = (
        git.without(repo, taken.tree, dropped, index=_index(repo, taken.work)),
        taken.commit,
    )
    if tree != taken.tree:
        commit = git.commit_tree(repo, tree, message=_MESSAGE)
        git.update_ref(repo, PINS + taken.work, commit, None)
    apart = made | set(changed) | (dropped - set(opened))
    edits = _edits(repo, taken, {**(read or {}), **opened}, apart)
    return CodeState(
        tree=tree,
        snapshot=commit,
        commit=taken.head,
        branch=taken.branch,
        remote=taken.remote,
        modified=tuple(path for path in taken.modified if path not in made),
        untracked=tuple(path for path in taken.untracked if path not in dropped),
        edits=tuple(edits),
        shadow=repo.shadow,
    )


def _edits(
    repo: git.Repository, taken: Snapshot, opened: Mapping[str, int], apart: Collection[str]
) -> Iterator[Edit]:
    """Yield the files that differ now from the snapshot, by the stat data of its index."""
    index = _index(repo, taken.work)
    try:
        began = index.stat().st_mtime_ns
    except FileNotFoundError:  # unpinned, or another machine's
        return
    for path in _now_different(repo, {"GIT_INDEX_FILE": str(index)}):
        if path not in apart:
            yield Edit(path, _loaded(repo.root / path, opened.get(path), began))


def _now_different(repo: git.Repository, variables: Mapping[str, str]) -> list[str]:
    command = ("diff-files", "--name-only", "-z", "--ignore-submodules=all")
    if not git.call(repo, *command, variables=variables):
        return []
    # Some have another time only; the second answer leaves these out.
    git.call(
        repo, *git.PLAIN_INDEX, "update-index", "-q", "--refresh", variables=variables, check=False
    )
    return _split(git.call(repo, *command, variables=variables))


def _loaded(path: Path, opened: int | None, began: int) -> str:
    """Say whether the run had opened a file before it was edited."""
    if opened is None:
        return "never"
    try:
        now = os.lstat(path).st_mtime_ns
    except OSError:  # deleted after it was opened
        return "before"
    return "after" if opened == now or opened > began else "before"


def unpin(repo: git.Repository, work: str) -> None:
    """Let a snapshot go, after the ledger has it."""
    git.update_ref(repo, PINS + work, "", None)
    _index(repo, work).unlink(missing_ok=True)


def _index(repo: git.Repository, work: str) -> Path:
    return repo.git_dir / "mlrepro-running" / f"{work}.index"


def equal_code(
    repo: git.Repository, tree_a: str, tree_b: str, outputs: Collection[str]
) -> list[str]:
    """Return the paths in which two trees differ as code.

    Recorded outputs, pointers, manifests and the ``.gitignore`` lines that come with pointers
    are no code; else every second run would differ.
    """
    made = set(outputs)
    changed = [p for p in _changed(repo, tree_a, tree_b) if p not in made and not _is_ours(p)]
    rules = [path for path in changed if PurePosixPath(path).name == ".gitignore"]
    if not rules:
        return changed
    both = {**git.files(repo, tree_a), **git.files(repo, tree_b)}
    ours = made | {path.removesuffix(".dvc") for path in both if path.endswith(".dvc")}
    texts = list(git.read_objects(repo, [f"{t}:{p}" for p in rules for t in (tree_a, tree_b)]))
    same = {
        path
        for path, a, b in zip(rules, texts[::2], texts[1::2], strict=True)
        if _rules(path, a, ours) == _rules(path, b, ours)
    }
    return [path for path in changed if path not in same]


def _is_ours(path: str) -> bool:
    return path.endswith((".dvc", SUFFIX))


def _rules(path: str, text: bytes | None, ours: Collection[str]) -> list[str]:
    folder = PurePosixPath(path).parent
    lines = os.fsdecode(text or b"").splitlines()
    return [line for line in lines if line.strip() and str(folder / line.lstrip("/")) not in ours]


def _changed(repo: git.Repository, tree_a: str, tree_b: str) -> list[str]:
    if tree_a == tree_b:
        return []
    return _split(
        git.call(repo, "diff-tree", "-r", "-z", "--name-only", "--no-renames", tree_a, tree_b)
    )


def _split(listed: bytes) -> list[str]:
    return [os.fsdecode(name) for name in listed.split(b"\0") if name]
