"""Path maps: where this machine keeps what a recorded run read at another place.

::

    [tool.mlrepro.paths]
    "/data/warehouse" = "~/nas/warehouse"
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlrepro.cleanroom import mounts
from mlrepro.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_FILES: Mapping[str, tuple[str, ...]] = {
    "pyproject.toml": ("tool", "mlrepro", "paths"),
    "mlrepro.toml": ("paths",),
}


def read(root: Path) -> dict[str, Path]:
    """Return the maps of a project: recorded folder or file → what it is here.

    Raises
    ------
    ConfigError
        If a map is no pair of paths, or leads from a place that belongs to the system.
    """
    found: dict[str, Path] = {}
    for name, keys in _FILES.items():
        for recorded, here in _table(root / name, keys).items():
            if not isinstance(here, str) or "\0" in here + recorded:
                raise ConfigError(f"`paths` in {name} must map paths to paths")
            place = os.path.normpath(recorded)
            if why := mounts.implausible(place):
                raise ConfigError(f"`paths` in {name}: {why}")
            found[place] = Path(os.path.normpath(root / Path(here).expanduser()))
    return found


def mapped(path: str, maps: Mapping[str, Path]) -> str:
    """Return what a recorded path is here; empty where no map speaks of it."""
    around = [place for place in maps if path == place or path.startswith(f"{place}/")]
    if not around:
        return ""
    place = max(around, key=len)
    return str(maps[place]) + path[len(place) :]


def _table(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path.name} cannot be read: {error}") from error
    for key in keys:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        raise ConfigError(f"`paths` in {path.name} must map paths to paths")
    return table
