"""Evaluations: keep the rows that models are tested on, at a rebuild that asks for them.

Where ``MLREPRO_EVALUATIONS`` names a folder (a rebuild's training; never a run), the rows that a
fit is evaluated on, those that a trained model is asked about, or else those that it learns from
are written there, so that the recorded and the rebuilt model can be asked about them afterwards.
Nothing is predicted and no random number is drawn for it; of many rows evenly spaced ones are kept.
"""

import os
import sys
from _thread import _local
from zlib import crc32

from . import packing
from .asking import as_json, forget, unseen
from .models import FIRST, is_told

_MOST_ASKED = 4
_MOST = {"asked": _MOST_ASKED, "evaluated": 5, "training": 3}
"""Sets that one process leaves behind, the last ones of each kind."""

_METHODS = ("predict", "predict_proba", "decision_function", "score")


class Evaluations:
    """The rows that one process keeps."""

    def __init__(self, folder, fits):
        self.folder = folder
        self.fits = fits
        self.local = _local()
        self.start()

    def start(self):
        """Begin anew, at the start of a process and in a forked child."""
        self.count = 0
        self.written = {kind: [] for kind in _MOST}  # names
        self.known = {}  # name → fingerprint
        self.latest = ()  # of the last fit that is not told
        self.asked = {}  # class, number of columns, model → (id of the rows, what was packed)
        self.answers = []  # the last ones: what a model predicted, what was packed of its rows

    def fitted(self, one, call, args, kwargs):
        """A fit begins: keep what it is evaluated on, else what it learns from."""
        rows = getattr(one.describer, "rows", None)
        if rows is None:
            return
        one.sets = [found for found in map(_packed, rows(call, args, kwargs)) if found is not None]
        if args and hasattr(args[0], "get_params"):
            self.watch(type(args[0]))

    def ended(self, one, objects):
        """A fit has ended: keep its rows, marked by the model that it made."""
        try:
            sets = one.__dict__.pop("sets", ())
            mark = _mark(objects[-1]) if sets and objects else ""
            for found in sets:
                found.facts["mark"] = mark
            if is_told(one.number, 0, FIRST):
                self._write_all(sets)
            else:
                self.latest = sets
        except Exception as error:
            forget(error)

    def watch(self, kind, names=_METHODS):
        """Watch what models of a class are asked about."""
        for name in names:
            owner = next((one for one in kind.__mro__ if name in vars(one)), None)
            if owner is None or owner.__module__ in ("__main__", "__mp_main__"):
                continue  # it may be pickled by its content
            method = vars(owner)[name]
            if hasattr(method, "_mlrepro_asked"):
                continue
            if hasattr(method, "fn") and hasattr(method, "check"):  # scikit-learn's `available_if`
                method.fn = self._watched(method.fn, name)
                method._mlrepro_asked = True
            elif hasattr(method, "__code__"):
                setattr(owner, name, self._watched(method, name))

    def _watched(self, method, name):
        from functools import wraps

        local = self.local

        @wraps(method)
        @unseen
        def ask(*args, **kwargs):
            if getattr(local, "asking", False):
                return method(*args, **kwargs)
            local.asking = True
            try:
                result = method(*args, **kwargs)
            finally:
                local.asking = False
            try:
                if getattr(self.fits.local, "outer", None) is None and self.fits.searching is None:
                    self._ask(name, args, kwargs, result)
            except Exception as error:
                forget(error)
            return result

        ask._mlrepro_asked = True
        return ask

    def watch_metrics(self, module):
        """Learn the labels of rows where the program compares them with what a model predicted.

        All metrics of scikit-learn ask this function whether both are equally long.
        """
        from functools import wraps

        original = module.check_consistent_length

        @wraps(original)
        @unseen
        def check_consistent_length(*arrays):
            try:
                if self.answers and getattr(self.fits.local, "outer", None) is None:
                    self._compared(*arrays[:3])
            except Exception as error:
                forget(error)
            return original(*arrays)

        module.check_consistent_length = check_consistent_length

    def _compared(self, one, other=None, weight=None, *_rest):
        caller = sys._getframe(2).f_globals.get("__name__", "")
        if other is None or not caller.startswith("sklearn.metrics"):
            return
        for result, kept in reversed(self.answers):
            if "label" in kept.arrays:
                continue
            if _is_of(other, result):
                kept.label(one, weight)
            elif _is_of(one, result):
                kept.label(other, weight)

    def _ask(self, name, args, kwargs, result):
        """Note the rows that a model was asked about; the last ones, unless they are few."""
        model, rest = args[0], args[1:]
        data = rest[0] if rest else kwargs.get("X", kwargs.get("data"))
        label = (rest[1] if len(rest) > 1 else kwargs.get("y")) if name == "score" else None
        height, width = packing.shape(data)
        key = type(model), width, id(model)
        before = self.asked.get(key)
        if before is not None:
            known, kept = before
            if known == (id(data), height) and (label is None or "label" in kept.arrays):
                self._answered(name, result, kept)
                return
            if height * 10 < known[1]:
                return
        call = "%s.%s" % (type(model).__name__, name)
        rows = {"name": "rows of " + call, "call": call, "x": data, "label": label}
        rows["library"] = _library(model)
        rows["weight"] = kwargs.get("sample_weight") if label is not None else None
        found = _packed(rows)
        if found is not None:
            found.answer(name, result)
            self._answered(name, result, found)
            self.asked.pop(key, None)
            self.asked[key] = (id(data), height), found
            if len(self.asked) > _MOST_ASKED:
                del self.asked[next(iter(self.asked))]

    def _answered(self, name, result, kept):
        if name != "score" and hasattr(result, "shape"):
            self.answers.append((result, kept))
            del self.answers[:-_MOST_ASKED]

    def close(self):
        """The process ends: write what waits."""
        self._write_all(self.latest)
        self._write_all([found for _, found in self.asked.values()])

    def _write_all(self, sets):
        for one in sets:
            try:
                self._write(one)
            except Exception as error:
                forget(error)

    def _write(self, one):
        mark = one.fingerprint()
        if mark in self.known.values():
            return
        self.count += 1
        name = "%s/rows-%d-%d" % (self.folder, os.getpid(), self.count)
        one.facts["order"] = self.count
        one.write(name + ".npys")
        with open(name + ".part", "w", encoding="ascii") as file:
            file.write(as_json(one.facts))
        os.rename(name + ".part", name + ".json")  # what is not whole is not there
        self.known[name] = mark
        kind = "training" if one.facts["training"] else "evaluated"
        kind = "asked" if "method" in one.facts else kind
        self.written[kind].append(name)
        if len(self.written[kind]) > _MOST[kind]:
            self._drop(self.written[kind].pop(0))

    def _drop(self, name):
        del self.known[name]
        for ending in (".json", ".npys"):
            os.unlink(name + ending)


def _is_of(array, result):
    """Whether an array is what a model predicted, a part of it, or the labels that follow of it."""
    inner, outer = getattr(array, "base", None), getattr(result, "base", None)
    if array is result or (inner is not None and (inner is result or inner is outer)):
        return True
    if getattr(array, "shape", None) != result.shape[:1] or array.dtype.kind not in "biu":
        return False
    labels = result > 0.5 if result.ndim == 1 else result.argmax(axis=1)
    return bool((array == labels).all()) and array.min() != array.max()


def _mark(model):
    """Return what tells a booster from others: its first round; of other models nothing."""
    if _library(model) == "lightgbm":
        write = type(model).model_to_string
        text = getattr(write, "__wrapped__", write)(model, num_iteration=1, start_iteration=0)
        text = text[text.find("Tree=0") : text.find("end of trees")]
    elif _library(model) == "xgboost":
        write = type(model).get_dump
        text = "".join(getattr(write, "__wrapped__", write)(model[0:1]))
    else:
        return ""
    return "%08x" % crc32(text.encode("utf-8", "replace"))


def _packed(rows):
    """Copy rows, evenly spaced ones of many; None where they are of a kind that cannot be kept."""
    try:
        return packing.packed(**rows)
    except Exception as error:
        forget(error)
        return None


def lightgbm_rows(call, given, listed):
    """Yield the data sets of `lightgbm.train` as they were passed, before they are freed."""
    train, found = given("train_set", 1), False
    names = listed(given("valid_names", 4))
    for index, one in enumerate(listed(given("valid_sets", 3))):
        if one is not train and one.data is not None:
            found = True
            name = names[index] if index < len(names) else "valid_%d" % index
            yield _dataset("%s of %s" % (name, call), call, one, False)
    if not found:
        yield _dataset("training rows of %s" % call, call, train, True)


def _dataset(name, call, one, training):
    return {
        "name": name,
        "call": call,
        "library": "lightgbm",
        "x": one.data,
        "label": one.label,
        "weight": getattr(one, "weight", None),
        "group": getattr(one, "group", None) is not None,
        "initial": getattr(one, "init_score", None) is not None,
        "training": training,
    }


def estimator_rows(model, given):
    """Yield the sets of an estimator's ``fit(X, y, eval_set=[(X, y)])``, else what it learns."""
    call, library = type(model).__name__ + ".fit", _library(model)
    sets = given("eval_set")
    if sets is None and given("eval_X") is not None:  # LightGBM 4.7
        tables, labels = given("eval_X"), given("eval_y")
        several = tables.__class__ is tuple
        sets = list(zip(tables, labels)) if several else [(tables, labels)]  # noqa: B905
    if sets.__class__ is tuple and len(sets) == 2 and not isinstance(sets[0], tuple):
        sets = [sets]
    weights = given("eval_sample_weight", 99) or given("sample_weight_eval_set", 99) or ()
    names = given("eval_names", 99) or ()
    found = False
    for index, pair in enumerate(sets or ()):
        if pair[0] is given("X", 1):
            continue
        found = True
        yield {
            "name": "%s of %s" % (names[index] if names else "eval_set %d" % index, call),
            "call": call,
            "library": library,
            "x": pair[0],
            "label": pair[1],
            "weight": weights[index] if index < len(weights) else None,
            "group": bool(given("eval_group", 99) or given("eval_qid", 99)),
            "initial": bool(given("eval_init_score", 99) or given("base_margin_eval_set", 99)),
        }
    if not found:
        yield {
            "name": "training rows of " + call,
            "call": call,
            "library": library,
            "x": given("X", 1),
            "label": given("y", 2),
            "weight": given("sample_weight", 99),
            "group": given("group", 99) is not None or given("qid", 99) is not None,
            "initial": given("init_score", 99) is not None or given("base_margin", 99) is not None,
            "training": True,
        }


def xgboost_rows(call, given):
    """Yield the matrices of `xgboost.train`."""
    train, found = given("dtrain", 1), False
    for one, name in given("evals", 3) or ():
        if one is not train:
            found = True
            yield matrix("%s of %s" % (name, call), call, one)
    if not found:
        yield dict(matrix("training rows of %s" % call, call, train), training=True)


def matrix(name, call, one):
    """Return the rows of a `DMatrix`, whose raw data the program may have let go."""
    return {"name": name, "call": call, "library": "xgboost", "x": one}


def _library(model):
    return type(model).__module__.partition(".")[0]
