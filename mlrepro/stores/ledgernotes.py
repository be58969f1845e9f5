"""Ledgernotes: what is said of a run after it was recorded, outside the run's id.

``notes/<xx>/<run id>/<kind>/<sha256 of its bytes>.json`` lies in the log of the writer that says
it. So it may be about anybody's run, it travels with `push` and `pull`, and it is never changed:
whoever has measured again says something new. Kinds: ``attestations`` (one rebuild each),
``signatures`` (of them), ``noise`` (repeats and seeds). A note may come from a stranger; whoever
reads one checks it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from mlrepro.errors import ManifestError
from mlrepro.stores import git, ledgerwriting, writers

LARGEST = 2**20
"""A note longer than this, in bytes, is not one of ours."""
_MOST = 10_000


@dataclass(frozen=True)
class Note:
    """One note.

    Attributes
    ----------
    id : str
        sha256 of its bytes, 64 hex digits.
    writer : str
        The clone that wrote it.
    mine : bool
        Whether that is this clone.
    data : bytes
        Canonical JSON.
    """

    id: str
    writer: str
    mine: bool
    data: bytes


def put(repo: git.Repository, run: str, kind: str, data: bytes) -> str:
    """Keep a note in this clone's log; one that is there already stays. Return its id.

    Parameters
    ----------
    run : str
        Id of the run, 64 hex digits.
    kind : str
        ``attestations`` or ``noise``.
    data : bytes
        Canonical JSON.

    Raises
    ------
    GitError
        If it cannot be written.
    LockTimeoutError
        If a lock of git's stays for 30 s.
    """
    if len(data) > LARGEST:
        raise ManifestError(f"a note longer than {LARGEST >> 20} MiB is not kept")
    name = hashlib.sha256(data).hexdigest()
    ref = writers.LOG + writers.own(repo)
    author = git.author(repo)
    path = f"{folder(run, kind)}/{name}.json"
    message = f"{kind.removesuffix('s').capitalize()} of run {run[:12]}"
    ledgerwriting.patiently(lambda: _put_once(repo, ref, author, message, path, data))
    return name


def _put_once(
    repo: git.Repository, ref: str, author: str, message: str, path: str, data: bytes
) -> bool:
    tip = git.refs(repo, ref).get(ref, "")
    if tip and next(iter(git.read_objects(repo, [f"{tip}:{path}"]))) == data:
        return True
    commit = ledgerwriting.commit(ref, tip, author, message)
    return ledgerwriting.write(repo, commit + ledgerwriting.file(path, data))


def of_run(repo: git.Repository, run: str, kind: str) -> tuple[Note, ...]:
    """Return all notes of a kind about a run, each once, in the order of their ids.

    Notes whose bytes are not those that their name promises are left out.
    """
    own = writers.existing(repo)
    found: dict[str, Note] = {}
    for writer, paths in _named(repo, run, kind):
        for path, data in zip(paths, git.read_objects(repo, paths), strict=True):
            name = path.rpartition("/")[2].removesuffix(".json")
            if data is None or len(data) > LARGEST or hashlib.sha256(data).hexdigest() != name:
                continue
            if name not in found or writer == own:
                found[name] = Note(name, writer, writer == own, data)
    return tuple(found[name] for name in sorted(found))


def _named(repo: git.Repository, run: str, kind: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each writer with the names of its notes, as git reads them."""
    for ref, tip in sorted(git.refs(repo, "refs/mlrepro/").items()):
        writer = writers.of_ref(ref)
        if not writer:
            continue
        done = git.attempt(repo, "ls-tree", "--name-only", f"{tip}:{folder(run, kind)}")
        if done.returncode:
            continue
        names = [n for n in done.stdout.decode().splitlines() if _NAME.fullmatch(n)]
        yield writer, [f"{tip}:{folder(run, kind)}/{name}" for name in names[:_MOST]]


_NAME = re.compile(r"[0-9a-f]{64}\.json")


def folder(run: str, kind: str) -> str:
    """Return where the notes of a run lie in the ledger's tree."""
    if not re.fullmatch(r"[0-9a-f]{64}", run) or not re.fullmatch(r"[a-z]{1,32}", kind):
        raise ManifestError(f"no place for notes of {run!r:.80}")
    return f"notes/{run[:2]}/{run}/{kind}"
