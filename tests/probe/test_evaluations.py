"""The rows that models are tested on, as the probe keeps them at a rebuild; real trainings."""

from __future__ import annotations

import importlib.util
import json
import textwrap
from pathlib import Path

import pytest

from mlrepro import cleanroom
from tests.probe.fitting import prints_the_same, run
from tests.probe.test_boosters import BARE

np = pytest.importorskip("numpy")
pytest.importorskip("lightgbm")
pytest.importorskip("xgboost")
pytest.importorskip("sklearn")

DATA = """
import warnings; warnings.simplefilter("ignore")
import numpy as np
rng = np.random.default_rng(0)
X = rng.random((300, 6)); labels = (X[:, 0] + 0.4 * rng.random(300) > 0.7).astype(int)
"""


@pytest.fixture
def evaluations(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "evaluations"
    folder.mkdir()
    monkeypatch.setenv("MLREPRO_EVALUATIONS", str(folder))
    return folder


@pytest.fixture
def kept(evaluations):
    """Return the sets by name, read as the rebuilt environment reads them."""
    path = Path(cleanroom.__file__).with_name("_predictrows.py")
    spec = importlib.util.spec_from_file_location("_predictrows", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda: {one.name: one for one in module.kept(str(evaluations))}


def trained(folder, script, *, start=DATA, **options):
    return run(folder, start + textwrap.dedent(script), **options)


def test_sets_of_lightgbm_are_kept_before_the_library_frees_them(tmp_path, kept):
    trained(
        tmp_path,
        """
        import lightgbm as lgb
        train = lgb.Dataset(X[:200], labels[:200])
        valid = lgb.Dataset(X[200:], labels[200:], weight=np.arange(100), reference=train)
        params = {"verbose": -1, "objective": "binary", "num_threads": 1}
        lgb.train(params, train, 3, valid_sets=[train, valid], valid_names=["train", "held out"])
        assert valid.data is None
        """,
        start=BARE + DATA,
    )

    (one,) = kept().values()
    expected = np.random.default_rng(0).random((300, 6))
    assert one.name == "held out of lightgbm.train"
    assert np.array_equal(one.table(None, 6, True), expected[200:])
    assert one.array("label").shape == (100,)
    assert one.array("weight").tolist() == list(range(100))
    assert not one.facts["training"]


def test_matrices_of_xgboost_give_their_rows_back_with_what_is_missing(tmp_path, kept):
    trained(
        tmp_path,
        """
        import xgboost as xgb
        X[200, 3] = np.nan
        train, valid = xgb.DMatrix(X[:200], labels[:200]), xgb.DMatrix(X[200:], labels[200:])
        quiet = {"verbosity": 0, "nthread": 1}
        model = xgb.train(quiet, train, 2, evals=[(valid, "valid")], verbose_eval=False)
        model.predict(xgb.DMatrix(X[:50]))
        """,
        start=BARE + DATA,
    )

    found = kept()
    assert set(found) == {"valid of xgboost.train", "rows of Booster.predict"}
    table = found["valid of xgboost.train"].table(None, 6, True)
    assert table.shape == (100, 6)
    assert np.argwhere(np.isnan(table)).tolist() == [[0, 3]]
    assert found["rows of Booster.predict"].rows == 50


def test_a_scikit_learn_model_keeps_what_it_is_asked_about_and_of_many_rows_spaced_ones(
    tmp_path, kept
):
    seen = trained(
        tmp_path,
        """
        print(labels.tolist())
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X[:200], labels[:200])
        model.predict(X[:200])
        from sklearn.metrics import accuracy_score, mean_squared_error, roc_auc_score
        from sklearn.linear_model import LinearRegression
        from sklearn.naive_bayes import GaussianNB
        plain = GaussianNB().fit(X, labels)
        print(roc_auc_score(labels[100:], plain.predict_proba(X[100:])[:, 1]))
        line = LinearRegression().fit(X, labels)
        guess = line.predict(X[150:])
        print(accuracy_score(labels[:150], labels[150:]))  # not of these rows
        print(accuracy_score(labels[150:], (guess > 0.5).astype(int)))
        print(model.score(X[200:], labels[200:]), model.predict(X[:3]).shape)
        from sklearn.dummy import DummyRegressor
        from scipy.sparse import csr_matrix
        many = np.arange(50_000.0)
        DummyRegressor().fit(many[:, None], many).predict(csr_matrix(many[:, None]))
        """,
    )

    found = kept()
    assert "training rows of Pipeline.fit" not in found  # the ones of the last fit are enough
    expected = (
        found["rows of GaussianNB.predict_proba"],
        found["rows of LinearRegression.predict"],
    )
    known = np.array(json.loads(seen.stdout.splitlines()[0]))
    for one, length in zip(expected, (200, 150), strict=True):
        assert one.array("label").tolist() == known[-length:].tolist()
    asked = found["rows of Pipeline.score"]
    assert (asked.rows, len(asked.array("label"))) == (100, 100)
    assert seen.stdout.endswith("(3,)\n")
    last = found["training rows of DummyRegressor.fit"]
    assert (last.rows, last.total) == (20_000, 50_000)
    assert last.array("label")[:3].tolist() == [0, 2, 5]
    sparse = found["rows of DummyRegressor.predict"].table(None, 1, False)
    assert (sparse.shape, sparse[2, 0]) == ((20_000, 1), 5)


def test_a_table_with_categories_texts_and_gaps_comes_back_as_it_was(tmp_path, kept):
    pandas = pytest.importorskip("pandas")
    trained(
        tmp_path,
        """
        import pandas as pd
        from sklearn.base import BaseEstimator, ClassifierMixin
        from sklearn.dummy import DummyClassifier
        table = pd.DataFrame({"a": X[:, 0], "kind": pd.Categorical(["x", "y", None] * 100),
                              "text": ["é", None, "z"] * 100, "day": pd.Timestamp("2026-01-01"),
                              "whole": pd.array([1, None, 3] * 100, dtype="Int64"), 7: True})
        table.columns = [*table.columns[:-1], "flag"]
        DummyClassifier().fit(table, np.where(labels, "sick", "well"))
        table.to_pickle("table.pkl")
        """,
    )

    (one,) = kept().values()
    pandas.testing.assert_frame_equal(
        one.table(None, 6, False), pandas.read_pickle(tmp_path / "table.pkl"), check_dtype=True
    )
    assert set(one.array("label").tolist()) == {"sick", "well"}
    assert one.facts["training"]


def test_the_last_sets_of_a_long_search_are_left_and_no_more(tmp_path, evaluations):
    trained(
        tmp_path,
        """
        import lightgbm as lgb
        for n in range(1, 40):
            train, valid = lgb.Dataset(X[:200], labels[:200]), lgb.Dataset(X[-n:], labels[-n:])
            lgb.train({"verbose": -1, "num_threads": 1}, train, 1, valid_sets=[valid])
        """,
        start=BARE + DATA,
    )

    assert len(list(evaluations.iterdir())) == 2 * 5
    rows = [json.loads(path.read_text())["rows"] for path in evaluations.glob("*.json")]
    assert 39 in rows


def test_a_file_that_stands_for_rows_is_named(tmp_path, kept):
    trained(
        tmp_path,
        """
        import lightgbm as lgb
        np.savetxt("valid.csv", np.column_stack([labels, X]), delimiter=",")
        train, valid = lgb.Dataset(X, labels), lgb.Dataset("valid.csv")
        lgb.train({"verbose": -1, "num_threads": 1}, train, 1, valid_sets=[valid])
        """,
        start=BARE + DATA,
    )

    (one,) = kept().values()
    assert (one.facts["kind"], one.facts["path"], one.fits(6)) == ("file", "valid.csv", False)


WATCHED = """
    import random
    import lightgbm as lgb
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import GridSearchCV
    np.random.seed(1); random.seed(1)
    model = RandomForestClassifier(5).fit(X[:200], labels[:200])
    print(model.predict_proba(X[200:]).sum(), model.score(X[200:], labels[200:]))
    search = GridSearchCV(model, {"max_depth": [2, 3]}, cv=2).fit(X, labels)
    print(search.predict(X).sum(), search.best_score_)
    boosted = lgb.LGBMClassifier(n_estimators=3, verbose=-1, subsample=0.5, subsample_freq=1)
    boosted.fit(X[:200], labels[:200], eval_X=X[200:], eval_y=labels[200:])
    print(boosted.predict_proba(X)[:, 1].sum(), list(boosted.evals_result_["valid_0"].values()))
    class Odd:
        shape = property(lambda self: 1 / 0)
    try:
        model.predict(Odd())
    except Exception as error:
        print(type(error))
    print(np.random.random(), random.random())
"""


def test_a_training_that_keeps_rows_prints_what_it_prints_without(tmp_path, kept):
    prints_the_same(tmp_path, DATA + textwrap.dedent(WATCHED))

    assert "eval_set 0 of LGBMClassifier.fit" in kept()


ONE = """
    import lightgbm as lgb
    model = lgb.train({"verbose": -1, "num_threads": 1}, lgb.Dataset(X, labels), 1)
    print(model.predict(X).shape)
"""


def test_without_the_variable_nothing_is_kept(tmp_path, evaluations, monkeypatch):
    monkeypatch.delenv("MLREPRO_EVALUATIONS")
    trained(tmp_path, ONE, start=BARE + DATA)

    assert list(evaluations.iterdir()) == []


def test_a_folder_that_cannot_be_written_disturbs_nobody(tmp_path, monkeypatch):
    monkeypatch.setenv("MLREPRO_EVALUATIONS", str(tmp_path / "nowhere"))

    assert trained(tmp_path, ONE, start=BARE + DATA).stdout == "(300,)\n"
