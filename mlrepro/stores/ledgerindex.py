"""Ledgerindex: all runs of all writers, read at once, and remembered in a file that may be lost."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlrepro import documents, paths
from mlrepro.errors import GitError, ManifestError, MlreproError
from mlrepro.manifest import Manifest
from mlrepro.stores import git, writers

VERSION = 2
_FILE = "/manifest.json"

Row = dict[str, Any]
Record = tuple[str, str]
"""A run id and the blob of its manifest."""


class _Shelf:
    """The manifests of a ledger, read when they are asked for: one alone, the second with all."""

    def __init__(self, repo: git.Repository) -> None:
        self._repo = repo
        self._blobs: list[str] = []
        self._read: dict[str, bytes | None] = {}

    def expect(self, blobs: Sequence[str]) -> None:
        self._blobs = list(blobs)

    def get(self, blob: str) -> bytes:
        if blob not in self._read:
            wanted = [blob] if not self._read else [b for b in self._blobs if b not in self._read]
            self._read.update(zip(wanted, git.read_objects(self._repo, wanted), strict=True))
        data = self._read[blob]
        if data is None:
            raise ManifestError("a manifest of the ledger is not in this repository")
        return data


@dataclass(frozen=True)
class Entry:
    """A run of the ledger; its manifest is read when it is asked for.

    Attributes
    ----------
    id, name, started, work : str
        As in the manifest.
    writer : str
        The clone that recorded it.
    mine : bool
        Whether this clone recorded it itself: no ref that others can write to tells that.
    artifacts : tuple of (str, str)
        Path and digest of each.
    blob : str
        Git's name of ``manifest.json``.
    """

    id: str
    name: str
    started: str
    work: str
    writer: str
    mine: bool
    artifacts: tuple[tuple[str, str], ...]
    blob: str
    shelf: _Shelf = field(repr=False, compare=False)

    @functools.cached_property
    def manifest(self) -> Manifest:
        """The whole record."""
        data = documents.read_json(self.shelf.get(self.blob))
        return Manifest.from_dict(data, sealed=self.id)


@dataclass(frozen=True)
class Ledger:
    """All runs, oldest first, and the ids of those whose record is damaged."""

    entries: tuple[Entry, ...]
    damaged: tuple[str, ...] = ()


@dataclass
class _Memory:
    """The file ``.mlrepro/index.json``: what was read of which commit and which blob."""

    tips: dict[str, tuple[str, list[Record]]] = field(default_factory=dict)
    rows: dict[str, Row | None] = field(default_factory=dict)


def read(repo: git.Repository) -> Ledger:
    """Return all runs of all writers, local and fetched, each once."""
    tips = {r: c for r, c in git.refs(repo, "refs/mlrepro/").items() if writers.of_ref(r)}
    if not tips:
        return Ledger(())
    own = writers.own_runs(repo)
    memory = _remembered(repo)
    now = _Memory(tips={r: (c, records(repo, c, memory.tips.get(r))) for r, c in tips.items()})
    _fill(repo, now, memory, own)
    if now != memory:
        _remember(repo, now)
    return _ledger(repo, now, own)


def records(
    repo: git.Repository, commit: str, before: tuple[str, list[Record]] | None = None
) -> list[Record]:
    """Return id and blob of each run of a log; only what is new is listed if `before` is known."""
    if before and before[0] == commit:
        return before[1]
    if before:
        with suppress(GitError):  # a commit that is gone is no longer known
            added, removed = _difference(repo, before[0], commit)
            if not removed:
                return before[1] + added
    empty = hashlib.new("sha1" if len(commit) == 40 else "sha256", b"tree 0\0").hexdigest()
    return _difference(repo, empty, commit)[0]


def _difference(repo: git.Repository, old: str, new: str) -> tuple[list[Record], bool]:
    listed = git.call(repo, "diff-tree", "-r", "-z", "--no-renames", old, new).split(b"\0")
    added, removed = [], False
    for words, path in zip(listed[::2], listed[1::2], strict=False):
        name = os.fsdecode(path)
        if not name.startswith("runs/"):  # locks may be written again, more complete
            continue
        removed = removed or not words.endswith(b" A")
        if name.endswith(_FILE):
            added.append((name[: -len(_FILE)].rpartition("/")[2], words.split(b" ")[3].decode()))
    return added, removed


def _fill(repo: git.Repository, now: _Memory, memory: _Memory, own: Collection[str]) -> None:
    """Make a row for each manifest; one from somebody else is validated whole, once."""
    listed = {record: None for _, found in now.tips.values() for record in found}
    new = [record for record in listed if record[1] not in memory.rows]
    fresh = git.read_objects(repo, [blob for _, blob in new])
    rows = {
        blob: _row(run, data, strict=run not in own)
        for (run, blob), data in zip(new, fresh, strict=True)
    }
    now.rows = {
        blob: memory.rows[blob] if blob in memory.rows else rows[blob] for _, blob in listed
    }


def _row(run: str, data: bytes | None, *, strict: bool) -> Row | None:
    """Return what an index needs of a manifest; None where it is damaged."""
    # The file is the canonical JSON that the id is the sha256 of: one hash tells.
    if data is None or hashlib.sha256(data).hexdigest() != run:
        return None
    try:
        content = documents.read_json(data)
        if strict:
            Manifest.from_dict(content, sealed=run)
        known = content["run"]
        return {
            "id": run,
            "name": str(known.get("name", "")),
            "started": str(known["started"]),
            "work": str(known.get("work", "")),
            "artifacts": [(str(a["path"]), str(a["digest"])) for a in content.get("artifacts", ())],
        }
    except (MlreproError, KeyError, TypeError, AttributeError):
        return None


def _ledger(repo: git.Repository, now: _Memory, own: Collection[str]) -> Ledger:
    shelf, found, damaged = _Shelf(repo), {}, set()
    # Local refs come last: a run that was fetched again stays its local writer's.
    for ref, (_, listed) in sorted(now.tips.items(), reverse=True):
        writer = writers.of_ref(ref)
        for run, blob in listed:
            row = now.rows.get(blob)
            if row is None:
                damaged.add(run)
                continue
            found[run] = _entry(row, blob, writer, run in own, shelf)
    entries = tuple(sorted(found.values(), key=lambda entry: (entry.started, entry.id)))
    shelf.expect([entry.blob for entry in entries])
    return Ledger(entries, tuple(sorted(damaged - found.keys())))


def _entry(row: Mapping[str, Any], blob: str, writer: str, mine: bool, shelf: _Shelf) -> Entry:
    return Entry(
        row["id"],
        row["name"],
        row["started"],
        row["work"],
        writer,
        mine,
        tuple((path, digest) for path, digest in row["artifacts"]),
        blob,
        shelf,
    )


def _file(repo: git.Repository) -> Path:
    return repo.root / ".mlrepro" / "index.json"


def _remembered(repo: git.Repository) -> _Memory:
    try:
        data = json.loads(_file(repo).read_bytes())
        if data["version"] != VERSION:
            return _Memory()
        tips = {r: (c, [(i, b) for i, b in found]) for r, (c, found) in data["tips"].items()}
        rows = {str(blob): _checked(row) for blob, row in data["rows"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # absent or damaged
        return _Memory()
    return _Memory(tips, rows)


def _checked(row: Any) -> Row | None:
    if row is not None:
        row["artifacts"] = [(path, digest) for path, digest in row["artifacts"]]
        row["id"], row["name"], row["started"], row["work"]
    checked: Row | None = row
    return checked


def _remember(repo: git.Repository, memory: _Memory) -> None:
    data = {"version": VERSION, "tips": memory.tips, "rows": memory.rows}
    # A folder that cannot be written costs time only: all of it is read again.
    with suppress(OSError):
        git.private_folder(repo.root)
        paths.write_beside(_file(repo), json.dumps(data, separators=(",", ":")))
