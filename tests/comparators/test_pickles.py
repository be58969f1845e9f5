"""Pickles, read by a machine that calls nothing."""

from __future__ import annotations

import collections
import copy
import dataclasses
import io
import os
import pickle
import subprocess
import sys

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from mlrepro import comparators
from mlrepro.comparators import opcodes
from mlrepro.comparators.pickles import COMPARATOR
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError
from tests.comparators.flips import flipped

_X = np.random.default_rng(0).normal(size=(120, 4))
_Y = (_X[:, 0] + 0.1 * _X[:, 1] > 0).astype(int)
_few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _bytes(folder, a: bytes, b: bytes, **tolerance) -> Difference:
    (folder / "a.pkl").write_bytes(a)
    (folder / "b.pkl").write_bytes(b)
    return COMPARATOR.compare(folder / "a.pkl", folder / "b.pkl", Tolerance(**tolerance))


def _compare(folder, a, b, *, protocols=(4, 4), **tolerance) -> Difference:
    left, right = pickle.dumps(a, protocols[0]), pickle.dumps(b, protocols[1])
    return _bytes(folder, left, right, **tolerance)


def _forest(seed: int = 0) -> RandomForestClassifier:
    return RandomForestClassifier(8, max_depth=3, random_state=seed).fit(_X, _Y)


@pytest.fixture(scope="module")
def forest() -> RandomForestClassifier:
    return _forest()


def test_a_model_trained_twice_is_equivalent_in_every_protocol(tmp_path, forest):
    again = _forest()

    for protocol in range(6):
        found = _compare(tmp_path, forest, again, protocols=(protocol, 4))

        assert found.verdict is Verdict.EQUIVALENT, protocol
        assert found.compared > 200


def test_the_first_difference_is_named_as_a_person_would_write_it(tmp_path, forest):
    other = copy.deepcopy(forest)
    other.estimators_[3].tree_.threshold[2] += 0.5

    found = _compare(tmp_path, forest, other)

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith(
        "RandomForestClassifier.estimators_[3].tree_.nodes[2].threshold: "
    )
    assert [c.path for c in found.children] == ["RandomForestClassifier.estimators_[3].tree_.nodes"]
    assert {m.name for m in found.measures} >= {"arrays that differ", "rms / std", "largest |a−b|"}
    assert found.summary.startswith("1 of 33 arrays differ; 1 of ")


def test_a_rounding_is_close_and_more_is_not(tmp_path):
    model = LogisticRegression().fit(_X, _Y)
    near, far = copy.deepcopy(model), copy.deepcopy(model)
    near.coef_ *= 1 + 1e-12
    far.coef_[0, 3] += 1e-3

    assert _compare(tmp_path, model, near).verdict is Verdict.CLOSE
    found = _compare(tmp_path, model, far)

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith("LogisticRegression.coef_[0, 3]: ")
    assert {m.name: m.where for m in found.measures}["largest |a−b|"].endswith("coef_[0, 3]")
    assert found.distribution is not None
    assert sum(found.distribution.decades.values()) == 1


def test_versions_threads_and_times_are_set_aside(tmp_path):
    first = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2).fit(_X, _Y)
    second = GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2, n_jobs=1).fit(_X, _Y)
    data = pickle.dumps(second).replace(
        b"_sklearn_version\x94\x8c\x051.", b"_sklearn_version\x94\x8c\x050."
    )

    found = _bytes(tmp_path, pickle.dumps(first), data)

    assert found.verdict is Verdict.EQUIVALENT
    told = " ".join(found.metadata)
    assert "GridSearchCV.n_jobs: None → 1" in told
    assert "cv_results_.mean_fit_time" in told


@dataclasses.dataclass
class _Slotted:
    __slots__ = ("x",)
    x: float


@pytest.mark.parametrize(
    ("a", "b", "verdict", "first"),
    [
        ([1.0, 2.0], [1.0, 2.0 + 1e-9], Verdict.CLOSE, "[1]: 2.0 → "),
        ([1.0, 2.0], [1.0, 2.1], Verdict.DRIFTED, "[1]: 2.0 → 2.1"),
        ([1], [1.0], Verdict.DRIFTED, "[0]: 1 → 1.0"),
        ([1], [True], Verdict.DRIFTED, "[0]: 1 → True"),
        ([1, 2], (1, 2), Verdict.DRIFTED, "list → tuple"),
        ([1, 2], [1], Verdict.DRIFTED, "2 → 1 items"),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, Verdict.EQUIVALENT, ""),
        ({"a": 1}, {"a": 1, "b": 2}, Verdict.DRIFTED, "b: only rebuilt"),
        ({1, "x", (2, 3)}, {(2, 3), "x", 1}, Verdict.EQUIVALENT, ""),
        ({1, 2}, {1, 3}, Verdict.DRIFTED, "2 members of a set on one side only"),
        ([0.0, float("nan")], [-0.0, float("nan")], Verdict.EQUIVALENT, ""),
        ([1 + 2j], [1 + 2.1j], Verdict.DRIFTED, "[0]: (1+2j) → (1+2.1j)"),
        ([b"abc"], [bytearray(b"abc")], Verdict.DRIFTED, "[0]: bytes → bytearray"),
        (["x" * 9000], ["x" * 8999 + "y"], Verdict.DRIFTED, "[0]: text differ from offset 8999"),
        ([2**70], [2**70 + 1], Verdict.DRIFTED, "[0]: 1180591620717411303424 → "),
        ([np.float32(1)], [np.float32(1 + 2e-6)], Verdict.CLOSE, "[0]: 1.0 → 1.00000"),
        ([np.float64(1)], [np.float64(1 + 2e-6)], Verdict.DRIFTED, "[0]: 1.0 → 1.00000"),
        ([np.int64(1)], [np.int64(2)], Verdict.DRIFTED, "[0]: 1 → 2"),
        (collections.OrderedDict(a=1), {"a": 1}, Verdict.DRIFTED, "collections.OrderedDict → dict"),
        (collections.deque([1, 2]), collections.deque([1, 3]), Verdict.DRIFTED, "[1]: 2 → 3"),
        (np.array(["a", None], object), np.array(["b", None], object), Verdict.DRIFTED, "[0]: 'a' → 'b'"),
        (range(3), range(4), Verdict.DRIFTED, "args[1]: 3 → 4"),
        (pickle.loads, pickle.dumps, Verdict.DRIFTED, "pickle.loads → pickle.dumps"),
        (pd.Series([1.0, 2.0]), pd.Series([1.0, 3.0]), Verdict.DRIFTED, "Series."),
    ],
)  # fmt: skip
def test_two_objects_get_the_verdict_a_person_gives(tmp_path, a, b, verdict, first):
    for protocols in ((4, 4), (5, 5), (2, 5), (0, 3)):
        found = _compare(tmp_path, a, b, protocols=protocols)

        assert found.verdict is verdict, (protocols, found)
        assert (first in found.first) if first else not found.first, (protocols, found)


_DTYPES = [
    "f8", ">f8", "f4", "f2", "g", "c8", "i8", ">i4", "u1", "?", "<U3", "S3", "V3", "M8[ns]", "m8[25us]",
    [("a", "f4"), ("b", "i8", (2,))],
    np.dtype({"names": ["a"], "formats": ["f8"], "offsets": [8], "itemsize": 24}),
    np.dtype([("x", "f4"), ("y", "f8")], align=True),
]  # fmt: skip


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
def test_arrays_of_every_type_are_read_in_every_protocol(tmp_path, dtype):
    array = np.zeros((2, 3), dtype)
    other = np.frombuffer(b"A" * array.nbytes, "u1").view(array.dtype).reshape(2, 3)
    for protocol in range(6):
        same = _compare(
            tmp_path, [array, array[0, 0]], [array, array[0, 0]], protocols=(protocol, 4)
        )
        assert same.verdict is Verdict.EQUIVALENT
        assert _compare(tmp_path, array, other, protocols=(protocol, 5)).verdict is Verdict.DRIFTED
        fortran = np.asfortranarray(array)
        assert (
            _compare(tmp_path, array, fortran, protocols=(5, protocol)).verdict
            is Verdict.EQUIVALENT
        )


def test_numpy_of_two_generations_is_one_spelling(tmp_path):
    data = pickle.dumps(np.arange(3.0), 2)
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")

    found = _bytes(tmp_path, data, old)

    assert old != data
    assert found.verdict is Verdict.EQUIVALENT


def test_slots_are_attributes(tmp_path):
    assert _compare(tmp_path, _Slotted(1.0), _Slotted(2.0)).first == "_Slotted.x: 1.0 → 2.0"


def test_cycles_and_shared_parts_end(tmp_path):
    ring: list = [1]
    ring.append(ring)
    tower: list = ["x"]
    for _ in range(200):
        tower = [tower] * 10
    chain = b"\x80\x04" + b"]" * 20_000 + b"a" * 19_999 + b"."

    assert _compare(tmp_path, ring, ring, protocols=(2, 4)).verdict is Verdict.EQUIVALENT
    assert _compare(tmp_path, tower, tower, protocols=(2, 4)).verdict is Verdict.EQUIVALENT
    assert _bytes(tmp_path, chain, chain).verdict is Verdict.EQUIVALENT


def test_pickles_in_a_row_are_compared_each(tmp_path):
    first, second, third = (pickle.dumps(v) for v in ([1.0], [2.0], [3.0]))

    assert _bytes(tmp_path, first + second, first + third).first == "[1][0]: 2.0 → 3.0"
    assert _bytes(tmp_path, first + second, first).verdict is Verdict.DRIFTED
    assert _bytes(tmp_path, first + b"rest", first + b"rest").verdict is Verdict.EQUIVALENT
    assert _bytes(tmp_path, first + b"rest", first + b"pest").verdict is Verdict.DRIFTED
    assert _bytes(tmp_path, first + b"rest", first).verdict is Verdict.DRIFTED
    with pytest.raises(ComparisonError):
        _bytes(tmp_path, first + second, first + second[:-1])


def test_nothing_of_a_pickle_is_called(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'sprung'}",)

    found = _compare(tmp_path, Trap(), [1])

    assert found.verdict is Verdict.DRIFTED
    assert not (tmp_path / "sprung").exists()


def test_boosters_inside_a_pickle_are_judged_by_their_trees(tmp_path):
    models = [
        lightgbm.LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1),
        xgboost.XGBClassifier(n_estimators=3, n_jobs=1),
    ]
    for model in models:
        first = copy.deepcopy(model).fit(_X, _Y)
        threads = copy.deepcopy(model).set_params(n_jobs=2).fit(_X, _Y)
        other = copy.deepcopy(model).fit(_X[:90], _Y[:90])

        assert _compare(tmp_path, first, threads).verdict is Verdict.EQUIVALENT
        found = _compare(tmp_path, first, other)
        assert found.verdict is Verdict.DRIFTED
        assert "tree 0" in found.first
        assert "_Booster" in found.first


def test_a_vocabulary_in_another_order_is_the_same(tmp_path):
    a = TfidfVectorizer().fit(["a quick brown", "fox jumps"])
    b = TfidfVectorizer().fit(["fox jumps", "a quick brown"])

    found = _compare(tmp_path, a, b)

    assert found.verdict is Verdict.EQUIVALENT
    assert found.metadata == ("TfidfVectorizer.vocabulary_: the keys are in another order",)


@pytest.mark.parametrize(
    ("name", "head", "known"),
    [
        ("m.pkl", b"", False),
        ("m.pkl", b"broken", True),
        ("m.pickle", pickle.dumps(1, 0), True),
        ("m.joblib", b"x", True),
        ("anything", pickle.dumps([1], 5), True),
        ("anything", pickle.dumps(None, 2), True),
        ("model.sav", pickle.dumps([1], 0), True),
        ("survey.sav", b"$FL2@(#) SPSS DATA FILE", False),
        ("base.dump", b"PGDMP\x01", False),
        ("m.pkl.gz", b"\x1f\x8b\x08", True),
        ("data.csv.gz", b"\x1f\x8b\x08", False),
        ("m.pt", b"PK\3\4", False),
        ("metrics.json", b"{}", False),
        ("raw.bin", b"\x80\x04\xff\xff", False),
    ],
)
def test_pickles_are_known_by_name_and_head(tmp_path, name, head, known):
    assert COMPARATOR.recognises(tmp_path / name, head) is known


def test_the_table_finds_the_comparator(tmp_path, forest):
    (tmp_path / "a").write_bytes(pickle.dumps(forest))
    (tmp_path / "b").write_bytes(pickle.dumps(forest, 2))

    found = comparators.compare(
        tmp_path / "a", tmp_path / "b", name="model.pkl", tolerance=Tolerance()
    )

    assert found.comparator == "pickle"
    assert found.verdict is Verdict.EQUIVALENT


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x80", b"\x80\x04", b".", b"\x80\x06N.", b"(.", b"N", b"a.", b"NN.", b"(NN.", b"R.",
        b"\x80\x04\x95\xff\0\0\0\0\0\0\0N.", b"\x80\x04\x95\1\0\0\0\0\0\0\0NN.", b"]N\x90.",
        b"\x80\x05\x97.", b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", b"h\5.", b"\x8b\xff\xff\xff\x7f.",
        b"I1_0\n.", b"F1_0\n.", b"L" + b"9" * 5000 + b"L\n.", b"S'a\n.", b"\x8c\1\xff.", b"}]Ns.",
        b"cos\nsystem\n(NN\x81.", b"Nb.", b"NQb.",
    ],
)  # fmt: skip
def test_a_damaged_pickle_is_an_error(tmp_path, data):
    with pytest.raises(ComparisonError):
        _bytes(tmp_path, data, pickle.dumps([1]))
    with pytest.raises(ComparisonError):
        _bytes(tmp_path, pickle.dumps([1]), data)


def test_a_pickle_of_countless_objects_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(opcodes.Machine.__init__, "__kwdefaults__", {"most": 100})

    with pytest.raises(ComparisonError, match="more objects"):
        _compare(tmp_path, list(range(200)), [])


_NUMPY = ("dtype", "_reconstruct", "ndarray", "scalar", "_frombuffer")


class _Only(pickle.Unpickler):
    """Loads what the small model of the flips holds, and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        if (module.startswith("numpy") and name in _NUMPY) or (module, name) == (
            "_codecs",
            "encode",
        ):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(name)


def _content(data: bytes) -> object:
    found = _Only(io.BytesIO(data)).load()
    found = dict(found)
    for name in [n for n in found if n == "_sklearn_version"]:
        found.pop(name)
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in found.items()} | {
        "dtypes": {k: str(v.dtype) for k, v in found.items() if isinstance(v, np.ndarray)}
    }


def _near(a, b) -> bool:
    values = [np.ravel(np.array([*x["w"], x["lr"]], float)) for x in (a, b)]
    rest = [{k: v for k, v in x.items() if k not in ("w", "lr")} for x in (a, b)]
    return rest[0] == rest[1] and bool(np.allclose(*values, rtol=1e-5, atol=1e-11))


_SMALL = {
    "w": np.array([0.25, -1.5, 3.0]),
    "n": np.array([1, 2], "i2"),
    "name": "a",
    "lr": 0.5,
    "steps": [3, True, None, (b"x", 2**40)],
    "_sklearn_version": "1.4.0",
}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_no_flipped_byte_of_a_pickle_passes_unseen(tmp_path, protocol):
    data = pickle.dumps(_SMALL, protocol)

    verdicts = flipped(tmp_path, COMPARATOR, data, content=_content, near=_near)

    assert verdicts["error"] > 100
    assert verdicts["drifted"] > 20


@_few
@given(st.data())
def test_random_damage_is_an_error_or_a_difference_and_never_a_crash(tmp_path, data):
    good = pickle.dumps(_SMALL, data.draw(st.integers(0, 5)))
    cut = data.draw(st.integers(0, len(good)))
    noise = data.draw(st.binary(max_size=12))
    bad = good[:cut] + noise + good[cut + data.draw(st.integers(0, 12)) :]
    try:
        found = _bytes(tmp_path, good, bad)
    except ComparisonError:
        return
    assert found.verdict is not Verdict.IDENTICAL
    if found.verdict is Verdict.EQUIVALENT:
        assert _content(bad) == _content(good)


@_few
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.tuples(inner),
        max_leaves=12,
    ),
    st.integers(0, 5),
    st.integers(0, 5),
)  # fmt: skip
def test_an_object_is_itself_in_any_two_protocols(tmp_path, value, left, right):
    found = _compare(tmp_path, value, value, protocols=(left, right))

    assert found.verdict is Verdict.EQUIVALENT
    assert found.compared


def test_neither_sklearn_nor_torch_is_imported(tmp_path):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(LogisticRegression().fit(_X, _Y)))
    (tmp_path / "b.pkl").write_bytes(pickle.dumps(LogisticRegression(C=2.0).fit(_X, _Y)))
    program = (
        "import sys; from pathlib import Path; from mlrepro.comparators.pickles import COMPARATOR;"
        "from mlrepro.drift import Tolerance;"
        "COMPARATOR.compare(Path('a.pkl'), Path('b.pkl'), Tolerance());"
        "print(sorted({'sklearn', 'torch', 'scipy', 'pickle', 'joblib'} & set(sys.modules)))"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )

    assert done.stderr == ""
    assert "sklearn" not in done.stdout
    assert "torch" not in done.stdout
