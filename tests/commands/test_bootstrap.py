"""Metrics of two models on the same rows, and their paired intervals."""

import numpy as np
import pytest

from mlrepro.commands import bootstrap

metrics = pytest.importorskip("sklearn.metrics")


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    label = (rng.random(400) < 0.3).astype(float)
    score = np.clip(np.round(0.7 * rng.random(400) + 0.3 * label, 2), 0.01, 0.99)  # with ties
    return label, score[:, None], np.clip(score + 0.02 * rng.normal(size=400), 0, 1)[:, None]


def named(deltas):
    return {one.metric: one for one in deltas}


@pytest.mark.parametrize("weight", [None, np.arange(400.0)])
def test_binary_metrics_are_those_of_scikit_learn(rows, weight):
    label, a, b = rows

    found = named(bootstrap.deltas("binary", "probability", label, a, b, weight))

    for side, score in (("recorded", a[:, 0]), ("rebuilt", b[:, 0])):
        clipped = np.clip(score, 1e-15, 1 - 1e-15)
        expected = {
            "auc": metrics.roc_auc_score(label, score, sample_weight=weight),
            "logloss": metrics.log_loss(label, clipped, sample_weight=weight),
            "accuracy": metrics.accuracy_score(label, score > 0.5, sample_weight=weight),
        }
        assert {name: getattr(one, side) for name, one in found.items()} == pytest.approx(expected)


def test_multiclass_and_regression_metrics_are_those_of_scikit_learn():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 3, 200).astype(float)
    a, b = (rng.dirichlet([1, 1, 1], 200) for _ in range(2))

    found = named(bootstrap.deltas("multiclass", "probability", label, a, b))
    errors = named(bootstrap.deltas("regression", "value", label, a[:, :1], b[:, :1]))

    assert found["logloss"].rebuilt == pytest.approx(metrics.log_loss(label, b))
    assert found["accuracy"].recorded == np.mean(a.argmax(axis=1) == label)
    assert errors["rmse"].rebuilt == pytest.approx(np.sqrt(np.mean((b[:, 0] - label) ** 2)))
    assert errors["mae"].recorded == pytest.approx(np.mean(np.abs(a[:, 0] - label)))


def test_an_interval_is_paired_repeats_itself_and_holds_the_difference(rows):
    label, a, b = rows

    first, again = (bootstrap.deltas("binary", "probability", label, a, b) for _ in range(2))
    auc = named(first)["auc"]

    assert first == again
    assert auc.resamples == 1000
    assert auc.low < auc.rebuilt - auc.recorded < auc.high
    # One model's own error is many times as large as the error of the difference of the two.
    assert auc.high - auc.low < auc.error


def test_the_error_of_a_mean_is_the_one_of_the_textbook():
    rng = np.random.default_rng(2)
    label, side = np.zeros(500), rng.exponential(size=(500, 1))

    found = named(bootstrap.deltas("regression", "value", label, side, side))["mae"]

    assert found.error == pytest.approx(side.std(ddof=1) / np.sqrt(500), rel=0.1)
    assert (found.low, found.high) == (0, 0)


@pytest.mark.parametrize(
    ("task", "kind", "label"),
    [
        ("binary", "probability", np.zeros(3)),  # no AUC of one class
        ("ranking", "value", np.zeros(3)),
        ("multiclass", "probability", np.array([0.0, 1, 7])),
    ],
)
def test_a_metric_without_a_value_is_left_out(task, kind, label):
    side = np.array([[0.2], [0.3], [0.4]])

    found = named(bootstrap.deltas(task, kind, label, side, side))

    assert not {"auc", "ndcg"} & set(found)
    assert "logloss" in found or task != "binary"


def test_predictions_that_are_no_numbers_have_no_metrics(rows):
    label, a, b = rows
    b = b.copy()
    b[3] = np.nan

    assert bootstrap.deltas("binary", "probability", label, a, b) == ()
