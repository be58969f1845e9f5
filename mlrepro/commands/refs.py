"""Refs: what a user's REF names: an artifact, a manifest, or a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlrepro import manifest
from mlrepro.errors import ManifestError, MlreproError, RefNotFoundError, StoreError
from mlrepro.manifest import SUFFIX, Manifest, is_in_tree
from mlrepro.stores import dvc, git, ledger
from mlrepro.stores.place import Place, digest


@dataclass(frozen=True)
class Target:
    """What a REF names.

    Attributes
    ----------
    manifest : Manifest
        The record of the run.
    artifact : str
        The one artifact that is meant, relative to the root; empty where the whole run is.
    file : str
        Where it lies now, if it was renamed since; empty otherwise.
    """

    manifest: Manifest
    artifact: str = ""
    file: str = ""

    @property
    def moved(self) -> dict[str, str]:
        """The recorded path of a renamed artifact → its path now."""
        return {self.artifact: self.file} if self.file else {}


def resolve(
    here: Place,
    ref: str,
    *,
    start: Path | None = None,
    notify: Callable[[str], None] | None = None,
) -> Target:
    """Find what a REF names.

    Parameters
    ----------
    here : Place
        The project.
    ref : str
        Path of a weights file, of its `.dvc` or of its manifest; run id or unique prefix; run
        name; ``last`` (this clone's newest run; in a clone without any, the newest of all).
    start : Path, optional
        The folder that paths are relative to; the current one otherwise.
    notify : callable, optional
        Takes a sentence before the runs of others are fetched, which is done once if the REF is
        not found here; without it nothing is fetched.

    Raises
    ------
    RefNotFoundError, AmbiguousRefError
        If nothing, or more than one thing, answers to it.
    ManifestError
        If the manifest beside the artifact cannot be trusted.
    """
    try:
        return _here(here, ref, start)
    except RefNotFoundError:
        if notify is None or not _fetched(here, notify):
            raise
    return _here(here, ref, start)


def _here(here: Place, ref: str, start: Path | None) -> Target:
    if not ref or "\0" in ref:
        raise RefNotFoundError(f"no run answers to {ref!r:.80}")
    path = Path(os.path.abspath((start or Path.cwd()) / ref))
    stem = path.with_name(path.name.removesuffix(SUFFIX).removesuffix(".dvc") or path.name)
    beside = manifest.beside(stem)
    if _is_file(beside):
        return _of_file(here, beside, stem)
    if path.name.endswith(SUFFIX):
        raise RefNotFoundError(f"there is no manifest `{ref:.80}`")
    if stem.is_relative_to(here.root) and stem != here.root:
        name = stem.relative_to(here.root).as_posix()
        if is_in_tree(name) and (entry := ledger.with_artifact(here.repository, name)):
            return Target(entry.manifest, name)
    return Target(_run(here, ref))


def _run(here: Place, ref: str) -> Manifest:
    known = ledger.entries(here.repository)
    if ref == "last" and known and not any(entry.mine for entry in known):
        return known[-1].manifest
    return ledger.resolve(here.repository, ref).manifest


def _fetched(here: Place, notify: Callable[[str], None]) -> bool:
    """Fetch the runs of others; False where that brings nothing."""
    remote = git.default_remote(here.repository)
    if not remote:
        return False
    notify(f"fetching runs from {remote}")
    try:
        return ledger.pull(here.repository, remote) > 0
    except StoreError as error:
        notify(f"{remote} did not answer: {error}")
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be read
        return False


def _of_file(here: Place, beside: Path, artifact: Path) -> Target:
    record = manifest.read(beside)
    if not artifact.is_relative_to(here.root):
        raise RefNotFoundError(f"`{artifact.name}` lies outside the project's folder")
    name = artifact.relative_to(here.root).as_posix()
    if record.artifact(name) is not None:
        return Target(record, name)
    earlier = _earlier_name(artifact, record)
    if not earlier:
        raise ManifestError(
            f"{beside.name} is the manifest of another file: its run made no `{artifact.name}`",
            hint="Was it copied or renamed? `git log --follow` on the manifest tells.",
        )
    return Target(record, earlier, name)


def _earlier_name(path: Path, record: Manifest) -> str:
    """Return the artifact that a file was before it was renamed, as its bytes or pointer tell."""
    try:
        pointer = path.with_name(f"{path.name}.dvc")
        found = dvc.read_pointer(pointer).digest if _is_file(pointer) else digest(path)
    except (OSError, MlreproError):
        return ""
    made = [a.path for a in record.artifacts if a.digest == found and is_in_tree(a.path)]
    return made[0] if len(made) == 1 else ""
