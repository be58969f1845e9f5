"""Refs: what a user's REF names: an artifact, a manifest, or a run."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlrepro import manifest
from mlrepro.errors import ManifestError, RefNotFoundError
from mlrepro.manifest import SUFFIX, Manifest
from mlrepro.stores import ledger
from mlrepro.stores.place import Place


@dataclass(frozen=True)
class Target:
    """What a REF names.

    Attributes
    ----------
    manifest : Manifest
        The record of the run.
    artifact : str
        The one artifact that is meant, relative to the root; empty where the whole run is.
    """

    manifest: Manifest
    artifact: str = ""


def resolve(here: Place, ref: str, *, start: Path | None = None) -> Target:
    """Find what a REF names.

    Parameters
    ----------
    here : Place
        The project.
    ref : str
        Path of a weights file, of its `.dvc` or of its manifest; run id or unique prefix; run
        name; ``last``.
    start : Path, optional
        The folder that paths are relative to; the current one otherwise.

    Raises
    ------
    RefNotFoundError, AmbiguousRefError
        If nothing, or more than one thing, answers to it.
    ManifestError
        If the manifest beside the artifact cannot be trusted.
    """
    path = Path(os.path.abspath((start or Path.cwd()) / ref))
    stem = path.with_name(path.name.removesuffix(SUFFIX).removesuffix(".dvc"))
    beside = manifest.beside(stem)
    if beside.is_file():
        return _of_file(here, beside, stem)
    if path.name.endswith(SUFFIX):
        raise RefNotFoundError(f"there is no manifest `{ref}`")
    if stem.is_relative_to(here.root) and stem != here.root:
        name = stem.relative_to(here.root).as_posix()
        if entry := ledger.with_artifact(here.repository, name):
            return Target(entry.manifest, name)
    return Target(ledger.resolve(here.repository, ref).manifest)


def _of_file(here: Place, beside: Path, artifact: Path) -> Target:
    record = manifest.read(beside)
    if not artifact.is_relative_to(here.root):
        raise RefNotFoundError(f"`{artifact.name}` lies outside the project's folder")
    name = artifact.relative_to(here.root).as_posix()
    if record.artifact(name) is None:
        raise ManifestError(
            f"{beside.name} is the manifest of another file: its run made no `{name}`",
            hint="Was it copied or renamed? `git log --follow` on the manifest tells.",
        )
    return Target(record, name)
