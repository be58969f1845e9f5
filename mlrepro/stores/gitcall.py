"""Gitcall: one git process, told exactly where it is, and its errors in one sentence."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlrepro.errors import GitError, NotARepositoryError

# What `git rev-parse --local-env-vars` names and more: a hook's variables speak of the hook's
# repository, and would lead a call about another one astray.
_LOCAL = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_QUARANTINE_PATH", "GIT_PREFIX", "GIT_NAMESPACE",
    "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE", "GIT_ATTR_SOURCE",
    "GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS",
    "GIT_INTERNAL_SUPER_PREFIX", "GIT_EXTERNAL_DIFF", "GIT_PROTOCOL",
)  # fmt: skip
_FIXED = {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C", "GIT_NO_REPLACE_OBJECTS": "1"}

# No hook of the user's runs, and nothing is packed or logged behind her back.
_QUIET = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0",
    "-c", "maintenance.auto=false", "-c", "core.logAllRefUpdates=false",
)  # fmt: skip

# Up to the last `@` before the path: in an address that is no proper one, a password may hold one.
_CREDENTIALS = re.compile(r"(?<=://)[^/?#\s]*@")


@dataclass(frozen=True)
class Repository:
    """A git repository with a working tree.

    Attributes
    ----------
    root : Path
        Top of the working tree, resolved.
    git_dir, common_dir : Path
        Of this worktree, and what all linked worktrees share.
    shadow : bool
        True for ``.mlrepro/code.git``, where the user has no git.
    index : Path or None
        Another index than the repository's own: a commit hook's ``GIT_INDEX_FILE``.
    explicit : bool
        Git cannot find it by climbing (a shadow, or ``GIT_DIR`` was set): each call names it.
    """

    root: Path
    git_dir: Path
    common_dir: Path
    shadow: bool = False
    index: Path | None = None
    explicit: bool = False


def find(start: Path) -> Repository | None:
    """Find the repository around a folder; None where there is no working tree to speak of.

    Raises
    ------
    GitError
        If there is one, and git refuses it since it belongs to somebody else.
    """
    try:
        return open_repository(start)
    except NotARepositoryError:
        return None


_NAMED = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CEILING_DIRECTORIES")
# One command asks several times; each time would be a process of 4 ms.
_FOUND: dict[tuple[object, ...], Repository] = {}


def open_repository(start: Path) -> Repository:
    """Open the repository around a folder.

    Raises
    ------
    NotARepositoryError
        If there is none, or only a bare one.
    GitError
        If git refuses it since it belongs to somebody else.
    """
    start = start if start.is_dir() else start.parent
    message = ""
    key = (start, *(os.environ.get(name) for name in _NAMED))
    known = _FOUND.get(key)
    if known and _is_still(known, start):
        return known
    for variables in _attempts():
        found, message = _discover(start, variables)
        if found:
            if not any(key[1:]):  # else it depends on the working directory, too
                _FOUND[key] = found
            return found
    if "dubious ownership" in message:
        raise GitError(
            f"git does not trust the repository around `{start}`, since it belongs to another user",
            hint=f"If you do: `git config --global --add safe.directory {start}`.",
        )
    if "work tree" in message:
        raise NotARepositoryError(
            f"`{start}` lies in a bare repository, which has no working tree to record",
            hint="Clone it, and work in the clone.",
        )
    if "not installed" in message:
        raise NotARepositoryError("git is not installed", hint="Install git, then try again.")
    raise NotARepositoryError(f"`{start}` is not inside a git repository")


def _is_still(known: Repository, start: Path) -> bool:
    """Say whether the repository is there yet, and none has been made below it since."""
    nearer = (folder for folder in (start, *start.parents) if folder.is_relative_to(known.root))
    return (known.git_dir / "HEAD").exists() and not any(
        folder != known.root and (folder / ".git").exists() for folder in nearer
    )


def _attempts() -> Iterator[dict[str, str]]:
    """Yield where to look: by climbing; then where the environment says (a dotfiles repository)."""
    named = {n: os.environ[n] for n in ("GIT_DIR", "GIT_WORK_TREE") if os.environ.get(n)}
    named = {name: str(Path(value).absolute()) for name, value in named.items()}
    if len(named) == 2 and Path.cwd().is_relative_to(named["GIT_WORK_TREE"]):
        yield named
    yield {}
    if len(named) == 1 and "GIT_DIR" in named:
        yield {**named, "GIT_WORK_TREE": str(Path.cwd())}


def _discover(start: Path, variables: Mapping[str, str]) -> tuple[Repository | None, str]:
    command = ("git", "rev-parse", "--show-toplevel", "--absolute-git-dir", "--git-common-dir")
    try:
        done = subprocess.run(
            command, cwd=start, env=_environment(variables), capture_output=True, check=False
        )
    except (FileNotFoundError, NotADirectoryError):
        return None, "not installed" if start.is_dir() else "no such folder"
    if done.returncode:
        return None, os.fsdecode(done.stderr)
    top, git_dir, common = os.fsdecode(done.stdout).rstrip("\n").split("\n")[-3:]
    root = Path(top).resolve()
    if variables and not start.resolve().is_relative_to(root):
        return None, "elsewhere"
    index = os.environ.get("GIT_INDEX_FILE")
    # Hooks run at the top of the working tree; elsewhere the variable speaks of another one.
    ours = index and Path.cwd().is_relative_to(root)
    return Repository(
        root,
        Path(git_dir),
        Path(start, common).resolve(),
        index=root / index if index and ours else None,
        explicit=bool(variables),
    ), ""


def shadow(root: Path) -> Repository:
    """Return the repository that holds the code where the user has no git; make it if need be.

    Raises
    ------
    GitError, OSError
        If it cannot be made.
    """
    root = root.resolve()
    git_dir = private_folder(root) / "code.git"
    repo = Repository(root, git_dir, git_dir, shadow=True, explicit=True)
    if not (git_dir / "HEAD").exists():
        # Without the templates' sample hooks it takes 3 ms.
        run(("git", "init", "--quiet", "--bare", "--template=", "code.git"), cwd=git_dir.parent)
    return repo


def create(root: Path) -> Repository:
    """Make a git repository, as `git init` does."""
    run(("git", "init", "--quiet"), cwd=root)
    return open_repository(root)


def private_folder(root: Path) -> Path:
    """Return ``.mlrepro`` below a root; a new one holds a rule that makes git ignore it."""
    folder = root / ".mlrepro"
    if not folder.is_dir():
        folder.mkdir(exist_ok=True)
        folder.joinpath(".gitignore").write_text("/*\n", encoding="utf-8")
    return folder


def call(
    repo: Repository,
    *arguments: str,
    data: bytes | None = None,
    variables: Mapping[str, str] | None = None,
    check: bool = True,
) -> bytes:
    """Run one git command at the root of the working tree and return its output.

    Parameters
    ----------
    repo : Repository
        Where.
    *arguments : str
        The command without ``git``.
    data : bytes, optional
        Its standard input.
    variables : mapping, optional
        Environment variables on top, for instance another ``GIT_INDEX_FILE``.
    check : bool
        Whether a failure raises.

    Raises
    ------
    GitError
        If it failed, with git's last line.
    """
    done = run(
        ("git", *_QUIET, *arguments),
        cwd=repo.root,
        variables={**_address(repo, arguments), **(variables or {})},
        data=data,
        check=check,
    )
    return done.stdout


def attempt(
    repo: Repository,
    *arguments: str,
    data: bytes | None = None,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run one git command whose failure the caller wants to read."""
    return run(
        ("git", *_QUIET, *arguments),
        cwd=repo.root,
        variables={**_address(repo, arguments), **(variables or {})},
        data=data,
        check=False,
    )


def maintain(repo: Repository) -> None:
    """Let git pack if it is time, in the background; plumbing never does.

    By the user's own settings and hooks: ``gc.auto=0`` and ``pre-auto-gc`` are hers to decide.
    """
    command = ("git", "maintenance", "run", "--auto", "--quiet")
    run(command, cwd=repo.root, variables=_address(repo, command[1:]), check=False)


@contextmanager
def started(
    repo: Repository,
    *arguments: str,
    data: bytes | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Borrow a running git whose output is read as it comes; it is ended with the block."""
    import tempfile  # noqa: PLC0415  11 ms less for a start that needs no stream

    with tempfile.TemporaryFile() as stdin:
        stdin.write(data or b"")
        stdin.seek(0)
        try:
            process = subprocess.Popen(
                ("git", *_QUIET, *arguments),
                cwd=repo.root,
                env=_environment({**_address(repo, arguments), **(variables or {})}),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            raise GitError(f"git could not be started: {error.strerror}") from error
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def run(
    command: Sequence[str],
    *,
    cwd: Path,
    variables: Mapping[str, str] | None = None,
    data: bytes | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[bytes]:
    """Run git without a repository in mind; raises `GitError` with git's last line."""
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=_environment(variables or {}),
            input=b"" if data is None else data,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        raise GitError(f"git could not be started: {error.strerror}") from error
    if check and done.returncode:
        raise GitError(sentence(done.stderr) or f"git ended with status {done.returncode}")
    return done


def sentence(stderr: bytes) -> str:
    """Return git's last line that says something, without its prefix, credentials or full stop."""
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith(("hint:", "remote:"))]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "!"))] or lines
    if not telling:
        return ""
    text = re.sub(r"^(?:fatal|error): ", "", telling[-1]).rstrip(".")
    return without_credentials(text)


def without_credentials(address: str) -> str:
    """Return an address without user, password and query: ``https://t:x@host/r`` → ``https://host/r``."""
    if address.startswith("ssh://"):  # the user of ssh is no secret, and needed
        return re.sub(r"(?<=://)([^/@:\s]+):[^/\s]*@", r"\1@", address)
    return re.sub(r"(://[^\s?#]*)[?#]\S*", r"\1", _CREDENTIALS.sub("", address))


def without_tokens(address: str) -> str:
    """Return the address of a package index or a file there without credentials, also in its path.

    ``https://dl.cloudsmith.io/<token>/org/repo`` and ``https://pypi.fury.io/<token>/me`` are such.
    """
    return _TOKEN.sub(r"\1...", without_credentials(address))


# Letters and digits mixed, and no digest, of which the paths of files on an index consist.
_TOKEN = re.compile(
    r"(?<!/)(/)(?![0-9a-f]{32,}(?:/|$))(?=[a-zA-Z]*\d)(?=\d*[a-zA-Z])[a-zA-Z0-9]{16,}(?=/|$)"
)


def _address(repo: Repository, arguments: Sequence[str]) -> dict[str, str]:
    variables = {}
    if repo.index:
        variables["GIT_INDEX_FILE"] = str(repo.index)
    if repo.explicit and "clone" not in arguments[:1]:
        variables["GIT_DIR"] = str(repo.git_dir)
        variables["GIT_WORK_TREE"] = str(repo.root)
    return variables


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _LOCAL}
    return {**kept, **_FIXED, **variables}
