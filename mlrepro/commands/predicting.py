"""Predicting: what the recorded and the rebuilt models say of the same rows."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrepro.cleanroom import asking, restore
from mlrepro.cleanroom.asking import Answer, Model, Told
from mlrepro.commands import bootstrap, judging
from mlrepro.commands.remaking import Made
from mlrepro.drift import ArtifactDrift, Delta, Predicted, Verdict
from mlrepro.manifest import Artifact, Role

if TYPE_CHECKING:
    import numpy as np

_MOST_MODELS = 8
_MOST_OUTPUTS = 20
"""Outputs of which a rank correlation is taken."""


def predict(
    made: Made,
    artifacts: Sequence[ArtifactDrift],
    probe_data: Path | None,
    *,
    notify: Callable[[str], None],
) -> tuple[tuple[Predicted, ...], tuple[str, ...]]:
    """Ask both models of each artifact that moved, in the rebuilt environment.

    Parameters
    ----------
    made : Made
        The rebuild; its room and its environment still stand.
    artifacts : sequence of ArtifactDrift
        What was judged.
    probe_data : Path or None
        A table of rows; the rows that the probe kept otherwise.

    Returns
    -------
    predictions : tuple of Predicted
    notes : tuple of str
        Why a model could not be asked.
    """
    if made.plan is None:
        return (), ()
    try:
        models = list(_models(made, artifacts))
        if not models:
            return (), ()
        notify("asking the recorded and the rebuilt model about the same rows")
        told = asking.ask(
            made.record, made.plan, made.room, models, rows=made.evaluations, file=probe_data
        )
        return tuple(different(told.answers())), tuple(dict.fromkeys(_notes(told)))
    except Exception as error:  # noqa: BLE001  the rebuild is done: its verdict must be heard
        return (), (f"predictions could not be compared: {error}",)


def _models(made: Made, artifacts: Sequence[ArtifactDrift]) -> Iterator[Model]:
    """Yield the deciding models that moved, with the files of both sides."""
    moved = {
        one.path
        for one in artifacts
        if one.role is Role.WEIGHTS
        and one.decides
        and Verdict.EQUIVALENT < one.difference.verdict < Verdict.MISSING
    }
    pairs = judging.counterparts(made.record, made.trained, made.room)
    for old, rebuilt in [pair for pair in pairs if pair[0].path in moved][:_MOST_MODELS]:
        recorded = recorded_file(made, old)
        if recorded is not None and rebuilt.is_file():
            yield Model(old.path, recorded, rebuilt)


def recorded_file(made: Made, artifact: Artifact) -> Path | None:
    """Return where an artifact's recorded bytes were laid out to be compared; None if nowhere."""
    laid = made.room.work / "recorded" / artifact.path
    if laid.is_symlink():  # a large one leads to the cache, which a model that runs must not write
        restore.put(made.here.stores, artifact.digest, laid)
    if laid.is_file():
        return laid
    kept = made.here.root / artifact.path
    if not restore.is_file(kept, artifact.digest):
        return None
    # The room may be shown over the project: nothing there is to be seen then.
    laid.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(kept, laid))


def _notes(told: Told) -> Iterator[str]:
    files = told.files()
    hint = ": give some with `--probe-data FILE`"
    if files:
        hint = f", but the training names {', '.join(files[:3])}{hint}"
    for path, why in told.notes():
        if not path:
            yield why
        else:
            more = hint if why.startswith("no rows") else ""
            yield f"{path} could not be asked for predictions: {why}{more}"


def different(answers: Iterable[Answer]) -> Iterator[Predicted]:
    """Measure the answers, those of the same rows once: a program may show a set in two ways."""
    kept: dict[tuple[str, ...], Predicted] = {}
    for one in answers:
        sides = hashlib.sha256(one.recorded.tobytes() + one.rebuilt.tobytes()).hexdigest()
        key = (one.path, one.kind, one.task, sides)
        found = predicted(one)
        if key not in kept or _worth(found) > _worth(kept[key]):
            kept[key] = found
    yield from kept.values()


def _worth(one: Predicted) -> tuple[int, bool]:
    """Say of two that tell the same which is told: with metrics, and by the name of a set."""
    return len(one.deltas), not one.data.startswith("rows of ")


def predicted(answer: Answer) -> Predicted:
    """Measure what two models say of the same rows."""
    import numpy as np  # noqa: PLC0415  0.1 s, paid where predictions are compared

    a, b = _single(answer, answer.recorded), _single(answer, answer.rebuilt)
    apart = _apart(answer.kind, a, b)
    rows = apart.max(axis=1, initial=0.0)
    differing = np.flatnonzero(rows)
    deltas: tuple[Delta, ...] = ()
    if answer.label is not None:
        deltas = bootstrap.deltas(
            answer.task, answer.kind, answer.label, a, b, _usable(answer.weight)
        )
    flips = _flips(answer, a, b)
    return Predicted(
        path=answer.path,
        data=answer.data,
        rows=len(a),
        outputs=a.shape[1],
        ratio=_ratio(answer.kind, a, apart),
        largest=float(rows.max(initial=0.0)),
        where=_row(answer, int(rows.argmax())) if len(differing) else "",
        first=_row(answer, int(differing[0])) if len(differing) else "",
        flips=flips,
        correlation=None if answer.kind == "label" else _correlation(a, b),
        deltas=deltas,
    )


def _single(answer: Answer, side: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Leave of two probabilities the second: the first tells nothing else."""
    two = answer.task == "binary" and answer.kind == "probability" and side.shape[1] == 2
    return side[:, 1:] if two else side


def _apart(kind: str, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return how far each number is apart; what is no number on one side alone is infinitely."""
    import numpy as np  # noqa: PLC0415

    same = (a == b) | (np.isnan(a) & np.isnan(b))
    if kind == "label":
        return np.where(same, 0.0, 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        found: np.ndarray[Any, Any] = np.where(same, 0.0, np.abs(a - b))
    return np.where(np.isnan(found), np.inf, found)


def _ratio(kind: str, a: np.ndarray[Any, Any], apart: np.ndarray[Any, Any]) -> float:
    """Return the root mean square of the differences, over the spread of the recorded numbers.

    Where they are all the same, over their size; of labels, each of which is right or wrong, it is
    the root of the share that differs.
    """
    import numpy as np  # noqa: PLC0415

    if not apart.any():
        return 0.0
    with np.errstate(over="ignore"):
        rms = float(np.sqrt(np.mean(apart**2)))
    if kind == "label":
        return rms
    finite = np.where(np.isfinite(a), a, np.nan)
    with np.errstate(invalid="ignore", over="ignore"):
        scale = float(np.sqrt(np.nanmean(np.nanvar(finite, axis=0)))) if _any(finite) else 0.0
    scale = scale or (float(np.nanmax(np.abs(finite))) if _any(finite) else 0.0)
    return rms / scale if scale else float("inf")


def _any(finite: np.ndarray[Any, Any]) -> bool:
    """Whether each column holds a number."""
    import numpy as np  # noqa: PLC0415

    return bool((~np.isnan(finite)).any(axis=0).all())


def _row(answer: Answer, place: int) -> str:
    """Name a row as it was numbered before some were taken, from 1 on."""
    rows = len(answer.recorded)
    return f"row {place * max(answer.total, rows) // rows + 1}"


def _flips(answer: Answer, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> int | None:
    if answer.kind == "value" or answer.task in ("ranking", "regression"):
        return None
    return int((_labels(answer.kind, a) != _labels(answer.kind, b)).sum())


def _labels(kind: str, side: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import numpy as np  # noqa: PLC0415

    if kind == "label":
        return side[:, 0]
    if side.shape[1] > 1:
        return np.asarray(side.argmax(axis=1))
    return np.asarray(side[:, 0] > (0.5 if kind == "probability" else 0.0))


def _usable(weight: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any] | None:
    import numpy as np  # noqa: PLC0415

    usable = weight is not None and np.isfinite(weight).all() and (weight >= 0).all()
    return weight if usable and weight is not None and weight.any() else None


def _correlation(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float | None:
    """Return Spearman's rank correlation; of several outputs the lowest one."""
    import numpy as np  # noqa: PLC0415

    if a.shape[1] > _MOST_OUTPUTS or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return None
    found = [_spearman(x, y) for x, y in zip(a.T, b.T, strict=True)]
    known = [one for one in found if one is not None]
    return min(known, default=None) if len(known) == len(found) else None


def _spearman(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> float | None:
    """Correlate the ranks of two columns; None where one of them is the same in all rows."""
    u, v = (_ranks(one) for one in (x, y))
    u, v = u - u.mean(), v - v.mean()
    size = float((u * u).sum() * (v * v).sum()) ** 0.5
    return float((u * v).sum()) / size if size else None


def _ranks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the rank of each value; of equal ones the middle of theirs."""
    import numpy as np  # noqa: PLC0415

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middles: np.ndarray[Any, Any] = ends - (counts - 1) / 2
    return middles[place]
