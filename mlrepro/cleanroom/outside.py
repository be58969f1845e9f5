"""Outside: files that a run read outside its project, and the places at which they appear."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlrepro.capture import variables
from mlrepro.cleanroom import pathmaps
from mlrepro.errors import ManifestError
from mlrepro.manifest import Manifest, Variables


@dataclass
class Outside:
    """What is to appear outside the project, to the training alone.

    Attributes
    ----------
    record : Manifest
        The run.
    folder : Path
        Where copies lie, each under its whole path: ``<folder>/data/x.csv`` for ``/data/x.csv``.
    maps : mapping of str to Path
        What recorded places are on this machine, as its user says.
    """

    record: Manifest
    folder: Path
    maps: Mapping[str, Path] = field(default_factory=dict)
    _shown: dict[str, Path] = field(default_factory=dict)

    def places(self, path: str) -> list[str]:
        """Return where a recorded file is looked for: there, and at the same place in one's home.

        A program that says ``~/data/x.csv`` read ``/home/ann/data/x.csv``; here it will look into
        another home.

        Raises
        ------
        ManifestError
            If the path is no plain one.
        """
        if "\0" in path or path != os.path.normpath(path):
            raise ManifestError(f"not a plain path: {path!r:.80}")
        home = self._home(path)
        own = str(Path.home())
        return [path, own + path[len(home) :]] if home and own != home else [path]

    def mapped(self, path: str) -> list[str]:
        """Return what a recorded file is here, where the user's maps speak of it."""
        found = pathmaps.mapped(path, self.maps)
        return [found] if found else []

    def show(self, place: str, source: Path) -> None:
        """Let a file of this machine appear at a place."""
        if str(source) != place:
            self._shown[place] = source

    def copy(self, place: str) -> Path:
        """Return where the bytes that are to appear at a place should be put."""
        target = self.folder / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        self._shown[place] = target
        return target

    def binds(self) -> dict[str, Path]:
        """Return what is to be bound; of folders that are not here, only the topmost."""
        found: dict[str, Path] = {}
        for place, source in self._shown.items():
            top = _topmost_missing(place)
            if top != place and source == self.folder / place.lstrip("/"):
                found[top] = self.folder / top.lstrip("/")
            else:
                found[place] = source
        return {**self._whole(found), **found}

    def _whole(self, shown: Mapping[str, Path]) -> dict[str, Path]:
        """Return the mapped folders in which nothing from elsewhere is to appear.

        A file of the ledger's that such a folder lacks would be created in it, empty.
        """
        found = {}
        for place, here in self.maps.items():
            below = (s for p, s in shown.items() if p.startswith(f"{place}/"))
            if here.exists() and str(here) != place and all(s.is_relative_to(here) for s in below):
                found[place] = here
        return found

    def _home(self, path: str) -> str:
        """Return which folder above a path was the author's home; its salted hash tells."""
        hashed = self.record.variables.inherited.get("HOME")
        if not hashed or hashed == variables.SECRET:
            return ""
        asked = Variables(inherited={"HOME": hashed})
        folders = (str(parent) for parent in Path(path).parents)
        for folder in folders:
            if not variables.differing(asked, {"HOME": folder}, salt=self.record.run.work):
                return folder.rstrip("/")
        return ""


def _topmost_missing(place: str) -> str:
    path = Path(place)
    while not path.parent.exists():
        path = path.parent
    return str(path)
