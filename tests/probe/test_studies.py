"""Searches of Optuna and FLAML.

Neither is installed where these tests run: a small package of the same shape stands in for each.
What the real Optuna 5.0 leaves in the log was compared by hand.
"""

from __future__ import annotations

import pytest

from tests.probe.fitting import Seen, prints_the_same

OPTUNA = {
    "__init__.py": "from optuna.study.study import Study, samplers\n",
    "samplers/__init__.py": """
from optuna.samplers._lazy_random_state import LazyRandomState
class TPESampler:
    def __init__(self, seed=None):
        self._rng = LazyRandomState(seed)
""",
    "samplers/_lazy_random_state.py": """
import numpy
class LazyRandomState:
    def __init__(self, seed=None):
        self._rng = None
        if seed is not None:
            self.rng.seed(seed=seed)
    def _set_rng(self):
        self._rng = numpy.random.RandomState()
    @property
    def rng(self):
        if self._rng is None:
            self._set_rng()
        return self._rng
""",
    "study/__init__.py": "",
    "study/study.py": """
import enum, time
from optuna import samplers
class Direction(enum.Enum):
    MINIMIZE = 1
    MAXIMIZE = 2
class State(enum.Enum):
    COMPLETE = 1
    FAIL = 3
class MedianPruner: pass
class Trial:
    def __init__(self, study, number):
        self.study, self.number, self.params, self.values, self.state = study, number, {}, None, None
    def suggest_float(self, name, low, high):
        self.params[name] = low + (high - low) * float(self.study.sampler._rng.rng.rand())
        return self.params[name]
class Storage:
    def __init__(self):
        self.trials = []
    def get_n_trials(self, study):
        return len(self.trials)
class Study:
    def __init__(self, sampler, directions=(Direction.MINIMIZE,)):
        self.sampler, self.pruner, self.directions = sampler, MedianPruner(), list(directions)
        self._storage, self._study_id, self._stop_flag = Storage(), 0, False
    def get_trials(self, deepcopy=True):
        return list(self._storage.trials)
    def stop(self):
        self._stop_flag = True
    def optimize(self, func, n_trials=None, timeout=None, n_jobs=1, catch=(), callbacks=None):
        "Optimize."
        began, self._stop_flag, first = time.monotonic(), False, len(self._storage.trials)
        while not self._stop_flag and len(self._storage.trials) - first != n_trials:
            if timeout is not None and time.monotonic() - began >= timeout:
                break
            trial = Trial(self, len(self._storage.trials))
            self._storage.trials.append(trial)
            trial.state = State.FAIL
            value = func(trial)
            trial.values = list(value) if isinstance(value, tuple) else [value]
            trial.state = State.COMPLETE
            for callback in callbacks or ():
                callback(self, trial)
""",
}
FLAML = {
    "__init__.py": "",
    "automl/__init__.py": "from flaml.automl.automl import AutoML\n",
    "automl/automl.py": """
class AutoML:
    def __init__(self, **settings):
        self._settings = settings
    def fit(self, X_train=None, y_train=None, **settings):
        self.best_estimator, self.best_loss, self.best_config = "lgbm", 0.25, {"n_estimators": 9}
        self.best_iteration = 4
""",
}


@pytest.fixture
def place(tmp_path):
    for name, files in (("optuna", OPTUNA), ("flaml", FLAML)):
        for path, text in files.items():
            target = tmp_path / "site-packages" / name / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
    return tmp_path


def run(place, script: str) -> Seen:
    seen = prints_the_same(place, script, path=str(place / "site-packages"))
    assert all("incomplete" not in fit for fit in seen.fits)
    return seen


def test_a_study_is_told_with_its_trials_sampler_seed_and_best_value(place) -> None:
    seen = run(
        place,
        """
        import optuna
        study = optuna.Study(optuna.samplers.TPESampler(seed=4))
        for n_trials in (2, 3):
            study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=n_trials)
        print([trial.params for trial in study.get_trials()])
        """,
    )

    first, second = seen.fits
    assert first["call"] == "optuna Study.optimize"
    assert first["params"] == {"n_trials": 2}
    assert second["rounds"] == {"asked": 3, "trained": 3, "stopped_by": "rounds"}
    assert second["history"]["state"] == ["complete"] * 3
    assert second["history"]["param x"] == second["history"]["value"]
    values = first["history"]["value"] + second["history"]["value"]
    assert second["scores"] == {"best value": min(values)}
    resolved = second["resolved"]
    assert (resolved["sampler"], resolved["seed"], resolved["pruner"]) == (
        "TPESampler",
        4,
        "MedianPruner",
    )
    assert resolved["direction"] == "minimize"
    assert resolved["best_params"] == {"x": min(values)}
    assert "budget" not in second
    assert seen.seedings == []  # the random state that a seeded sampler makes is no unseeded one


def test_a_study_that_the_clock_or_a_callback_ended_says_so(place) -> None:
    seen = run(
        place,
        """
        import optuna
        study = optuna.Study(optuna.samplers.TPESampler(1))
        study.optimize(lambda trial: 1, timeout=0.05)
        study.optimize(lambda trial: 1, 9, callbacks=[lambda study, trial: study.stop()])
        print("done")
        """,
    )

    clock, callback = seen.fits
    assert clock["budget"] == "timeout=0.05"
    assert (clock["rounds"]["asked"], clock["rounds"]["stopped_by"]) == (None, "a deadline")
    assert callback["rounds"] == {"asked": 9, "trained": 1, "stopped_by": "a callback"}


def test_an_unseeded_sampler_is_an_unseeded_generator(place) -> None:
    seen = run(
        place,
        """
        import optuna
        study = optuna.Study(optuna.samplers.TPESampler())
        study.optimize(lambda trial: bool(trial.suggest_float("x", 0, 1) < 2), n_trials=1)
        print("done")
        """,
    )

    (made,) = seen.seedings
    assert (made["seed"], made["where"].rpartition("/")[2]) == (None, "train.py:4")
    assert seen.fits[0]["resolved"]["seed"] is None


def test_a_study_that_raised_tells_the_trials_until_then(place) -> None:
    seen = run(
        place,
        """
        import optuna
        study = optuna.Study(optuna.samplers.TPESampler(1))
        try:
            study.optimize(lambda trial: 1 / (1 - trial.number), n_trials=5)
        except ZeroDivisionError as error:
            print(error)
        """,
    )

    (fit,) = seen.fits
    assert fit["failed"] == "ZeroDivisionError"
    assert fit["rounds"] == {"asked": 5, "trained": 2, "stopped_by": "an error"}
    assert fit["history"] == {"state": ["complete", "fail"], "value": [1.0, None]}


def test_several_objectives_have_no_best_trial(place) -> None:
    seen = run(
        place,
        """
        import optuna
        from optuna.study.study import Direction
        study = optuna.Study(optuna.samplers.TPESampler(1), Direction)
        study.optimize(lambda trial: (trial.number, 2), n_trials=2)
        print("done")
        """,
    )

    (fit,) = seen.fits
    assert fit["resolved"]["direction"] == "minimize, maximize"
    assert fit["history"]["value 0"] == [0, 1]
    assert not fit.get("scores")


def test_fits_inside_a_study_are_counted(place) -> None:
    seen = run(
        place,
        """
        import optuna
        from sklearn.linear_model import Ridge
        def objective(trial):
            Ridge(trial.suggest_float("alpha", 0, 1)).fit([[1], [2]], [1, 2])
            return 1
        optuna.Study(optuna.samplers.TPESampler(1)).optimize(objective, n_trials=3)
        print("done")
        """,
    )

    (fit,) = seen.fits
    assert fit["inside"] == {"sklearn Ridge.fit": 3}


def test_a_search_of_flaml_tells_its_budget_and_the_best(place) -> None:
    seen = run(
        place,
        """
        from flaml.automl import AutoML
        AutoML(metric="mse").fit([[1]], [2], time_budget=7)
        AutoML().fit([[1]], [2], max_iter=3, time_budget=-1)
        print("done")
        """,
    )

    clock, rounds = seen.fits
    assert clock["budget"] == "time_budget=7"
    assert clock["params"] == {"metric": "mse", "time_budget": 7}
    assert clock["scores"] == {"best loss": 0.25}
    assert clock["resolved"]["best_config"] == {"n_estimators": 9}
    assert not rounds.get("budget")
