"""Ledgerlocks: the locks of environments, in the ledger's tree and outside every run's id.

``environments/<fingerprint>/lock.txt`` lies in the log of the writer that made it. So it may
arrive after the runs that need it, one serves all of them, and `push` and `pull` carry it. A
writer whom the remote lets push can offer a lock of any environment: this clone's own comes first.
"""

from __future__ import annotations

from mlrepro.errors import ManifestError
from mlrepro.locks import Lock
from mlrepro.manifest import Digest
from mlrepro.stores import git, ledgerwriting, writers


def place(fingerprint: Digest) -> str:
    """Return the path of a lock in the ledger's tree."""
    return f"environments/{fingerprint.value}/lock.txt"


def get(repo: git.Repository, fingerprint: Digest) -> Lock | None:
    """Return the lock of an environment, None where there is none that can be read.

    This clone's own, else that which has hashes for the most packages.
    """
    refs = _refs(repo)
    names = [f"{ref}:{place(fingerprint)}" for ref in refs]
    blobs = zip(refs, git.read_objects(repo, names), strict=True)
    texts = {data: ref for ref, data in reversed([*blobs]) if data is not None}
    found = {ref: lock for data, ref in texts.items() if (lock := _read(data, fingerprint))}
    if len(found) > 1 and (own := found.get(writers.LOG + writers.existing(repo))):
        return own
    return max(found.values(), key=lambda lock: lock.hashed, default=None)


def has(repo: git.Repository, fingerprint: Digest) -> bool:
    """Say whether there is a lock of an environment, without reading it."""
    refs = _refs(repo)
    asked = "".join(f"{ref}:{place(fingerprint)}\n" for ref in refs).encode()
    if not refs:
        return False
    answers = git.call(repo, "cat-file", "--batch-check=%(objecttype)", data=asked)
    return b"blob" in answers.split(b"\n")


def put(repo: git.Repository, lock: Lock) -> None:
    """Keep a lock in this clone's log; one of the same environment is replaced.

    Raises
    ------
    GitError
        If it cannot be written.
    LockTimeoutError
        If a lock of git's stays for 30 s.
    """
    ref = writers.LOG + writers.own(repo)
    author = git.author(repo)
    ledgerwriting.patiently(lambda: _put_once(repo, ref, author, lock))


def _put_once(repo: git.Repository, ref: str, author: str, lock: Lock) -> bool:
    tip = git.refs(repo, ref).get(ref, "")
    path = place(lock.fingerprint)
    text = lock.to_text().encode()
    if tip and next(iter(git.read_objects(repo, [f"{tip}:{path}"]))) == text:
        return True
    message = f"Lock of environment {lock.fingerprint.value[:12]}"
    commit = ledgerwriting.commit(ref, tip, author, message)
    return ledgerwriting.write(repo, commit + ledgerwriting.file(path, text))


def _refs(repo: git.Repository) -> list[str]:
    """Return the logs of all writers, this repository's before those of its remotes."""
    return sorted(ref for ref in git.refs(repo, "refs/mlrepro/") if writers.of_ref(ref))


def _read(data: bytes, fingerprint: Digest) -> Lock | None:
    """Return a lock that somebody may have made up; None where it is damaged or another's."""
    try:
        lock = Lock.from_text(data.decode())
    except (ManifestError, UnicodeDecodeError):
        return None
    return lock if lock.fingerprint == fingerprint else None
