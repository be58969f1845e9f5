"""Reach: how the recorded command, and all that it starts, comes to the chosen environment.

By its name on the ``PATH``, by the recorded path, by a path inside the project, by a runner.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mlrepro import paths
from mlrepro.capture.observation import Interpreter
from mlrepro.cleanroom import mounts
from mlrepro.cleanroom import room as rooms
from mlrepro.cleanroom.interpreter import Chosen
from mlrepro.cleanroom.layers import Layer
from mlrepro.cleanroom.room import Room
from mlrepro.manifest import Manifest
from mlrepro.stores.place import Place


def command(record: Manifest, chosen: Chosen, room: Room, layer: Layer | None = None) -> list[str]:
    """Map the recorded command to the chosen interpreter.

    ``/home/ann/.venv/bin/python`` becomes the chosen Python; an environment that lay inside the
    project (``.venv/bin/python``, in a Makefile too) becomes a symlink to the chosen one. What the
    room's layer has (``/home/ann/.venv/bin/train-model``, ``/opt/conda/bin/conda run``) is started
    from there.
    """
    words = list(record.run.command)
    prefix = record.environment.prefix
    inner = _below(prefix, record.run.root)
    if inner:
        link = paths.resolve_inside(room.root, inner)
        if not os.path.lexists(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(_shown(chosen, layer))
    if own := _of_layer(words[0], layer, chosen):
        words[0] = own
    elif (program := named(record)).startswith("/"):
        words[0] = _mapped(program, prefix, record, chosen)
    return words


def named(record: Manifest) -> str:
    """Return the recorded program; absolute where a relative path leads out of the project.

    ``../.venv/bin/python``: no room has what lies beside the project.
    """
    program, root = record.run.command[0], record.run.root
    if program.startswith("/") or "/" not in program or not root:
        return program
    path = os.path.normpath(os.path.join(root, record.run.directory, program))
    return program if _below(path, root) else path


def inner_binds(
    record: Manifest,
    chosen: Chosen,
    room: Room,
    shown: Mapping[str, Path],
    layer: Layer | None = None,
) -> dict[str, Path]:
    """Show the chosen environment where the recorded one lay inside the project.

    Only where something is shown anyway. `command` would make a symlink there, which would lead
    to itself where the room is shown over the project of the chosen environment.
    """
    inner = _below(record.environment.prefix, record.run.root)
    if not inner or not shown:
        return {}
    link = paths.resolve_inside(room.root, inner)
    # Empty where the room was just shown on trial over a project in which mlrepro itself lies.
    if os.path.lexists(link) and not _is_empty(link):
        return {}
    link.mkdir(parents=True, exist_ok=True)
    tops = [str(room.root), *(place for place, source in shown.items() if source == room.root)]
    return {os.path.join(top, inner): _shown(chosen, layer) for top in tops}


def _is_empty(link: Path) -> bool:
    return link.is_dir() and not link.is_symlink() and not any(link.iterdir())


def _shown(chosen: Chosen, layer: Layer | None) -> Path:
    """Return what is to be seen at the recorded place of the environment."""
    return layer.prefix if layer and layer.prefix else _folder(chosen)


def folders(chosen: Chosen) -> tuple[Path, ...]:
    """Return the folders of the chosen environment that a training needs."""
    return (_folder(chosen), Path(chosen.executable).parent)


def own_folders() -> tuple[Path, ...]:
    """Return the folders that mlrepro itself, and its probe, run from."""
    return (Path(sys.prefix), Path(__file__).resolve().parents[2])


def _folder(chosen: Chosen) -> Path:
    return Path(chosen.environment.prefix or sys.prefix)


def binds(
    here: Place, record: Manifest, chosen: Chosen, room: Room, layer: Layer | None = None
) -> dict[str, Path]:
    """Show the chosen environment at the recorded place, where the code names that one."""
    prefix, new = record.environment.prefix, chosen.environment.prefix
    if not new or _below(prefix, record.run.root) or _is_same(prefix, new):
        return {}
    # /usr/local, say: a system's Python is no environment that could be moved.
    if mounts.implausible(prefix) or _holds_more(prefix, here, chosen, room):
        return {}
    named = any(f"{prefix}/" in word for word in record.run.command[1:])
    if not named and not rooms.mentions(here, record, room, f"{prefix}/"):
        return {}
    return {prefix: _shown(chosen, layer)}


def other_binds(
    here: Place, record: Manifest, chosen: Chosen, room: Room, layer: Layer | None = None
) -> dict[str, Path]:
    """Show the environment of a lock at the recorded place, if this machine has something there.

    A script outside the project may name it. Not necessary, so nothing is made to appear.
    """
    prefix, new = record.environment.prefix, chosen.environment.prefix
    if chosen.lock is None or _below(prefix, record.run.root) or _is_same(prefix, new):
        return {}
    if not Path(prefix, "pyvenv.cfg").is_file() or mounts.implausible(prefix):
        return {}
    return {} if _holds_more(prefix, here, chosen, room) else {prefix: _shown(chosen, layer)}


def _holds_more(prefix: str, here: Place, chosen: Chosen, room: Room) -> bool:
    """Say whether a place holds what a training must go on to see: the Python it is made of."""
    if chosen.lock is None:
        return False
    pythons = [Path(one) for one in (chosen.base, chosen.environment.prefix) if one]
    needed = [here.root, room.folder, Path.home(), *pythons]
    real = os.path.realpath(prefix)
    return any(Path(os.path.realpath(one)).is_relative_to(real) for one in needed)


def variables(chosen: Chosen, layer: Layer | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which the chosen environment is the active one.

    Parameters
    ----------
    layer : Layer or None
        What the room adds; None where the environment was active anyway.
    environ : mapping
        Those of the training otherwise.
    """
    found = {**environ, "PATH": search_path(chosen, environ.get("PATH", os.defpath))}
    if layer is None:
        return found
    found = {name: value for name, value in found.items() if not name.startswith(_OTHERS)}
    prefix = str(_folder(chosen))
    # `uv run` in the room would make an environment of today's packages.
    uv = {"UV_PROJECT_ENVIRONMENT": prefix, "UV_PYTHON": chosen.executable, "UV_NO_SYNC": "1"}
    search = f"{layer.programs}{os.pathsep}{found['PATH']}"
    return {**found, **uv, "VIRTUAL_ENV": prefix, "PATH": search}


_OTHERS = ("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "PYTHONHOME", "PYENV_VERSION")


def search_path(chosen: Chosen, path: str) -> str:
    """Return a PATH on which `python` is the chosen one."""
    folder = str(Path(chosen.executable).parent)
    found = shutil.which("python", path=path) or shutil.which("python3", path=path)
    if found and Path(found).parent == Path(folder):
        return path
    return f"{folder}:{path}"


def strangers(
    started: Sequence[Interpreter],
    chosen: Chosen,
    binds: Mapping[str, Path],
    layer: Layer | None = None,
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
    layer : Layer or None
        What the room added.
    """
    found = {}
    own = (chosen.environment.prefix, str(_shown(chosen, layer)))
    for one in started:
        prefix = one.prefix
        if any(_is_same(prefix, known) for known in own):
            continue
        for place, source in binds.items():
            if prefix == place or _below(prefix, place):
                prefix = str(source / _below(prefix, place))
        if own[0] and not any(_is_same(prefix, known) for known in own):
            found[one.executable] = f"{one.executable} (Python {one.version})"
    if not found:
        return []
    return [f"not the recorded environment: the training also ran {', '.join(found.values())}"]


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _of_layer(word: str, layer: Layer | None, chosen: Chosen) -> str:
    """Return what a room has in the place of a program that is named by its path."""
    if layer is None or layer.programs is None or "/" not in word:
        return ""
    name = os.path.basename(word)
    own = layer.programs / name
    return "" if (_folder(chosen) / "bin" / name).exists() or not own.exists() else str(own)


def _mapped(word: str, prefix: str, record: Manifest, chosen: Chosen) -> str:
    if word == record.environment.executable:
        return chosen.executable
    if below := _below(word, prefix):
        mapped = Path(chosen.environment.prefix) / below
        if mapped.exists():
            return str(mapped)
        if mapped.name.startswith(("python", "pypy")):  # else `/usr/bin/make` of a prefix `/usr`
            return chosen.executable
    return word if Path(word).exists() else (shutil.which(Path(word).name) or word)


def _below(path: str, folder: str) -> str:
    """Return `path` relative to `folder`; empty where it does not lie below."""
    if not folder or not path.startswith(folder.rstrip("/") + "/"):
        return ""
    relative = os.path.normpath(path[len(folder.rstrip("/")) + 1 :])
    return "" if relative.startswith("..") else relative
