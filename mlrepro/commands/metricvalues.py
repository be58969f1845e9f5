"""Metricvalues: the numbers by which a training is judged: in files, in fits, else in what it said.

Their names tell where they stand: ``metrics.json: auc``, ``valid_0 auc`` of the only fit,
``fit 2: valid_0 auc``, ``<stdout>: auc``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlrepro.capture import params
from mlrepro.commands import judging
from mlrepro.commands.remaking import Made
from mlrepro.comparators import lines
from mlrepro.comparators.values import is_time_name, spans_below
from mlrepro.manifest import STREAMS, Fit, Manifest, Role
from mlrepro.stores.place import Place

MOST = 60
"""Numbers of one training; a file of more is a history or a table."""
_LISTED = 20
_TAIL = 2**17
"""Bytes at the end of what was printed in which results are looked for."""
_LOWER = frozenset(
    ("loss", "logloss", "error", "err", "rmse", "mse", "mae", "l1", "l2", "mape", "rmsle", "smape",
     "deviance", "nll", "perplexity", "ppl", "brier", "cer", "wer", "fid", "entropy", "hamming",
     "regret", "huber", "quantile", "crossentropy", "merror", "mlogloss", "brierscore")
)  # fmt: skip
_HIGHER = frozenset(
    ("auc", "roc", "auroc", "auprc", "aucpr", "ap", "accuracy", "acc", "precision", "recall", "f1",
     "fbeta", "r2", "map", "ndcg", "mcc", "kappa", "score", "iou", "dice", "bleu", "rouge", "gini",
     "sensitivity", "specificity", "mrr", "lift", "correlation", "spearman", "pearson", "jaccard")
)  # fmt: skip


def of_record(here: Place, record: Manifest) -> dict[str, float]:
    """Return the numbers of a recorded run."""
    named = dict(_bounded((*_of_files(record.metrics), *_of_fits(record.fits))))
    if named:
        return named
    printed = record.artifact(STREAMS[Role.STDOUT])
    stored = here.stores.find(printed.digest) if printed else None
    return dict(_bounded(_printed(stored))) if stored else {}


def of_made(made: Made) -> dict[str, float]:
    """Return the numbers of a training in a room, under the names that the record has for them."""
    pairs = judging.counterparts(made.record, made.trained, made.room)
    files = {old.path: params.of_file(new) for old, new in pairs if old.role is Role.METRICS}
    fits = made.trained.effective.fits
    named = dict(_bounded((*_of_files(files), *_of_fits(fits))))
    return named or dict(_bounded(_printed(made.trained.stdout)))


def plain_name(name: str) -> str:
    """Return the metric alone: ``auc`` of ``metrics.json: valid.auc`` and of ``valid_0 auc``."""
    return name.rpartition(": ")[2].rpartition(".")[2].rpartition(" ")[2]


def better(name: str) -> int:
    """Say which of two values of a metric is the better one: 1 the higher, -1 the lower, 0 unknown.

    ``neg_log_loss``, as scikit-learn has it, is the better the higher it is.
    """
    words = plain_name(name).lower().replace("-", "_").replace("@", "_").split("_")
    joined = {*words, "".join(words)}
    low = bool(joined & _LOWER)
    if low and "neg" in words:
        return 1
    return -1 if low else int(bool(joined & _HIGHER))


def _bounded(found: Iterable[tuple[str, float]]) -> list[tuple[str, float]]:
    """Return the first numbers that JSON can hold, under names of a bounded length."""
    kept = [(name[:200], float(value)) for name, value in found if _is_number(value)]
    return kept[:MOST]


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _of_files(files: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for file, values in files.items():
        for name, value in _flat("", values):
            yield f"{file}: {name}", value


def _flat(prefix: str, data: Any) -> Iterator[tuple[str, Any]]:
    """Yield each number with its name; times, and lists that are histories, are no metrics."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            name = str(key)
            timed = spans_below(name) if isinstance(value, Mapping) else is_time_name(name)
            if not timed:
                yield from _flat(f"{prefix}.{name}" if prefix else name, value)
    elif isinstance(data, (list, tuple)):
        for at, value in enumerate(data if len(data) <= _LISTED else ()):
            yield from _flat(f"{prefix}[{at}]", value)
    else:
        yield prefix, data


def _of_fits(fits: Sequence[Fit]) -> Iterator[tuple[str, Any]]:
    for number, fit in enumerate(fits, start=1):
        title = f"fit {number}: " if len(fits) > 1 else ""
        for name, value in fit.scores.items():
            yield f"{title}{name}", value


def _printed(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield the last number that was printed under each name, of JSON or of ``auc: 0.93``."""
    stream = STREAMS[Role.STDOUT]
    found: dict[str, Any] = {}
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - _TAIL, 0))
            text = file.read(_TAIL).decode("utf-8", "replace")
    except OSError:
        return
    known: dict[str, lines.Parts] = {}
    for line in text.splitlines():
        found.update(_of_line(line, known))
    for name, value in found.items():
        yield f"{stream}: {name}", value


def _of_line(line: str, known: dict[str, lines.Parts]) -> dict[str, Any]:
    if line.startswith("{"):
        try:
            return dict(_flat("", json.loads(line)))
        except (ValueError, RecursionError):
            pass
    numbers = lines.scan(line, 0, known=known).numbers
    return {number.label: number.value for number in numbers if number.label}
