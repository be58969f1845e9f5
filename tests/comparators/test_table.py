"""Every comparator of the table passes the same suite."""

from __future__ import annotations

import json
import os
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlrepro import plain
from mlrepro.comparators import COMPARATORS, compare
from mlrepro.comparators.base import HEAD
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

GOLDEN = Path(__file__).parent.parent / "data" / "comparators"


@dataclass(frozen=True)
class Case:
    """A pair of one kind: what stands on both sides, and the verdict that it deserves."""

    comparator: str
    name: str
    recorded: bytes | Path
    rebuilt: bytes | Path
    verdict: Verdict
    damaged: bytes | None = None

    def write(self, folder: Path) -> tuple[Path, Path]:
        paths = []
        for side, content in (("recorded", self.recorded), ("rebuilt", self.rebuilt)):
            data = content.read_bytes() if isinstance(content, Path) else content
            path = folder / side / self.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            paths.append(path)
        return paths[0], paths[1]


def _golden(kind: str, old: str, new: str, verdict: Verdict) -> Case:
    a, b = GOLDEN / kind / old, GOLDEN / kind / new
    return Case(kind, b.name, a, b, verdict, damaged=b.read_bytes()[: b.stat().st_size // 2])


def _npy(values: list[float]) -> bytes:
    import io

    import numpy as np

    file = io.BytesIO()
    np.save(file, np.array(values))
    return file.getvalue()


def _gzip(data: bytes, time: int = 0) -> bytes:
    import gzip

    return gzip.compress(data, mtime=time)


def _zip(year: int) -> bytes:
    import io
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("m.txt", (year, 1, 1, 0, 0, 0)), b"auc 0.5")
    return file.getvalue()


def _png(level: int) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("L", (4, 4), level).save(file, "PNG")
    return file.getvalue()


def _sqlite(value: str) -> bytes:
    import sqlite3
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        connection = sqlite3.connect(file.name)
        connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b REAL)")
        connection.execute(f"INSERT INTO t VALUES (1, {value})")
        connection.commit()
        connection.close()
        return Path(file.name).read_bytes()


def _svg(x: float) -> bytes:
    return (
        b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><path d="M %f 2"/></svg>' % x
    )


def _pdf(x: float) -> bytes:
    return (
        b"%%PDF-1.4\n1 0 obj\n<< /Type /Page /X %f >>\nendobj\ntrailer << /ID [<a>] >>\n%%%%EOF\n"
        % x
    )


def _safetensors(x: float) -> bytes:
    header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return struct.pack("<Q", len(header)) + header + struct.pack("<f", x)


def _onnx(x: float) -> bytes:
    tensor = b"\x08\x01\x10\x01\x42\x01w\x4a\x04" + struct.pack("<f", x)
    graph = b"\x2a" + bytes([len(tensor)]) + tensor
    return b"\x3a" + bytes([len(graph)]) + graph


def _parquet(x: float) -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.table({"x": [x]}), file)
    return file.getvalue()


def _skops(x: float) -> bytes:
    import skops.io

    return skops.io.dumps({"x": x})


_TORCH = Path(__file__).parent.parent / "data" / "torch"

CASES = (
    _golden("lightgbm", "regression-4.6.0.txt", "regression-4.7.0.txt", Verdict.EQUIVALENT),
    _golden("lightgbm", "regression-3.3.5.txt", "regression-4.7.0.txt", Verdict.EQUIVALENT),
    _golden("lightgbm", "categories-3.3.5.txt", "categories-4.7.0.txt", Verdict.EQUIVALENT),
    _golden("lightgbm", "multiclass-3.3.5.txt", "multiclass-4.7.0.txt", Verdict.EQUIVALENT),
    _golden("lightgbm", "constant-3.3.5.txt", "constant-4.7.0.txt", Verdict.EQUIVALENT),
    _golden("lightgbm", "forest-3.3.5.txt", "forest-4.7.0.txt", Verdict.EQUIVALENT),
    _golden("lightgbm", "linear-3.3.5.txt", "linear-4.7.0.txt", Verdict.DRIFTED),
    _golden("xgboost", "squared-2.1.4.json", "squared-3.2.0.json", Verdict.EQUIVALENT),
    _golden("xgboost", "squared-2.1.4.ubj", "squared-3.2.0.json", Verdict.EQUIVALENT),
    _golden("xgboost", "dart-2.1.4.ubj", "dart-3.2.0.ubj", Verdict.EQUIVALENT),
    _golden("xgboost", "linear-2.1.4.json", "linear-3.2.0.ubj", Verdict.EQUIVALENT),
    _golden("xgboost", "categories-3.2.0.json", "categories-3.2.0.ubj", Verdict.EQUIVALENT),
    _golden("xgboost", "vectors-3.2.0.json", "vectors-3.2.0.ubj", Verdict.EQUIVALENT),
    _golden("xgboost", "vectors-2.1.4.json", "vectors-2.1.4.ubj", Verdict.EQUIVALENT),
    _golden("xgboost", "categories-2.1.4.json", "categories-3.2.0.json", Verdict.DRIFTED),
    _golden("xgboost", "multiclass-2.1.4.json", "multiclass-3.2.0.json", Verdict.DRIFTED),
    Case(
        "arrays",
        "w.npy",
        _npy([1.0, 2.0]),
        _npy([1.0, 2.5]),
        Verdict.DRIFTED,
        _npy([1.0, 2.0])[:-3],
    ),
    Case(
        "safetensors",
        "w.safetensors",
        _safetensors(1),
        _safetensors(2),
        Verdict.DRIFTED,
        _safetensors(1)[:-3],
    ),
    Case("onnx", "m.onnx", _onnx(1), _onnx(2), Verdict.DRIFTED, _onnx(1)[:-3]),
    Case("parquet", "t.parquet", _parquet(1), _parquet(2), Verdict.DRIFTED, _parquet(1)[:-3]),
    Case(
        "pickle",
        "m.pkl",
        pickle.dumps({"x": 1.0}),
        pickle.dumps({"x": 2.0}),
        Verdict.DRIFTED,
        pickle.dumps({"x": 1.0})[:-3],
    ),
    Case("skops", "m.skops", _skops(1), _skops(2), Verdict.DRIFTED, _skops(1)[:-9]),
    Case(
        "torch",
        "m.pt",
        _TORCH / "small.pt",
        _TORCH / "moved.pt",
        Verdict.DRIFTED,
        (_TORCH / "small.pt").read_bytes()[:-9],
    ),
    Case("table", "t.csv", b"a,b\n1,2\n3,4\n", b"a,b\n1,2\n3,5\n", Verdict.DRIFTED),
    Case("numbers", "m.json", b'{"auc": 0.5}', b'{"auc": 0.75}', Verdict.DRIFTED, b'{"auc": 0.'),
    Case("gzip", "t.gz", _gzip(b"a 1"), _gzip(b"a 1", 5), Verdict.EQUIVALENT, _gzip(b"a 1")[:-5]),
    Case("archive", "t.zip", _zip(1980), _zip(2026), Verdict.EQUIVALENT, _zip(2026)[:-9]),
    Case("image", "p.png", _png(10), _png(20), Verdict.DRIFTED, _png(20)[:-9]),
    Case("sqlite", "d.db", _sqlite("1.5"), _sqlite("2.5"), Verdict.DRIFTED, _sqlite("1.5")[:-9]),
    Case("svg", "p.svg", _svg(1), _svg(2), Verdict.DRIFTED, _svg(2)[:-9]),
    Case("pdf", "p.pdf", _pdf(1), _pdf(2), Verdict.DRIFTED, _pdf(2)[:-9]),
    Case("printed", "<stdout>", b"loss 0.5\n", b"loss 0.75\n", Verdict.DRIFTED),
    Case("bytes", "x.bin", b"\0\1\2", b"\0\1\3", Verdict.DRIFTED),
)
IDS = [f"{c.comparator}-{getattr(c.recorded, 'name', c.name)}-{c.name}" for c in CASES]
DAMAGED = [c for c in CASES if c.damaged]
cases = pytest.mark.parametrize("case", CASES, ids=IDS)


def _compare(a: Path, b: Path, name: str) -> Difference:
    return compare(a, b, name=name, tolerance=Tolerance())


def test_every_file_comparator_of_the_table_has_a_case():
    assert {c.name for c in COMPARATORS} - {"directory"} == {c.comparator for c in CASES}


@cases
def test_a_comparator_knows_its_kind_and_those_before_it_leave_it(case: Case, tmp_path):
    paths = case.write(tmp_path)

    heads = [path.read_bytes()[:HEAD] for path in paths]

    knows = [c.name for c in COMPARATORS if all(c.recognises(Path(case.name), h) for h in heads)]
    assert knows[0] == case.comparator


@cases
def test_the_same_file_is_identical(case: Case, tmp_path):
    recorded, _ = case.write(tmp_path)
    copy = tmp_path / "copy"
    copy.write_bytes(recorded.read_bytes())

    found = _compare(recorded, copy, case.name)

    assert found.verdict is Verdict.IDENTICAL
    assert (found.comparator, found.path) == (case.comparator, case.name)
    assert found.compared > 0


@cases
def test_both_orders_agree_on_the_verdict(case: Case, tmp_path):
    recorded, rebuilt = case.write(tmp_path)

    there, back = _compare(recorded, rebuilt, case.name), _compare(rebuilt, recorded, case.name)

    assert there.verdict is back.verdict is case.verdict
    assert there.compared > 0
    assert there.comparator == case.comparator


@pytest.mark.parametrize("case", DAMAGED, ids=[f"{c.comparator}-{c.name}" for c in DAMAGED])
def test_a_damaged_file_is_an_error_and_never_a_pass(case: Case, tmp_path):
    recorded, rebuilt = case.write(tmp_path)
    rebuilt.write_bytes(case.damaged)

    with pytest.raises(ComparisonError):
        _compare(recorded, rebuilt, case.name)
    with pytest.raises(ComparisonError):
        _compare(rebuilt, recorded, case.name)


@pytest.mark.parametrize("kind", ["lightgbm", "xgboost"])
def test_a_golden_pair_gives_the_recorded_tree_of_differences(kind: str, tmp_path):
    file = GOLDEN / kind / "differences.json"
    found = {}
    for case in (c for c in CASES if c.comparator == kind):
        pair = f"{case.recorded.name} → {case.rebuilt.name}"
        found[pair] = _rounded(plain.dump(_compare(*case.write(tmp_path), case.name)))
    if os.environ.get("MLREPRO_RECORD_GOLDEN"):
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    assert found == json.loads(file.read_text(encoding="utf-8"))


def _rounded(data):
    """Six digits: how numpy sums differs in the last ones between machines."""
    if isinstance(data, dict):
        return {k: _rounded(v) for k, v in data.items()}
    if isinstance(data, list):
        return [_rounded(v) for v in data]
    return float(f"{data:.6g}") if isinstance(data, float) else data


def test_a_file_that_became_a_folder_has_drifted(tmp_path):
    file, folder = tmp_path / "model", tmp_path / "folder"
    file.write_bytes(b"x")
    folder.mkdir()

    found = _compare(file, folder, "model")

    assert (found.verdict, found.first) == (Verdict.DRIFTED, "file → folder")


def test_a_folder_is_as_far_apart_as_its_worst_model(tmp_path):
    for side, version in (("a", "4.6.0"), ("b", "4.7.0")):
        (tmp_path / side).mkdir()
        model = GOLDEN / "lightgbm" / f"regression-{version}.txt"
        (tmp_path / side / "model.txt").write_bytes(model.read_bytes())

    found = _compare(tmp_path / "a", tmp_path / "b", "models")

    assert (found.verdict, found.comparator) == (Verdict.EQUIVALENT, "directory")
    assert [c.comparator for c in found.children] == ["lightgbm"]


def test_an_object_without_a_suffix_is_known_by_the_name_of_the_artifact(tmp_path):
    a, b = tmp_path / "0a1b", tmp_path / "2c3d"
    a.write_text("auc: 0.5\n")
    b.write_text("auc: 0.75\n")

    assert _compare(a, b, "metrics.yaml").comparator == "numbers"


def test_what_cannot_be_read_is_an_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("x")

    with pytest.raises(ComparisonError, match="neither a file nor a folder"):
        _compare(tmp_path / "file", tmp_path / "pipe", "model.bin")
