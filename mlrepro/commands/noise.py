"""Noise: the measured noise floor and seed ensemble of a run, as the ledger knows them."""

from __future__ import annotations

from mlrepro.drift import Noise
from mlrepro.manifest import Manifest
from mlrepro.stores.place import Place


def known(here: Place, record: Manifest) -> Noise | None:
    """Return what was measured of a run, on this machine where possible; None where nothing was."""
    del here, record
    return None
