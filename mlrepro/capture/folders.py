"""Folders: which of the folders that a run listed git cannot keep, since they were empty."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Sequence
from pathlib import Path

from mlrepro.capture.observation import Observation

_AT_ONCE = 500
"""So many paths fit into a command line, however long they are."""


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
    brought = set(inputs)
    for path in (*code, *inputs):
        folder = os.path.dirname(path)
        while folder not in brought:
            brought.add(folder)
            folder = os.path.dirname(folder)
    listed: dict[str, str] = {}
    for path in (folder.path for folder in observation.listed):
        name = path[len(str(root)) + 1 :] if path.startswith(f"{root}/") else ""
        if not name or name in brought or f"{path}/".startswith(tuple(prefixes)):
            continue
        if ".dvc" not in name.split("/"):
            listed[path] = name
    older = _that_were_there(list(listed), began)
    return tuple(sorted(name for path, name in listed.items() if path in older))


def _that_were_there(paths: Sequence[str], began: float) -> set[str]:
    """Return the folders that are older than the run."""
    older, unsure = set(), []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        born = getattr(status, "st_birthtime", None)
        if status.st_ctime < began or (born is not None and float(born) < began):
            older.add(path)
        elif born is None:
            unsure.append(path)
    for start in range(0, len(unsure), _AT_ONCE):
        some = unsure[start : start + _AT_ONCE]
        older.update(p for p, born in zip(some, _births(some), strict=False) if born < began)
    return older


def _births(paths: Sequence[str]) -> list[float]:
    """Ask `stat`: Python tells no time of birth on Linux; far ahead where nobody knows it."""
    try:
        done = subprocess.run(
            ("stat", "--format=%.9W", "--", *paths), capture_output=True, text=True, check=True
        )
        return [float(line) or float("inf") for line in done.stdout.split()]
    except (OSError, ValueError, subprocess.CalledProcessError):  # one has vanished, for instance
        return []
