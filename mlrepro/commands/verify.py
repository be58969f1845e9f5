"""Verify: whether all things are those that a manifest names, and are to be had."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mlrepro import manifest
from mlrepro.capture import checkedout, inputs
from mlrepro.cleanroom import pathmaps, restore
from mlrepro.cleanroom.outside import Outside
from mlrepro.commands import refs
from mlrepro.errors import MlreproError, RefNotFoundError, RestoreError
from mlrepro.manifest import SUFFIX, Artifact, Digest, Input, Kept, Manifest, Source
from mlrepro.stores import dvc, git, ledger
from mlrepro.stores.place import Place, digest, strict
from mlrepro.stores.statcache import StatCache

_SLOW = 100 * 2**20


class State(enum.Enum):
    """What verification found of one thing."""

    OK = "ok"
    EDITED = "edited"  # an input that the working tree has otherwise; the recorded bytes are here
    DRIFTED = "drifted"  # what the run made is here, with other bytes
    ABSENT = "absent"  # not here, but to be had
    LOST = "lost"  # neither here nor on a remote
    INTERRUPTED = "interrupted"  # a run that no training can repeat


_FINE = (State.OK, State.EDITED, State.ABSENT)


@dataclass(frozen=True)
class Finding:
    """One thing of a run: ``run``, ``artifact``, ``object``, ``input``, ``code`` or ``pointer``."""

    kind: str
    path: str
    state: State
    detail: str = ""


@dataclass(frozen=True)
class Verified:
    """What was found of one run."""

    run: str
    name: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether the run can be rebuilt, and what it made is as it made it.

        An edited input is in nobody's way: a rebuild takes the recorded bytes.
        """
        return all(f.state in _FINE for f in self.findings)


def verify(
    names: tuple[str, ...],
    *,
    start: Path | None = None,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> tuple[Verified, ...]:
    """Check runs without training.

    Parameters
    ----------
    names : tuple of str
        REFs; all manifests of the working tree where there are none.
    start : Path, optional
        Where the user stands.
    notify : callable
        Takes a sentence before something slow.

    Raises
    ------
    UsageError
        If a REF or manifest cannot be used, or there is none at all.
    """
    here = strict((start or Path.cwd()).resolve())
    names = names or tuple(str(here.root / path) for path in manifests(here))
    if not names:
        raise RefNotFoundError("there is no manifest in this working tree")
    targets = [refs.resolve(here, name, start=start, notify=notify) for name in names]
    unique = {t.manifest.id: t.manifest for t in targets}
    in_place = {t.manifest.id for t in targets if t.artifact}
    others = ledger.by_digest(here.repository)
    moved = {t.manifest.id: t.moved for t in targets if t.file}
    return tuple(
        _verify_one(
            here, record, notify, {} if record.id in in_place else others, moved.get(record.id, {})
        )
        for record in unique.values()
    )


def manifests(here: Place) -> list[str]:
    """Return the manifests of the working tree, tracked or not, relative to the root."""
    found = git.call(
        here.repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard",
        "--", f"*{SUFFIX}",
    )  # fmt: skip
    names = {name.decode(errors="surrogateescape") for name in found.split(b"\0") if name}
    return sorted(name for name in names if (here.root / name).is_file())


def _verify_one(
    here: Place,
    record: Manifest,
    notify: Callable[[str], None],
    others: Mapping[str, tuple[str, str]],
    moved: Mapping[str, str],
) -> Verified:
    with here.statcache() as cache:
        looking = _Looking(here, cache, notify, others, moved)
        findings = [
            *_run(record),
            *_code(here, record),
            *_artifacts(looking, record),
            *_inputs(looking, record),
        ]
    return Verified(record.id, record.run.name, tuple(_asked(here, findings, notify)))


def of_inputs(
    here: Place, record: Manifest, *, notify: Callable[[str], None]
) -> tuple[Finding, ...]:
    """Say of each input of a run whether it is to be had here; see `verify`."""
    with here.statcache() as cache:
        findings = list(_inputs(_Looking(here, cache, notify, {}, {}), record))
    return tuple(_asked(here, findings, notify))


def lost_artifacts(
    here: Place, record: Manifest, *, notify: Callable[[str], None]
) -> tuple[str, ...]:
    """Name what a run made and whose bytes neither the stores nor the DVC remote hold."""
    findings = [
        Finding("object", one.path, State.LOST, str(one.digest))
        for one in record.artifacts
        if one.kept is not Kept.NOWHERE and here.stores.missing([one.digest])
    ]
    return tuple(f.path for f in _asked(here, findings, notify) if f.state is State.LOST)


def _asked(here: Place, findings: list[Finding], notify: Callable[[str], None]) -> list[Finding]:
    """Ask the DVC remote, where there is one, for what is not here."""
    absent = [f for f in findings if f.state is State.LOST and f.detail]
    if not absent or not here.has_dvc or not dvc.setting(here.root, "core.remote"):
        return findings
    notify(f"looking for {len(absent)} object{'s' * (len(absent) > 1)} on the DVC remote")
    return _on_remote(here, findings, notify)


@dataclass(frozen=True)
class _Looking:
    """Where bytes are looked for, and digested; what was digested before is not read again."""

    here: Place
    cache: StatCache
    notify: Callable[[str], None]
    others: Mapping[str, tuple[str, str]]
    """Digests that runs made: a file that a later run replaced has not drifted. Empty where the
    REF is that very file."""
    moved: Mapping[str, str]
    """The recorded path of a renamed artifact → its path now."""

    def is_anothers(self, path: Path, record: Manifest) -> bool:
        """Say whether a file of the working tree is what another run made."""
        try:
            found = self.others.get(str(digest(path))) if self.others else None
        except MlreproError:
            return False
        return found is not None and found[0] != record.id

    def holds(self, path: Path, wanted: Digest) -> bool:
        """Say whether a file or folder has these bytes."""
        try:
            if path.is_dir() != wanted.is_dir:
                return False
            if wanted.is_dir:
                return digest(path) == wanted
            if path.stat().st_size > _SLOW:
                self.notify(f"digesting {path.name} ({path.stat().st_size / 1e9:.1f} GB)")
            return inputs.digest_of_file(path, self.cache) == wanted
        except (OSError, MlreproError):
            return False

    def stored(self, wanted: Digest) -> bool:
        """Say whether the stores have these bytes, undamaged."""
        try:
            if self.here.stores.missing([wanted]):
                return False
            names = [wanted]
            if wanted.is_dir:
                names = list(self.here.stores.listing(wanted).values())
            found = [(self.here.stores.find(name), name) for name in names]
        except MlreproError:
            return False
        return all(path is not None and self.holds(path, name) for path, name in found)


def _run(record: Manifest) -> Iterator[Finding]:
    """Name a run that was stopped from outside: no training can be stopped at the same point."""
    if record.run.was_stopped:
        yield Finding("run", record.short, State.INTERRUPTED)


def _code(here: Place, record: Manifest) -> Iterator[Finding]:
    if record.code is None:
        yield Finding("code", "not recorded", State.LOST)
        return
    if git.has(here.repository, f"{record.code.tree}^{{tree}}"):
        yield Finding("code", record.code.tree, State.OK)
        return
    remote = git.default_remote(here.repository)
    # Whether the remote has it can only be told by fetching it.
    yield Finding("code", record.code.tree, State.ABSENT if remote else State.LOST)


def _artifacts(looking: _Looking, record: Manifest) -> Iterator[Finding]:
    here = looking.here
    for artifact in record.artifacts:
        name = looking.moved.get(artifact.path, artifact.path)
        target = here.root / name
        in_tree = artifact.kept in (Kept.POINTER, Kept.GIT, Kept.DVC_YAML) and target.exists()
        same = in_tree and looking.holds(target, artifact.digest)
        if in_tree and not same and looking.is_anothers(target, record):
            in_tree = False
        if in_tree:
            yield Finding("artifact", name, State.OK if same else State.DRIFTED)
        if artifact.kept is Kept.POINTER:
            yield from _pointer(looking, record, artifact, name)
        if artifact.kept is Kept.GIT and same:
            continue
        if not looking.stored(artifact.digest):
            kind = "object" if in_tree else "artifact"
            yield Finding(kind, name, State.LOST, str(artifact.digest))
        elif not in_tree:
            yield Finding("artifact", name, State.OK)


def _pointer(
    looking: _Looking, record: Manifest, artifact: Artifact, beside: str
) -> Iterator[Finding]:
    name = f"{beside}.dvc"
    path = looking.here.root / name
    try:
        pointer = dvc.read_pointer(path)
    except (OSError, MlreproError):
        if _stands_beside(looking.here, record, beside):
            yield Finding("pointer", name, State.DRIFTED if path.exists() else State.LOST)
        return
    if pointer.digest != artifact.digest and str(pointer.digest) not in looking.others:
        yield Finding("pointer", name, State.DRIFTED)


def _stands_beside(here: Place, record: Manifest, path: str) -> bool:
    """Say whether the working tree has the run's manifest, so that it should have the pointer."""
    try:
        return manifest.read(manifest.beside(here.root / path)).id == record.id
    except (OSError, MlreproError):
        return False


def _inputs(looking: _Looking, record: Manifest) -> Iterator[Finding]:
    try:
        found = restore.all_inputs(looking.here, record, notify=looking.notify)
    except RestoreError:
        yield Finding("input", "the list of inputs", State.LOST)
        return
    wrong = _not_in_code(looking, record, found)
    for one in found:
        if restore.is_secret_input(one):
            here = (looking.here.root / one.path).is_file()
            yield Finding("input", f"{one.path} (a secret)", State.OK if here else State.LOST)
        elif one.digest is None:
            yield Finding("input", f"{one.path} ({one.grade.value})", State.LOST)
        elif one.source is not Source.CODE:
            yield Finding("input", one.path, *_availability(looking, record, one, one.digest))
        elif one.path in wrong:
            yield Finding("input", one.path, State.LOST)
        elif _is_edited(looking, record, one, one.digest):
            yield Finding("input", one.path, State.EDITED)


def _not_in_code(looking: _Looking, record: Manifest, inputs: Iterable[Input]) -> frozenset[str]:
    """Return the inputs that should come with the code, and that neither it nor a store has."""
    repo, code = looking.here.repository, record.code
    read = {i.path: i.digest for i in inputs if i.source is Source.CODE and i.digest}
    if code is None or not read or not git.has(repo, f"{code.tree}^{{tree}}"):
        return frozenset()
    tree = git.files(repo, code.tree)
    blobs = {path: entry.name for path, entry in tree.items() if entry.mode.startswith("100")}
    files = {path: one for path, one in read.items() if not one.is_dir}
    wrong = checkedout.differing(repo, blobs, files) | (files.keys() - tree.keys())
    return frozenset(path for path in wrong if not looking.stored(read[path]))


def _is_edited(looking: _Looking, record: Manifest, one: Input, wanted: Digest) -> bool:
    """Say whether the working tree has other bytes, which no run has put there."""
    path = looking.here.root / one.path
    if one.path.startswith("/") or not path.exists() or looking.holds(path, wanted):
        return False
    own = record.artifact(one.path)  # a file that the run read, and wrote later
    made = own is not None and looking.holds(path, own.digest)
    return not made and not looking.is_anothers(path, record)


def _availability(
    looking: _Looking, record: Manifest, one: Input, wanted: Digest
) -> tuple[State, str]:
    if one.source is not Source.ELSEWHERE and looking.stored(wanted):
        edited = _is_edited(looking, record, one, wanted)
        return State.EDITED if edited else State.OK, ""
    places = [str(looking.here.root / one.path)]
    if one.path.startswith("/"):
        outside = Outside(record, looking.here.root, pathmaps.read(looking.here.root))
        places = [*outside.mapped(one.path), *outside.places(one.path)]
    if any(looking.holds(Path(place), wanted) for place in places):
        return State.OK, ""
    return State.LOST, str(wanted) if one.source is not Source.ELSEWHERE else ""


def _on_remote(
    here: Place, findings: list[Finding], notify: Callable[[str], None]
) -> list[Finding]:
    """Turn *lost* into *absent* for what the remote holds: in mlrepro's own place, or in DVC's."""
    lost = list({Digest.parse(f.detail) for f in findings if f.state is State.LOST and f.detail})
    for nested in (True, False):
        try:
            # What a listing names is asked for too, where it is here.
            away = set(dvc.verify_remote(here.root, lost, remote=None, nested=nested))
        except MlreproError as error:
            notify(f"the DVC remote did not answer: {error}")
            break
        lost = [one for one in lost if one in away or away & _members(here, one)]
        if not lost:
            break
    gone = {str(one) for one in lost}
    return [
        replace(f, state=State.ABSENT)
        if f.state is State.LOST and f.detail and f.detail not in gone
        else f
        for f in findings
    ]


def _members(here: Place, digest: Digest) -> set[Digest]:
    try:
        return set(here.stores.listing(digest).values()) if digest.is_dir else set()
    except MlreproError:
        return set()
