"""Input list: what a run read and listed, each with how it was seen and how far it is known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlrepro import plain
from mlrepro.capture import blindspots
from mlrepro.cleanroom import restore
from mlrepro.commands import opening
from mlrepro.errors import ManifestError, StoreError
from mlrepro.manifest import Folder, Input, Manifest
from mlrepro.stores.place import Place


@dataclass(frozen=True)
class InputList:
    """What a run read.

    Attributes
    ----------
    run, name : str
        Its id, and the name that the user gave it.
    observer : str
        Who watched.
    inputs : tuple of Input
        All of them, by path.
    listed : tuple of Folder
        Folders whose content the run listed.
    blind_spots : tuple of str
        What could have decided the result and was not seen, one sentence each.
    """

    run: str
    name: str
    observer: str
    inputs: tuple[Input, ...]
    listed: tuple[Folder, ...] = ()
    blind_spots: tuple[str, ...] = ()


def inputs(
    ref: str,
    *,
    start: Path | None = None,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> InputList:
    """Return all inputs of the run that a REF names.

    Parameters
    ----------
    ref : str
        A path, a run or a name.
    start : Path, optional
        Where the user stands.
    notify : callable
        Takes a sentence before something slow: a long list may have to be fetched.

    Raises
    ------
    RestoreError
        If the list is longer than the manifest shows, and the ledger entry is not to be had.
    """
    here, record = opening.run(ref, start)
    found = restore.all_inputs(here, record, notify=notify)
    return InputList(
        record.id,
        record.run.name,
        record.observer,
        tuple(sorted(found, key=lambda one: one.path)),
        _listed(here, record, notify),
        tuple(filter(blindspots.matters, record.blind_spots)),
    )


def _listed(here: Place, record: Manifest, notify: Callable[[str], None]) -> tuple[Folder, ...]:
    """Return all listed folders, or those that the manifest shows where the rest is not here."""
    if "listed" not in record.lists:
        return record.listed
    try:
        data = json.loads(restore.listing(here, record, "listed", notify=notify))
        return tuple(plain.load(Folder, one, where="listed") for one in data)
    except (StoreError, ManifestError, ValueError):
        return record.listed
