"""XGBoost: JSON and UBJSON, every booster, and damage."""

from __future__ import annotations

import copy
import functools
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrepro.comparators import compare, ubjson
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

GOLDEN = Path(__file__).parent.parent / "data" / "comparators" / "xgboost"


@pytest.fixture(scope="session")
def train() -> Callable[..., bytes]:
    """Train a tiny model with the installed XGBoost and return its bytes."""
    import xgboost

    random = np.random.RandomState(5)
    x = random.normal(size=(200, 3))
    y = x[:, 0] + np.sin(x[:, 1] * 3)

    @functools.cache
    def train(form: str = "json", *, rounds: int = 4, stop: int = 0, **parameters) -> bytes:
        common = {"max_depth": 3, "nthread": 1, "seed": 1}
        data = xgboost.DMatrix(x, y)
        more = {}
        if stop:
            watched = [(xgboost.DMatrix(x[::3], -y[::3]), "v")]
            more = {"evals": watched, "early_stopping_rounds": stop, "verbose_eval": False}
        return bytes(xgboost.train({**common, **parameters}, data, rounds, **more).save_raw(form))

    return train


@pytest.fixture
def measure(tmp_path) -> Callable[..., Difference]:
    def measure(a: Any, b: Any, **tolerance) -> Difference:
        for name, content in (("a", a), ("b", b)):
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            (tmp_path / name).write_bytes(data)
        paths = (tmp_path / "a", tmp_path / "b")
        return compare(*paths, name="model.json", tolerance=Tolerance(**tolerance))

    return measure


@pytest.fixture
def model() -> dict[str, Any]:
    return json.loads((GOLDEN / "squared-3.2.0.json").read_text())


def _tree(model: dict[str, Any], number: int) -> dict[str, Any]:
    return model["learner"]["gradient_booster"]["model"]["trees"][number]


def _edited(model: dict[str, Any], *path: str | int, value: Any) -> dict[str, Any]:
    """Return a copy of a model in which one value is another."""
    edited = copy.deepcopy(model)
    place = edited
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value(place[path[-1]]) if callable(value) else value
    return edited


TREES = ("learner", "gradient_booster", "model", "trees")


def test_a_repeated_training_is_identical(train, measure):
    assert measure(train(), train.__wrapped__()).verdict is Verdict.IDENTICAL


@pytest.mark.parametrize("booster", ["gbtree", "dart", "gblinear"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_json_and_ubjson_of_one_model_are_equivalent(train, measure, booster):
    found = measure(train("json", booster=booster), train("ubj", booster=booster))

    assert found.verdict is Verdict.EQUIVALENT
    assert found.compared > 4


def test_another_seed_has_drifted(train, measure):
    found = measure(train(subsample=0.5), train(subsample=0.5, seed=2))

    assert found.verdict is Verdict.DRIFTED
    assert "trees differ in structure" in found.summary


def test_a_training_that_stopped_earlier_has_drifted(train, measure):
    found = measure(train(rounds=6), train(rounds=6, stop=1))

    assert found.verdict is Verdict.DRIFTED
    assert "trees: 6 → 2" in [child.first for child in found.children]


def test_a_moved_threshold_is_named_by_tree_and_node(model, measure):
    moved = _edited(model, *TREES, 2, "split_conditions", 1, value=0.625)

    found = measure(_edited(model, *TREES, 2, "split_conditions", 1, value=0.5), moved)

    assert found.verdict is Verdict.DRIFTED
    assert found.first == "tree 2, node 1, threshold: 0.5 → 0.625"


@pytest.mark.parametrize(
    ("factor", "verdict"),
    [(1e-7, Verdict.CLOSE), (1e-5, Verdict.DRIFTED), (np.nan, Verdict.DRIFTED)],
)
def test_a_leaf_is_judged_by_the_spread_of_the_leaves(model, measure, factor, verdict):
    leaf = _tree(model, 1)["left_children"].index(-1)
    small = _edited(model, *TREES, 1, "split_conditions", leaf, value=0.001)

    found = measure(
        small, _edited(small, *TREES, 1, "split_conditions", leaf, value=lambda v: v + factor)
    )

    assert found.verdict is verdict
    assert found.first.startswith(f"tree 1, node {leaf}, leaf value: 0.001 → ")


@pytest.mark.parametrize(
    ("path", "value", "verdict"),
    [
        (("version",), [9, 9, 9], Verdict.EQUIVALENT),
        (("learner", "learner_model_param", "base_score"), "2.12495E-1", Verdict.EQUIVALENT),
        (
            ("learner", "learner_model_param", "base_score"),
            "[2.12495E-1,0.212495]",
            Verdict.EQUIVALENT,
        ),
        (("learner", "learner_model_param", "base_score"), "[5E-1]", Verdict.DRIFTED),
        ((*TREES, 0, "sum_hessian", 0), 7.0, Verdict.EQUIVALENT),
        ((*TREES, 0, "loss_changes", 0), 7.0, Verdict.EQUIVALENT),
        ((*TREES, 0, "split_indices", 0), 3, Verdict.DRIFTED),
        ((*TREES, 0, "default_left", 0), 1, Verdict.DRIFTED),
        ((*TREES, 0, "default_left", 14), 1, Verdict.EQUIVALENT),
        ((*TREES, 0, "base_weights", 3), 9.0, Verdict.DRIFTED),
        (("learner", "objective", "name"), "reg:gamma", Verdict.DRIFTED),
        (("learner", "feature_names"), ["a", "b", "c", "d"], Verdict.DRIFTED),
        (("learner", "attributes", "best_iteration"), "3", Verdict.DRIFTED),
        (("learner", "attributes", "scikit_learn"), "{}", Verdict.EQUIVALENT),
        (("learner", "gradient_booster", "model", "tree_info", 0), 1, Verdict.DRIFTED),
        (("learner", "gradient_booster", "model", "iteration_indptr", 1), 2, Verdict.DRIFTED),
        (("learner", "something_new"), 1, Verdict.DRIFTED),
    ],
)
def test_each_value_counts_as_what_it_does(model, measure, path, value, verdict):
    found = measure(model, _edited(model, *path, value=value))

    assert found.verdict is verdict


def test_the_weights_of_dropped_trees_decide(measure):
    model = json.loads((GOLDEN / "dart-3.2.0.json").read_text())

    found = measure(
        model, _edited(model, "learner", "gradient_booster", "weight_drop", 1, value=0.25)
    )

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith("tree 1, weight_drop: ")


def test_the_weights_of_a_linear_model_decide(measure):
    model = json.loads((GOLDEN / "linear-3.2.0.json").read_text())
    weights = ("learner", "gradient_booster", "model", "weights", 2)

    assert measure(model, _edited(model, *weights, value=0.25)).verdict is Verdict.DRIFTED
    assert measure(model, _edited(model, *weights, value=lambda w: w + 1e-7)).verdict is (
        Verdict.CLOSE
    )


def test_another_kind_of_booster_has_drifted(measure):
    models = [
        (GOLDEN / f"{name}-3.2.0.json").read_bytes() for name in ("squared", "linear", "dart")
    ]

    assert measure(models[0], models[1]).first == "gradient_booster: gbtree → gblinear"
    assert measure(models[0], models[2]).first == "gradient_booster: gbtree → dart"


def test_known_categories_decide(measure):
    model = json.loads((GOLDEN / "categories-3.2.0.json").read_text())
    place = ("learner", "gradient_booster", "model", "cats", "enc", 4, "values", 0)

    found = measure(model, _edited(model, *place, value=99))

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith("cats[")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*TREES, 0, "left_children", 0), 99),
        ((*TREES, 0, "left_children", 0), 2**70),
        ((*TREES, 0, "right_children", 0), 1.5),
        ((*TREES, 0, "split_indices", 0), 4),
        ((*TREES, 0, "split_conditions", 0), "0.5"),
        ((*TREES, 0, "split_conditions", 0), None),
        ((*TREES, 0, "base_weights"), [1.0]),
        ((*TREES, 0, "categories_nodes"), [1]),
        ((*TREES, 0, "tree_param", "num_nodes"), "99999999999"),
        ((*TREES, 0, "tree_param", "num_nodes"), "9" * 30),
        ((*TREES, 0, "tree_param", "size_leaf_vector"), "9223372036854775807"),
        ((*TREES, 0), []),
        ((*TREES,), {}),
        (("learner", "gradient_booster", "model", "tree_info"), [0]),
        (("learner", "gradient_booster", "model", "tree_info"), ["a", 1, None, 2]),
        (("learner", "gradient_booster", "model", "iteration_indptr"), ["0", 1]),
        (("learner", "gradient_booster", "name"), "gbforest"),
        (("learner", "gradient_booster"), None),
        (("learner", "learner_model_param", "base_score"), "{}"),
        (("learner", "learner_model_param", "base_score"), "["),
        (("learner", "learner_model_param", "num_feature"), []),
        (("learner", "feature_names"), 7),
        (("version",), 3),
    ],
)
def test_an_inconsistent_model_is_an_error(model, measure, path, value):
    edited = _edited(model, *path, value=lambda _: value)

    with pytest.raises(ComparisonError):
        measure(model, edited)
    with pytest.raises(ComparisonError):
        measure(edited, model)


def test_a_missing_key_is_named(model, measure):
    edited = copy.deepcopy(model)
    del _tree(edited, 1)["left_children"]

    with pytest.raises(ComparisonError, match="lacks 'left_children'"):
        measure(model, edited)


def _long(value: int) -> bytes:
    return b"L" + struct.pack(">q", value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[$d#" + _long(2**60),
        b"[$Z#" + _long(2**60),
        b"[#" + _long(2**60),
        b"[#" + _long(-1),
        b"S" + _long(2**62) + b"x",
        b"[" * 100_000,
        b"{" + _long(1) + b"aT" + _long(1) + b"aT}",
        b"TT",
        b"?",
        b"[$d",
        b"{d",
    ],
)
def test_ubjson_that_lies_is_a_value_error(data):
    with pytest.raises(ValueError, match=r"."):
        ubjson.read(data)


def test_ubjson_holds_every_kind_of_value():
    data = (
        b"[i\xffU\xffI\x01\x00l\x00\x00\x00\x02"
        + _long(3)
        + b"d\x3f\x00\x00\x00ZTFCaSi\x01b{#i\x01i\x01kT]"
    )

    assert ubjson.read(data) == [-1, 255, 256, 2, 3, 0.5, None, True, False, "a", "b", {"k": True}]


few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NAMES = [
    f"{n}-3.2.0.{e}" for n in ("categories", "dart", "linear", "vectors") for e in ("json", "ubj")
]


@few
@given(data=st.data())
def test_a_truncated_model_never_passes(measure, data):
    sound = (GOLDEN / data.draw(st.sampled_from(NAMES))).read_bytes()
    cut = data.draw(st.integers(0, len(sound.rstrip()) - 1))

    try:
        verdict = measure(sound, sound[:cut]).verdict
    except ComparisonError:
        return

    assert verdict is Verdict.DRIFTED


@few
@given(data=st.data())
def test_a_flipped_bit_gives_a_verdict_or_an_error_and_nothing_else(measure, data):
    sound = (GOLDEN / data.draw(st.sampled_from(NAMES))).read_bytes()
    at, bit = data.draw(st.integers(0, len(sound) - 1)), data.draw(st.integers(0, 7))
    damaged = sound[:at] + bytes([sound[at] ^ (1 << bit)]) + sound[at + 1 :]

    try:
        there, back = measure(sound, damaged), measure(damaged, sound)
    except ComparisonError:
        return

    assert there.verdict is back.verdict
    assert there.compared > 0
