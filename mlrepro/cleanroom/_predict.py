"""Predict: ask the recorded and the rebuilt models about the same rows.

A script of its own: ``python _predict.py PLAN`` runs in the rebuilt environment, on Python 3.8 and
later, with the user's own libraries, and imports nothing of mlrepro. Models are unpickled here and
nowhere else: the program that made them has just run in the same place. PLAN is a JSON file::

    {"models": [["model.txt", "/room/recorded/model.txt", "/room/project/model.txt"], …],
     "rows": "/room/evaluations", "file": "", "path": ["/room/project"], "out": "/room/asked"}

Each answer is a line of JSON on the file ``answers`` in the folder OUT, beside arrays of plain
numbers: ``0-recorded.npy``, ``0-rebuilt.npy``, ``0-label.npy``, ``0-weight.npy``.
"""

from __future__ import annotations

import json
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from _predictmodels import Model, in_order, load  # type: ignore[import-not-found]
from _predictrows import File, RefusedError, kept  # type: ignore[import-not-found]

MOST_SETS = 3
"""Sets that one model is asked about."""

_MOST_NUMBERS = 20_000_000


def sets_for(model: Model, sets: list[Any]) -> tuple[list[Any], bool]:
    """Choose the sets for a rebuilt model, and say whether they are known to be its own.

    Else those of its class or library will do; what models learned from comes last in `sets`, and
    is taken where there is nothing else.
    """
    fitting = [one for one in sets if one.fits(model.width)]
    known = [one for one in fitting if is_of(model, one)]
    own = [one for one in fitting if one.facts.get("library") in ("", model.library)]
    named = [one for one in own if one.facts.get("call", "").split(".")[0] == model.kind]
    chosen = known or named or own or fitting
    tested = [one for one in chosen if not one.facts["training"]]
    return (tested or chosen)[:MOST_SETS], bool(known)


def is_of(model: Model, rows: Any) -> bool:
    """Whether rows are those of a rebuilt model, so that their labels are what it learned to say.

    A program may train several models of a kind: a booster is known by its first round, others by
    what they said of the rows. Without that, no metric is taken.
    """
    if rows.facts.get("kind") == "table":
        return True
    try:
        if rows.facts.get("mark"):
            return bool(rows.facts["mark"] == model.mark())
        method = str(rows.facts.get("method", ""))
        if method == "score" and rows.rows < rows.total:
            return False
        table = rows.table(model.names, model.width, False)
        answer = rows.array("answer")
        answer = rows.facts.get("score") if answer is None else answer
        return answer is not None and any(
            _alike(one, answer) for one in model.said(method, table, rows)
        )
    except Exception:  # noqa: BLE001  whatever a library raises
        return False


def _alike(one: Any, other: Any) -> bool:
    numpy = import_module("numpy")
    a, b = numpy.squeeze(numpy.asarray(one)), numpy.squeeze(numpy.asarray(other))
    if a.shape != b.shape:
        return False
    if a.dtype.kind not in "biuf":
        return bool((a.astype(str) == b.astype(str)).all())
    return bool(numpy.allclose(a.astype("f8"), b.astype("f8"), rtol=1e-5, atol=1e-7))


class Answers:
    """Writes what the models say."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.count = 0

    def tell(self, **line: Any) -> None:
        """Add a line."""
        with (self.out / "answers").open("a", encoding="ascii") as file:
            file.write(json.dumps(line) + "\n")

    def ask(self, name: str, models: list[Model], rows: Any, *, labelled: bool) -> None:
        """Ask both models about one set, and write what they say."""
        first = models[0]
        boosted = first.library in ("lightgbm", "xgboost")
        table = rows.table(first.names, first.width, boosted)
        for one, other in zip(*(_asked(model, table, rows) for model in models)):  # noqa: B905
            sides = [_numbers(values) for values in (one[2], other[2])]
            if sides[0].shape != sides[1].shape:
                shapes = " and ".join(f"{len(side)} × {side.shape[1]}" for side in sides)
                raise RefusedError(f"the two predict other shapes: {shapes}")
            labels = _labels(rows, first) if labelled and not one[0] else None
            self._write(name, one, sides, first, rows, labels)
        if getattr(rows, "left_out", ()):
            self.tell(note=f"{rows.name}: no features, so left out: {', '.join(rows.left_out[:8])}")

    def _write(
        self, name: str, one: Any, sides: list[Any], model: Model, rows: Any, labels: Any
    ) -> None:
        numpy = import_module("numpy")
        suffix, kind, _ = one
        arrays = dict(zip(("recorded", "rebuilt"), sides))  # noqa: B905  Python 3.8
        if labels is not None:
            arrays["label"] = labels
            weight = rows.array("weight")
            if weight is not None:
                arrays["weight"] = numpy.asarray(weight, dtype="f8")
        for title, array in arrays.items():
            numpy.save(self.out / f"{self.count}-{title}.npy", array, allow_pickle=False)
        data = rows.name if rows.rows == rows.total else f"{rows.name}, of {rows.total}"
        told = {"data": data + suffix, "kind": kind, "task": model.task, "total": rows.total}
        self.tell(index=self.count, model=name, **told)
        self.count += 1


def _asked(model: Model, table: Any, rows: Any) -> Any:
    return model.answers(in_order(table, model.names), rows)


def _numbers(values: Any) -> Any:
    numpy = import_module("numpy")
    found = numpy.asarray(values, dtype="f8")
    found = found.reshape(len(found), -1)
    if found.size > _MOST_NUMBERS:
        raise RefusedError(f"it predicts {found.size} numbers, which are too many to compare")
    return found


def _labels(rows: Any, model: Model) -> Any:
    """Return the labels as numbers that the metrics take; None where they do not fit the model."""
    numpy = import_module("numpy")
    label = rows.array("label")
    if label is None or label.ndim != 1 or model.task in ("ranking", "other"):
        return None
    if rows.facts.get("initial") or rows.facts.get("group"):
        return None
    if model.task == "regression":
        found = label.astype("f8") if label.dtype.kind in "biuf" else None
        return found if found is not None and numpy.isfinite(found).all() else None
    return _places(label, model)


def _places(label: Any, model: Model) -> Any:
    """Return the place of each label among the classes."""
    numpy = import_module("numpy")
    classes = model.classes
    if classes is None:  # a booster counts them: in their order, if they are no such numbers
        values = numpy.unique(label).tolist()
        plain = label.dtype.kind in "biuf" and set(values) <= set(range(model.count))
        if not plain and len(values) != model.count:
            return None
        classes = list(range(model.count)) if plain else values
    if label.dtype.kind == "U":
        classes = [str(one) for one in classes]
    known = {value: place for place, value in enumerate(classes)}
    found = [known.get(value) for value in label.tolist()]
    if None in found and label.dtype.kind in "biu" and isinstance(classes[0], str):
        # Of texts, `roc_auc_score` leaves the places.
        found = [value if value in range(len(classes)) else None for value in label.tolist()]
    return None if None in found else numpy.array(found)


def compare(plan: dict[str, Any]) -> None:
    """Ask all models of a plan."""
    answers = Answers(Path(plan["out"]))
    sets: list[Any] = kept(plan["rows"])
    answers.tell(
        files=sorted({one.facts["path"] for one in sets if one.facts.get("kind") == "file"})
    )
    if plan["file"]:
        try:
            sets = [File(Path(plan["file"]), sets)]
        except Exception as error:  # noqa: BLE001  whatever a library raises
            answers.tell(note=f"{Path(plan['file']).name} cannot be read: {_said(error)}")
            return
    for name, *sides in plan["models"]:
        answers.tell(begun=name)
        try:
            _compare(answers, name, [load(Path(side)) for side in sides], sets)
        except Exception as error:  # noqa: BLE001  whatever a library raises
            answers.tell(model=name, note=_said(error))


def _compare(answers: Answers, name: str, models: list[Model], sets: list[Any]) -> None:
    if type(models[0]) is not type(models[1]):
        raise RefusedError("the recorded and the rebuilt one are of other kinds")
    chosen, known = sets_for(models[1], sets)
    if not chosen:
        raise RefusedError("no rows that fit it were kept" if sets else "no rows were kept")
    refused = []
    for rows in chosen:
        try:
            answers.ask(name, models, rows, labelled=known)
        except Exception as error:  # noqa: BLE001  whatever a library raises
            refused.append(error)
    if len(refused) == len(chosen):
        raise refused[0]


def _said(error: Exception) -> str:
    words = str(error).strip().splitlines()
    if "__main__" in str(error):
        return (
            f"it needs what the training's script itself defines ({words[0].partition(' on ')[0]})"
        )
    if isinstance(error, RefusedError):
        return words[0]
    return f"{type(error).__name__}: {words[0][:200] if words else ''}".rstrip(": ")


def main(plan: str) -> int:
    """Read the plan, then ask."""
    warnings.simplefilter("ignore")
    wanted = json.loads(Path(plan).read_text(encoding="utf-8"))
    sys.path[:] = [*wanted["path"], *sys.path[1:]]  # this script's own folder goes
    compare(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
