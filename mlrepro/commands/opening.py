"""Opening: the project and the run that a command is asked about."""

from __future__ import annotations

from pathlib import Path

from mlrepro.commands import recording, refs
from mlrepro.manifest import Manifest
from mlrepro.stores.place import Place, strict


def place(start: Path | None) -> Place:
    """Return the project around a folder, its killed runs finished."""
    here = strict((start or Path.cwd()).resolve())
    recording.finish_dead(here)
    return here


def run(ref: str, start: Path | None) -> tuple[Place, Manifest]:
    """Return the project, and the record that a REF names in it."""
    here = place(start)
    return here, refs.resolve(here, ref, start=start).manifest
