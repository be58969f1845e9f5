"""Verify: whether all things are those that a manifest names, and are to be had."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mlrepro.cleanroom import restore
from mlrepro.commands import refs
from mlrepro.errors import MlreproError, RefNotFoundError
from mlrepro.manifest import SUFFIX, Artifact, Digest, Input, Kept, Manifest, Source
from mlrepro.stores import dvc, git
from mlrepro.stores.place import Place, digest, strict


class State(enum.Enum):
    """What verification found of one thing."""

    OK = "ok"
    DRIFTED = "drifted"  # it is here, with other bytes
    ABSENT = "absent"  # not here, but to be had
    LOST = "lost"  # neither here nor on a remote


@dataclass(frozen=True)
class Finding:
    """One thing of a run: ``artifact``, ``input``, ``code`` or ``pointer``."""

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
        """Whether nothing is drifted or lost."""
        return all(f.state in (State.OK, State.ABSENT) for f in self.findings)


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
    targets = [refs.resolve(here, name, start=start) for name in names]
    unique = {t.manifest.id: t.manifest for t in targets}
    return tuple(_verify_one(here, record, notify) for record in unique.values())


def manifests(here: Place) -> list[str]:
    """Return the manifests of the working tree, tracked or not, relative to the root."""
    found = git.call(
        here.repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard",
        "--", f"*{SUFFIX}",
    )  # fmt: skip
    names = {name.decode(errors="surrogateescape") for name in found.split(b"\0") if name}
    return sorted(name for name in names if (here.root / name).is_file())


def _verify_one(here: Place, record: Manifest, notify: Callable[[str], None]) -> Verified:
    findings = [*_code(here, record), *_artifacts(here, record), *_inputs(here, record)]
    absent = [f for f in findings if f.state is State.LOST and f.detail]
    if absent and here.has_dvc and dvc.setting(here.root, "core.remote"):
        notify(f"looking for {len(absent)} objects on the DVC remote")
        findings = _on_remote(here, findings)
    return Verified(record.id, record.run.name, tuple(findings))


def _code(here: Place, record: Manifest) -> Iterator[Finding]:
    if record.code is None:
        yield Finding("code", "", State.LOST)
        return
    if git.has(here.repository, record.code.tree):
        yield Finding("code", record.code.tree, State.OK)
        return
    remote = git.default_remote(here.repository)
    state = State.ABSENT if remote else State.LOST
    yield Finding("code", record.code.tree, state)


def _artifacts(here: Place, record: Manifest) -> Iterator[Finding]:
    for artifact in record.artifacts:
        target = here.root / artifact.path
        if artifact.kept in (Kept.POINTER, Kept.GIT, Kept.DVC_YAML) and target.exists():
            same = digest(target) == artifact.digest
            yield Finding("artifact", artifact.path, State.OK if same else State.DRIFTED)
        if artifact.kept is Kept.POINTER:
            yield from _pointer(here, artifact)
        if here.stores.missing([artifact.digest]):
            yield Finding("object", artifact.path, State.LOST, str(artifact.digest))


def _pointer(here: Place, artifact: Artifact) -> Iterator[Finding]:
    path = here.root / f"{artifact.path}.dvc"
    try:
        pointer = dvc.read_pointer(path)
    except (OSError, MlreproError):
        return
    if pointer.digest != artifact.digest:
        yield Finding("pointer", f"{artifact.path}.dvc", State.DRIFTED)


def _inputs(here: Place, record: Manifest) -> Iterator[Finding]:
    for one in restore.all_inputs(here, record):
        if one.digest is None:
            yield Finding("input", one.path, State.LOST)
            continue
        if one.source is Source.CODE:
            continue
        yield Finding("input", one.path, *_availability(here, one, one.digest))


def _availability(here: Place, one: Input, wanted: Digest) -> tuple[State, str]:
    if not here.stores.missing([wanted]):
        return State.OK, ""
    target = here.root / one.path
    if target.exists() and digest(target) == wanted:
        return State.OK, ""
    return State.LOST, str(wanted) if one.source is not Source.ELSEWHERE else ""


def _on_remote(here: Place, findings: list[Finding]) -> list[Finding]:
    wanted = {f.detail for f in findings if f.detail}
    try:
        lost = dvc.verify_remote(here.root, [Digest.parse(d) for d in wanted], remote=None)
    except MlreproError:
        return findings
    gone = {str(one) for one in lost}
    return [
        Finding(f.kind, f.path, State.ABSENT, f.detail) if f.detail and f.detail not in gone else f
        for f in findings
    ]
