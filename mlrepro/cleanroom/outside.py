"""Outside: files that a run read outside its project, and the places at which they appear."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from mlrepro.capture import variables
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
    """

    record: Manifest
    folder: Path
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
