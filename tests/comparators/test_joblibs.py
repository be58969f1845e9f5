"""Joblib's files: arrays behind their descriptions, and compressed."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import subprocess
import sys
import zlib

import joblib
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from mlrepro import comparators
from mlrepro.comparators import unpacked
from mlrepro.comparators.pickles import COMPARATOR
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError
from tests.comparators.flips import ALTERNATELY, flipped
from tests.comparators.test_pickles import _X, _Y

_SMALL = {"w": np.array([0.25, -1.5, 3.0]), "n": np.arange(3, dtype="i2"), "lr": 0.5}
_UNPACK = {
    "zlib": zlib.decompress,
    "gzip": gzip.decompress,
    "bz2": bz2.decompress,
    "xz": lzma.decompress,
    "lzma": lambda data: lzma.decompress(data, lzma.FORMAT_ALONE),
}


def _compare(folder, a, b, **options) -> Difference:
    joblib.dump(a, folder / "a.joblib", **options)
    joblib.dump(b, folder / "b.joblib", **options)
    return COMPARATOR.compare(folder / "a.joblib", folder / "b.joblib", Tolerance())


def _load(data: bytes) -> object:
    found = joblib.load(io.BytesIO(data))
    return {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in found.items()} | {
        "types": [str(getattr(v, "dtype", type(v))) for v in found.values()]
    }


def _near(a, b) -> bool:
    alike = a["n"] == b["n"] and a["types"] == b["types"]
    return alike and np.allclose([*a["w"], a["lr"]], [*b["w"], b["lr"]], rtol=1e-5, atol=1e-11)


@pytest.mark.parametrize("compress", [0, "zlib", "gzip", "bz2", "lzma", "xz"])
def test_a_forest_is_compared_whatever_packs_it(tmp_path, compress):
    model = RandomForestClassifier(5, max_depth=3, random_state=0).fit(_X, _Y)
    again = RandomForestClassifier(5, max_depth=3, random_state=0).fit(_X, _Y)
    options = {"compress": (compress, 3)} if compress else {}

    assert _compare(tmp_path, model, again, **options).verdict <= Verdict.EQUIVALENT
    again.estimators_[2].tree_.threshold[0] += 0.25
    found = _compare(tmp_path, model, again, **options)

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith(
        "RandomForestClassifier.estimators_[2].tree_.nodes[0].threshold: "
    )


def test_how_a_file_is_packed_means_nothing(tmp_path):
    joblib.dump(_SMALL, tmp_path / "a.joblib")
    joblib.dump(_SMALL, tmp_path / "b.joblib", compress=("gzip", 9))
    (tmp_path / "c.joblib").write_bytes(pickle.dumps(_SMALL))

    packed = COMPARATOR.compare(tmp_path / "a.joblib", tmp_path / "b.joblib", Tolerance())
    plain = COMPARATOR.compare(tmp_path / "a.joblib", tmp_path / "c.joblib", Tolerance())

    assert (packed.verdict, packed.metadata) == (
        Verdict.EQUIVALENT,
        ("compression: none → gzip",),
    )
    assert plain.verdict is Verdict.EQUIVALENT


def test_a_packed_pickle_is_compared_by_what_it_holds(tmp_path):
    (tmp_path / "a").write_bytes(gzip.compress(pickle.dumps(_SMALL), mtime=1))
    (tmp_path / "b").write_bytes(gzip.compress(pickle.dumps({**_SMALL, "lr": 0.6}), mtime=2))

    found = comparators.compare(
        tmp_path / "a", tmp_path / "b", name="model.pkl.gz", tolerance=Tolerance()
    )

    assert (found.comparator, found.first) == ("pickle", "lr: 0.5 → 0.6")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(["a", None, 3.5, [1]], object),
        np.array([("a", 1.5)], [("name", "U3"), ("x", "f8")]),
        np.zeros((0, 3)),
        np.array(3.5),
        np.float32(2.5),
        np.asarray([[1.0, 2.0]]).view(np.matrix),
        np.ma.array([1.0, 2.0], mask=[False, True]),
    ],
    ids=str,
)
def test_arrays_of_every_layout_are_found(tmp_path, array):
    joblib.dump({"a": array, "after": 1}, tmp_path / "a.joblib")
    joblib.dump({"a": array, "after": 1}, tmp_path / "b.joblib", protocol=2)
    joblib.dump({"a": array, "after": 2}, tmp_path / "c.joblib")

    same = COMPARATOR.compare(tmp_path / "a.joblib", tmp_path / "b.joblib", Tolerance())
    other = COMPARATOR.compare(tmp_path / "a.joblib", tmp_path / "c.joblib", Tolerance())

    assert same.verdict <= Verdict.EQUIVALENT
    assert other.first == "after: 1 → 2"


def test_no_flipped_byte_passes_unseen(tmp_path):
    buffer = io.BytesIO()
    joblib.dump(_SMALL, buffer)

    verdicts = flipped(tmp_path, COMPARATOR, buffer.getvalue(), content=_load, near=_near)

    assert verdicts["error"] > 200
    assert verdicts["drifted"] > 20


@pytest.mark.parametrize("kind", list(_UNPACK))
def test_no_flipped_byte_of_a_packed_file_passes_unseen(tmp_path, kind):
    buffer = io.BytesIO()
    joblib.dump({"w": np.array([0.5])}, buffer, compress=(kind, 3))

    verdicts = flipped(
        tmp_path, COMPARATOR, buffer.getvalue(), content=_UNPACK[kind], masks=ALTERNATELY
    )

    assert verdicts["error"] > 150


@pytest.mark.parametrize("kind", list(_UNPACK))
def test_a_packed_file_that_ends_early_or_late_is_an_error(tmp_path, kind):
    joblib.dump(_SMALL, tmp_path / "a.joblib", compress=(kind, 3))
    data = (tmp_path / "a.joblib").read_bytes()
    for bad in (data[:-1], data[: len(data) // 2], data + b"x"):
        (tmp_path / "b.joblib").write_bytes(bad)
        with pytest.raises(ComparisonError):
            COMPARATOR.compare(tmp_path / "a.joblib", tmp_path / "b.joblib", Tolerance())


def test_a_file_that_unpacks_to_more_than_there_is_room_for_is_an_error(tmp_path, monkeypatch):
    joblib.dump(np.zeros(100_000), tmp_path / "a.joblib", compress=3)
    monkeypatch.setattr(unpacked.shutil, "disk_usage", lambda _: type("Disk", (), {"free": 1000}))

    with pytest.raises(ComparisonError, match="unpacks to more"):
        COMPARATOR.compare(tmp_path / "a.joblib", tmp_path / "a.joblib", Tolerance())


def test_lz4_without_its_module_is_a_clear_error(tmp_path, monkeypatch):
    (tmp_path / "a.joblib").write_bytes(b"\x04\x22\x4d\x18 and so on")
    monkeypatch.setattr(unpacked.importlib.util, "find_spec", lambda _: None)

    with pytest.raises(ComparisonError, match="lz4"):
        COMPARATOR.compare(tmp_path / "a.joblib", tmp_path / "a.joblib", Tolerance())


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_arrays_stay_on_disk(tmp_path):
    values = np.random.default_rng(0).normal(size=8_000_000)
    joblib.dump({"w": values}, tmp_path / "a.joblib")
    joblib.dump({"w": values + 1e-3}, tmp_path / "b.joblib")
    program = (
        "from pathlib import Path;"
        "from mlrepro.comparators.pickles import COMPARATOR; from mlrepro.drift import Tolerance;"
        "print(COMPARATOR.compare(Path('a.joblib'), Path('b.joblib'), Tolerance()).first);"
        "status = Path('/proc/self/status').read_text();"
        "print(int(status.split('VmHWM:')[1].split()[0]) // 1024)"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )

    first, mebibytes = done.stdout.split("\n")[:2]
    assert first.startswith("w[0]: ")
    assert int(mebibytes) < 110  # the two arrays have 122
