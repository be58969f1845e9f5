"""Packages: the distributions that a run had, from its list in the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable

from mlrepro import plain
from mlrepro.cleanroom import restore
from mlrepro.errors import MlreproError
from mlrepro.manifest import Manifest, Package
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
