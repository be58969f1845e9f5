"""Fit list: all calls of a run that trained a model, with all that was in effect."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlrepro import plain
from mlrepro.cleanroom import restore
from mlrepro.commands import opening
from mlrepro.errors import ManifestError, MlreproError
from mlrepro.manifest import Fit


@dataclass(frozen=True)
class Trained:
    """One call.

    Attributes
    ----------
    fit : Fit
        As in the manifest.
    resolved : dict
        All parameters that were in effect, the defaults too.
    history : dict
        ``<data> <metric>`` → its values, round by round.
    """

    fit: Fit
    resolved: Mapping[str, Any]
    history: Mapping[str, Any]


@dataclass(frozen=True)
class FitList:
    """What a run trained.

    Attributes
    ----------
    run, name : str
        Its id, and the name that the user gave it.
    count : int
        How many fits there were.
    fits : tuple of Trained
        Those that are listed one by one.
    others : tuple of dict
        The rest of a long search: call, count, and seconds (min, median, max).
    """

    run: str
    name: str
    count: int
    fits: tuple[Trained, ...]
    others: tuple[Mapping[str, Any], ...] = ()


def fits(
    ref: str,
    *,
    start: Path | None = None,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> FitList:
    """Return all fits of the run that a REF names.

    Parameters
    ----------
    ref : str
        A path, a run or a name.
    start : Path, optional
        Where the user stands.
    notify : callable
        Takes a sentence before something slow: the list may have to be fetched.

    Raises
    ------
    StoreError, ManifestError
        If the ledger's list is not to be had, or damaged.
    """
    here, record = opening.run(ref, start)
    if "fits" not in record.lists:
        return FitList(record.id, record.run.name, 0, ())
    try:
        data = json.loads(restore.listing(here, record, "fits", notify=notify))
        found = tuple(map(_trained, data["fits"]))
        others = tuple(plain.load(dict[str, Any], one) for one in data.get("others", ()))
    except MlreproError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"the list of fits of run {record.short} is damaged") from error
    return FitList(record.id, record.run.name, record.lists["fits"].count, found, others)


def _trained(row: Any) -> Trained:
    fit = plain.load(Fit, row, where="fit")
    resolved, history = (
        plain.load(dict[str, Any], row.get(name, {}), where=f"fit.{name}")
        for name in ("resolved", "history")
    )
    return Trained(fit, resolved, history)
