"""Predictmodels: read a model of any usual kind, and ask it about rows.

Part of `_predict`, which runs in the rebuilt environment on Python 3.8 and later: it imports
nothing of mlrepro, and the user's libraries when they are needed.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path
from typing import Any
from zlib import crc32

from _predictrows import RefusedError  # type: ignore[import-not-found]

_HEAD = 4096


class Model:
    """A model that can be asked; the base of those that know one library.

    Attributes
    ----------
    names : list of str or None
        Of its features, where it knows them.
    width : int or None
        How many features it has.
    task : str
        ``binary``, ``multiclass``, ``regression``, ``ranking`` or ``other``.
    classes : list or None
        The labels that its outputs stand for.
    kind : str
        The name of an estimator's class.
    count : int
        How many classes a booster tells apart.
    """

    library = ""
    names: Any = None
    width: Any = None
    task = "other"
    classes: Any = None
    kind = ""
    count = 0

    def answers(self, table: Any, rows: Any) -> list[tuple[str, str, Any]]:
        """Return what it predicts: suffix of the name, kind of the numbers, the numbers.

        The kinds are ``probability``, ``margin``, ``value`` and ``label``.
        """
        raise NotImplementedError

    def mark(self) -> str:
        """Return what tells a booster from others, as the probe's `evaluations` does."""
        return ""

    def said(self, method: str, table: Any, rows: Any) -> list[Any]:
        """Return what the program may have got of a method."""
        del method
        return [values for _, _, values in self.answers(table, rows)]


class LightGBM(Model):
    """A booster of LightGBM."""

    library = "lightgbm"

    def __init__(self, booster: Any) -> None:
        self.booster = booster
        self.width = booster.num_feature()
        names = booster.feature_name()
        self.names = None if names == [f"Column_{n}" for n in range(self.width)] else names
        text = booster.model_to_string(num_iteration=1)
        found = re.search(r"^objective=(\S+)", text, re.MULTILINE)
        objective = found.group(1) if found else ""
        self.count = max(2, booster.num_model_per_iteration())
        self.task = _TASKS.get(objective, "regression" if objective in _REGRESSIONS else "other")

    def answers(self, table: Any, _rows: Any) -> list[tuple[str, str, Any]]:
        """Return its predictions, and the raw scores where they are others."""
        return _boosted(
            self, self.booster.predict(table), self.booster.predict(table, raw_score=True)
        )

    def mark(self) -> str:
        """Return a checksum of the first tree."""
        text = self.booster.model_to_string(num_iteration=1, start_iteration=0)
        return _checksum(text[text.find("Tree=0") : text.find("end of trees")])


class XGBoost(Model):
    """A booster of XGBoost."""

    library = "xgboost"

    def __init__(self, booster: Any) -> None:
        self.booster = booster
        self.names = booster.feature_names
        self.width = booster.num_features()
        learner = json.loads(booster.save_config())["learner"]
        objective = learner["objective"]["name"]
        self.count = max(2, int(learner["learner_model_param"].get("num_class", 0)))
        self.task = _TASKS.get(objective, "other")
        if objective.startswith("reg:"):
            self.task = "regression"

    def answers(self, table: Any, rows: Any) -> list[tuple[str, str, Any]]:
        """Return its predictions, and the margins where they are others."""
        matrix = self._matrix(table, rows)
        plain = self.booster.predict(matrix, validate_features=False)
        raw = self.booster.predict(matrix, validate_features=False, output_margin=True)
        return _boosted(self, plain, raw)

    def mark(self) -> str:
        """Return a checksum of the first round."""
        return _checksum("".join(self.booster[0:1].get_dump()))

    def _matrix(self, table: Any, rows: Any) -> Any:
        types = rows.facts.get("types")
        if types and hasattr(table, "columns"):
            known = dict(zip(rows.table(self.names, self.width, True).columns, types))  # noqa: B905
            types = [known.get(name) for name in table.columns]
        given = {"feature_types": types} if types else {}
        if not hasattr(table, "columns"):
            given["feature_names"] = self.names
        return import_module("xgboost").DMatrix(table, enable_categorical=True, **given)


def in_order(table: Any, names: Any) -> Any:
    """Return a table with a model's features in its own order, where they are the same ones.

    Two trainings may order them otherwise, and a booster goes by the place of a column alone.
    """
    columns = list(getattr(table, "columns", ()))
    known = {_plain(column): column for column in columns}
    wanted = [_plain(name) for name in names or ()]
    if len(known) != len(columns) or sorted(known) != sorted(wanted):
        return table
    chosen = [known[name] for name in wanted]
    return table if chosen == columns else table[chosen]


def _plain(name: Any) -> str:
    return str(name).replace(" ", "_")  # as LightGBM writes it


def _checksum(text: str) -> str:
    return f"{crc32(text.encode('utf-8', 'replace')):08x}"


def _boosted(model: Model, plain: Any, raw: Any) -> list[tuple[str, str, Any]]:
    numpy = import_module("numpy")
    if model.task == "binary" or (model.task == "multiclass" and plain.ndim > 1):
        kind = "probability"
    elif model.task == "multiclass":
        kind = "label"
    else:
        kind = "value"
    found = [("", kind, plain)]
    if kind == "label" or not numpy.array_equal(plain, raw):
        found.append((", raw scores", "margin" if kind != "value" else "value", raw))
    return found


_TASKS = {
    "binary": "binary",
    "binary:logistic": "binary",
    "multiclass": "multiclass",
    "multiclassova": "multiclass",
    "multi:softprob": "multiclass",
    "multi:softmax": "multiclass",
    "lambdarank": "ranking",
    "rank_xendcg": "ranking",
    "rank:pairwise": "ranking",
    "rank:ndcg": "ranking",
    "rank:map": "ranking",
    "count:poisson": "regression",
}
_REGRESSIONS = (
    "regression", "regression_l1", "huber", "fair", "poisson", "quantile", "mape", "gamma",
    "tweedie",
)  # fmt: skip


class Estimator(Model):
    """An estimator with scikit-learn's interface, a pipeline among them."""

    library = "sklearn"

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        self.library = type(estimator).__module__.partition(".")[0]
        self.kind = type(estimator).__name__
        names = getattr(estimator, "feature_names_in_", None)
        self.names = None if names is None else [str(name) for name in names]
        width = getattr(estimator, "n_features_in_", None)
        self.width = None if width is None else int(width)
        classes: Any = getattr(estimator, "classes_", None)
        if hasattr(classes, "tolist"):
            self.classes = classes.tolist()
            self.count = len(self.classes)
            self.task = "binary" if self.count == 2 else "multiclass"
        elif _is_regressor(estimator):
            self.task = "regression"

    def answers(self, table: Any, _rows: Any) -> list[tuple[str, str, Any]]:
        """Return its probabilities, else its decision function, else what it predicts."""
        numpy = import_module("numpy")
        model = self.estimator
        if self.task == "regression":
            return [("", "value", model.predict(table))]
        if hasattr(model, "predict_proba"):
            found = model.predict_proba(table)
            if isinstance(found, list):  # of several outputs
                return [("", "value", numpy.hstack(found))]
            return [("", "probability", found)]
        if hasattr(model, "decision_function"):
            found = model.decision_function(table)
            return [("", "margin" if self.classes else "value", found)]
        found = numpy.asarray(model.predict(table))
        if self.classes or found.dtype.kind != "f":
            return [("", "label", self._places(found))]
        return [("", "value", found)]

    def mark(self) -> str:
        """Return the mark of the booster in it."""
        if self.library == "lightgbm":
            return LightGBM(self.estimator.booster_).mark()
        return XGBoost(self.estimator.get_booster()).mark() if self.library == "xgboost" else ""

    def said(self, method: str, table: Any, rows: Any) -> list[Any]:
        """Return what the method says now."""
        given = (rows.array("label"),) if method == "score" else ()
        return [getattr(self.estimator, method)(table, *given)]

    def _places(self, found: Any) -> Any:
        numpy = import_module("numpy")
        if not self.classes:
            return found
        known = {value: place for place, value in enumerate(self.classes)}
        return numpy.array([known.get(value, -1) for value in found.tolist()])


def _is_regressor(estimator: Any) -> bool:
    try:
        return bool(import_module("sklearn.base").is_regressor(estimator))
    except Exception:  # noqa: BLE001  an estimator of another package
        return "Regressor" in type(estimator).__name__


class Torch(Model):
    """A network of PyTorch that is whole: scripted, or a pickled module."""

    library = "torch"

    def __init__(self, module: Any) -> None:
        self.module = module.eval()
        first = next(iter(module.parameters()), None)
        # What a first layer of another kind takes cannot be told from its weights.
        self.width = int(first.shape[1]) if first is not None and first.ndim == 2 else None

    def answers(self, table: Any, _rows: Any) -> list[tuple[str, str, Any]]:
        """Return its outputs; of several the first."""
        numpy, torch = import_module("numpy"), import_module("torch")
        with torch.no_grad():
            found = self.module(torch.from_numpy(numpy.asarray(table, dtype="f4").copy()))
        found = (found[0] if isinstance(found, (tuple, list)) else found).double().numpy()
        wide = found.ndim > 1 and found.shape[1] > 1
        return [("", "margin" if wide else "value", found)]


def load(path: Path) -> Model:
    """Read a model by what its first bytes say."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"tree\n"):
        return LightGBM(import_module("lightgbm").Booster(model_str=path.read_text()))
    if (head.lstrip()[:1] == b"{" and b"learner" in head) or head.startswith(b"binf"):
        xgboost = import_module("xgboost")
        return XGBoost(xgboost.Booster(model_file=bytearray(path.read_bytes())))
    if head.startswith(b"PK"):
        return _zipped(path)
    if head.startswith(_PICKLES):
        return _known(_unpickled(path))
    raise RefusedError("mlrepro knows no way to ask a model of this kind")


_PICKLES = (
    b"\x80",
    b"\x78",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"]\x00\x00\x80",
    b"\x04\x22\x4d\x18",
)


def _unpickled(path: Path) -> Any:
    try:
        read = import_module("joblib").load
    except ImportError:
        read = _unpickle
    return read(path)


def _unpickle(path: Path) -> Any:
    with path.open("rb") as file:
        return import_module("pickle").load(file)


def _zipped(path: Path) -> Model:
    names = import_module("zipfile").ZipFile(path).namelist()
    if "schema.json" in names:
        skops = import_module("skops.io")
        return _known(skops.load(path, trusted=skops.get_untrusted_types(file=path)))
    if not any(name.endswith("data.pkl") for name in names):
        raise RefusedError("mlrepro knows no way to ask a model of this kind")
    torch = import_module("torch")
    if any("/code/" in name for name in names):
        return Torch(torch.jit.load(str(path), map_location="cpu"))
    found = torch.load(str(path), map_location="cpu", weights_only=False)
    if isinstance(found, torch.nn.Module):
        return Torch(found)
    raise RefusedError("it holds weights alone, and not the network that they belong to")


def _known(thing: Any) -> Model:
    """Return what knows how to ask a thing, or the one model that a dict or a list holds."""
    found = _asked(thing)
    if found is None and isinstance(thing, (dict, list, tuple)):
        inside = thing.values() if isinstance(thing, dict) else thing
        models = [one for one in map(_asked, inside) if one is not None]
        if len(models) > 1:
            raise RefusedError(f"it holds {len(models)} models")
        found = models[0] if models else None
    if found is None:
        raise RefusedError(f"it holds no model that could be asked, but {type(thing).__name__}")
    return found


def _asked(thing: Any) -> Model | None:
    top, name = type(thing).__module__.partition(".")[0], type(thing).__name__
    if name == "Booster" and top in ("lightgbm", "xgboost"):
        return LightGBM(thing) if top == "lightgbm" else XGBoost(thing)
    if top == "torch" or (hasattr(thing, "parameters") and hasattr(thing, "state_dict")):
        return Torch(thing) if hasattr(thing, "state_dict") else None
    asked = ("predict", "predict_proba", "decision_function")
    return Estimator(thing) if any(hasattr(thing, one) for one in asked) else None
