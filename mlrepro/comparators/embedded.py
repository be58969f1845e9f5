"""Embedded: the models of LightGBM and XGBoost that lie as text or bytes inside a pickle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mlrepro.comparators import lightgbm, trees, xgboost
from mlrepro.comparators.base import HEAD
from mlrepro.comparators.blobs import Blob
from mlrepro.drift import Difference, Tolerance

_NOWHERE = Path("model")


def _kind(head: bytes) -> str:
    if lightgbm.recognises(_NOWHERE, head):
        return "lightgbm"
    return "xgboost" if xgboost.recognises(_NOWHERE, head) else ""


def is_model(value: str | bytes) -> bool:
    """Say whether a text or bytes is a model."""
    head = value[:HEAD].encode("utf-8", "replace") if isinstance(value, str) else value[:HEAD]
    return bool(_kind(head))


def compare(path: str, a: Blob, b: Blob, tolerance: Tolerance) -> Difference | None:
    """Compare two models by their trees; None where they are no models of one library.

    Raises
    ------
    ComparisonError
        If one of them is damaged.
    """
    kind, other = (_kind(blob.read(0, min(HEAD, blob.size))) for blob in (a, b))
    if not kind or kind != other:
        return None
    left, right = a.all(), b.all()
    if kind == "lightgbm":
        found = trees.measure(lightgbm.parse(left, path), lightgbm.parse(right, path), tolerance)
    else:
        found = xgboost.measure(xgboost.parse(left, path), xgboost.parse(right, path), tolerance)
    return replace(found, path=path, first=f"{path}: {found.first}", comparator=kind)
