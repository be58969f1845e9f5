"""Skops' files: a schema and arrays in a zip."""

from __future__ import annotations

import copy
import io
import json
import zipfile

import numpy as np
import pytest
import scipy.sparse
import skops.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from xgboost import XGBClassifier

from mlrepro import comparators
from mlrepro.comparators.skops import COMPARATOR
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError
from tests.comparators.flips import ALTERNATELY, flipped
from tests.comparators.test_pickles import _X, _Y

_few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _compare(folder, a, b, **options) -> Difference:
    skops.io.dump(a, folder / "a.skops")
    skops.io.dump(b, folder / "b.skops", **options)
    return COMPARATOR.compare(folder / "a.skops", folder / "b.skops", Tolerance())


def test_a_model_is_compared_by_its_attributes(tmp_path):
    model = RandomForestClassifier(5, max_depth=3, random_state=0).fit(_X, _Y)
    again = RandomForestClassifier(5, max_depth=3, random_state=0).fit(_X, _Y)

    assert _compare(tmp_path, model, again).verdict is Verdict.EQUIVALENT
    again.estimators_[2].tree_.threshold[0] += 0.25
    found = _compare(tmp_path, model, again, compression=zipfile.ZIP_DEFLATED)

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith(
        "RandomForestClassifier.estimators_[2].tree_.nodes[0].threshold: "
    )
    assert found.distribution is not None


def test_a_rounding_is_close(tmp_path):
    model = LogisticRegression().fit(_X, _Y)
    near = copy.deepcopy(model)
    near.coef_ *= 1 + 1e-12

    found = _compare(tmp_path, model, near)

    assert found.verdict is Verdict.CLOSE
    assert found.first.startswith("LogisticRegression.coef_[0, 0]: ")


@pytest.mark.parametrize(
    ("a", "b", "verdict", "first"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, Verdict.EQUIVALENT, ""),
        ({1: "x"}, {"1": "x"}, Verdict.DRIFTED, "[1]: only recorded"),
        ([1, 2.0, None], [1, 2.5, None], Verdict.DRIFTED, "[1]: 2.0 → 2.5"),
        ((1,), [1], Verdict.DRIFTED, "tuple → list"),
        ({1, 2}, {2, 1}, Verdict.EQUIVALENT, ""),
        (b"abc", b"abd", Verdict.DRIFTED, "bytes differ from offset 2"),
        (np.float32(1), np.float32(2), Verdict.DRIFTED, "array: 1.0 → 2.0"),
        (np.array(["x", None], object), np.array(["y", None], object), Verdict.DRIFTED, "ndarray.state[0]: 'x' → 'y'"),
        (np.eye(2), np.asfortranarray(np.eye(2)), Verdict.EQUIVALENT, ""),
        (np.eye(2), np.eye(2, dtype="f4"), Verdict.DRIFTED, "array: dtype: float64 → float32"),
        (scipy.sparse.eye(3, format="csr"), 2 * scipy.sparse.eye(3, format="csr"), Verdict.DRIFTED, "csr_matrix.data[0]: 1.0 → 2.0"),
        (np.random.RandomState(0), np.random.RandomState(1), Verdict.DRIFTED, "RandomState.state"),
    ],
    # No repr: that of a generator holds an address, and two workers would not agree on the tests.
    ids=lambda one: type(one).__name__ if not isinstance(one, (str, Verdict)) else str(one),
)  # fmt: skip
def test_two_objects_get_the_verdict_a_person_gives(tmp_path, a, b, verdict, first):
    found = _compare(tmp_path, a, b)

    assert found.verdict is verdict, found
    assert found.first.startswith(first), found


def test_a_booster_inside_is_judged_by_its_trees(tmp_path):
    first = XGBClassifier(n_estimators=3, n_jobs=1).fit(_X, _Y)
    other = XGBClassifier(n_estimators=3, n_jobs=1).fit(_X[:90], _Y[:90])

    found = _compare(tmp_path, first, other)

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith("XGBClassifier._Booster.handle: tree 0")


def _changed(folder, change) -> None:
    """Write `b.skops` as `a.skops` with another schema."""
    with (
        zipfile.ZipFile(folder / "a.skops") as old,
        zipfile.ZipFile(folder / "b.skops", "w") as new,
    ):
        for name in old.namelist():
            data = old.read(name)
            if name == "schema.json":
                schema = json.loads(data)
                change(schema)
                data = json.dumps(schema).encode()
            new.writestr(name, data)


def test_versions_and_the_spelling_of_the_schema_mean_nothing(tmp_path):
    skops.io.dump(LogisticRegression().fit(_X, _Y), tmp_path / "a.skops")
    _changed(tmp_path, lambda schema: schema.update(_skops_version="0.1"))

    found = COMPARATOR.compare(tmp_path / "a.skops", tmp_path / "b.skops", Tolerance())

    assert found.verdict is Verdict.EQUIVALENT
    assert found.metadata[0].startswith("_skops_version: ")


@pytest.mark.parametrize(
    "change",
    [
        lambda schema: schema.clear(),
        lambda schema: schema.pop("__class__"),
        lambda schema: schema["content"].pop("key_types"),
        lambda schema: schema["content"]["key_types"]["content"].pop(),
        lambda schema: schema["content"]["content"]["coef_"].update(file="gone.npy"),
        lambda schema: schema["content"]["content"]["C"].update(content="{"),
        lambda schema: schema["content"]["content"]["C"].update(content=3),
    ],
)
def test_a_damaged_schema_is_an_error(tmp_path, change):
    skops.io.dump(LogisticRegression().fit(_X, _Y), tmp_path / "a.skops")
    _changed(tmp_path, change)

    with pytest.raises(ComparisonError):
        COMPARATOR.compare(tmp_path / "a.skops", tmp_path / "b.skops", Tolerance())


def test_members_that_nothing_refers_to_count(tmp_path):
    skops.io.dump([1], tmp_path / "a.skops")
    skops.io.dump([1], tmp_path / "b.skops")
    with zipfile.ZipFile(tmp_path / "b.skops", "a") as archive:
        archive.writestr("more.bin", b"1")

    found = COMPARATOR.compare(tmp_path / "a.skops", tmp_path / "b.skops", Tolerance())

    assert found.verdict is Verdict.DRIFTED


def test_the_table_finds_the_comparator(tmp_path):
    skops.io.dump(KNeighborsClassifier().fit(_X, _Y), tmp_path / "a")
    skops.io.dump(KNeighborsClassifier(3).fit(_X, _Y), tmp_path / "b")

    found = comparators.compare(
        tmp_path / "a", tmp_path / "b", name="model.skops", tolerance=Tolerance()
    )

    assert found.comparator == "skops"
    assert found.first == "KNeighborsClassifier.n_neighbors: 5 → 3"


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_no_flipped_byte_passes_unseen(tmp_path):
    skops.io.dump({"w": np.array([0.5])}, tmp_path / "small.skops")
    data = (tmp_path / "small.skops").read_bytes()

    verdicts = flipped(tmp_path, COMPARATOR, data, content=_members, masks=ALTERNATELY)

    assert verdicts["error"] > 500
    assert not verdicts["close"]


@_few
@given(st.data())
def test_random_damage_is_an_error_or_a_difference_and_never_a_crash(tmp_path, data):
    skops.io.dump({"w": np.array([0.5]), "n": [1, "a"]}, tmp_path / "a.skops")
    good = (tmp_path / "a.skops").read_bytes()
    cut = data.draw(st.integers(0, len(good)))
    bad = good[:cut] + data.draw(st.binary(max_size=8)) + good[cut + data.draw(st.integers(0, 8)) :]
    (tmp_path / "b.skops").write_bytes(bad)
    try:
        found = COMPARATOR.compare(tmp_path / "a.skops", tmp_path / "b.skops", Tolerance())
    except ComparisonError:
        return
    assert found.verdict is not Verdict.IDENTICAL
