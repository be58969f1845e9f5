"""LightGBM: real trainings, hand-made edits, and damage."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrepro.comparators import compare
from mlrepro.comparators.lightgbm import read
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

GOLDEN = Path(__file__).parent.parent / "data" / "comparators" / "lightgbm"
Model = Callable[..., str]


@pytest.fixture(scope="session")
def train() -> Model:
    """Train a tiny model with the installed LightGBM and return its text."""
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    import lightgbm
    import pandas as pd

    random = np.random.RandomState(5)
    x = pd.DataFrame(random.normal(size=(200, 3)), columns=["a", "b", "c"])
    colours = np.array(["red", "green", "blue"])[random.randint(0, 3, 200)]
    y = x["a"] + np.sin(x["b"] * 3) + 2 * (colours == "red")
    common = {"num_leaves": 6, "verbose": -1, "num_threads": 1, "seed": 1, "deterministic": True}

    @functools.cache
    def train(*, order: tuple[str, ...] = (), stop: int = 0, rounds: int = 5, **parameters) -> str:
        data = x.assign(colour=pd.Categorical(colours, categories=order)) if order else x
        table = lightgbm.Dataset(data, y, free_raw_data=False)
        more = {}
        if stop:
            more = {
                "valid_sets": [lightgbm.Dataset(data[::3], -y[::3], reference=table)],
                "callbacks": [lightgbm.early_stopping(stop, verbose=False)],
            }
        return lightgbm.train({**common, **parameters}, table, rounds, **more).model_to_string()

    return train


@pytest.fixture
def measure(tmp_path) -> Callable[..., Difference]:
    def measure(a: str | bytes, b: str | bytes, **tolerance) -> Difference:
        for name, text in (("a", a), ("b", b)):
            (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
        paths = (tmp_path / "a", tmp_path / "b")
        return compare(*paths, name="model.txt", tolerance=Tolerance(**tolerance))

    return measure


@pytest.fixture(scope="session")
def text() -> str:
    return (GOLDEN / "regression-4.7.0.txt").read_text()


def _edit(text: str, key: str, tree: int, at: int, change: Callable[[float], object]) -> str:
    """Change one number of one tree."""
    blocks = text.split("Tree=")
    lines = blocks[tree + 1].split("\n")
    line = next(i for i, candidate in enumerate(lines) if candidate.startswith(f"{key}="))
    words = lines[line].partition("=")[2].split(" ")
    words[at] = str(change(float(words[at])))
    lines[line] = f"{key}={' '.join(words)}"
    blocks[tree + 1] = "\n".join(lines)
    return "Tree=".join(blocks)


def test_a_repeated_training_is_identical(train, measure):
    assert measure(train(), train.__wrapped__()).verdict is Verdict.IDENTICAL


def test_another_thread_count_is_equivalent_and_named(train, measure):
    found = measure(train(), train(num_threads=2))

    assert found.verdict is Verdict.EQUIVALENT
    assert found.metadata == ("parameters: [num_threads: 1] → [num_threads: 2]",)


def test_another_seed_has_drifted(train, measure):
    bagged = {"bagging_fraction": 0.5, "bagging_freq": 1}

    found = measure(train(**bagged), train(seed=2, **bagged))

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith("tree 0, split ")
    assert "trees differ in structure" in found.summary


def test_a_training_that_stopped_earlier_has_drifted(train, measure):
    found = measure(train(), train(stop=1))

    assert found.verdict is Verdict.DRIFTED
    assert found.first == "trees: 5 → 1"


def test_swapped_categories_have_drifted_though_the_trees_are_equal(train, measure):
    model = train(order=("red", "green", "blue"))
    swapped = model.replace('["red", "green", "blue"]', '["green", "red", "blue"]')

    found = measure(model, swapped)

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith('pandas_categorical: ["red"')


def test_a_moved_threshold_is_named_by_tree_and_split(text, measure):
    edited = _edit(text, "threshold", 4, 3, lambda _: 0.625)

    found = measure(_edit(text, "threshold", 4, 3, lambda _: 0.5), edited)

    assert found.verdict is Verdict.DRIFTED
    assert found.first == "tree 4, split 3, threshold: 0.5 → 0.625"


def test_another_feature_is_another_structure(text, measure):
    found = measure(text, _edit(text, "split_feature", 2, 1, lambda _: 3))

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith("tree 2, split 1, feature: ")
    assert found.summary == "1 of 6 trees differ in structure"


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1e-9, Verdict.CLOSE), (1e-7, Verdict.CLOSE), (1e-5, Verdict.DRIFTED)]
)
def test_a_leaf_is_judged_by_the_spread_of_the_leaves(text, measure, tmp_path, factor, verdict):
    (tmp_path / "model").write_text(text)
    leaves = next(f for f in read(tmp_path / "model").fields if f.name == "leaf value")
    moved = _edit(text, "leaf_value", 1, 2, lambda v: v + factor * float(np.std(leaves.values)))

    found = measure(text, moved)

    assert found.verdict is verdict
    largest = next(m for m in found.measures if m.name == "leaf values, largest / std")
    assert largest.value == pytest.approx(factor, rel=1e-3)
    assert largest.where == "tree 1, leaf 2"


def test_the_trees_that_differ_are_listed_and_the_leaves_counted_by_decades(
    text, measure, tmp_path
):
    (tmp_path / "model").write_text(text)
    leaves = next(f for f in read(tmp_path / "model").fields if f.name == "leaf value")
    std = float(np.std(leaves.values))
    moved = _edit(text, "leaf_value", 1, 2, lambda v: v + 2e-8 * std)
    moved = _edit(moved, "leaf_value", 3, 0, lambda v: v + 3e-3 * std)
    moved = _edit(moved, "split_feature", 4, 1, lambda _: 3)

    found = measure(text, moved)

    assert found.distribution.decades == {-8: 1, -3: 1}
    assert found.distribution.equal == 25 - 2  # tree 4 is another tree: its leaves are no pair
    assert found.distribution.scope == "in trees of equal structure"
    names = [measure.name for measure in found.measures]
    assert "leaf values in trees of equal structure, largest / std" in names
    assert not any(measure.unit == "ULP" for measure in found.measures)  # 1e13 of them
    node = next(child for child in found.children if child.path == "tree by tree")
    assert node.summary == "3 of 6 trees differ, the first is tree 1"
    assert [(c.path, c.verdict, c.summary) for c in node.children] == [
        ("tree 1", Verdict.CLOSE, "same structure, other leaves"),
        ("tree 3", Verdict.DRIFTED, "same structure, other leaves"),
        ("tree 4", Verdict.DRIFTED, "other structure"),
    ]
    assert [c.first.partition(":")[0] for c in node.children] == [
        "leaf 2, leaf value", "leaf 0, leaf value", "split 1, feature",
    ]  # fmt: skip
    assert found.first.startswith("tree 3, leaf 0, leaf value: ")


def test_of_many_trees_that_differ_the_first_fifty_are_listed(train, measure):
    bagged = {"bagging_fraction": 0.5, "bagging_freq": 1, "rounds": 60}

    node = measure(train(**bagged), train(seed=2, **bagged)).children[-1]

    assert node.path == "tree by tree"
    assert "; 50 are listed" in node.summary
    assert len(node.children) == 50


def test_a_long_list_that_means_nothing_is_counted(train, measure):
    text = train(rounds=12)

    found = measure(text, re.sub(r"tree_sizes=\d+", "tree_sizes=1", text))

    assert found.metadata == ("tree_sizes: 1 of 12 values differ",)


def test_the_tolerance_of_the_user_widens_and_narrows(text, measure):
    moved = _edit(text, "leaf_value", 1, 2, lambda v: v + 1e-4)

    assert measure(text, moved).verdict is Verdict.DRIFTED
    assert measure(text, moved, rtol=1e-2).verdict is Verdict.CLOSE
    assert measure(text, moved, atol=1e-3).verdict is Verdict.CLOSE
    assert measure(text, moved, rtol=1e-7).verdict is Verdict.DRIFTED


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_leaf_that_is_not_finite_has_drifted_from_one_that_is(text, measure, value):
    odd = _edit(text, "leaf_value", 0, 1, lambda _: value)

    found = measure(text, odd, rtol=1e9)

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith("tree 0, leaf 1, leaf value: ")
    assert found.first.endswith(f" → {value}")
    assert any(m.name == "leaf values, not finite on one side" for m in found.measures)
    assert measure(odd, odd.replace("num_threads: 1]", "num_threads: 2]")).verdict is (
        Verdict.EQUIVALENT
    )


def test_zeros_of_another_sign_are_shown_and_equal(text, measure):
    plus, minus = (_edit(text, "leaf_value", 0, 0, lambda _, z=z: z) for z in ("0", "-0"))

    found = measure(plus, minus)

    assert found.verdict is Verdict.EQUIVALENT
    assert "1 zeros of another sign, the first at tree 0, leaf 0, leaf value: 0.0 → -0.0" in (
        found.metadata
    )


@pytest.mark.parametrize(
    ("key", "at", "change", "verdict"),
    [
        ("internal_value", 0, lambda v: v + 1, Verdict.EQUIVALENT),
        ("internal_value", 1, lambda v: v * (1 + 1e-6), Verdict.CLOSE),
        ("internal_value", 1, lambda v: v * 1.5, Verdict.DRIFTED),
        ("split_gain", 2, lambda v: v * (1 + 5e-6), Verdict.CLOSE),
        ("split_gain", 2, lambda v: v * 1.5, Verdict.DRIFTED),
        ("leaf_count", 2, lambda v: int(v) + 1, Verdict.DRIFTED),
        ("leaf_value", 2, lambda v: v * 1.5, Verdict.DRIFTED),
        ("shrinkage", 0, lambda v: v * 2, Verdict.DRIFTED),
        ("decision_type", 1, lambda v: 10, Verdict.DRIFTED),
    ],
)
def test_each_number_counts_as_what_it_does(text, measure, key, at, change, verdict):
    assert measure(text, _edit(text, key, 1, at, change)).verdict is verdict


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("objective=regression", "objective=regression sqrt"),
        ("feature_names=Column_0 ", "feature_names=Column_A "),
        ("num_class=1", "num_class=2"),
        ("\n\nparameters:", "\n\n\nparameters:"),
        ("pandas_categorical:null\n", ""),
    ],
)
def test_what_the_model_says_it_is_decides(text, measure, old, new):
    assert old in text
    changed = text.replace(old, new).replace(
        "\nColumn_0=", f"\n{new[14:22]}=" if "A " in new else "\nColumn_0="
    )

    expected = Verdict.EQUIVALENT if new.endswith("parameters:") else Verdict.DRIFTED
    assert measure(text, changed).verdict is expected


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("end of trees", "end of tree", "truncated"),
        ("end of parameters", "end of", "truncated"),
        ("\nTree=2\n", "\nTree=7\n", "out of place"),
        ("tree_sizes=", "tree_sizes=9 ", "states 7 trees"),
        ("left_child=1 ", "left_child=99 ", "not there"),
        ("left_child=1 ", "left_child=2 ", "two splits"),
        ("leaf_count=", "leaf_count=1 ", "leaf_count"),
        ("leaf_value=", "leaf_value=x", "could not convert"),
        ("leaf_value=", "leaf_value=1_", "underscore"),
        ("num_leaves=5", "num_leaves=99999999999999999999", "64 bits"),
        ("num_leaves=5", "num_leaves=-1", "leaves"),
        ("split_feature=0", "split_feature=9", "feature"),
        ("shrinkage=", "shrunk=", "not understood"),
        ("pandas_categorical:null", "pandas_categorical:[", "Expecting"),
        ("cat_boundaries=0 1 2", "cat_boundaries=0 2 1", "cat_boundaries"),
        ("threshold=0 1 ", "threshold=0 5 ", "set of categories"),
    ],
)
def test_a_damaged_model_is_an_error(measure, old, new, words):
    sound = (GOLDEN / "categories-4.7.0.txt").read_text()
    if old not in sound:
        sound = (GOLDEN / "regression-4.7.0.txt").read_text()
    assert old in sound

    with pytest.raises(ComparisonError, match=words):
        measure(sound, sound.replace(old, new, 1))


few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@few
@given(data=st.data())
def test_a_truncated_model_never_passes(measure, data):
    name = data.draw(st.sampled_from(["categories-4.7.0.txt", "linear-4.7.0.txt"]))
    sound = (GOLDEN / name).read_bytes()
    cut = data.draw(st.integers(0, len(sound) - 1))

    try:
        verdict = measure(sound, sound[:cut]).verdict
    except ComparisonError:
        return

    assert verdict is Verdict.DRIFTED


@few
@given(data=st.data())
def test_a_flipped_bit_gives_a_verdict_or_an_error_and_nothing_else(measure, data):
    name = data.draw(st.sampled_from(["categories-4.7.0.txt", "linear-4.7.0.txt"]))
    sound = (GOLDEN / name).read_bytes()
    at, bit = data.draw(st.integers(0, len(sound) - 1)), data.draw(st.integers(0, 7))
    damaged = sound[:at] + bytes([sound[at] ^ (1 << bit)]) + sound[at + 1 :]

    try:
        there, back = measure(sound, damaged), measure(damaged, sound)
    except ComparisonError:
        return

    assert there.verdict is back.verdict
    assert there.compared > 0
