"""Testrows: how many rows a model was tested on, and the sampling error that follows from it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlrepro.commands.metricvalues import plain_name

_MOST_SETS = 20
_LARGEST_FACTS = 2**20
_LARGEST_LABELS = 64 * 2**20
_ACCURACY = frozenset(("accuracy", "acc", "error", "err", "binary_error", "multi_error", "merror"))
_AUC = frozenset(("auc", "roc_auc", "auroc"))


@dataclass(frozen=True)
class Rows:
    """One set of rows that a model was tested on.

    Attributes
    ----------
    name : str
        ``valid_0 of lightgbm.train``.
    count : int
        How many.
    positive : int
        How many of them have the larger of two labels; 0 where there are not two.
    """

    name: str
    count: int
    positive: int = 0


def found(folder: Path) -> tuple[Rows, ...]:
    """Return the sets that the probe kept of a training; its program may have written anything."""
    sets = []
    for facts in sorted(folder.glob("*.json"))[:_MOST_SETS]:
        try:
            one = _read(facts)
        except (OSError, ValueError, TypeError, RecursionError, OverflowError):
            continue
        if one is not None:
            sets.append(one)
    return tuple(dict.fromkeys(sets))


def _read(path: Path) -> Rows | None:
    if path.is_symlink() or path.stat().st_size > _LARGEST_FACTS:
        return None
    facts = json.loads(path.read_bytes())
    name, total = facts["name"], facts["total"]
    if not isinstance(name, str) or not isinstance(total, int) or facts.get("training"):
        return None
    share = 0.0
    arrays = facts.get("arrays")
    if isinstance(arrays, list) and arrays[:1] == ["label"]:
        share = _positive_share(path.with_suffix(".npys"))
    return Rows(name[:200], total, round(share * total)) if total > 0 else None


def _positive_share(path: Path) -> float:
    """Return the share of the larger of two labels; 0 where there are not two."""
    import numpy as np  # noqa: PLC0415  0.1 s: paid where gates are asked for

    if path.is_symlink():
        return 0.0
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header: Any = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _order, kind = read_header(file)
        size = shape[0] * kind.itemsize if len(shape) == 1 and not kind.hasobject else 0
        if not 0 < size <= _LARGEST_LABELS:
            return 0.0
        data = file.read(size)
    labels = np.frombuffer(data, dtype=kind, count=shape[0])
    classes, counts = np.unique(labels, return_counts=True)
    return float(counts[1] / counts.sum()) if len(classes) == 2 else 0.0


def error(metric: str, value: float, sets: Sequence[Rows]) -> tuple[float, str] | None:
    """Return the standard error of an accuracy or AUC, and what it rests on; None if unknown.

    Accuracy: that of a share. AUC: Hanley and McNeil, Radiology 143 (1982), 29-36.
    """
    rows = _tested_on(metric, sets)
    if rows is None or not 0 <= value <= 1:
        return None
    word = plain_name(metric).lower()
    if word in _ACCURACY:
        return _told(math.sqrt(value * (1 - value) / rows.count), f"{rows.count} rows")
    if word in _AUC and 0 < rows.positive < rows.count:
        found = hanley_mcneil(value, rows.positive, rows.count - rows.positive)
        return _told(found, f"{rows.count} rows, {rows.positive} of them positive")
    return None


def _told(error: float, source: str) -> tuple[float, str] | None:
    return (error, source) if error > 0 else None


def hanley_mcneil(auc: float, positive: int, negative: int) -> float:
    """Return the standard error of an AUC of so many positive and negative rows."""
    q1, q2 = auc / (2 - auc), 2 * auc * auc / (1 + auc)
    squares = auc * (1 - auc) + (positive - 1) * (q1 - auc**2) + (negative - 1) * (q2 - auc**2)
    return math.sqrt(max(squares, 0.0) / (positive * negative))


def _tested_on(metric: str, sets: Sequence[Rows]) -> Rows | None:
    """Return the set that a metric was taken on: by its name, or the only one that there is."""
    named = [one for one in sets if metric.startswith(one.name.partition(" of ")[0] + " ")]
    labelled = [one for one in sets if one.positive]
    alike = {(one.count, one.positive): one for one in named or labelled or sets}
    return next(iter(alike.values())) if len(alike) == 1 else None
