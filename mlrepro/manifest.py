"""Manifest: the record of one run, as a value; docs/reference/manifest-spec.md has each word."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlrepro import documents, paths, plain
from mlrepro.errors import ManifestError, SchemaTooNewError
from mlrepro.facts import (
    Artifact,
    Change,
    CodeState,
    Digest,
    Edit,
    Environment,
    Fit,
    Folder,
    Generator,
    Grade,
    Input,
    Kept,
    Listing,
    Package,
    Parent,
    Platform,
    Role,
    Rounds,
    Run,
    Source,
    Status,
    ThreadPool,
    Variables,
)

SCHEMA = 1
SUFFIX = ".mlrepro.yaml"
LARGEST = 16 * 2**20
"""A manifest longer than this, in bytes, is not one of ours."""
LATER = ("lock", "rebuilds", "noise")
"""Keys that `show --json` adds to a manifest: what came after it, and no part of it."""

__all__ = [
    "LARGEST",
    "LATER",
    "SCHEMA",
    "STREAMS",
    "SUFFIX",
    "Artifact",
    "Change",
    "CodeState",
    "Digest",
    "Edit",
    "Environment",
    "Fit",
    "Folder",
    "Generator",
    "Grade",
    "Input",
    "Kept",
    "Listing",
    "Manifest",
    "Package",
    "Parent",
    "Platform",
    "Role",
    "Rounds",
    "Run",
    "Source",
    "Status",
    "ThreadPool",
    "Variables",
    "beside",
    "is_in_tree",
    "read",
    "replace",
    "unsaved_model",
    "write",
]


@dataclass(frozen=True)
class Manifest:
    """The record of one run.

    Attributes
    ----------
    run : Run
        The execution.
    code : CodeState or None
        None where no code could be recorded.
    artifacts : tuple of Artifact
        What it made.
    inputs : tuple of Input
        What it read; where there are more than `capture.inputs.INLINE`, only those that do not
        come with the code, and all of them are in the listing ``inputs``.
    parents : tuple of Parent
        Earlier runs that it built upon.
    params : dict
        Hyperparameters by where they were found: ``params.yaml`` → mapping.
    metrics : dict
        Numbers by file.
    environment : Environment
    platform : Platform
    threads : tuple of ThreadPool
    variables : Variables
    observer : str
        Who watched: ``audit+scan``, ``scan``, ``off``.
    blind_spots : tuple of str
        Where mlrepro could not look, one sentence each.
    lists : dict of str to Listing
        Long lists of the ledger entry: ``inputs``, ``distributions``, ``libraries``, ``variables``,
        ``fits``, ``listed``.
    folders : tuple of str
        Folders that the run listed and that git cannot keep since they were empty; a rebuild
        makes them.
    fits : tuple of Fit
        Calls that trained models, the outermost ones; where there are more than
        `capture.effective.INLINE`, the first and the last of them.
    generators : tuple of Generator
        Sources of randomness that were seeded, or made without a seed.
    listed : tuple of Folder
        Folders whose content the run listed, up to `capture.effective.INLINE_FOLDERS`.
    schema : int
        Version of the format.
    """

    run: Run
    code: CodeState | None = None
    artifacts: tuple[Artifact, ...] = ()
    inputs: tuple[Input, ...] = ()
    parents: tuple[Parent, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    environment: Environment = field(default_factory=Environment)
    platform: Platform = field(default_factory=Platform)
    threads: tuple[ThreadPool, ...] = ()
    variables: Variables = field(default_factory=Variables)
    observer: str = ""
    blind_spots: tuple[str, ...] = ()
    lists: Mapping[str, Listing] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    fits: tuple[Fit, ...] = ()
    generators: tuple[Generator, ...] = ()
    listed: tuple[Folder, ...] = ()
    schema: int = SCHEMA
    sealed: str = field(default="", compare=False, repr=False, metadata={"plain": False})
    """The id that a read manifest was checked against: it covers fields that are newer than we."""

    @property
    def id(self) -> str:
        """The run id: sha256 of the manifest's canonical JSON (RFC 8785), 64 hex digits."""
        return self.sealed or _id(self.to_dict())

    @property
    def short(self) -> str:
        """The run id as it is shown: its first 12 hex digits."""
        return self.id[:12]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, without the id."""
        data = plain.dump(self)
        return {"schema": self.schema, **{k: v for k, v in data.items() if k != "schema"}}

    @classmethod
    def from_dict(cls, data: Any, *, sealed: str = "") -> Manifest:
        """Build a manifest from plain data that nobody vouches for.

        Parameters
        ----------
        data : dict
            With the id, or without it; what `show --json` adds (`LATER`) is left aside.
        sealed : str, optional
            The id, where the caller took the sha256 of the canonical JSON himself: 0.7 ms saved.

        Raises
        ------
        SchemaTooNewError
            If a newer mlrepro wrote it.
        ManifestError
            If a field is absent or malformed, a path leaves the project, or the recorded id is
            not that of the content.
        """
        if not isinstance(data, dict):
            raise ManifestError("a manifest must be a mapping")
        schema = data.get("schema")
        if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
            raise ManifestError("a manifest must say its schema")
        if schema > SCHEMA:
            raise SchemaTooNewError(
                f"the manifest has schema {schema}; this mlrepro reads up to schema {SCHEMA}"
            )
        content = {k: v for k, v in data.items() if k not in ("id", *LATER)}
        manifest = plain.load(cls, content)
        _check(manifest)
        sealed = sealed or _id(content)
        if data.get("id", sealed) != sealed:
            raise ManifestError("the manifest's content does not match its run id")
        return dataclasses.replace(manifest, sealed=sealed)

    def to_yaml(self) -> str:
        """Return the text of the manifest file."""
        data = self.to_dict()
        head = {"schema": data.pop("schema"), "id": self.id}
        return _HEADER + documents.write_yaml({**head, **data})

    @classmethod
    def from_yaml(cls, text: str | bytes) -> Manifest:
        """Read the text of a manifest file; raises as `from_dict`, and where the id is absent."""
        if len(text) > LARGEST:
            raise ManifestError(f"a manifest longer than {LARGEST >> 20} MiB is not one of ours")
        if _CONFLICT in (text.encode() if isinstance(text, str) else text):
            raise ManifestError(
                "the manifest holds the conflict markers of a merge",
                hint="Take one side: `git checkout --ours` (or `--theirs`) for the model's `.dvc`, "
                "manifest and metrics together.",
            )
        data = documents.read_own_yaml(text)
        if isinstance(data, dict) and "id" not in data and data.get("schema") == SCHEMA:
            raise ManifestError("the manifest lacks its run id")
        return cls.from_dict(data)

    def artifact(self, path: str) -> Artifact | None:
        """Return the artifact that was written to `path`, if there is one."""
        return next((a for a in self.artifacts if a.path == path), None)


_CONFLICT = b"\n<<<<<<< "
_HEADER = "# Recorded by mlrepro; `mlrepro rebuild` makes it again. Not to be edited.\n"

STREAMS = {Role.STDOUT: "<stdout>", Role.STDERR: "<stderr>"}
_UNSAVED = re.compile(r"<model [1-9]\d{0,5}>")


def unsaved_model(number: int) -> str:
    """Return the artifact path of a model that the program trained and did not save."""
    return f"<model {number}>"


def is_in_tree(path: str) -> bool:
    """Say whether an artifact's path names a file of the project, not what exists apart of it."""
    return path not in STREAMS.values() and not _UNSAVED.fullmatch(path)


def beside(artifact: Path) -> Path:
    """Return where the manifest of an artifact lies: ``model.txt`` → ``model.txt.mlrepro.yaml``."""
    return artifact.with_name(artifact.name + SUFFIX)


def read(path: Path) -> Manifest:
    """Read a manifest file.

    Raises
    ------
    ManifestError
        If it cannot be read or trusted; the message names the file.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ManifestError(f"a manifest longer than {LARGEST >> 20} MiB is not one of ours")
        return Manifest.from_yaml(path.read_bytes())
    except OSError as error:
        raise ManifestError(f"{path.name} cannot be read: {error.strerror}") from error
    except ManifestError as error:
        raise type(error)(f"{path.name}: {error}", hint=error.hint) from error


def write(path: Path, manifest: Manifest) -> None:
    """Write a manifest file, whole or not at all."""
    paths.write_beside(path, manifest.to_yaml())


def _check(manifest: Manifest) -> None:
    """Refuse what would lead a rebuild out of its room."""
    if not manifest.run.command:
        raise ManifestError("the manifest holds no command")
    for artifact in manifest.artifacts:
        if is_in_tree(artifact.path):
            paths.inside(artifact.path, where="artifact")
    for one in manifest.inputs:
        if not one.path.startswith("/"):
            paths.inside(one.path, where="input")
    run = manifest.run
    for folder in (*manifest.folders, *([run.directory] if run.directory else [])):
        paths.inside(folder, where="folder")
    if manifest.code:
        _check_objects(manifest.code)


def _check_objects(code: CodeState) -> None:
    for name in (code.tree, code.snapshot, code.commit):
        if name and (len(name) not in (40, 64) or set(name) - set("0123456789abcdef")):
            raise ManifestError(f"not a git object name: {name!r:.80}")


def replace(manifest: Manifest, **changes: Any) -> Manifest:
    """Return a manifest with some fields changed, and so with another id."""
    return dataclasses.replace(manifest, sealed="", **changes)


def _id(content: dict[str, Any]) -> str:
    try:
        return hashlib.sha256(documents.canonical_json(content)).hexdigest()
    except (ValueError, TypeError, RecursionError) as error:
        raise ManifestError("the manifest holds a value that JSON has no form for") from error
