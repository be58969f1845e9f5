"""Shelter: the user's own folder, which a training must neither read code from nor write to.

A script that says ``~/project/metrics.json``, and an editable install, lead to the working tree
whatever the training's own folder is. So the room is shown there too, to the training alone, on
every machine that allows it: a tenth of a second is less than somebody's work. Elsewhere what went
astray is found afterwards, and there is no verdict.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mlrepro.capture.observation import Observation
from mlrepro.cleanroom import mounts
from mlrepro.cleanroom.room import Room
from mlrepro.errors import InconclusiveError
from mlrepro.manifest import Manifest
from mlrepro.stores.place import Place

_NAMED = 3


def roots(here: Place, record: Manifest) -> tuple[str, ...]:
    """Return the user's folder, and the recorded one where it is another."""
    recorded = record.run.root.rstrip("/")
    return tuple(dict.fromkeys([str(here.root), *([recorded] if recorded[:1] == "/" else [])]))


def places(here: Place, record: Manifest, room: Room, kept: Iterable[Path]) -> tuple[str, ...]:
    """Return the projects of this machine over which the room should be shown.

    Left out are folders around one's home, around the room, or around nothing that is a project,
    and those in or of which an environment must stay to be seen whole.

    Parameters
    ----------
    kept : iterable of Path
        The environments.
    """
    if not mounts.available():
        return ()
    around = [Path.home().resolve(), room.folder.resolve()]
    found = []
    for name in roots(here, record):
        place = Path(name)
        hidden = any(inner.is_relative_to(place) for inner in around)
        needed = any(place.is_relative_to(folder) for folder in kept if folder.name)
        if _is_project(place) and not hidden and not needed and not mounts.implausible(name):
            found.append(name)
    return tuple(found)


def _is_project(place: Path) -> bool:
    return any((place / name).exists() for name in (".git", ".mlrepro"))


def search_path(entries: str, outer: Iterable[str], room: Room, top: str) -> str:
    """Return a PYTHONPATH whose entries in the user's folder lead into the room instead.

    Parameters
    ----------
    entries : str
        What the user has set.
    outer : iterable of str
        The folders that the room stands for.
    top : str
        What the room is called inside.
    """
    found = []
    for entry in entries.split(os.pathsep):
        place = os.path.normpath(entry) if entry.startswith("/") else ""
        below = next((o for o in outer if f"{place}/".startswith(f"{o}/")), None)
        if below is None:
            found.append(entry)
        elif (inner := place[len(below) + 1 :]) == "" or (room.root / inner).exists():
            found.append(os.path.join(top, inner).rstrip("/"))
    return os.pathsep.join(found)


def strays(
    observation: Observation,
    outer: Sequence[str],
    binds: Mapping[str, Path],
    own: Iterable[str],
) -> list[str]:
    """Name what was read in the user's folder instead of the room.

    Parameters
    ----------
    observation : Observation
        Of the training.
    outer : iterable of str
        The folders that no training may touch; those in `binds` it could not.
    own : iterable of str
        Folders that may lie in there and are the training's: the room, the environment.

    Raises
    ------
    InconclusiveError
        If it loaded code from there, or wrote there: what was made is not what was recorded.
    """
    seen = tuple(f"{place}/" for place in outer if place not in binds)
    # An environment that was made of the project's folder itself would excuse everything.
    mine = tuple(f"{p}/" for p in own if not any(f"{o}/".startswith(f"{p}/") for o in outer))

    def astray(path: str) -> bool:
        return path.startswith(seen) and not path.startswith(mine)

    code = {r.path for r in observation.reads if "import" in r.seen.split("+") and astray(r.path)}
    written = {w.path for w in observation.writes if astray(w.path)}
    if code or written:
        did = " and ".join(["loaded code"] * bool(code) + ["wrote"] * bool(written))
        raise InconclusiveError(
            f"the training {did} outside its clean room: {_named(code | written)}",
            hint="Use paths relative to the script, and install without `--editable`;"
            " where user namespaces are allowed, mlrepro keeps both inside.",
        )
    read = {r.path for r in observation.reads if astray(r.path)}
    return [f"the training reached out of the clean room: {_named(read)}"] if read else []


def _named(paths: Iterable[str]) -> str:
    return ", ".join(sorted(paths)[:_NAMED])
