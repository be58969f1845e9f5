"""Inputs: what a run read, each with its digest, and where a rebuild will take it from."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from mlrepro.capture import checkedout, globs, grading
from mlrepro.capture.grading import state
from mlrepro.capture.observation import Observation, Read, Stat
from mlrepro.capture.outputs import is_code
from mlrepro.capture.untracked import is_secret
from mlrepro.errors import GitError, MlreproError, StoreError
from mlrepro.manifest import Digest, Grade, Input, Parent, Source
from mlrepro.stores import git
from mlrepro.stores.objects import Stores
from mlrepro.stores.statcache import StatCache

STORED_LIMIT = 10 * 2**20
"""Untracked inputs up to this many bytes are kept with the run."""

digest_of_file = grading.digest_of_file

INLINE = 40
"""A manifest shows up to this many inputs; the whole list lies in the ledger."""

_NO_INPUT = (".git", ".mlrepro", "__pycache__")


@dataclass(frozen=True)
class Found:
    """The inputs of a run.

    Attributes
    ----------
    inputs : tuple of Input
        Data and settings that were read; modules of code are part of the code's snapshot.
    code : dict of str to int
        Code files that were read, and their modification time then, in ns since the epoch.
    troubles : tuple of str
        Inputs whose bytes a colleague could not get, one sentence each.
    opened : dict of str to int
        As `code`, of everything that was read.
    """

    inputs: tuple[Input, ...] = ()
    code: Mapping[str, int] = field(default_factory=dict)
    troubles: tuple[str, ...] = ()
    opened: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Known:
    """What is known of the project's files before the inputs are judged.

    Attributes
    ----------
    root : Path
        The project's folder.
    tracked : frozenset of str
        Paths of the code snapshot that git tracks.
    untracked : frozenset of str
        Those that git does not track.
    pointers : dict of str to Digest
        Paths that a `.dvc` pointer of the snapshot names.
    ledger : dict of str to (str, str)
        Digest of an earlier artifact → (run id, path).
    repo : git.Repository or None
        Holds the code.
    blobs : dict of str to str
        Files of the code's tree → names of their objects.
    """

    root: Path
    tracked: frozenset[str] = frozenset()
    untracked: frozenset[str] = frozenset()
    pointers: Mapping[str, Digest] = field(default_factory=dict)
    ledger: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    repo: git.Repository | None = None
    blobs: Mapping[str, str] = field(default_factory=dict)


def find(
    observation: Observation,
    known: Known,
    stores: Stores,
    *,
    declared: Sequence[str] = (),
    start: Path | None = None,
    began: float = math.inf,
    cache: StatCache | None = None,
) -> Found:
    """Judge everything that a run read.

    Parameters
    ----------
    observation : Observation
        What the observers saw.
    known : Known
        What git, DVC and the ledger say of the project's files.
    stores : Stores
        Where the bytes of small untracked inputs are kept.
    declared : sequence of str
        Globs of ``--input``; what they name is kept at any size.
    start : Path, optional
        What the globs are relative to; the root otherwise.
    began : float
        When the run began, in seconds since the epoch.
    cache : StatCache, optional
        Spares reading large files that were read before.
    """
    made = _made_unseen(observation, known, began, cache)
    reads = {
        r.path: r
        for r in observation.reads
        if not r.wrote_before and r.path not in made and not _is_folder(r.path)
    }
    named, idle = globs.files(start or known.root, declared)
    for path in map(str, named):
        kept = replace(reads[path], seen="declared") if path in reads else None
        reads[path] = kept or Read(path, state(path), "declared", wrote_before=False)
    members = Members(stores)
    inputs, code, opened = {}, {}, {}
    troubles = [f"`--input {pattern}` names no file" for pattern in idle]
    for path, read in sorted(reads.items()):
        name = name_of(known.root, path)
        if any(part in _NO_INPUT for part in PurePosixPath(name).parts):
            continue
        when = read.time + observation.clock if read.time and observation.clock else 0
        opened[name] = read.stat.mtime_ns if read.stat and not _is_later(read.stat, when) else 0
        if read.seen == "import" or is_code(name):
            code[name] = opened[name]
            if not _is_loose(name, known):
                continue
        one, trouble = _judge(name, read, when, known, members, cache)
        inputs[read] = one
        troubles += [trouble] if trouble else []
    troubles += _store_differing(inputs, known, stores, cache)
    return Found(tuple(inputs.values()), code, tuple(troubles), opened)


def _is_later(stat: Stat, opened: int) -> bool:
    """Whether a state is that of after the opening: of a module that was loaded compiled."""
    return bool(opened) and stat.ctime_ns > opened + grading.TICK


def _is_loose(name: str, known: Known) -> bool:
    """Whether a module of the project is not part of its code, for instance since git ignores it.

    Then it is an input, and so at hand for a rebuild.
    """
    in_code = name in known.tracked or name in known.untracked
    return known.repo is not None and not name.startswith("/") and not in_code


def _store_differing(
    inputs: dict[Read, Input], known: Known, stores: Stores, cache: StatCache | None
) -> list[str]:
    """Store what git tracks and what was read with other bytes than the code's tree holds."""
    digests = {i.path: i.digest for i in inputs.values() if i.source is Source.CODE and i.digest}
    if known.repo is None or not digests:
        return []
    try:
        other = checkedout.differing(known.repo, known.blobs, digests)
    except GitError as error:
        return [f"whether the code holds what was read is not known: {error}"]
    troubles = []
    for read, one in inputs.items():
        if one.path not in other or one.digest is None:
            continue
        held = read.copy if one.grade is Grade.BEFORE_WRITE and read.copy else read.path
        digest, source, trouble = _store(one.path, held, one.digest, stores, cache)
        inputs[read] = replace(one, digest=digest, source=source)
        troubles += [trouble] if trouble else []
    return troubles


class Members:
    """What the stored folders hold, each listing read once."""

    def __init__(self, stores: Stores) -> None:
        self.stores = stores
        self._listings: dict[Digest, Mapping[str, Digest] | None] = {}

    def digest(self, folder: Digest, name: str) -> Digest | str | None:
        """Return the digest of a file in a folder; ``unknown`` where the listing is not here."""
        if folder not in self._listings:
            try:
                self._listings[folder] = self.stores.listing(folder)
            except MlreproError:
                self._listings[folder] = None
        listing = self._listings[folder]
        return "unknown" if listing is None else listing.get(name)


def _made_unseen(
    observation: Observation, known: Known, began: float, cache: StatCache | None
) -> frozenset[str]:
    """Return what a program that could not be watched made before the run read it: no input.

    ``cp raw.csv copy.csv``, then ``open("copy.csv")``: laid out in a rebuild, the copy would hide
    that the raw file is gone. What a run inside this run has recorded stays an input.
    """
    before = known.tracked | known.untracked | known.pointers.keys()
    changed = {write.path for write in observation.writes if write.seen == "scan"}
    return frozenset(
        read.path
        for read in observation.reads
        if read.path in changed
        and read.stat
        and read.stat.mtime_ns >= began * 1e9
        and name_of(known.root, read.path) not in before
        and not _is_recorded(read.path, known, cache)
    )


def _is_recorded(path: str, known: Known, cache: StatCache | None) -> bool:
    try:
        return str(grading.digest_of_file(Path(path), cache)) in known.ledger
    except (OSError, StoreError):
        return False


def parents(inputs: Iterable[Input], known: Known, stores: Stores) -> tuple[Parent, ...]:
    """Name the earlier runs whose artifacts were read: prepared data as much as warm starts.

    A file of a folder counts where the folder, as the earlier run left it, holds these bytes.
    """
    members = Members(stores)
    folders: dict[str, list[tuple[Digest, tuple[str, str]]]] = {}
    for digest, run in known.ledger.items():
        if digest.endswith(".dir"):
            folders.setdefault(run[1], []).append((Digest.parse(digest), run))

    def made(one: Input) -> tuple[str, str] | None:
        if str(one.digest) in known.ledger:
            return known.ledger[str(one.digest)]
        # A path's parents take longer than all the rest.
        for folder in map(str, PurePosixPath(one.path).parents if folders else ()):
            for digest, run in reversed(folders.get(folder, ())):
                if members.digest(digest, one.path[len(folder) + 1 :]) == one.digest:
                    return run
        return None

    runs = (made(one) for one in inputs if one.digest)
    return tuple(Parent(*run) for run in dict.fromkeys(r for r in runs if r))


def shown(inputs: Sequence[Input]) -> tuple[Input, ...]:
    """Return the inputs that a manifest shows: all, or the first that do not come with the code."""
    if len(inputs) <= INLINE:
        return tuple(inputs)
    apart = [one for one in inputs if one.source is not Source.CODE]
    return tuple(apart[:INLINE])


def name_of(root: Path, path: str) -> str:
    """Return a path relative to the project, or as it is where it lies outside."""
    start = f"{root}/"
    for plain in (os.path.normpath, os.path.realpath):
        candidate = plain(path)
        if candidate.startswith(start):
            return candidate[len(start) :]
    return path


def _judge(
    name: str, read: Read, opened: int, known: Known, members: Members, cache: StatCache | None
) -> tuple[Input, str]:
    if _is_private(name, known):
        sentence = f"{name} has the name of a secret, so it is only named: nothing of it is kept"
        return Input(name, Source.ELSEWHERE, seen=read.seen), sentence
    size = read.stat.size if read.stat else None
    one = grading.grade(
        read,
        opened=opened,
        vouched=lambda digest: _vouched(name, digest, known, members),
        cache=cache,
    )
    digest, held = one.digest, one.held
    source, trouble = _source(name, digest, size, known, members, keep=read.seen == "declared")
    if source is Source.CODE and one.grade is Grade.BEFORE_WRITE and name not in known.tracked:
        source = Source.STORED
    if source is Source.STORED and digest and (held or str(digest) not in known.ledger):
        digest, source, trouble = _store(name, held, digest, members.stores, cache)
    if digest is None and source is not Source.CODE and not trouble:
        trouble = f"{name}: {one.grade.value}, so no digest is given"
    return Input(name, source, digest, size, one.grade, read.seen), trouble


def _vouched(name: str, digest: Digest, known: Known, members: Members) -> bool:
    """Whether git or DVC say that the file held these bytes before the run."""
    if _pointed(name, known, members) == digest:
        return True
    if known.repo is None or name not in known.blobs:
        return False
    try:
        return checkedout.holds(known.repo, known.blobs[name], digest)
    except GitError:
        return False


def _is_private(name: str, known: Known) -> bool:
    """Whether not even a digest may be given: that of a short secret can be guessed."""
    return name not in known.tracked and name not in known.pointers and is_secret(name)


def _source(
    name: str,
    digest: Digest | None,
    size: int | None,
    known: Known,
    members: Members,
    *,
    keep: bool,
) -> tuple[Source, str]:
    if name in known.tracked:
        return Source.CODE, ""
    if digest and _pointed(name, known, members) in (digest, "unknown"):
        return Source.DVC, ""
    if digest and str(digest) in known.ledger:
        return Source.STORED, ""
    if keep or (size is not None and size <= STORED_LIMIT):
        return Source.STORED, ""
    return Source.ELSEWHERE, f"{name} ({_mb(size)}) is only named: a colleague has to have it"


def _pointed(name: str, known: Known, members: Members) -> Digest | str | None:
    """Return the digest that a pointer, the file's own or its folder's, names for it."""
    if name in known.pointers:
        return known.pointers[name]
    for folder in map(str, PurePosixPath(name).parents):
        if folder in known.pointers:
            return members.digest(known.pointers[folder], name[len(folder) + 1 :])
    return None


def _store(
    name: str, held: str, digest: Digest, stores: Stores, cache: StatCache | None
) -> tuple[Digest | None, Source, str]:
    if not held:
        return (
            digest,
            Source.ELSEWHERE,
            f"{name} was changed by the run, and there is no copy of it",
        )
    try:
        stored = stores.add(Path(held), into_dvc=False, cache=cache)
    except StoreError as error:
        return digest, Source.ELSEWHERE, f"{name} could not be kept: {error}"
    if stored.digest != digest:
        return None, Source.ELSEWHERE, f"{name} changed while it was being kept"
    return digest, Source.STORED, ""


def _is_folder(path: str) -> bool:
    return Path(path).is_dir()


def _mb(size: int | None) -> str:
    return "size unknown" if size is None else f"{size / 1e6:,.0f} MB"
