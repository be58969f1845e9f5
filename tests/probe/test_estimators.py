"""What scikit-learn's fits leave in the log, and that they do what they did before."""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest

from mlrepro.comparators import compare
from mlrepro.drift import Tolerance, Verdict
from tests.probe.fitting import Seen, prints_the_same, run

DATA = """
import numpy as np, warnings
X = np.random.RandomState(0).rand(120, 4)
y = (X[:, 0] + X[:, 1] > 1).astype(int)
"""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory) -> dict[str, dict]:
    """Many estimators of one program by their names; each test looks at another side of them."""
    seen = prints_the_same(
        tmp_path_factory.mktemp("zoo"),
        DATA
        + """
import pickle
np.random.seed(5)
from sklearn.cluster import KMeans
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

for model in (
    DecisionTreeClassifier(max_depth=3, random_state=1),
    HistGradientBoostingRegressor(max_iter=300, early_stopping=True, random_state=1),
    GradientBoostingClassifier(n_estimators=7, random_state=1),
    SGDClassifier(random_state=1),
    KMeans(2, n_init=1, random_state=1),
    make_pipeline(StandardScaler(), LogisticRegression(C=0.5)),
    GridSearchCV(DecisionTreeClassifier(random_state=1), {"max_depth": [1, 2]}, scoring="f1"),
    KBinsDiscretizer(3),
    Ridge(),
):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
    state = pickle.dumps(model) if "Search" not in str(model) else pickle.dumps(model.best_params_)
    print(type(model).__name__, state)
print(np.random.get_state())
""",
    )
    assert all("incomplete" not in fit for fit in seen.fits)
    return {fit["call"].split()[1].split(".")[0]: fit for fit in seen.fits}


def test_parameters_are_those_that_differ_from_the_defaults_and_resolved_are_all(zoo) -> None:
    assert zoo["DecisionTreeClassifier"]["params"] == {"max_depth": 3, "random_state": 1}
    resolved = zoo["DecisionTreeClassifier"]["resolved"]
    assert resolved["criterion"] == "gini"
    assert resolved["n_features_in_"] == 4
    assert resolved["classes_"] == [0, 1]
    assert zoo["Pipeline"]["params"]["logisticregression__C"] == 0.5
    assert zoo["Pipeline"]["resolved"]["logisticregression__n_iter_"][0] > 0
    assert zoo["GridSearchCV"]["params"]["estimator__random_state"] == 1
    assert zoo["GridSearchCV"]["resolved"]["best_params_"] == {"max_depth": 2}
    assert "refit_time_" not in zoo["GridSearchCV"]["resolved"]


def test_rounds_are_told_with_what_stopped_them(zoo) -> None:
    stopped = {name: (fit["rounds"] or {}).get("stopped_by") for name, fit in zoo.items()}

    assert stopped["HistGradientBoostingRegressor"] == "early stopping"
    assert stopped["GradientBoostingClassifier"] == "rounds"
    assert stopped["SGDClassifier"] == "tolerance"
    assert stopped["Pipeline"] == "tolerance"
    assert zoo["Ridge"]["rounds"] is None
    rounds = zoo["HistGradientBoostingRegressor"]["rounds"]
    assert rounds["asked"] == 300 > rounds["trained"] > 0
    assert len(zoo["GradientBoostingClassifier"]["history"]["train score"]) == 7


def test_scores_threads_and_data_are_told(zoo) -> None:
    assert 0.5 < zoo["GridSearchCV"]["scores"]["cv f1"] <= 1
    assert len(zoo["GridSearchCV"]["history"]["cv f1"]) == 2
    assert zoo["KMeans"]["scores"]["train inertia"] > 0
    assert zoo["KMeans"]["threads"] >= 1
    assert zoo["Pipeline"]["threads"] == 1
    assert zoo["Ridge"]["data"] == ["X: ndarray 120 × 4 float64", "y: ndarray 120 int64"]


def test_fits_inside_a_search_are_counted_and_not_told(zoo) -> None:
    assert zoo["GridSearchCV"]["inside"] == {"sklearn DecisionTreeClassifier.fit": 11}
    assert zoo["Pipeline"]["inside"]["sklearn LogisticRegression.fit"] == 1
    assert "StandardScaler" not in zoo


def model(seen: Seen, call: str):
    return seen.model(next(fit for fit in seen.fits if call in fit["call"]))


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> list[Seen]:
    """The same program three times; the last time with one row less."""
    script = (
        DATA
        + """
from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeRegressor
import sys
less = %d
X, y = X[less:], y[less:]
DecisionTreeRegressor(random_state=1, max_depth=2).fit(X, X[:, 0])
forest = RandomForestClassifier(3, random_state=1).fit(X, y)
print([tree.tree_.node_count for tree in forest.estimators_])
"""
    )
    return [run(tmp_path_factory.mktemp("trees"), script % less) for less in (0, 0, 1)]


def test_a_model_that_nobody_saved_is_kept_as_numbers(trees) -> None:
    path = model(trees[0], "RandomForest")
    counts = json.loads(trees[0].stdout)

    arrays = np.load(path)
    assert arrays["estimators_.tree_.nodes.threshold"].shape == (sum(counts),)
    assert list(arrays["estimators_.tree_.nodes.threshold.sizes"]) == counts
    assert arrays["numbers"]["n_features_in_"] == 4
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        words = json.loads(archive.read("words.json"))
    assert words["class"] == ["sklearn.ensemble._forest.RandomForestClassifier"]
    assert words["n_estimators"] == [3]


def test_the_same_model_has_the_same_bytes_and_another_is_compared_by_number(trees) -> None:
    first, again, other = (model(seen, "Regressor") for seen in trees)

    same = compare(first, again, name="<model 1>", tolerance=Tolerance())
    changed = compare(first, other, name="<model 1>", tolerance=Tolerance())

    assert same.verdict is Verdict.IDENTICAL
    assert changed.verdict is Verdict.DRIFTED
    assert changed.comparator == "arrays"
    assert "tree_.values" in {child.path for child in changed.children if child.first}


def test_saving_is_told_and_copying_is_not(tmp_path) -> None:
    seen = run(
        tmp_path,
        DATA
        + """
import copy, io, joblib, pickle
from sklearn.base import clone
from sklearn.linear_model import Ridge
copied, pickled, dumped, inside, anew = [Ridge(alpha).fit(X, y) for alpha in (1, 2, 3, 4, 5)]
copy.deepcopy(copied), copy.copy(copied), clone(copied), joblib.hash(copied)
pickle.dumps(pickled)
joblib.dump(dumped, io.BytesIO())
pickle.dump({"models": [inside]}, io.BytesIO())
anew.set_params(alpha=6)
""",
    )

    known = {fit["id"]: fit["resolved"]["alpha"] for fit in seen.fits}
    assert [known[identity] for identity in seen.saved] == [2, 3, 4]


def test_what_has_no_canonical_form_is_said(tmp_path) -> None:
    seen = run(
        tmp_path,
        DATA
        + """
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.neighbors import KNeighborsRegressor

class Mine(Ridge):
    def fit(self, X, y):
        super().fit(X, y)
        self.extra_ = Mine.__dict__
        return self

Mine().fit(X, y)
make_pipeline(Mine()).fit(X, y)
KNeighborsRegressor().fit(np.zeros((300_000, 4)), np.zeros(300_000))
""",
    )

    reasons = [fit.get("text_left_out", "") for fit in seen.fits]
    assert reasons == ["", "steps.extra_ is of the class mappingproxy", "it is too large"]
    assert [bool(fit.get("model")) for fit in seen.fits] == [True, False, False]


def test_data_of_every_kind_is_named(tmp_path) -> None:
    seen = run(
        tmp_path,
        DATA
        + """
import pandas as pd
from scipy import sparse
from sklearn.linear_model import Ridge
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import GaussianNB
frame = pd.DataFrame({"a": X[:, 0], "b": np.arange(120)})
Ridge().fit(frame, pd.Series(y, name="target"), sample_weight=np.ones(120))
Ridge().fit(X=sparse.csr_matrix(np.eye(120)), y=y)
CountVectorizer().fit(["one two", "three"])
GaussianNB().partial_fit(X, y, [0, 1])
""",
    )

    assert [fit["data"] for fit in seen.fits] == [
        [
            "X: DataFrame 120 × 2 float64, int64",
            "y: Series 120 int64",
            "sample_weight: ndarray 120 float64",
        ],
        ["X: csr_matrix 120 × 120 float64 with 120 stored", "y: ndarray 120 int64"],
        ["X: list of 2"],
        ["X: ndarray 120 × 4 float64", "y: ndarray 120 int64"],
    ]


def test_a_fit_that_fails_leaves_its_parameters_and_raises_what_it_raised(tmp_path) -> None:
    seen = prints_the_same(
        tmp_path,
        DATA
        + """
from sklearn.linear_model import LogisticRegression
try:
    LogisticRegression(C=-1).fit(X, y)
except ValueError as error:
    print(type(error).__name__, error)
try:
    LogisticRegression().fit()
except TypeError as error:
    print(error)
""",
    )

    assert [(fit["failed"], fit["params"]) for fit in seen.fits] == [
        ("InvalidParameterError", {"C": -1}),
        ("TypeError", {}),
    ]


def test_methods_and_classes_stay_what_they_were(tmp_path) -> None:
    prints_the_same(
        tmp_path,
        DATA
        + """
import inspect, os, pickle, subprocess, sys
import cloudpickle
from sklearn.base import BaseEstimator, _fit_context
from sklearn.linear_model import Ridge
from sklearn.utils.validation import has_fit_parameter

class Mine(BaseEstimator):
    _parameter_constraints = {"a": [int]}
    def __init__(self, a=1):
        self.a = a
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, weight=None):
        "Learn."
        self.a_ = self.a
        return self

for kind in (Ridge, Mine):
    print(inspect.signature(kind.fit), kind.fit.__name__, kind.fit.__qualname__, kind.fit.__module__)
    print(has_fit_parameter(kind(), "sample_weight"), inspect.isfunction(kind.fit), kind.fit.__doc__[:20])
print(pickle.dumps(Ridge.fit), pickle.loads(pickle.dumps(Ridge().fit(X, y).fit)).__name__)
sent = cloudpickle.dumps(Mine(3))  # as to a worker: the class travels by its content
os.environ.pop("PYTHONPATH", None), os.environ.pop("MLREPRO_LOG", None)
program = "import pickle, sys; print(pickle.load(sys.stdin.buffer).fit([[1]]).a_)"
there = subprocess.run([sys.executable, "-c", program], input=sent, stdout=subprocess.PIPE)
print(there.stdout)
print(sorted(vars(BaseEstimator)), sorted(vars(Ridge().fit(X, y))))
""",
    )


def test_thousands_of_fits_are_summed_up(tmp_path) -> None:
    seen = run(
        tmp_path,
        DATA
        + """
import time
from sklearn.base import BaseEstimator, _fit_context
from sklearn.preprocessing import MinMaxScaler
for _ in range(300):
    MinMaxScaler().fit(X)

class Slow(BaseEstimator):
    _parameter_constraints = {}
    def __init__(self, clip=False):
        self.clip = clip
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        time.sleep(0.06)
        self.n_samples_seen_ = len(X)
        return self

Slow(clip=True).fit(X)
try:
    MinMaxScaler(clip=3).fit(X)
except ValueError:
    pass
""",
    )

    *many, slow, failed = seen.fits
    assert len(many) == 300
    assert slow["params"] == {"clip": True}
    assert slow["resolved"]["n_samples_seen_"] == 120
    assert failed["params"] == {"clip": 3}
    brief = [fit for fit in many if "params" not in fit and "resolved" not in fit]
    assert len(brief) > 200
    assert len(list(seen.log.glob("model-*"))) <= 64


def test_fits_in_threads_of_a_search_are_inside_it(tmp_path) -> None:
    seen = run(
        tmp_path,
        DATA
        + """
import joblib
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
with joblib.parallel_backend("threading", n_jobs=2):
    GridSearchCV(Ridge(), {"alpha": [1, 2]}).fit(X, y)
""",
    )

    (fit,) = seen.fits
    assert sum(fit["inside"].values()) == 11
    assert fit["threads"] is not None


def test_what_scikit_learn_fits_for_its_own_ends_is_no_training(tmp_path):
    seen = prints_the_same(
        tmp_path,
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import log_loss
        from sklearn.model_selection import cross_val_score
        from sklearn.preprocessing import StandardScaler

        X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
        print(log_loss(y, [0.1, 0.2, 0.8, 0.9]))
        print(StandardScaler().fit_transform(X)[0])
        print(cross_val_score(LogisticRegression(), X, y, cv=2))
        """,
    )

    calls = [fit["call"].removeprefix("sklearn ") for fit in seen.fits]
    assert calls[0].startswith("StandardScaler.")
    assert calls[1:] == ["LogisticRegression.fit"] * 2
