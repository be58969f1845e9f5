"""Studies: searches that try parameters one after the other: Optuna's studies, FLAML's AutoML."""

from .values import value

_MOST_TRIALS = 2000
_SEEDS = {}
"""Random state of a sampler of Optuna's → its seed."""


def patch(module, fits):
    """Watch the searches of a module, or learn which seeds its samplers get."""
    if module.__name__ == "optuna.samplers._lazy_random_state":
        _watch_seeds(module.LazyRandomState)
    elif module.__name__ == "optuna.study.study":
        study = module.Study
        study.optimize = fits.watch("optuna Study.optimize", study.optimize, _Study(fits))
    else:
        automl = module.AutoML
        automl.fit = fits.watch("flaml AutoML.fit", automl.fit, _AutoML())


def _watch_seeds(kind):
    """Samplers keep no seed: it is noted here while the random state lives."""
    from functools import wraps
    from weakref import WeakKeyDictionary

    from .asking import forget, unseen

    global _SEEDS
    original, _SEEDS = kind.__init__, WeakKeyDictionary()

    @wraps(original)
    @unseen
    def __init__(self, *args, **kwargs):
        original(self, *args, **kwargs)
        try:
            _SEEDS[self] = args[0] if args else kwargs.get("seed")
        except Exception as error:
            forget(error)

    kind.__init__ = __init__


class _Study:
    """Describes a call of `Study.optimize`."""

    def __init__(self, fits):
        self.fits = fits

    def before(self, call, args, kwargs):
        """Note what was passed, what the study is, and how many trials it has already."""
        study = args[0]
        passed = dict(zip(("n_trials", "timeout", "n_jobs"), args[2:]))  # noqa: B905  Python 3.8
        passed.update((name, one) for name, one in kwargs.items() if name not in _SHOWN)
        passed.pop("func", None)
        state = {"study": study, "passed": passed}
        # A study in memory is asked for its trials, one in a data base for their number.
        state["first"] = study._storage.get_n_trials(study._study_id)
        resolved = {"n_jobs": 1, "timeout": None, **passed, **_facts(study)}
        found = {
            "state": state,
            "params": {name: value(one) for name, one in passed.items()},
            "resolved": {name: value(one) for name, one in resolved.items()},
            "threads": resolved["n_jobs"] if resolved["n_jobs"].__class__ is int else None,
        }
        if passed.get("timeout") is not None:
            found["budget"] = "timeout=%s" % value(passed["timeout"])
        return found

    def after(self, state, result, args, kwargs, detailed):
        """Say what the trials gave."""
        study = state["study"]
        trials = study.get_trials(deepcopy=False)
        mine = trials[state["first"] :]
        found = {"rounds": _rounds(study, state["passed"], len(mine))}
        found["history"] = _history(mine)
        best = _best(trials, study.directions)
        if best is not None:
            found["scores"] = {"best value": best.values[0]}
            found["resolved"] = {
                **{name: value(one) for name, one in _facts(study).items()},
                "n_jobs": value(state["passed"].get("n_jobs", 1)),
                "timeout": value(state["passed"].get("timeout")),
                "best_params": value(dict(best.params)),
                "best_trial": best.number,
            }
        return found

    def failed(self, state, args, kwargs):
        """Say what the trials gave before one of them raised."""
        found = self.after(state, None, args, kwargs, False)
        found["rounds"]["stopped_by"] = "an error"
        return found


_SHOWN = ("show_progress_bar", "gc_after_trial", "callbacks", "catch", "func")


def _facts(study):
    sampler = study.sampler
    found = {
        "sampler": sampler.__class__.__name__,
        "pruner": study.pruner.__class__.__name__,
        "direction": ", ".join(one.name.lower() for one in study.directions),
    }
    seeds = [_SEEDS.get(one, "") for one in vars(sampler).values() if _is_state(one)]
    if seeds:
        found["seed"] = seeds[0]
    return found


def _is_state(one):
    return one.__class__.__name__ == "LazyRandomState"


def _rounds(study, passed, run):
    asked = passed.get("n_trials")
    rounds = {"asked": asked if asked.__class__ is int else None, "trained": run}
    if asked is not None and run >= asked:
        rounds["stopped_by"] = "rounds"
    elif getattr(study, "_stop_flag", False):
        rounds["stopped_by"] = "a callback"
    elif passed.get("timeout") is not None:
        rounds["stopped_by"] = "a deadline"
    return rounds


def _history(trials):
    """Return columns: state, values, and each parameter, trial by trial."""
    trials = trials[:_MOST_TRIALS]
    found = {"state": [trial.state.name.lower() for trial in trials]}
    width = max((len(trial.values or ()) for trial in trials), default=0)
    for at in range(width):
        name = "value" if width == 1 else "value %d" % at
        found[name] = [trial.values[at] if trial.values else None for trial in trials]
    for name in dict.fromkeys(name for trial in trials for name in trial.params):
        found["param " + name] = [value(trial.params.get(name)) for trial in trials]
    return found


def _best(trials, directions):
    done = [trial for trial in trials if trial.state.name == "COMPLETE" and trial.values]
    if len(directions) != 1 or not done:
        return None
    choose = max if directions[0].name == "MAXIMIZE" else min
    return choose(done, key=lambda trial: trial.values[0])


class _AutoML:
    """Describes a call of `AutoML.fit`: by default the clock ends it."""

    def before(self, call, args, kwargs):
        """Note what was passed."""
        given = {**getattr(args[0], "_settings", {}), **kwargs}
        data = ("X_train", "y_train", "dataframe", "X_val", "y_val")
        passed = {name: value(one) for name, one in given.items() if name not in data}
        found = {"params": passed}
        budget = given.get("time_budget")
        if budget is not None and budget.__class__ in (int, float) and budget > 0:
            found["budget"] = "time_budget=%s" % budget
        return found

    def after(self, state, result, args, kwargs, detailed):
        """Say what was found to be the best."""
        model = args[0]
        names = ("best_estimator", "best_config", "best_loss", "best_iteration", "metric")
        found = {name: value(getattr(model, name, None)) for name in names}
        scores = {"best loss": found["best_loss"]} if found["best_loss"] is not None else {}
        return {"resolved": found, "scores": scores}
