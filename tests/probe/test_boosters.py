"""What LightGBM and XGBoost really did in a training, as the probe tells it; real trainings."""

from __future__ import annotations

import json
import textwrap

import pytest

from tests.probe.fitting import prints_the_same, run

pytest.importorskip("lightgbm")
pytest.importorskip("xgboost")

# Without these, which both libraries import if they are there, a program starts in a third of the
# time.
BARE = """
import sys
sys.modules.update(dict.fromkeys(("pandas", "pyarrow", "sklearn")))
"""
DATA = """
import warnings; warnings.simplefilter("ignore")
import numpy as np, lightgbm as lgb, xgboost as xgb
rng = np.random.default_rng(0)
X = rng.random((300, 6)); y = X[:, 0] + 0.4 * rng.random(300); labels = (y > 0.7).astype(int)
base = {"verbose": -1, "num_threads": 1, "deterministic": True}
quiet = {"verbosity": 0, "nthread": 1}
def datasets():
    train = lgb.Dataset(X[:200], y[:200])
    return train, lgb.Dataset(X[200:], y[200:], reference=train)
"""


def seen(folder, script, *, start=BARE, **options):
    return run(folder, start + DATA + textwrap.dedent(script), **options)


def test_early_stopping_tells_rounds_asked_trained_and_kept(tmp_path):
    found = seen(
        tmp_path,
        """
        train, valid = datasets()
        stop = lgb.early_stopping(5, verbose=False)
        model = lgb.train({**base, "eta": 0.9}, train, 500, valid_sets=[valid], callbacks=[stop])
        print(model.best_iteration)
        """,
    )

    (fit,) = found.fits
    best = int(found.stdout)
    assert fit["call"] == "lightgbm.train"
    assert fit["rounds"] == {
        "asked": 500,
        "trained": best + 5,
        "kept": best,
        "stopped_by": "early stopping",
    }
    assert "num_iterations: 500" in found.model(fit).read_text()
    assert fit["resolved"]["num_iterations"] == "500"
    assert len(fit["history"]["valid_0 l2"]) == best + 5
    assert fit["scores"]["valid_0 l2"] == fit["history"]["valid_0 l2"][-1]


def test_ignored_aliased_and_overridden_parameters_are_named(tmp_path):
    (fit,) = seen(
        tmp_path,
        """
        params = {**base, "max_dept": 3, "eta": 0.2, "objective": "mse", "n_estimators": 4,
                  "learning_rate": 0.3}
        lgb.train(params, datasets()[0], num_boost_round=7)
        """,
    ).fits

    assert fit["ignored"] == ["max_dept"]
    assert fit["aliased"]["n_estimators"] == "num_iterations"
    assert fit["aliased"]["eta"] == "learning_rate"
    assert "0.3 took effect" in fit["overridden"]["eta"]
    assert "n_estimators=4" in fit["overridden"]["num_boost_round"]
    assert fit["params"]["objective"] == "regression"
    assert fit["params"]["learning_rate"] == 0.3
    assert fit["rounds"]["asked"] == 4
    assert fit["rounds"]["stopped_by"] == "rounds"
    assert fit["threads"] == 1
    assert len(fit["resolved"]) > 100
    assert fit["data"] == ["train: ndarray 200 × 6 float64, label float64"]


def test_why_a_training_ended_before_its_last_round(tmp_path):
    nothing, stopped, failed, interrupted = seen(
        tmp_path,
        """
        lgb.train(base, lgb.Dataset(np.ones((50, 2)), np.arange(50)), 5)

        def enough(env):
            if env.iteration == 2:
                raise lgb.callback.EarlyStopException(env.iteration, [])
        lgb.train(base, datasets()[0], 5, callbacks=[enough])

        for error in (KeyError, KeyboardInterrupt):
            def wrong(env):
                if env.iteration == 1:
                    raise error("no")
            try:
                lgb.train(base, datasets()[0], 5, callbacks=[wrong])
            except error:
                pass
        """,
    ).fits

    assert nothing["rounds"]["stopped_by"] == "no more gain"
    assert nothing["rounds"]["trained"] == 1
    assert stopped["rounds"]["stopped_by"] == "a callback"
    assert stopped["rounds"]["trained"] == 3
    assert (failed["failed"], interrupted["failed"]) == ("KeyError", "KeyboardInterrupt")
    assert failed["rounds"]["stopped_by"] == "an error"
    assert failed["rounds"]["trained"] == 2


def test_cv_tells_its_history_and_parameters(tmp_path):
    light, extreme = seen(
        tmp_path,
        """
        lgb.cv({**base, "time_budget": 9}, lgb.Dataset(X, y), 3, nfold=2, stratified=False)
        xgb.cv({**quiet, "eta": 0.2}, xgb.DMatrix(X, y), 4, nfold=2)
        """,
    ).fits

    assert light["call"] == "lightgbm.cv"
    assert len(light["history"]["valid l2-mean"]) == 3
    assert light["rounds"]["trained"] == 3
    assert light["budget"] == "time_budget=9"
    assert light["ignored"] == ["time_budget"]
    assert extreme["call"] == "xgboost.cv"
    assert len(extreme["history"]["test rmse-mean"]) == 4
    assert extreme["params"]["learning_rate"] == 0.2
    assert "model" not in extreme


def test_an_estimator_is_told_once_and_a_search_counts_what_is_inside(tmp_path):
    pytest.importorskip("sklearn")
    light, extreme, search = seen(
        tmp_path,
        """
        from sklearn.model_selection import GridSearchCV
        lgb.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1, max_dept=3).fit(X, labels)
        model = xgb.XGBRegressor(n_estimators=50, learning_rate=0.9, early_stopping_rounds=2,
                                 n_jobs=1, foo=1, verbosity=0)
        model.fit(X[:200], y[:200], eval_set=[(X[200:], y[200:])], verbose=False)
        grid = {"num_leaves": [3, 7]}
        few = lgb.LGBMClassifier(n_estimators=2, verbose=-1, n_jobs=1)
        GridSearchCV(few, grid, cv=2).fit(X, labels)
        """,
        start="",
    ).fits

    assert (light["call"], light["inside"]) == ("LGBMClassifier.fit", {"lightgbm.train": 1})
    assert light["ignored"] == ["max_dept"]
    assert light["data"] == ["X: ndarray 300 × 6 float64", "y: ndarray 300 int64"]
    assert (extreme["call"], extreme["inside"]) == ("XGBRegressor.fit", {"xgboost.train": 1})
    assert extreme["ignored"] == ["foo"]
    assert extreme["rounds"]["asked"] == 50
    assert extreme["rounds"]["trained"] == extreme["rounds"]["kept"] + 2
    assert extreme["rounds"]["stopped_by"] == "early stopping"
    assert search["inside"] == {"LGBMClassifier.fit": 5, "lightgbm.train": 5}


def test_xgboost_tells_what_was_in_effect(tmp_path):
    found = seen(
        tmp_path,
        """
        d = xgb.DMatrix(X[:200], y[:200], weight=np.ones(200)); v = xgb.DMatrix(X[200:], y[200:])
        params = {**quiet, "foo": 1, "max_dept": 3, "eta": 0.9, "lambda": 2, "gpu_id": None,
                  "eval_metric": ["mae", "rmse"], "booster": "gbtree", "subsample": 0.9}
        result = {}
        model = xgb.train(params, d, 100, evals=[(v, "held")], early_stopping_rounds=3,
                          evals_result=result, verbose_eval=False)
        import json
        print(json.dumps([result["held"]["rmse"], model.num_boosted_rounds()]))
        print(model.save_raw("json").decode(), end="")
        """,
    )

    (fit,) = found.fits
    first, _, text = found.stdout.partition("\n")
    history, rounds = json.loads(first)
    assert fit["ignored"] == ["foo", "max_dept"]
    assert fit["aliased"] == {"eta": "learning_rate", "lambda": "reg_lambda"}
    assert "overridden" not in fit
    assert fit["history"]["held rmse"] == history
    assert fit["rounds"]["trained"] == fit["rounds"]["kept"] == rounds == len(history)
    assert fit["rounds"]["stopped_by"] == "early stopping"
    assert fit["resolved"]["max_depth"] == "6"
    assert fit["threads"] == 1
    assert fit["data"][0] == "dtrain: DMatrix 200 × 6 float32, weights"
    assert found.model(fit).read_text() == text
    assert found.saved == [fit["id"]]


def test_a_model_that_is_never_saved_is_kept_as_its_text(tmp_path):
    found = seen(
        tmp_path,
        """
        def main():
            lgb.train(base, datasets()[0], 3)
            xgb.train(quiet, xgb.DMatrix(X, y), 3)
        main()
        model = lgb.train(base, datasets()[0], 3)
        """,
    )

    first, second, third = found.fits
    assert not found.saved
    assert found.model(first).read_text().startswith("tree\nversion=")
    assert json.loads(found.model(second).read_bytes())["learner"]
    assert found.model(third).read_bytes() == found.model(first).read_bytes()


def test_saving_in_any_way_is_noted_and_copying_is_not(tmp_path):
    found = seen(
        tmp_path,
        """
        import copy, pickle, io, multiprocessing
        def light(): return lgb.train(base, datasets()[0], 2)
        def extreme(): return xgb.train(quiet, xgb.DMatrix(X, y), 2)
        light().save_model("a.txt")
        open("b.txt", "w").write(light().model_to_string())
        pickle.dump(light(), io.BytesIO())
        pickle.dumps(lgb.LGBMRegressor(n_estimators=2, verbose=-1, n_jobs=1).fit(X, y))
        extreme().save_model("a.json")
        extreme().save_raw()
        pickle.dumps(xgb.XGBRegressor(n_estimators=2, n_jobs=1).fit(X, y))
        for model in (light(), extreme()):
            copy.deepcopy(model), copy.copy(model)
            multiprocessing.reduction.ForkingPickler.dumps(model)
            model.trees_to_dataframe()
        """,
        start="",
    )

    assert found.saved == [fit["id"] for fit in found.fits[:7]]
    assert len(found.fits) == 9


def test_loops_by_hand_are_told_when_the_model_goes_or_the_program_ends(tmp_path):
    found = seen(
        tmp_path,
        """
        def loop():
            model = lgb.Booster({**base, "eta": 0.2, "foo": 1}, lgb.Dataset(X, y))
            for _ in range(3):
                model.update()
            return model.model_to_string(num_iteration=-1) and None
        loop()
        matrix = xgb.DMatrix(X, y)
        model = xgb.Booster({**quiet, "eta": 0.2}, [matrix])
        for i in range(4):
            model.update(matrix, i, fobj=lambda p, d: (p - d.get_label(), np.ones(300)))
        kept = lgb.Booster(base, lgb.Dataset(X, y))
        kept.update()
        """,
    )

    gone, extreme, kept = found.fits
    assert gone["call"] == "lightgbm.Booster.update"
    assert gone["rounds"]["trained"] == 3
    assert gone["ignored"] == ["foo"]
    assert found.saved == [gone["id"]]
    assert (extreme["call"], extreme["rounds"]["trained"]) == ("xgboost.Booster.update", 4)
    assert extreme["resolved"]["learning_rate"] == "0.200000003"
    assert kept["rounds"]["kept"] == 1
    assert found.model(kept).read_text().count("Tree=") == 1


def test_of_many_fits_all_are_told_and_the_last_models_are_kept(tmp_path):
    found = seen(
        tmp_path,
        """
        for seed in range(100):
            model = lgb.train({**base, "seed": seed, "bagging_fraction": 0.5, "bagging_freq": 1},
                              datasets()[0], 1 + seed % 3)
        print(model.model_to_string(), end="")
        """,
    )

    assert len(found.fits) == 100
    assert [fit["params"]["seed"] for fit in found.fits] == list(range(100))
    assert [fit["rounds"]["trained"] for fit in found.fits[:3]] == [1, 2, 3]
    assert [fit["rounds"]["kept"] for fit in found.fits[-3:]] == [2, 3, 1]
    assert "resolved" in found.fits[63]
    assert all(found.model(fit).is_file() for fit in found.fits[-8:-1])
    assert found.saved == [found.fits[-1]["id"]]
    assert len(list(found.log.glob("model-*"))) <= 64


def test_fits_in_threads_and_workers_are_told_each(tmp_path):
    found = seen(
        tmp_path,
        """
        import multiprocessing, threading
        def train(rounds): lgb.train(base, datasets()[0], rounds)
        threads = [threading.Thread(target=train, args=(n,)) for n in (1, 2, 3)]
        for one in threads: one.start()
        for one in threads: one.join()
        child = multiprocessing.get_context("fork").Process(target=train, args=(4,))
        child.start(); child.join()
        train(5)
        """,
    )

    trained = sorted(fit["rounds"]["trained"] for fit in found.fits)
    pids = {fit["id"].split("-")[0] for fit in found.fits}
    assert trained == [1, 2, 3, 4, 5]
    assert len(pids) == 2
    assert all(found.model(fit).is_file() for fit in found.fits)


def test_the_program_cannot_tell_that_it_is_watched(tmp_path):
    script = """
    import hashlib, inspect, pickle, random, warnings
    warnings.resetwarnings(); warnings.simplefilter("always")
    def say(message, category, filename, lineno, file=None, line=None):
        print(category.__name__, filename.rpartition("/")[2], lineno, str(message)[11:40])
    warnings.showwarning = say
    random.seed(1); np.random.seed(1)
    train, valid = datasets()
    record = {}
    model = lgb.train({**base, "foo": 1, "bagging_fraction": 0.5, "bagging_freq": 1}, train, 8,
                      valid_sets=[valid], callbacks=[lgb.record_evaluation(record)])
    print(hashlib.sha256(model.model_to_string().encode()).hexdigest(), record)
    matrix = xgb.DMatrix(X, y)
    params = {"nthread": 1, "subsample": 0.5, "foo": 1}
    extreme = xgb.train(params, matrix, 5, evals=[(matrix, "t")], verbose_eval=2)
    def objective(p, d):
        warnings.warn("of the caller of `update`", UserWarning, stacklevel=3)
        return p - d.get_label(), np.ones(300)
    xgb.train(params, matrix, 1, obj=objective)
    print(hashlib.sha256(bytes(extreme.save_raw("json"))).hexdigest())
    print(xgb.cv({"nthread": 1}, matrix, 2, nfold=2, as_pandas=False))
    one = xgb.XGBClassifier(n_estimators=2, n_jobs=1).fit(X, labels)
    two = lgb.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1).fit(X, labels)
    print(one.predict_proba(X).sum(), two.predict_proba(X).sum())
    print(random.random(), np.random.rand(), one.get_params(), two.get_params())
    for function in (lgb.train, lgb.cv, xgb.train, xgb.cv, lgb.Booster.update, xgb.Booster.boost,
                     lgb.LGBMClassifier.fit, xgb.XGBClassifier.fit, lgb.LGBMModel.fit):
        print(inspect.signature(function), function.__module__, function.__qualname__)
        print(hashlib.sha256((function.__doc__ or "").encode()).hexdigest(), callable(function))
    print(pickle.loads(pickle.dumps(lgb.train)) is lgb.train, pickle.dumps(xgb.train))
    print(isinstance(pickle.loads(pickle.dumps(two)), lgb.LGBMClassifier))
    print(sorted(vars(model)), sorted(vars(one)), sorted(vars(lgb.Booster)))
    """
    found = prints_the_same(tmp_path, DATA + textwrap.dedent(script))

    assert len(found.fits) == 6
    assert "UserWarning training.py" in found.stdout


def test_what_a_describer_cannot_ask_costs_only_that(tmp_path):
    found = seen(
        tmp_path,
        """
        lgb.Booster.current_iteration = None
        try:
            lgb.train({**base, "objective": lambda p, d: (p - d.get_label(), np.ones(200))},
                      datasets()[0], 2)
        finally:
            print("went on")
        loop = {**quiet}; loop["itself"] = loop
        xgb.train({**quiet, "thing": object()}, xgb.DMatrix(X, y), 1)
        """,
    )

    assert found.stdout == "went on\n"
    assert [fit["call"] for fit in found.fits] == ["lightgbm.train", "xgboost.train"]
    assert found.fits[0]["incomplete"] == "TypeError"
    assert found.fits[1]["params"]["thing"] == "object"


def test_a_signal_handler_that_raises_while_a_fit_is_told_is_not_swallowed(tmp_path):
    found = seen(
        tmp_path,
        """
        import signal
        class Late(Exception): pass
        def late(number, frame): raise Late
        signal.signal(signal.SIGALRM, late)
        real = lgb.Booster.current_iteration
        def slow(self):
            signal.raise_signal(signal.SIGALRM)
            return real(self)
        lgb.Booster.current_iteration = slow
        try:
            lgb.train(base, datasets()[0], 2)
        except Late:
            print("late")
        lgb.Booster.current_iteration = real
        lgb.train(base, datasets()[0], 3)
        """,
    )

    assert found.stdout == "late\n"
    assert found.fits[-1]["rounds"]["trained"] == 3
