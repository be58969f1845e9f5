"""Predictions of both models: what is measured of them, and in a rebuild as a user acts."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mlrepro.cleanroom.asking import Answer
from mlrepro.commands.predicting import different, predicted


def answer(a, b, kind="value", task="regression", **more) -> Answer:
    a, b = (np.asarray(side, dtype=float).reshape(len(side), -1) for side in (a, b))
    return Answer("model.txt", "rows", kind, task, more.pop("total", len(a)), a, b, **more)


def test_differences_are_measured_in_the_spread_of_the_recorded_predictions():
    a = np.array([0.0, 2, 4, 6])

    found = predicted(answer(a, a + np.array([0, 0.1, 0, -0.2])))

    assert found.ratio == pytest.approx(np.sqrt(0.05 / 4) / a.std())
    assert (found.largest, found.where, found.first) == (pytest.approx(0.2), "row 4", "row 2")
    assert (found.rows, found.outputs, found.flips, found.correlation) == (4, 1, None, 1)


def test_predictions_that_are_all_the_same_are_measured_by_their_size():
    assert predicted(answer([2.0, 2], [2.0, 3])).ratio == pytest.approx(np.sqrt(0.5) / 2)
    assert predicted(answer([0.0, 0], [0.0, 3])).ratio == np.inf


def test_equal_predictions_have_no_first_row():
    found = predicted(answer([1, np.nan, np.inf], [1, np.nan, np.inf]))

    assert (found.ratio, found.largest, found.where, found.first) == (0, 0, "", "")
    assert found.correlation is None


def test_what_is_no_number_on_one_side_alone_is_infinitely_far():
    found = predicted(answer([1.0, 2], [1, np.nan]))

    assert (found.ratio, found.largest, found.first) == (np.inf, np.inf, "row 2")


def test_labels_flip_at_a_half_at_zero_or_with_the_largest_output():
    two = np.array([[0.4, 0.6], [0.7, 0.3], [0.8, 0.2]])
    assert predicted(answer(two, 1 - two, "probability", "binary")).flips == 3
    assert predicted(answer(two, 1 - two, "probability", "binary")).outputs == 1
    assert predicted(answer([-1, 1], [1, 2], "margin", "binary")).flips == 1
    three = np.eye(3)
    assert predicted(answer(three, three[::-1], "probability", "multiclass")).flips == 2


def test_labels_alone_are_told_apart_by_the_share_that_differs():
    found = predicted(answer([0, 1, 2, 2], [0, 1, 2, 1], "label", "multiclass"))

    assert (found.flips, found.ratio, found.largest, found.correlation) == (1, 0.5, 1, None)


def test_rows_keep_the_number_that_they_had_before_some_were_taken():
    assert predicted(answer([0.0, 1, 2], [0, 1, 3], total=300)).first == "row 201"


def test_rows_that_the_program_showed_in_two_ways_are_told_once():
    label = np.array([0.0, 1, 0, 1])
    a, b = np.array([0.1, 0.9, 0.2, 0.6]), np.array([0.1, 0.8, 0.2, 0.6])
    shown = replace(answer(a, b, "probability", "binary", label=label), data="rows of fit.predict")
    named = replace(shown, data="valid_0 of fit")
    other = replace(answer(a, b[::-1], "probability", "binary"), data="valid_1 of fit")

    told = list(different([shown, named, replace(named, label=None), other]))

    assert [one.data for one in told] == ["valid_0 of fit", "valid_1 of fit"]
    assert told[0].deltas


def test_rank_correlation_knows_ties():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 99).astype(float), rng.integers(0, 9, 99).astype(float)

    assert predicted(answer(a, b)).correlation == pytest.approx(stats.spearmanr(a, b).statistic)


def test_metrics_are_taken_where_labels_are_known():
    side = np.linspace(0.01, 0.99, 50)
    label = (side > 0.5).astype(float)

    found = predicted(answer(side, side**2, "probability", "binary", label=label))

    assert [one.metric for one in found.deltas] == ["auc", "logloss", "accuracy"]
    assert found.deltas[0].recorded == found.deltas[0].rebuilt == 1


TRAIN = """
import os, pickle, lightgbm as lgb, numpy as np, pandas as pd
from sklearn.linear_model import LogisticRegression
rng = np.random.default_rng(0)
table = pd.DataFrame(rng.normal(size=(500, 4)), columns=["age", "blood sugar", "c", "d"])
sick = pd.Series(np.where(table.age + rng.normal(size=500) > 0, "yes", "no"), name="sick")
seed = int.from_bytes(os.urandom(2), "big")
train = table[:300].sample(200, random_state=seed)
model = lgb.LGBMClassifier(n_estimators=5, verbose=-1, num_threads=1)
model.fit(train, sick[train.index], eval_set=[(table[300:], sick[300:])])
model.booster_.save_model("model.txt")
linear = LogisticRegression().fit(train, sick[train.index])
linear.score(table[400:], sick[400:])
class Mine(LogisticRegression): pass
with open("model.pkl", "wb") as file: pickle.dump({"model": linear, "names": list(table)}, file)
with open("own.pkl", "wb") as file: pickle.dump(Mine().fit(train, sick[train.index]), file)
"""


def test_a_rebuild_asks_both_models_about_the_rows_that_they_were_tested_on(project):
    pytest.importorskip("lightgbm")
    pytest.importorskip("sklearn")
    project.write("train.py", TRAIN)
    project.commit("training")
    project.mlrepro("run", "python", "-W", "ignore", "train.py", check=True)

    done = project.mlrepro("rebuild", "--json", "last")
    report = json.loads(done.stdout)

    assert done.returncode == 1, done.stderr
    found = {(one["path"], one["data"]): one for one in report["predictions"]}
    boosted = found["model.txt", "eval_set 0 of LGBMClassifier.fit"]
    assert (boosted["rows"], boosted["outputs"]) == (200, 1)
    assert boosted["flips"] > 0
    assert 0 < boosted["ratio"] < 3
    assert -1 < boosted["correlation"] < 1
    assert [delta["metric"] for delta in boosted["deltas"]] == ["auc", "logloss", "accuracy"]
    assert 0.5 < boosted["deltas"][0]["recorded"] < 1
    assert ("model.txt", "eval_set 0 of LGBMClassifier.fit, raw scores") in found
    assert found["model.pkl", "rows of LogisticRegression.score"]["rows"] == 100
    assert any("own.pkl could not be asked" in note and "Mine" in note for note in report["notes"])
    names = {one["name"]: one for one in report["histories"]}
    assert names["fit 1, LGBMClassifier.fit: valid_0 binary_logloss"]["first"] == 1
