"""Interpreter: which Python a rebuild uses, and how the recorded command reaches it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlrepro import paths
from mlrepro.capture import environment
from mlrepro.capture.observation import Interpreter
from mlrepro.cleanroom import mounts
from mlrepro.cleanroom import room as rooms
from mlrepro.cleanroom.room import Room
from mlrepro.drift import Change
from mlrepro.errors import RestoreError, UsageError
from mlrepro.manifest import Environment, Manifest, Package
from mlrepro.stores.place import Place


@dataclass(frozen=True)
class Chosen:
    """The environment that a rebuild trains in: the active one.

    Attributes
    ----------
    executable : str
        Its Python.
    environment : Environment
    packages : tuple of Package
    """

    executable: str
    environment: Environment
    packages: tuple[Package, ...]


def choose(variables: Mapping[str, str]) -> Chosen:
    """Take the active virtual environment's Python, else the first one on the PATH, else ours.

    Raises
    ------
    RestoreError
        If that Python does not start.
    """
    executable = _active(variables)
    try:
        found = environment.interpreter(executable)
    except UsageError as error:
        raise RestoreError(
            str(error),
            hint="Activate the environment that the model is to be trained in.",
        ) from error
    return Chosen(executable, *environment.fingerprint(found))


def changes(
    record: Manifest, recorded: Sequence[Package] | None, chosen: Chosen
) -> tuple[Change, ...]:
    """Name every difference between the recorded environment and the chosen one.

    Where the list of recorded distributions is not to be had, only the well-known packages of the
    manifest are compared.
    """
    if not record.environment.python:
        return ()
    if recorded is None:
        known = (record.environment.packages, chosen.environment.packages)
        old, new = ([Package(*item) for item in packages.items()] for packages in known)
        return environment.changes(record.environment, old, chosen.environment, new)
    return environment.changes(record.environment, recorded, chosen.environment, chosen.packages)


def command(record: Manifest, chosen: Chosen, room: Room) -> list[str]:
    """Map the recorded command to the chosen interpreter.

    ``/home/ann/.venv/bin/python`` becomes the chosen Python; an environment that lay inside the
    project (``.venv/bin/python``, in a Makefile too) becomes a symlink to the chosen one.
    """
    words = list(record.run.command)
    prefix = record.environment.prefix
    inner = _below(prefix, record.run.root)
    if inner:
        link = paths.resolve_inside(room.root, inner)
        if not os.path.lexists(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(_folder(chosen))
    if words[0].startswith("/"):
        words[0] = _mapped(words[0], prefix, record, chosen)
    return words


def inner_binds(
    record: Manifest, chosen: Chosen, room: Room, shown: Mapping[str, Path]
) -> dict[str, Path]:
    """Show the chosen environment where the recorded one lay inside the project.

    Only where something is shown anyway. `command` would make a symlink there, which would lead
    to itself where the room is shown over the project of the chosen environment.
    """
    inner = _below(record.environment.prefix, record.run.root)
    if not inner or not shown:
        return {}
    link = paths.resolve_inside(room.root, inner)
    if os.path.lexists(link):
        return {}
    link.mkdir(parents=True)
    tops = [str(room.root), *(place for place, source in shown.items() if source == room.root)]
    return {os.path.join(top, inner): _folder(chosen) for top in tops}


def folders(chosen: Chosen) -> tuple[Path, ...]:
    """Return the folders of the chosen environment that a training needs."""
    return (_folder(chosen), Path(chosen.executable).parent)


def own_folders() -> tuple[Path, ...]:
    """Return the folders that mlrepro itself, and its probe, run from."""
    return (Path(sys.prefix), Path(__file__).resolve().parents[2])


def _folder(chosen: Chosen) -> Path:
    return Path(chosen.environment.prefix or sys.prefix)


def binds(here: Place, record: Manifest, chosen: Chosen, room: Room) -> dict[str, Path]:
    """Show the chosen environment at the recorded place, where the code names that one."""
    prefix, new = record.environment.prefix, chosen.environment.prefix
    if not new or _below(prefix, record.run.root) or _is_same(prefix, new):
        return {}
    # /usr/local, say: a system's Python is no environment that could be moved.
    if mounts.implausible(prefix) or not rooms.mentions(here, record, room, f"{prefix}/"):
        return {}
    return {prefix: Path(new)}


def search_path(chosen: Chosen, path: str) -> str:
    """Return a PATH on which `python` is the chosen one."""
    folder = str(Path(chosen.executable).parent)
    found = shutil.which("python", path=path) or shutil.which("python3", path=path)
    if found and Path(found).parent == Path(folder):
        return path
    return f"{folder}:{path}"


def strangers(
    started: Sequence[Interpreter], chosen: Chosen, binds: Mapping[str, Path]
) -> list[str]:
    """Name the Python processes of a training that ran outside the chosen environment.

    Parameters
    ----------
    started : sequence of Interpreter
        What was observed.
    chosen : Chosen
        The environment that was meant.
    binds : mapping of str to Path
        Places that showed something else to the training.
    """
    found = {}
    for one in started:
        prefix = one.prefix
        if _is_same(prefix, chosen.environment.prefix):
            continue
        for place, source in binds.items():
            if prefix == place or _below(prefix, place):
                prefix = str(source / _below(prefix, place))
        if chosen.environment.prefix and not _is_same(prefix, chosen.environment.prefix):
            found[one.executable] = f"{one.executable} (Python {one.version})"
    if not found:
        return []
    return [f"not the recorded environment: the training also ran {', '.join(found.values())}"]


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _mapped(word: str, prefix: str, record: Manifest, chosen: Chosen) -> str:
    if word == record.environment.executable:
        return chosen.executable
    if below := _below(word, prefix):
        mapped = Path(chosen.environment.prefix) / below
        return str(mapped) if mapped.exists() else chosen.executable
    return word if Path(word).exists() else (shutil.which(Path(word).name) or word)


def _below(path: str, folder: str) -> str:
    """Return `path` relative to `folder`; empty where it does not lie below."""
    if not folder or not path.startswith(folder.rstrip("/") + "/"):
        return ""
    relative = os.path.normpath(path[len(folder.rstrip("/")) + 1 :])
    return "" if relative.startswith("..") else relative


def _active(variables: Mapping[str, str]) -> str:
    if active := variables.get("VIRTUAL_ENV"):
        candidate = Path(active, "bin", "python")
        if candidate.exists():
            return str(candidate)
    search = variables.get("PATH")
    return (
        shutil.which("python", path=search)
        or shutil.which("python3", path=search)
        or sys.executable
    )
