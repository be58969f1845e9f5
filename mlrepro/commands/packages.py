"""Packages: the distributions that a run had, from its list in the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable

from mlrepro import plain
from mlrepro.cleanroom import restore
from mlrepro.errors import ManifestError, MlreproError
from mlrepro.manifest import Digest, Manifest, Package
from mlrepro.stores.place import Place


def recorded(
    here: Place, record: Manifest, *, notify: Callable[[str], None]
) -> list[Package] | None:
    """Return the recorded distributions; None where the ledger's list cannot be had."""
    if "distributions" not in record.lists:
        return None
    try:
        data = json.loads(restore.listing(here, record, "distributions", notify=notify))
        return [plain.load(Package, one, where="package") for one in data]
    except (MlreproError, ValueError):
        return None


def kept(here: Place, record: Manifest) -> tuple[Package, ...]:
    """Return those whose wheel is an object of the ledger; none where the list is not here."""
    listed = record.lists.get("distributions")
    return _kept(here, record, listed.digest) if listed else ()


_KNOWN: dict[Digest, tuple[Package, ...]] = {}


def _kept(here: Place, record: Manifest, digest: Digest) -> tuple[Package, ...]:
    """Read each list once: most runs share theirs with the run before."""
    if digest not in _KNOWN:
        found = recorded(here, record, notify=lambda _sentence: None)
        if found is None:
            return ()
        _KNOWN[digest] = tuple(one for one in found if one.kept and _is_digest(one.kept))
    return _KNOWN[digest]


def _is_digest(text: str) -> bool:
    try:
        return Digest.parse(text).algorithm == "md5"
    except ManifestError:
        return False
