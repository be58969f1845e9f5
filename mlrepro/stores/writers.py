"""Writers: who writes to the ledger; each clone has a ref of its own, so two never conflict."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
import uuid
from contextlib import suppress
from pathlib import Path

from mlrepro.errors import GitError
from mlrepro.stores import git

LOG = "refs/mlrepro/log/"
CODE = "refs/mlrepro/code/"
REMOTES = "refs/mlrepro/remotes/"

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_REF = re.compile(rf"refs/mlrepro/(?:remotes/.+/)?log/({_WORD.pattern})")


def own(repo: git.Repository) -> str:
    """Return this clone's writer, a new one where the clone has none or is a copy.

    Git's setting ``mlrepro.writer`` wins: CI sets one, since each of its clones is new.

    Raises
    ------
    GitError
        If the setting is no plain word, or the writer cannot be kept.
    """
    known = existing(repo)
    if known:
        return known
    try:
        return _make(repo)
    except OSError as error:
        raise GitError(f"the ledger cannot be written: {error.strerror}") from error


def existing(repo: git.Repository) -> str:
    """Return this clone's writer; empty where it has never written."""
    configured = git.setting(repo, "mlrepro.writer")
    if configured and not _WORD.fullmatch(configured):
        raise GitError(
            f"the git setting mlrepro.writer is no plain word: {configured!r:.80}",
            hint="Use letters, digits, `-` and `_`.",
        )
    return configured or _read(repo)


def of_ref(ref: str) -> str:
    """Return the writer that a ref belongs to; empty where it is no ledger of ours."""
    found = _REF.fullmatch(ref)
    return found[1] if found else ""


def note_own(repo: git.Repository, run: str) -> None:
    """Remember that this clone recorded a run.

    A ref cannot tell: whoever pushes may write under any writer's name, and such a log is even
    merged into the local one where several clones share a writer.
    """
    # Where it cannot be written, the run's command is asked about as if it were a stranger's.
    with suppress(OSError), _own_file(repo).open("ab", buffering=0) as file:
        file.write(f"{run} {_mark(repo)}\n".encode())


def own_runs(repo: git.Repository) -> frozenset[str]:
    """Return the ids of the runs that this clone recorded, and no copy of it."""
    try:
        lines = _own_file(repo).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return frozenset()
    end = f" {_mark(repo)}"
    return frozenset(line.removesuffix(end) for line in lines if line.endswith(end))


def _own_file(repo: git.Repository) -> Path:
    return repo.common_dir / "mlrepro-own"


def _mark(repo: git.Repository) -> str:
    return hashlib.sha256(_place(repo).encode()).hexdigest()[:16]


def _file(repo: git.Repository) -> Path:
    return repo.common_dir / "mlrepro-writer"


def _place(repo: git.Repository) -> str:
    """Return what a copy of the clone, here or on another machine, does not share."""
    return f"{os.uname().nodename} {os.stat(repo.common_dir).st_ino}"


def _read(repo: git.Repository) -> str:
    try:
        writer, _, place = _file(repo).read_text(encoding="utf-8").strip().partition(" ")
    except (OSError, UnicodeDecodeError):
        return ""
    return writer if place == _place(repo) and _WORD.fullmatch(writer) else ""


def _make(repo: git.Repository) -> str:
    if _file(repo).exists():  # damaged, or a copy's
        _file(repo).unlink(missing_ok=True)
    descriptor, name = tempfile.mkstemp(dir=repo.common_dir, prefix="mlrepro-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{uuid.uuid4().hex[:16]} {_place(repo)}\n")
        # A link is made by the first of several runs that end at once; the others read it.
        with suppress(FileExistsError):
            os.link(name, _file(repo))
    finally:
        os.unlink(name)
    return _read(repo) or own(repo)
