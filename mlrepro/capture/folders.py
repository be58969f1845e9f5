"""Folders: which of the folders that a run listed git cannot keep, since they were empty."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from mlrepro.capture.observation import Observation


def empty(
    root: Path,
    observation: Observation,
    *,
    began: float,
    code: Collection[str],
    inputs: Collection[str],
) -> tuple[str, ...]:
    """Return the listed folders that neither the code nor an input brings along.

    Parameters
    ----------
    root : Path
        The project's folder, without symlinks.
    observation : Observation
        What the observers saw.
    began : float
        When the run began; a folder that it made itself is left to the rebuilt run.
    code, inputs : collection of str
        The files of the code's tree and those that the run read, relative to the root.
    """
    prefixes = [f"{interpreter.prefix}/" for interpreter in observation.interpreters]
    brought = {str(p) for path in (*code, *inputs) for p in PurePosixPath(path).parents}
    brought.update(inputs)
    found = []
    for path in (folder.path for folder in observation.listed):
        name = path[len(str(root)) + 1 :] if path.startswith(f"{root}/") else ""
        if not name or name in brought or f"{path}/".startswith(tuple(prefixes)):
            continue
        if ".dvc" not in name.split("/") and _was_there(path, began):
            found.append(name)
    return tuple(sorted(found))


def _was_there(path: str, began: float) -> bool:
    """Say whether a folder is older than the run."""
    try:
        status = os.stat(path)
    except OSError:
        return False
    if status.st_ctime < began:
        return True
    born = getattr(status, "st_birthtime", None)
    return (_birth(path) if born is None else float(born)) < began


def _birth(path: str) -> float:
    """Ask `stat`: Python tells no time of birth on Linux; far ahead where nobody knows it."""
    try:
        done = subprocess.run(
            ("stat", "--format=%.9W", "--", path), capture_output=True, text=True, check=True
        )
        return float(done.stdout) or float("inf")
    except (OSError, ValueError, subprocess.CalledProcessError):
        return float("inf")
