"""Ledger: the append-only history of all runs, as commits on a ref for each writer.

``refs/mlrepro/log/<writer>`` is a chain of commits whose trees hold the records:
``runs/<yyyy-mm>/<dd>/<xx>/<id>/`` with ``manifest.json`` (the canonical JSON whose sha256 is the
id), ``manifest.yaml`` and the long lists. Old days' trees are never written again; within a day
``xx``, the id's first two digits, bounds what an append rewrites: on a day of 10,000 runs an
append leaves 9 KiB of objects, without it 638 KiB (``python benchmarks/ledger.py 10000``).

``refs/mlrepro/code/<writer>`` is a chain of empty commits beside it, each with the code commit of
one run as its second parent: it only keeps the code from gc, and carries it in a push. The log
does not reach it, so a plain fetch of the logs brings every record and no code. (With the code
behind the log itself that would take ``--depth=1``, and a clone with a ``.git/shallow``, even of
foreign commits only, can no longer be the source of ``git clone --shared``, which rebuilds need,
and loses its commit-graph.)
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence

from mlrepro import documents
from mlrepro.errors import (
    AmbiguousRefError,
    ManifestError,
    ObjectNotFoundError,
    RefNotFoundError,
)
from mlrepro.manifest import Manifest, is_in_tree
from mlrepro.stores import git, ledgerindex, ledgerwriting, writers
from mlrepro.stores.ledgerindex import Entry, Ledger
from mlrepro.stores.ledgersync import Pending, fetch_code, pending, pull, push

__all__ = [
    "Entry", "Ledger", "Pending", "append", "by_digest", "entries", "fetch_code", "listing",
    "pending", "pull", "push", "read", "resolve", "with_artifact", "writer",
]  # fmt: skip

_EVERY = 8
"""Of 256 appends so many look whether git should pack."""


def append(repo: git.Repository, manifest: Manifest, lists: Mapping[str, bytes]) -> None:
    """Record a run; one that is recorded already is left as it is.

    Parameters
    ----------
    repo : git.Repository
        The user's, or the shadow repository.
    manifest : Manifest
        The run.
    lists : mapping of str to bytes
        What lies beside it: ``inputs`` → canonical JSON, kept as ``inputs.json``.

    Raises
    ------
    GitError
        If it cannot be written.
    LockTimeoutError
        If a lock of git's stays for 30 s.
    """
    mine = writers.own(repo)
    files = {
        "manifest.json": documents.canonical_json(manifest.to_dict()),
        "manifest.yaml": manifest.to_yaml().encode(),
        **{_file_name(name): data for name, data in lists.items()},
    }
    writers.note_own(repo, manifest.id)
    ledgerwriting.patiently(lambda: _append_once(repo, mine, manifest, files))
    if int(manifest.id[:2], 16) < _EVERY:
        git.maintain(repo)


def _append_once(
    repo: git.Repository, mine: str, manifest: Manifest, files: Mapping[str, bytes]
) -> bool:
    """Add one entry by one `fast-import`; False where another process moved the ref meanwhile."""
    log, code = writers.LOG + mine, writers.CODE + mine
    snapshot = manifest.code.snapshot if manifest.code else ""
    folder = place(manifest)
    names = [log, code, f"{log}:{folder}"] + ([snapshot] if snapshot else [])
    asked = "".join(f"{name}\n" for name in names).encode()
    answers = git.call(repo, "cat-file", "--batch-check=%(objectname)", data=asked).split(b"\n")
    tips = ["" if b" " in answer else answer.decode() for answer in answers]
    stream = b""
    if not tips[2]:
        author = manifest.run.author or git.author(repo)
        stream += ledgerwriting.commit(log, tips[0], author, f"Run {manifest.short}", "")
        for name, data in files.items():
            stream += ledgerwriting.file(f"{folder}/{name}", data)
    # Where the code lies in another repository, there is nothing to keep.
    if snapshot and tips[3] and not (tips[2] and git.is_ancestor(repo, snapshot, code)):
        stream += ledgerwriting.commit(code, tips[1], "", f"Code of run {manifest.short}", snapshot)
    return not stream or ledgerwriting.write(repo, stream)


def place(manifest: Manifest) -> str:
    """Return the folder of a run in the tree: by date, so that old trees are never rewritten."""
    started = re.match(r"(\d{4}-\d{2})-(\d{2})", manifest.run.started)
    month, day = started.groups() if started else ("undated", "00")
    return f"runs/{month}/{day}/{manifest.id[:2]}/{manifest.id}"


def _file_name(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_.-]{0,63}", name) or name.startswith("manifest"):
        raise ManifestError(f"not the name of a list: {name!r:.80}")
    return name if "." in name else f"{name}.json"


def writer(repo: git.Repository) -> str:
    """Return this clone's writer; empty where it has never written."""
    return writers.existing(repo)


def read(repo: git.Repository) -> Ledger:
    """Return all runs of all writers, and the names of the records that are damaged."""
    return ledgerindex.read(repo)


def entries(repo: git.Repository) -> tuple[Entry, ...]:
    """Return all runs of all writers, each once, oldest first."""
    return read(repo).entries


def resolve(repo: git.Repository, ref: str) -> Entry:
    """Return the run that a reference means.

    Parameters
    ----------
    repo : git.Repository
        Where.
    ref : str
        A run id, four or more of its first digits, a run's name (the newest of that name), or
        ``last`` (this clone's newest run) and ``last~1`` (the one before).

    Raises
    ------
    RefNotFoundError, AmbiguousRefError
        If no run, or more than one, answers to it.
    """
    known = entries(repo)
    if last := re.fullmatch(r"last(?:~(\d{1,6}))?", ref):
        return _last(known, ref, int(last[1] or 0))
    is_prefix = re.fullmatch(r"[0-9a-f]{4,64}", ref.lower())
    by_id = [e for e in known if e.id.startswith(ref.lower())] if is_prefix else []
    by_name = [e for e in known if e.name and e.name == ref][-1:]
    found = {e.id: e for e in (*by_id, *by_name)}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        shown = ", ".join(sorted(i[:12] for i in found)[:5])
        raise AmbiguousRefError(f"`{ref}` means {len(found)} runs: {shown}")
    hint = "Give at least 4 digits of a run id." if re.fullmatch(r"[0-9a-f]{1,3}", ref) else None
    raise RefNotFoundError(f"no run answers to `{ref:.80}`", hint=hint)


def _last(known: Sequence[Entry], ref: str, back: int) -> Entry:
    mine = [entry for entry in known if entry.mine]
    if back >= len(mine):
        raise RefNotFoundError(f"`{ref}`: this clone has recorded {len(mine)} runs")
    return mine[-1 - back]


def with_artifact(repo: git.Repository, path: str, *, digest: str = "") -> Entry | None:
    """Return the newest run that made a file; with a digest, the newest that made these bytes."""
    wanted = (
        e
        for e in reversed(entries(repo))
        if any(p == path and digest in ("", d) for p, d in e.artifacts)
    )
    return next(wanted, None)


def by_digest(repo: git.Repository) -> dict[str, tuple[str, str]]:
    """Return for each artifact's digest the newest run that made it, and the artifact's path."""
    return {
        digest: (entry.id, path)
        for entry in entries(repo)
        for path, digest in entry.artifacts
        if digest not in _EMPTY and is_in_tree(path)
    }


# Every empty file has these bytes: it makes nobody a parent.
_EMPTY = {
    f"{name}:{hashlib.new(name, usedforsecurity=False).hexdigest()}" for name in ("md5", "sha256")
}


def listing(repo: git.Repository, manifest: Manifest, name: str) -> bytes:
    """Return a long list of a run, checked against the digest in its manifest.

    Raises
    ------
    ObjectNotFoundError
        If the ledger does not hold it.
    ManifestError
        If its bytes are not those that the manifest names.
    """
    wanted = manifest.lists.get(name)
    if wanted is None:
        raise ObjectNotFoundError(f"run {manifest.short} has no list `{name:.80}`")
    tips = [ref for ref in git.refs(repo, "refs/mlrepro/") if writers.of_ref(ref)]
    paths = [f"{tip}:{place(manifest)}/{_file_name(name)}" for tip in tips]
    found = [data for data in git.read_objects(repo, paths) if data is not None]
    if not found:
        raise ObjectNotFoundError(f"the ledger here does not hold `{name}` of run {manifest.short}")
    for data in found:
        if hashlib.new(wanted.digest.algorithm, data, usedforsecurity=False).hexdigest() == (
            wanted.digest.value
        ):
            return data
    raise ManifestError(f"`{name}` of run {manifest.short} is not what its manifest names")
