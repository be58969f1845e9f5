"""Bootstrap: metrics of two models on the same rows, and how sure their difference is.

Rows are drawn with replacement, 1,000 times, the same ones for both models: the spread of the
difference is then that of the models, and not of the rows [1]_. Each draw is a vector of counts,
so that a mean is a product and an AUC, the rank statistic of Mann and Whitney [2]_, needs no more
than one sorting in all. The generator is numpy's PCG64 with the seed 0: the same predictions give
the same interval.

.. [1] B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13 (percentile
   intervals), ch. 6 (standard errors).
.. [2] J. A. Hanley, B. J. McNeil, "The meaning and use of the area under a receiver operating
   characteristic (ROC) curve", Radiology 143, 1982.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mlrepro.drift import Delta

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 1_000
"""Draws of each interval."""

_SEED = 0
_BLOCK = 2_000_000
_LEAST = 1e-15
"""Probabilities are kept so far from 0 and 1, or one sure error would make a loss infinite."""

Metric = Callable[["np.ndarray[Any, Any]"], "np.ndarray[Any, Any]"]
"""Takes counts, draws × rows, and returns one value for each draw; NaN where it has none."""


def deltas(
    task: str,
    kind: str,
    label: np.ndarray[Any, Any],
    recorded: np.ndarray[Any, Any],
    rebuilt: np.ndarray[Any, Any],
    weight: np.ndarray[Any, Any] | None = None,
) -> tuple[Delta, ...]:
    """Return the metrics of a task, each with its interval.

    Parameters
    ----------
    task : str
        ``binary``, ``multiclass`` or ``regression``; other tasks have no metrics.
    kind : str
        What the predictions are: ``probability``, ``margin``, ``value`` or ``label``.
    label : array
        Of each row: the place of its class, or its value.
    recorded, rebuilt : array
        Predictions, rows × outputs.
    weight : array, optional
        Of each row; all weigh the same otherwise.
    """
    import numpy as np  # noqa: PLC0415  0.1 s, paid where predictions are compared

    if len(label) == 0 or not (np.isfinite(recorded).all() and np.isfinite(rebuilt).all()):
        return ()
    a, b = (_metrics(task, kind, label, side) for side in (recorded, rebuilt))
    names = list(a)
    if not names:
        return ()
    weights = np.ones(len(label)) if weight is None else weight
    drawn = np.concatenate([_values(a, b, counts * weights) for counts in _draws(len(label))])
    whole = _values(a, b, weights[np.newaxis])[0]
    found = (_delta(name, whole[n], drawn[:, n]) for n, name in enumerate(names))
    return tuple(one for one in found if one is not None)


def _values(
    a: Mapping[str, Metric], b: Mapping[str, Metric], counts: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Return draws × metrics × sides."""
    import numpy as np  # noqa: PLC0415

    return np.stack([np.stack([a[name](counts), b[name](counts)], 1) for name in a], 1)


def _draws(rows: int) -> Iterator[np.ndarray[Any, Any]]:
    """Yield how often each row is drawn, some draws at a time."""
    import numpy as np  # noqa: PLC0415

    generator = np.random.Generator(np.random.PCG64(_SEED))
    left = RESAMPLES
    while left:
        many = min(left, max(1, _BLOCK // rows))
        left -= many
        picked = (generator.integers(0, rows, rows, dtype=np.int32) for _ in range(many))
        yield np.stack([np.bincount(one, minlength=rows) for one in picked]).astype(np.float64)


def _delta(name: str, whole: np.ndarray[Any, Any], drawn: np.ndarray[Any, Any]) -> Delta | None:
    import numpy as np  # noqa: PLC0415

    usable = drawn[np.isfinite(drawn).all(axis=1)]
    if len(usable) < 2 or not np.isfinite(whole).all():
        return None
    low, high = np.percentile(usable[:, 1] - usable[:, 0], [2.5, 97.5])
    error = float(usable[:, 1].std(ddof=1))
    return Delta(
        name, float(whole[0]), float(whole[1]), float(low), float(high), error, len(usable)
    )


def _metrics(
    task: str, kind: str, label: np.ndarray[Any, Any], side: np.ndarray[Any, Any]
) -> dict[str, Metric]:
    make = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}.get(task)
    return make(kind, label, side) if make else {}


def _binary(
    kind: str, label: np.ndarray[Any, Any], side: np.ndarray[Any, Any]
) -> dict[str, Metric]:
    import numpy as np  # noqa: PLC0415

    score = side[:, -1]
    if kind == "label":
        return {"accuracy": _mean(score == label)}
    found = {"auc": _auc(label, score)}
    if kind == "probability":
        chance = np.clip(np.where(label == 1, score, 1 - score), _LEAST, 1)
        found["logloss"] = _mean(-np.log(chance))
    limit = 0.5 if kind == "probability" else 0.0
    found["accuracy"] = _mean((score > limit) == (label == 1))
    return found


def _multiclass(
    kind: str, label: np.ndarray[Any, Any], side: np.ndarray[Any, Any]
) -> dict[str, Metric]:
    import numpy as np  # noqa: PLC0415

    if kind == "label":
        return {"accuracy": _mean(side[:, 0] == label)}
    found = {}
    if label.max() >= side.shape[1]:
        return {}
    if kind == "probability":
        chance = side[np.arange(len(label)), label.astype(np.intp)]
        found["logloss"] = _mean(-np.log(np.clip(chance, _LEAST, 1)))
    found["accuracy"] = _mean(side.argmax(axis=1) == label)
    return found


def _regression(
    _kind: str, label: np.ndarray[Any, Any], side: np.ndarray[Any, Any]
) -> dict[str, Metric]:
    import numpy as np  # noqa: PLC0415

    if side.shape[1] != 1:
        return {}
    error = side[:, 0] - label
    squares = _mean(error**2)
    return {"rmse": lambda counts: np.sqrt(squares(counts)), "mae": _mean(np.abs(error))}


def _mean(values: np.ndarray[Any, Any]) -> Metric:
    """Return the weighted mean of one number for each row."""
    import numpy as np  # noqa: PLC0415

    numbers = values.astype(np.float64)

    def metric(counts: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        # Not `@`: the threads of a BLAS that wait for each other cost ten times the product.
        found: np.ndarray[Any, Any] = np.einsum("ij,j->i", counts, numbers) / counts.sum(axis=1)
        return found

    return metric


def _auc(label: np.ndarray[Any, Any], score: np.ndarray[Any, Any]) -> Metric:
    """Return the share of pairs in which the positive row has the higher score; a tie is half."""
    import numpy as np  # noqa: PLC0415

    order = np.argsort(score, kind="stable")
    ranked, positive = score[order], label[order] == 1
    starts = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    tied = len(starts) < len(ranked)

    def one(counts: np.ndarray[Any, Any]) -> float:
        here = counts[order]
        ones = np.where(positive, here, 0.0)
        zeros = here - ones
        if tied:
            ones, zeros = np.add.reduceat(ones, starts), np.add.reduceat(zeros, starts)
        below = np.cumsum(zeros)
        pairs = ones.sum() * below[-1]
        return float((ones * (below - zeros / 2)).sum() / pairs) if pairs else float("nan")

    return lambda counts: np.array([one(row) for row in counts])
