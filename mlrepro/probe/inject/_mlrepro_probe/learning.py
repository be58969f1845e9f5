"""Learning: how an estimator of scikit-learn was trained: rounds, scores, threads."""

import sys

from .values import value

_MOST_HISTORY = 1000
_OPENMP = ("HistGradientBoosting", "KMeans", "MiniBatchKMeans", "BisectingKMeans")


def rounds(model, call):
    """Say how many rounds were asked for and run, and what ended them."""
    model = last_step(model)
    if call.endswith("partial_fit") or not hasattr(model, "__dict__"):
        return None
    asked = vars(model).get("max_iter", vars(model).get("n_estimators"))
    trained = _trained(model)
    if asked.__class__ is not int or trained is None:
        return None
    found = {"asked": asked if asked >= 0 else None, "trained": trained, "kept": trained}
    if trained >= asked >= 0:
        found["stopped_by"] = "rounds"
    elif _stops_early(model):
        found["stopped_by"] = "early stopping"
    elif "max_iter" in vars(model):
        found["stopped_by"] = "tolerance"
    elif "learning_rate" in vars(model):
        found["stopped_by"] = "no more gain"
    if "_best_coefs" in vars(model) and vars(model).get("validation_scores_"):
        scores = vars(model)["validation_scores_"]
        found["kept"] = scores.index(max(scores)) + 1  # the weights of the best round are kept
    return found


def last_step(model):
    """Return the estimator that a pipeline ends in."""
    steps = getattr(model, "__dict__", {}).get("steps")
    for _ in range(4):
        if steps.__class__ is not list or not steps:
            break
        model = steps[-1][1]
        steps = getattr(model, "__dict__", {}).get("steps")
    return model


def _trained(model):
    own = vars(model)
    for name in ("n_iter_", "n_estimators_"):
        # HistGradientBoosting has a property, which counts its trees.
        found = own.get(name)
        if found is None and name == "n_iter_" and "_predictors" in own:
            found = len(own["_predictors"])
        if found is not None:
            largest = getattr(found, "max", None)
            return int(largest() if largest else max(found) if found.__class__ is list else found)
    models = own.get("estimators_")
    return None if models is None else len(models)


def _stops_early(model):
    own = vars(model)
    if "do_early_stopping_" in own:
        return bool(own["do_early_stopping_"])
    if "max_iter" in own:
        return own.get("early_stopping") is True
    return own.get("n_iter_no_change") is not None


_HISTORIES = (
    ("train_score_", "train score"),
    ("validation_score_", "validation score"),
    ("loss_curve_", "train loss"),
    ("validation_scores_", "validation score"),
)
_SCORES = (("oob_score_", "out-of-bag score"), ("inertia_", "train inertia"))


def history(model):
    """Return ``<data> <metric>`` → its values, round by round or candidate by candidate."""
    own = getattr(last_step(model), "__dict__", {})
    found = {}
    for name, words in _HISTORIES:
        numbers = _numbers(own.get(name))
        if numbers:
            found[words] = numbers
    results = own.get("cv_results_")
    if results.__class__ is dict:
        for name, thing in results.items():
            numbers = _numbers(thing) if name.startswith("mean_test_") else None
            if numbers:
                found["cv " + _metric(own, name[len("mean_test_") :])] = numbers
    return found


def _metric(own, name):
    scoring = own.get("scoring")
    return scoring if name == "score" and scoring.__class__ is str else name


def _numbers(thing):
    if hasattr(thing, "tolist"):
        thing = thing.tolist()
    if thing.__class__ is not list or len(thing) > _MOST_HISTORY:
        return None
    return [one for one in thing if one.__class__ in (int, float)]


def scores(model, history):
    """Return ``<data> <metric>`` → its last value, or the best of a search."""
    own = getattr(last_step(model), "__dict__", {})
    found = {name: series[-1] for name, series in history.items() if name[:3] != "cv "}
    best = value(own.get("best_score_"))
    if best.__class__ in (int, float):
        found["cv " + _metric(own, "score")] = best
    for name, words in _SCORES:
        one = value(own.get(name))
        if one.__class__ in (int, float):
            found[words] = one
    return found


def threads(model):
    """Return the workers that `n_jobs` stands for, or the threads of those that use OpenMP."""
    model = last_step(model)
    jobs = getattr(model, "__dict__", {}).get("n_jobs", "")
    if jobs is None or jobs.__class__ is int:
        return int(sys.modules["joblib"].effective_n_jobs(jobs))
    if model.__class__.__name__.startswith(_OPENMP):
        helpers = sys.modules.get("sklearn.utils._openmp_helpers")
        return int(helpers._openmp_effective_n_threads()) if helpers is not None else None
    return None
