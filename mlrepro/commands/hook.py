"""Hook: what git calls before a commit: a check that may refuse it, and its message's trailers."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlrepro.commands import hookquick, staged
from mlrepro.stores import git

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlrepro.stores.git import Repository

TRAILER = "Mlrepro-Run"
_SUFFIX = ".mlrepro.yaml"
_SHORT = 12
# The head of a manifest, which `check` has read in full: here YAML would cost another 20 ms.
_ID = re.compile(rb"^id: ['\"]?([0-9a-f]{64})['\"]?\s*$", re.MULTILINE)
_LARGEST = 16 * 2**20


@dataclass(frozen=True)
class Finding:
    """Something that is wrong with a commit.

    Attributes
    ----------
    sentence : str
        What it is, on one line.
    hint : str
        What to do about it, on one line.
    """

    sentence: str
    hint: str


@dataclass(frozen=True)
class HookReport:
    """What the hook has to say: refusals stop the commit, warnings do not."""

    refusals: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()


def install(root: Path) -> tuple[str, ...]:
    """Install the hooks and return those that are new; see `mlrepro.commands.hookscripts`."""
    from mlrepro.commands import hookscripts  # noqa: PLC0415  12 ms that no commit has to pay

    return hookscripts.install(root)


def uninstall(root: Path) -> tuple[str, ...]:
    """Remove the hooks, restore what was there, and return the names of those removed."""
    from mlrepro.commands import hookscripts  # noqa: PLC0415  see `install`

    return hookscripts.uninstall(root)


def check(start: Path, *, files: Sequence[str] | None = None) -> HookReport:
    """Judge the commit that is being made, by what is staged; what ``pre-commit`` does.

    Parameters
    ----------
    start : Path
        A folder of the working tree.
    files : sequence of str, optional
        Looks at these files only, relative to the top of the working tree, and as if all of them
        were staged.

    Raises
    ------
    NotARepositoryError
        If there is no working tree.
    ConfigError
        If the list of what is let through cannot be read.
    """
    repo = git.open_repository(start)
    changes = staged.changes(repo, paths=files or ())
    if files is None and (not changes or hookquick.is_in_order(repo, changes)):
        return HookReport()
    from mlrepro.commands import hookchecks  # noqa: PLC0415  80 ms that few commits have to pay

    return hookchecks.check(repo, changes, files=files or ())


def trailers(
    start: Path, message_file: Path, source: str = "", amended: str = ""
) -> tuple[str, ...]:
    """Name the runs of the staged models in a commit message; what ``prepare-commit-msg`` does.

    Parameters
    ----------
    start : Path
        A folder of the working tree.
    message_file : Path
        The message; it is rewritten if need be.
    source, amended : str
        The further arguments that git gives to the hook; ``commit`` and ``HEAD`` for an amend.

    Returns
    -------
    tuple of str
        The trailers that were added, ``Mlrepro-Run: 3f9a2c01b4de``.
    """
    repo = git.open_repository(start)
    source = source or os.environ.get("PRE_COMMIT_COMMIT_MSG_SOURCE", "")
    amended = amended or os.environ.get("PRE_COMMIT_COMMIT_OBJECT_NAME", "")
    is_amend = _is_amend(repo, source, amended)
    wanted = _runs(repo, _models(repo, _base(repo) if is_amend else ""))
    message = message_file.read_bytes()
    if is_amend:
        message = _without(message, _replaced(repo) - set(wanted))
        if message != message_file.read_bytes():
            message_file.write_bytes(message)
    lines = [f"{TRAILER}: {run}" for run in wanted if not _names(message, run)]
    if lines:
        _add(repo, message_file, lines)
    return tuple(lines)


def _is_amend(repo: Repository, source: str, amended: str) -> bool:
    if source == "commit":
        return staged.commit(repo, amended) == staged.commit(repo, "HEAD")
    # `git commit --amend -m TEXT` tells its hooks nothing, so that git itself is looked at.
    for arguments in _ancestors():
        if "commit" in arguments and Path(arguments[0]).name.startswith("git"):
            return any(len(a) > 3 and "--amend".startswith(a) for a in arguments)
    return False


def _ancestors(most: int = 6) -> Iterator[list[str]]:
    """Yield the command lines of this process's parents: the shell of the hook, then git."""
    process = os.getppid()
    for _ in range(most):
        if process <= 1:
            return
        told = _from_proc(process) or _from_ps(process)
        if not told or not told[0].isdigit():
            return
        process = int(told[0])
        yield told[1:]


def _from_proc(process: int) -> list[str]:
    folder = Path("/proc", str(process))
    try:
        status = folder.joinpath("stat").read_text(encoding="utf-8", errors="replace")
        command = folder.joinpath("cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [status.rpartition(")")[2].split()[1], *command.split("\0")]


def _from_ps(process: int) -> list[str]:
    command = ("ps", "-ww", "-o", "ppid=,args=", "-p", str(process))
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()
    except OSError:  # no `ps` here
        return []


def _models(repo: Repository, base: str) -> list[str]:
    """Return the blobs of the manifests that the commit brings, but for those a merge brings."""
    found = {c.path: c.blob for c in staged.changes(repo, base) if _is_manifest(c)}
    is_merge = (repo.git_dir / "MERGE_HEAD").is_file()
    merged = staged.taken_over(repo, found) if is_merge else frozenset()
    return [blob for path, blob in found.items() if path not in merged]


def _is_manifest(change: staged.Change) -> bool:
    return change.path.endswith(_SUFFIX) and change.is_file


def _replaced(repo: Repository) -> set[str]:
    """Return the runs of the amended commit whose models the new commit has not, or has anew."""
    changed = [c for c in staged.changes(repo) if c.path.endswith(_SUFFIX) and c.before]
    return set(_runs(repo, [c.before for c in changed]))


def _base(repo: Repository) -> str:
    return staged.commit(repo, "HEAD^") or staged.empty_tree(repo)


def _runs(repo: Repository, blobs: Sequence[str]) -> list[str]:
    texts = staged.contents(repo, blobs, largest=_LARGEST).values()
    found = (_ID.search(text[:1024]) for text in texts if text)
    return list(dict.fromkeys(m[1][:_SHORT].decode() for m in found if m))


def _names(message: bytes, run: str) -> bool:
    return (
        re.search(rf"^{TRAILER}: *{run}".encode(), message, re.MULTILINE | re.IGNORECASE)
        is not None
    )


def _without(message: bytes, runs: set[str]) -> bytes:
    for run in runs:
        line = rf"^{TRAILER}: *{run}[0-9a-f]*[ \t]*\n?".encode()
        message = re.sub(line, b"", message, flags=re.MULTILINE)
    return message


def _add(repo: Repository, message_file: Path, lines: Sequence[str]) -> None:
    """Let git place them: it knows of comments, scissors and the other trailers."""
    options = [word for line in lines for word in ("--trailer", line)]
    git.call(
        repo, "interpret-trailers", "--in-place", "--no-divider", "--if-exists", "addIfDifferent",
        *options, "--", str(message_file.resolve()),
    )  # fmt: skip
    text = message_file.read_bytes()
    if text.lstrip(b"\n").startswith(TRAILER.encode()):
        # Nothing is written yet: an editor's first line is the subject, the second stays empty.
        message_file.write_bytes(b"\n\n" + text.lstrip(b"\n"))
