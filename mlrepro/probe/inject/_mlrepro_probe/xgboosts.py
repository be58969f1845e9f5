"""Xgboosts: what was in effect in XGBoost's `train`, `cv`, `fit`, and loops over `update`."""

import ctypes
import sys
from functools import wraps

from . import boosters, courses
from .asking import unseen
from .models import LARGEST

# The name in the library's own source; its configuration tells a value by both names.
_ALIASES = {
    "alpha": "reg_alpha",
    "eta": "learning_rate",
    "gamma": "min_split_loss",
    "lambda": "reg_lambda",
    "n_jobs": "nthread",
    "random_state": "seed",
}
# Their values have other names too, or are told in other places of the configuration.
_OWN_NAMES = ("booster", "eval_metric", "objective", "updater")
# Known to the library, and no part of a booster's configuration.
_ELSEWHERE = ("eval_metric", "use_rmm", "verbosity")
# Of the scikit-learn interface alone.
_OF_SKLEARN = (
    "callbacks",
    "early_stopping_rounds",
    "enable_categorical",
    "feature_types",
    "feature_weights",
    "importance_type",
    "missing",
    "n_estimators",
    "use_label_encoder",
)
_BYTES_OF_A_NODE = 120


def patch(module, fits):
    """Watch what a module of XGBoost trains, when it has just been executed."""
    {
        "xgboost.callback": _patch_callback,
        "xgboost.core": _patch_core,
        "xgboost.sklearn": _patch_sklearn,
        "xgboost.training": _patch_training,
    }[module.__name__](module, fits)


def _patch_core(module, fits):
    watch = courses.Methods(fits, "xgboost.Booster.update", _ByHand(fits, module))
    watch.patch(
        module.Booster,
        update=watch.update,
        boost=watch.inner_update,
        eval_set=watch.evaluation(_results),
        save_model=watch.saving,
        save_raw=watch.copying,
        dump_model=watch.copying,
        get_dump=watch.copying,
        __getstate__=watch.copying,
        __del__=watch.end,
    )
    if fits.evaluations is not None:
        fits.evaluations.watch(module.Booster, ("predict", "inplace_predict"))


def _results(text):
    """Read ``[0]\\ttrain-rmse:0.28\\ttest-rmse:0.31``, as the library's own callbacks do."""
    for part in text.split()[1:]:
        name, _, value = part.rpartition(":")
        yield name.replace("-", " ", 1), float(value)


def _patch_callback(module, fits):
    """Learn who ends a training early: the library's own early stopping, or a callback."""
    kind = module.EarlyStopping
    original = kind.after_iteration

    @wraps(original)
    @unseen
    def after_iteration(self, *args, **kwargs):
        stops = original(self, *args, **kwargs)
        tally = getattr(fits.local, "state", None)
        if stops and tally.__class__ is courses.Tally:
            tally.stop = "early stopping"
        return stops

    kind.after_iteration = after_iteration


def _patch_training(module, fits):
    core = sys.modules["xgboost.core"]
    for name in ("train", "cv"):
        original = getattr(module, name)
        describer = _Training(fits, core, original)
        setattr(module, name, fits.watch("xgboost." + name, original, describer))


def _patch_sklearn(module, fits):
    core = sys.modules["xgboost.core"]
    for kind in tuple(vars(module).values()):
        if isinstance(kind, type) and issubclass(kind, module.XGBModel):
            original = vars(kind).get("fit")
            if original is not None:
                kind.fit = fits.watch(_method, original, _Estimator(fits, core, original))


def _method(estimator, *_args, **_kwargs):
    return type(estimator).__name__ + ".fit"


class _Describer(courses.Describer):
    """What the three ways to train have in common."""

    def kept(self, objects):
        """Return the rounds that the model predicts with; a booster's `predict` takes all."""
        return objects[-1].num_boosted_rounds()

    def in_effect(self, tally, booster):
        """Ask for all parameters."""
        found = resolved(booster)
        mains = {name: _ALIASES.get(name, name) for name in (*found, *_ALIASES)}
        mains.update((name, name) for name in _ELSEWHERE + _OF_SKLEARN)
        # A linear booster's configuration says 0 for these, whatever was passed (3.2).
        untold = ("reg_alpha", "reg_lambda") if found.get("booster") == "gblinear" else ()
        fields = boosters.parameters(tally.passed, mains, found, _OWN_NAMES + untold)
        return courses.told(tally, resolved=found, threads=self._threads(found), **fields)

    def _threads(self, found):
        asked = int(found.get("nthread", found.get("n_jobs", 0)))
        return asked if asked > 0 else int(self.library._LIB.omp_get_max_threads())

    def text(self, booster, found):
        """Give the model's text, unless it would be long; held, it must hold no GPU's memory."""
        size = _size(booster, found) if found else 0
        if size > LARGEST:
            return {"text_left_out": "about %d MiB" % (size >> 20)}
        write = _plain(booster, "save_raw")
        device = (found or {}).get("device", "cpu")
        return {"text": lambda: bytes(write(booster, "json")), "hold": device == "cpu"}


class _Training(_Describer):
    """`xgboost.train` and `xgboost.cv`."""

    def tell(self, tally, args, kwargs):
        """Note what was passed."""
        given = self.given(args, kwargs)
        tally.passed = dict(given("params", 0) or {})
        tally.asked = given("num_boost_round", 2)

    def data(self, call, args, kwargs):
        """Describe the data sets as they were passed."""
        given = self.given(args, kwargs)
        found = [self._matrix("dtrain", given("dtrain", 1))]
        if call == "xgboost.train":
            found += [self._matrix(name, one) for one, name in given("evals", 3) or ()]
        model = given("xgb_model")
        if model is not None:
            name = model[:200] if model.__class__ is str else boosters.kind_of(model)
            found.append("xgb_model: " + name)
        return found

    def rows(self, call, args, kwargs):
        """Return what the model is tested on; see `evaluations`."""
        from . import evaluations

        if call != "xgboost.train":
            return ()
        return evaluations.xgboost_rows(call, self.given(args, kwargs))

    def history(self, result):
        """Read what `cv` returned: a table of pandas, or a dict."""
        names = getattr(result, "columns", result)
        return {_spaced(name): [float(one) for one in result[name]] for name in names}

    def _matrix(self, name, one):
        if not hasattr(one, "num_row"):
            return "%s: %s" % (name, boosters.described(one))
        text = "%s %d × %d float32" % (boosters.kind_of(one), one.num_row(), one.num_col())
        types = getattr(one, "feature_types", None) or ()
        count = sum(word == "c" for word in types)
        if count:
            text += ", %d categorical" % count
        for word, field in (("weights", b"weight"), ("base margin", b"base_margin")):
            if self._length(one, field):
                text += ", " + word
        return "%s: %s" % (name, text)

    def _length(self, matrix, field):
        """Length of a column, without a copy of it."""
        length, values = ctypes.c_uint64(), ctypes.POINTER(ctypes.c_float)()
        self.library._LIB.XGDMatrixGetFloatInfo(
            matrix.handle, ctypes.c_char_p(field), ctypes.byref(length), ctypes.byref(values)
        )
        return length.value


class _Estimator(_Describer):
    """`fit` of the scikit-learn interface."""

    def tell(self, tally, args, kwargs):
        """Note what was passed: what differs from the defaults, or is unknown to the class."""
        model = args[0]
        passed = boosters.constructed_with(model)
        passed.update(getattr(model, "kwargs", None) or {})
        passed.pop("kwargs", None)
        tally.passed = passed
        tally.asked = model.get_num_boosting_rounds()

    def data(self, call, args, kwargs):
        """Describe what was passed to `fit`."""
        return boosters.fitted_data(self.given(args, kwargs))

    def rows(self, call, args, kwargs):
        """Return what the model is tested on; see `evaluations`."""
        from . import evaluations

        return evaluations.estimator_rows(args[0], self.given(args, kwargs))

    def objects(self, result, args):
        """Return the estimator and its booster."""
        return (args[0], args[0]._Booster)

    def kept(self, objects):
        """Return the rounds that it predicts with: up to the best one, if it was stopped early."""
        best = objects[-1].attr("best_iteration")
        return int(best) + 1 if best is not None else super().kept(objects)


class _ByHand(_Describer):
    """Loops over `update` outside any fit."""

    def tell(self, tally, args, kwargs):
        """A booster does not remember what it was given."""
        tally.passed = {}

    def data(self, call, args, kwargs):
        """Nor its data."""
        return []


def resolved(booster):
    """Return all parameters in effect, by name, from the nested configuration."""
    import json

    learner = json.loads(booster.save_config())["learner"]
    found = {}
    _flatten(learner, found)
    metrics = learner.get("metrics") or ()
    found["eval_metric"] = ",".join(one["name"] for one in metrics)
    return found


def _flatten(value, found):
    if value.__class__ is list:
        for one in value:
            _flatten(one, found)
    if value.__class__ is not dict:
        return
    for name, one in value.items():
        if one.__class__ in (dict, list):
            _flatten(one, found)
        elif name != "name":
            found.setdefault(name, one if one.__class__ is str else str(one))


def _spaced(name):
    """``test-rmse-mean`` as ``test rmse-mean``."""
    return str(name).replace("-", " ", 1)


def _size(booster, found):
    """Estimate the bytes of the model's JSON: by a round in the middle, where it matters."""
    trees, depth = int(found.get("num_trees", 0)), int(found.get("max_depth", 0))
    if not trees or (depth and trees * 2 ** (depth + 1) * _BYTES_OF_A_NODE <= LARGEST):
        return 0
    rounds = booster.num_boosted_rounds()
    middle = rounds // 2
    return len(booster[middle : middle + 1].save_raw("json")) * rounds


def _plain(booster, name):
    """Return a method of the class without our watch on it."""
    method = getattr(type(booster), name)
    return getattr(method, "__wrapped__", method)
