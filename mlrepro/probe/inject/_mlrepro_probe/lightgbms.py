"""Lightgbms: what was in effect in LightGBM's `train`, `cv`, `fit`, and loops over `update`."""

import sys
from functools import wraps

from . import boosters, courses
from .asking import unseen
from .models import LARGEST

_BYTES_OF_A_TREE = 31 * 120  # of the usual 31 leaves
# Their values have other names too: `mse` is `l2`, `gbrt` is `gbdt`.
_OWN_NAMES = ("objective", "metric", "boosting", "tree_learner", "task")
# Of the scikit-learn interface alone.
_OF_SKLEARN = ("class_weight", "importance_type", "silent")


def patch(module, fits):
    """Watch what a module of LightGBM trains, when it has just been executed."""
    {
        "lightgbm.basic": _patch_basic,
        "lightgbm.callback": _patch_callback,
        "lightgbm.engine": _patch_engine,
        "lightgbm.sklearn": _patch_sklearn,
    }[module.__name__](module, fits)


def _patch_basic(module, fits):
    by_hand = _ByHand(fits, _Library(module))
    watch = courses.Methods(fits, "lightgbm.Booster.update", by_hand)
    watch.patch(
        module.Booster,
        update=watch.update,
        eval_train=watch.evaluation(_results),
        eval_valid=watch.evaluation(_results),
        save_model=watch.saving,
        model_to_string=watch.copying,
        dump_model=watch.copying,
        __getstate__=watch.copying,
        __del__=watch.end,
    )
    if fits.evaluations is not None:
        fits.evaluations.watch(module.Booster)


def _results(results):
    return [("%s %s" % one[:2], one[2]) for one in results]


def _patch_callback(module, fits):
    """Learn who ends a training early: the library's own early stopping, or a callback."""
    kind = module.EarlyStopException
    original = kind.__init__

    @wraps(original)
    @unseen
    def __init__(self, *args, **kwargs):
        original(self, *args, **kwargs)
        tally = getattr(fits.local, "state", None)
        if tally.__class__ is courses.Tally:
            ours = sys._getframe(1).f_globals.get("__name__") == "lightgbm.callback"
            tally.stop = "early stopping" if ours else "a callback"

    kind.__init__ = __init__


def _patch_engine(module, fits):
    library = _Library(sys.modules["lightgbm.basic"])
    for name in ("train", "cv"):
        original = getattr(module, name)
        describer = _Engine(fits, library, original)
        setattr(module, name, fits.watch("lightgbm." + name, original, describer))


def _patch_sklearn(module, fits):
    library = _Library(sys.modules["lightgbm.basic"])
    for name in ("LGBMModel", "LGBMRegressor", "LGBMClassifier", "LGBMRanker"):
        kind = getattr(module, name, None)
        original = vars(kind).get("fit") if kind is not None else None
        if original is not None:
            kind.fit = fits.watch(_method, original, _Estimator(fits, library, original))


def _method(estimator, *_args, **_kwargs):
    return type(estimator).__name__ + ".fit"


class _Library:
    """What one version of LightGBM knows of parameters; asked when first needed."""

    def __init__(self, basic):
        self.basic = basic
        self.names = None

    def mains(self):
        """Return alias → own name of all parameters."""
        if self.names is None:
            aliases = self.basic._ConfigAliases
            aliases.get("num_iterations")
            self.names = {}
            for main, ones in aliases.aliases.items():
                self.names.update(dict.fromkeys(ones, main))
                self.names[main] = main
        return self.names

    def is_complete(self):
        """Whether it tells all aliases; before 4.0 there are those only that Python handles."""
        return hasattr(self.basic._ConfigAliases, "_get_all_param_aliases")

    def rounds(self, passed):
        """Return the name and value of the parameter that limits the rounds, and the value."""
        mains = self.mains()
        given = [name for name in passed if mains.get(name) == "num_iterations"]
        if len(given) > 1:
            given.sort(key=lambda name: name != "num_iterations")
        return [(name, passed[name]) for name in given]

    def threads(self, found):
        """Return the threads that were to be used."""
        asked = int(found.get("num_threads", 0))
        return asked if asked > 0 else int(self.basic._LIB.omp_get_max_threads())


class _Describer(courses.Describer):
    """What the three ways to train have in common."""

    def kept(self, objects):
        """Return the rounds that the model predicts with."""
        booster = objects[-1]
        best = getattr(booster, "best_iteration", None)
        return best if best is not None and best > 0 else booster.current_iteration()

    def in_effect(self, tally, booster):
        """Ask for all parameters."""
        found, passed = resolved(booster), tally.passed
        mains = dict(self.library.mains())
        mains.update((name, name) for name in found)
        mains.update((name, name) for name in _OF_SKLEARN)
        if not self.library.is_complete():
            mains.update((name, name) for name in passed if name not in mains)
        fields = boosters.parameters(passed, mains, found, _OWN_NAMES)
        if tally.overridden:
            fields.setdefault("overridden", {}).update(tally.overridden)
        return courses.told(tally, resolved=found, threads=self.library.threads(found), **fields)

    def text(self, booster, found):
        """Give the model's text, unless it would be long; held, a model must hold no data."""
        size = _size(booster) if found else 0
        if size > LARGEST:
            return {"text_left_out": "about %d MiB" % (size >> 20)}
        write = _plain(booster, "model_to_string")
        hold = getattr(booster, "train_set", None) is None
        return {"text": lambda: write(booster), "hold": hold}


class _Engine(_Describer):
    """`lightgbm.train` and `lightgbm.cv`."""

    def tell(self, tally, args, kwargs):
        """Note what was passed."""
        given = self.given(args, kwargs)
        params, train_set = given("params", 0), given("train_set", 1)
        tally.passed = {**(getattr(train_set, "params", None) or {}), **(params or {})}
        tally.asked = given("num_boost_round", 2)
        limits = self.library.rounds(tally.passed)
        if limits:
            asked, tally.asked = tally.asked, limits[0][1]
            if asked != tally.asked and ("num_boost_round" in kwargs or len(args) > 2):
                why = "%s=%s of `params` took effect" % limits[0]
                tally.overridden["num_boost_round"] = why

    def data(self, call, args, kwargs):
        """Describe the data sets as they were passed."""
        return _data(self.given(args, kwargs), call)

    def rows(self, call, args, kwargs):
        """Return what the model is tested on; see `evaluations`."""
        from . import evaluations

        if call != "lightgbm.train":
            return ()
        return evaluations.lightgbm_rows(call, self.given(args, kwargs), _listed)

    def history(self, result):
        """Read what `cv` returned."""
        return {name: list(one) for name, one in result.items() if one.__class__ is list}


def _size(booster):
    """Estimate the bytes of the model's text: by that of a tree in the middle, where it matters."""
    count = booster.num_trees()
    if count * _BYTES_OF_A_TREE <= LARGEST:
        return 0
    write = _plain(booster, "model_to_string")
    middle = booster.current_iteration() // 2
    one = write(booster, num_iteration=1, start_iteration=middle)
    none = write(booster, num_iteration=1, start_iteration=2**30)
    return (len(one) - len(none)) * booster.current_iteration() + len(none)


def resolved(booster):
    """Return all parameters in effect, as LightGBM prints them at the end of a model's text."""
    text = _plain(booster, "model_to_string")(booster, num_iteration=1, start_iteration=2**30)
    return _block(text)


def _block(text):
    start = text.rfind("\nparameters:\n")
    found = {}
    for line in text[start:].partition("\nend of parameters")[0].splitlines():
        if line[:1] == "[":
            name, _, value = line[1:-1].partition(": ")
            found[name.rstrip(":")] = value
    return found


def _plain(booster, name):
    """Return a method of the class without our watch on it."""
    method = getattr(type(booster), name)
    return getattr(method, "__wrapped__", method)


def _data(given, call):
    train_set = given("train_set", 1)
    found = [_dataset("train", train_set)]
    in_train = call == "lightgbm.train"
    valid, names = given("valid_sets", 3 if in_train else 99), given("valid_names", 4)
    for index, one in enumerate(_listed(valid)):
        known = _listed(names)
        name = known[index] if index < len(known) else "valid_%d" % index
        found.append(_dataset(name, one))
    initial = given("init_model", 6 if in_train else 99)
    if initial is not None:
        found.append("init_model: %s" % _initial(initial))
    return found


def _listed(value):
    if value is None:
        return ()
    return value if value.__class__ in (list, tuple) else (value,)


def _initial(model):
    return model.__class__.__name__ if hasattr(model, "num_trees") else str(model)[:200]


def _dataset(name, one):
    data = getattr(one, "data", None)
    if isinstance(data, (str, bytes)) or hasattr(data, "__fspath__"):
        text = "file %s" % str(data)[-200:]
    elif data is not None and hasattr(data, "shape"):
        text = boosters.described(data)
    else:
        text = "Dataset" + _constructed(one)
    label = getattr(one, "label", None)
    if label is not None and hasattr(label, "shape"):
        text += ", label %s" % boosters.kinds(label)
    for word, field in (
        ("weights", "weight"),
        ("groups", "group"),
        ("initial scores", "init_score"),
    ):
        if getattr(one, field, None) is not None:
            text += ", " + word
    named = getattr(one, "categorical_feature", None)
    if named.__class__ in (list, tuple) and named:
        text += ", %d categorical" % len(named)
    return "%s: %s" % (name, text)


def _constructed(one):
    """Shape of a data set whose raw data is gone."""
    if getattr(one, "_handle", getattr(one, "handle", None)) is None:
        return ""
    return " %d × %d" % (one.num_data(), one.num_feature())


class _ByHand(_Describer):
    """Loops over `update` outside any fit."""

    def tell(self, tally, args, kwargs):
        """Note what is known after the first round."""
        tally.passed = dict(args[0].params or {})

    def data(self, call, args, kwargs):
        """Describe the booster's own data set."""
        return [_dataset("train", getattr(args[0], "train_set", None))]


class _Estimator(_Describer):
    """`fit` of the scikit-learn interface."""

    def tell(self, tally, args, kwargs):
        """Note what was passed: what differs from the defaults, or is unknown to the class."""
        model = args[0]
        passed = boosters.constructed_with(model)
        passed.update(getattr(model, "_other_params", None) or {})
        limits = self.library.rounds(passed)
        limits.sort(key=lambda one: one[0] == "n_estimators")  # which counts least
        tally.passed = passed
        tally.asked = limits[0][1] if limits else getattr(model, "n_estimators", None)

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
