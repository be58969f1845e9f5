"""Git: the one door to git, by plain plumbing; each process costs 3 to 5 ms, so there are few.

The parts lie in `gitcall` (a process), `gitobjects` (what it stores) and here (what a
repository says of itself, its refs and its remotes).
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlrepro.errors import GitError
from mlrepro.stores.gitcall import (
    Repository,
    attempt,
    call,
    create,
    find,
    maintain,
    open_repository,
    private_folder,
    sentence,
    shadow,
    started,
    without_credentials,
)
from mlrepro.stores.gitobjects import (
    PLAIN_INDEX,
    TreeEntry,
    commit_tree,
    export,
    files,
    has,
    read_objects,
    without,
    write_tree,
)

__all__ = [
    "PLAIN_INDEX", "Head", "Repository", "TreeEntry", "address", "attempt", "author", "call",
    "commit_tree", "create", "default_remote", "export", "fetch", "files", "find", "has", "head",
    "ignored", "is_ancestor", "maintain", "open_repository", "private_folder", "push",
    "read_objects", "refs",
    "sentence", "setting", "shadow", "started", "tracked", "update_ref", "without",
    "without_credentials", "write_tree",
]  # fmt: skip


@dataclass(frozen=True)
class Head:
    """Where a repository stands; empty words where it is unborn, detached or has no remote."""

    commit: str = ""
    branch: str = ""
    remote: str = ""


def head(repo: Repository) -> Head:
    """Return HEAD's commit, its branch, and the address of its remote without credentials."""
    found = attempt(repo, "rev-parse", "--verify", "--quiet", "HEAD")
    commit = found.stdout.decode().strip() if found.returncode == 0 else ""
    branch = _branch(repo)
    remote = default_remote(repo, branch=branch)
    return Head(commit, branch, address(repo, remote) if remote else "")


def _branch(repo: Repository) -> str:
    try:
        text = (repo.git_dir / "HEAD").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        text = ""
    if text.startswith("ref: refs/heads/.invalid"):  # the reftable format keeps HEAD elsewhere
        text = "ref: " + call(repo, "symbolic-ref", "--quiet", "HEAD", check=False).decode()
    return text.strip().partition("ref: refs/heads/")[2]


def default_remote(repo: Repository, *, branch: str | None = None) -> str:
    """Return the name of the branch's remote, else ``origin``, else the only one, else nothing."""
    if repo.shadow:
        return ""
    found = _settings(repo)
    branch = _branch(repo) if branch is None else branch
    own = found.get(f"branch.{branch}.remote", "")
    names = [key[7:-4] for key in found if key.startswith("remote.") and key.endswith(".url")]
    if own in names:
        return own
    return "origin" if "origin" in names else names[0] if len(names) == 1 else ""


def address(repo: Repository, remote: str) -> str:
    """Return the address of a remote, without credentials."""
    return without_credentials(_settings(repo).get(f"remote.{remote}.url", ""))


def setting(repo: Repository, key: str) -> str:
    """Return a setting of git's configuration; empty where it is not set."""
    section, _, rest = key.partition(".")
    subsection, _, name = rest.rpartition(".")
    parts = [section.lower(), *([subsection] if subsection else []), name.lower()]
    return _settings(repo).get(".".join(parts), "")


def _settings(repo: Repository) -> dict[str, str]:
    return _listed_settings(repo, _states_of_settings(repo))


def _states_of_settings(repo: Repository) -> tuple[object, ...]:
    """Return what changes when a user changes git's configuration."""
    names = (
        "HOME",
        "XDG_CONFIG_HOME",
        "GIT_CONFIG_GLOBAL",
        "GIT_CONFIG_COUNT",
        "GIT_CONFIG_PARAMETERS",
    )
    environ = tuple(os.environ.get(name, "") for name in names)
    home = os.path.expanduser("~")
    files = (repo.common_dir / "config", repo.git_dir / "config.worktree", f"{home}/.gitconfig",
             f"{home}/.config/git/config", environ[2])  # fmt: skip
    return (*environ, *map(_state, files))


def _state(path: object) -> tuple[int, int] | None:
    try:
        found = os.stat(str(path))
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


@functools.lru_cache(maxsize=8)
def _listed_settings(repo: Repository, _states: tuple[object, ...]) -> dict[str, str]:
    """List all settings with one process of 3 ms, where a command asks for several."""
    listed = call(repo, "config", "-z", "--list", check=False)
    lines = (os.fsdecode(line).partition("\n") for line in listed.split(b"\0") if line)
    return {key: value for key, _, value in lines}


def author(repo: Repository) -> str:
    """Return ``Name <address>`` as git knows the user; ``user <user@host>`` where it does not."""
    name = _of_author(repo, "name")
    address_ = _of_author(repo, "email")
    if name and address_:
        return f"{name} <{address_}>"
    found = attempt(repo, "var", "GIT_AUTHOR_IDENT")
    if found.returncode == 0:
        return re.sub(r" \d+ [-+]\d+$", "", found.stdout.decode(errors="replace").strip())
    import getpass  # noqa: PLC0415  rarely needed
    import socket  # noqa: PLC0415  rarely needed

    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's uid without an entry in passwd
        user = "unknown"
    return f"{user} <{user}@{socket.gethostname()}>"


def _of_author(repo: Repository, what: str) -> str:
    """Return the author's name or address where git would take it from a variable or a setting."""
    value = os.environ.get(f"GIT_AUTHOR_{what.upper()}") or setting(repo, f"author.{what}")
    value = value or setting(repo, f"user.{what}")
    return re.sub(r"[<>\0\n]", "", value).strip()


def tracked(repo: Repository, paths: Iterable[str]) -> frozenset[str]:
    """Return those of the given paths, relative to the root, that are in the index."""
    wanted = [path for path in set(paths) if not _outside(path)]
    if not wanted:
        return frozenset()
    # A long list would not fit on a command line; listing all of 100,000 files takes 50 ms.
    chosen = ["--", *wanted] if len(wanted) <= _FEW else []
    listed = call(
        repo, "ls-files", "-z", "--cached", *chosen, variables={"GIT_LITERAL_PATHSPECS": "1"}
    )
    return frozenset(os.fsdecode(name) for name in listed.split(b"\0") if name) & set(wanted)


_FEW = 200


def ignored(repo: Repository, paths: Iterable[str]) -> frozenset[str]:
    """Return those of the given root-relative paths that git ignores and does not track."""
    return frozenset(_ignored(repo, [path for path in paths if not _outside(path)]))


def _ignored(repo: Repository, paths: Sequence[str]) -> list[str]:
    if not paths:
        return []
    data = b"".join(os.fsencode(path) + b"\0" for path in paths)
    done = attempt(repo, "check-ignore", "-z", "--stdin", data=data)
    if done.returncode <= 1:
        return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    if len(paths) == 1:  # beyond a symlink or inside a submodule: not this repository's to ignore
        return []
    half = len(paths) // 2
    return _ignored(repo, paths[:half]) + _ignored(repo, paths[half:])


def _outside(path: str) -> bool:
    return not path or path.startswith("/") or ".." in path.split("/") or "\0" in path


def refs(repo: Repository, prefix: str) -> dict[str, str]:
    """Return the refs below a prefix and the objects that they name."""
    listed = call(repo, "for-each-ref", "--format=%(objectname) %(refname)", prefix)
    lines = (os.fsdecode(line).partition(" ") for line in listed.splitlines())
    return {ref: name for name, _, ref in lines}


def update_ref(repo: Repository, ref: str, new: str, old: str | None) -> bool:
    """Move a ref if it still names what is expected.

    Parameters
    ----------
    repo : Repository
        Where.
    ref : str
        The whole name.
    new : str
        The object that it shall name; empty to delete the ref.
    old : str or None
        What it must name now; empty if it must not exist; None where it does not matter.

    Returns
    -------
    bool
        False where `old` no longer holds, or another process is just moving it.

    Raises
    ------
    GitError
        If git fails for another reason.
    """
    expected = () if old is None else (old or "0" * len(new),)
    arguments = (ref, new, *expected) if new else ("-d", ref, *(e for e in expected if e))
    done = attempt(repo, "update-ref", *arguments)
    if done.returncode == 0:
        return True
    if _LOST_RACE.search(done.stderr):
        return False
    raise GitError(sentence(done.stderr))


_LOST_RACE = re.compile(
    rb"but expected|already exists|unable to resolve reference|\.lock': File exists"
)


def is_ancestor(repo: Repository, old: str, new: str) -> bool:
    """Say whether one commit is contained in another; False where either is not here."""
    return attempt(repo, "merge-base", "--is-ancestor", old, new).returncode == 0


def fetch(repo: Repository, remote: str, *refspecs: str, depth: int | None = None) -> None:
    """Fetch what the refspecs name and nothing else: no tag, no prune, no note in FETCH_HEAD.

    Raises
    ------
    GitError
        With git's last line.
    """
    _check_remote(remote)
    limits = () if depth is None else (f"--depth={depth}",)
    call(
        repo, "-c", "protocol.version=2", "fetch", "--quiet", "--no-tags", "--no-prune",
        "--no-write-fetch-head", "--refmap=",
        "--no-recurse-submodules", *limits, remote, *refspecs,
    )  # fmt: skip


def push(repo: Repository, remote: str, *refspecs: str) -> None:
    """Push what the refspecs name and nothing else; all of it or nothing, where the remote can.

    Raises
    ------
    GitError
        With git's last line.
    """
    _check_remote(remote)
    options = ("--quiet", "--no-verify", "--no-follow-tags", "--recurse-submodules=no")
    done = attempt(repo, "push", *options, "--atomic", remote, *refspecs)
    if done.returncode and b"not support --atomic" in done.stderr:
        done = attempt(repo, "push", *options, remote, *refspecs)
    if done.returncode:
        refused = re.search(rb"^ ! \[.*$", done.stderr, re.MULTILINE)
        raise GitError(sentence(refused[0] if refused else done.stderr))


def _check_remote(remote: str) -> None:
    if not remote or remote.startswith("-") or "\0" in remote:
        raise GitError(f"not a remote: {remote!r:.80}")
