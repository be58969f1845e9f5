"""Parquet, Arrow and Feather, column by column."""

from __future__ import annotations

import builtins
import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrepro.comparators import compare, parquets
from mlrepro.comparators.parquets import COMPARATOR, measure
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_few = settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_RNG = np.random.default_rng(1)
_N = 300


def _table(**changed) -> pa.Table:
    columns = {
        "price": np.linspace(-1, 1, _N),
        "count": np.arange(_N),
        "name": [f"n{i % 7}" for i in range(_N)],
        "kind": pa.array(["p", "q", None] * (_N // 3)).dictionary_encode(),
        "when": pa.array(np.arange(_N), pa.timestamp("us")),
        "ok": [True, False, None] * (_N // 3),
        "vector": pa.array([[float(i), i + 0.5][: i % 3] for i in range(_N)]),
        "place": pa.array([{"x": i / 7, "y": str(i)} for i in range(_N)]),
        "tags": pa.array([[("k", i)] for i in range(_N)], pa.map_(pa.string(), pa.int64())),
    }
    return pa.table({**columns, **changed})


def _compare(
    folder: Path, a: pa.Table, b: pa.Table, how: dict | None = None, **tolerance
) -> Difference:
    pq.write_table(a, folder / "a.parquet")
    pq.write_table(b, folder / "b.parquet", **(how or {}))
    if _same(folder):
        return Difference("t.parquet", Verdict.IDENTICAL)
    return measure(folder / "a.parquet", folder / "b.parquet", Tolerance(**tolerance))


def _same(folder: Path) -> bool:
    return (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()


def _set(name: str, at: int, value, kind=None) -> dict:
    column = _table()[name]
    values = column.to_pylist()
    values[at] = value
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return {name: pa.array(values, kind)}


@pytest.mark.parametrize(
    ("changed", "verdict", "first"),
    [
        ({"price": np.linspace(-1, 1, _N) * (1 + 1e-9)}, Verdict.CLOSE, "row 1, column price: -1.0 →"),
        (_set("price", 7, 0.5), Verdict.DRIFTED, "row 8, column price: "),
        (_set("price", 7, None), Verdict.DRIFTED, "row 8, column price: "),
        (_set("price", 7, float("nan")), Verdict.DRIFTED, "row 8, column price: "),
        (_set("count", 100, 7), Verdict.DRIFTED, "row 101, column count: 100 → 7"),
        (_set("count", 0, None), Verdict.DRIFTED, "row 1, column count: 0 → null"),
        (_set("name", 299, "other"), Verdict.DRIFTED, "row 300, column name: n5 → other"),
        (_set("kind", 2, "p"), Verdict.DRIFTED, "row 3, column kind: null → p"),
        (_set("ok", 1, True), Verdict.DRIFTED, "row 2, column ok: False → True"),
        (_set("when", 4, 9), Verdict.DRIFTED, "row 5, column when: 1970-01-01"),
        (_set("vector", 4, [4.5]), Verdict.DRIFTED, "row 5, column vector[0]: 4.0 → 4.5"),
        (_set("vector", 4, [4.0, 4.5]), Verdict.DRIFTED, "row 5, column vector: "),
        (_set("place", 4, {"x": 9.0, "y": "4"}), Verdict.DRIFTED, "row 5, column place.x: "),
        (_set("place", 4, {"x": 4 / 7, "y": "9"}), Verdict.DRIFTED, "row 5, column place.y: 4 → 9"),
        (_set("tags", 4, [("k", 5)]), Verdict.DRIFTED, "row 5, column tags: "),
        ({"price": np.linspace(-1, 1, _N).astype("f4")}, Verdict.DRIFTED, "column price: double → float"),
        ({"added": np.arange(_N)}, Verdict.DRIFTED, "column added: only re"),
        ({"fit_time": np.arange(_N)}, Verdict.DRIFTED, "column fit_time: only re"),
        ({}, Verdict.EQUIVALENT, ""),
    ],
)  # fmt: skip
def test_two_tables_get_the_verdict_a_person_gives(tmp_path, changed, verdict, first):
    found = _compare(tmp_path, _table(), _table(**changed), {"compression": "zstd"})

    assert found.verdict == verdict, found
    assert found.first.startswith(first), found.first
    assert found.compared > _N
    assert _compare(tmp_path, _table(**changed), _table()).verdict in (verdict, Verdict.IDENTICAL)


def test_a_table_that_is_longer_has_drifted(tmp_path):
    found = _compare(tmp_path, _table().slice(0, 290), _table())

    assert found.verdict == Verdict.DRIFTED
    assert found.first == "rows: 290 → 300"


def test_the_first_row_that_differs_is_told_whatever_column_it_is_in(tmp_path):
    found = _compare(tmp_path, _table(), _table(**_set("price", 70, 3.0), **_set("name", 7, "x")))

    assert found.first == "row 8, column name: n0 → x"
    assert found.summary == "2 of 9 columns differ"
    measures = {m.name: m for m in found.measures}
    assert measures["largest |a−b|"].where == "row 71, column price"
    assert found.distribution.equal == _N - 1


def test_how_a_table_is_stored_means_nothing_and_is_named(tmp_path):
    other = _table(
        kind=pa.array(["p", "q", None] * (_N // 3)), name=_table()["name"].cast(pa.large_string())
    )
    other = other.select(["count", "price", *other.column_names[2:]]).replace_schema_metadata(
        {"by": "me"}
    )

    found = _compare(
        tmp_path, _table(), other,
        {"compression": "zstd", "row_group_size": 90, "write_statistics": False, "use_dictionary": False},
    )  # fmt: skip

    assert found.verdict == Verdict.EQUIVALENT
    told = "\n".join(found.metadata)
    assert "column kind: dictionary<values=string, indices=int32, ordered=0> → string" in told
    assert "column order: " in told
    assert "row groups: 1 → 4" in told
    assert "by: – → me" in told


def test_the_index_that_pandas_keeps_beside_the_rows_means_nothing(tmp_path):
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.index = pd.RangeIndex(5, 8)
    frame.to_parquet(tmp_path / "b.parquet")

    found = COMPARATOR.compare(tmp_path / "a.parquet", tmp_path / "b.parquet", Tolerance())

    assert found.verdict == Verdict.EQUIVALENT
    assert found.metadata[0].startswith("pandas: ")


def test_the_same_rows_in_another_order_have_drifted_and_it_is_said(tmp_path):
    shuffled = _table().take(pa.array(_RNG.permutation(_N)))

    found = _compare(tmp_path, _table(), shuffled)

    assert found.verdict == Verdict.DRIFTED
    assert found.summary == "the same 300 rows in another order"
    changed = _compare(
        tmp_path,
        _table(),
        shuffled.set_column(0, "price", shuffled["price"].take(pa.array(range(_N))[::-1])),
    )
    assert "another order" not in changed.summary


def test_a_clock_is_set_aside(tmp_path):
    a, b = (_table(fit_time=_RNG.normal(size=_N)) for _ in range(2))

    found = _compare(tmp_path, a, b)

    assert found.verdict == Verdict.EQUIVALENT


def test_a_file_of_clocks_alone_is_no_pass(tmp_path):
    a, b = (pa.table({"fit_time": _RNG.normal(size=9)}) for _ in range(2))

    found = _compare(tmp_path, a, b)

    assert found.verdict == Verdict.DRIFTED
    assert not found.compared


def test_the_child_that_reads_the_files_tells_all_that_was_found(tmp_path):
    pq.write_table(_table(), tmp_path / "a")
    pq.write_table(_table(**_set("price", 7, 0.5), fit_time=np.arange(_N)), tmp_path / "b")

    found = compare(tmp_path / "a", tmp_path / "b", name="t.parquet", tolerance=Tolerance())

    there = measure(tmp_path / "a", tmp_path / "b", Tolerance())
    assert dataclasses.replace(found, path="a", comparator="") == there
    assert found.comparator == "parquet"


def test_what_ends_the_child_is_an_error(tmp_path, monkeypatch):
    pq.write_table(_table(), tmp_path / "a")
    monkeypatch.setattr(parquets, "_CHILD", "import os; os.abort()")

    with pytest.raises(ComparisonError, match="could not read it"):
        COMPARATOR.compare(tmp_path / "a", tmp_path / "a", Tolerance())


def test_feather_and_arrow_files_are_tables_too(tmp_path):
    feather.write_feather(_table(), str(tmp_path / "a.feather"))
    feather.write_feather(_table(**_set("count", 3, 9)), str(tmp_path / "b.feather"), chunksize=50)

    found = compare(
        tmp_path / "a.feather", tmp_path / "b.feather", name="t.feather", tolerance=Tolerance()
    )

    assert found.first == "row 4, column count: 3 → 9"
    assert "batches: 1 → 6" in found.metadata


def test_without_pyarrow_the_error_says_how_to_get_it(tmp_path, monkeypatch):
    pq.write_table(_table(), tmp_path / "a.parquet")
    real = builtins.__import__

    def without(name, *rest, **more):
        if name.startswith("pyarrow"):
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ComparisonError) as caught:
        COMPARATOR.compare(tmp_path / "a.parquet", tmp_path / "a.parquet", Tolerance())
    assert "mlrepro[parquet]" in caught.value.hint


def _small() -> pa.Table:
    return pa.table({"x": [0.5, 1.5, 3.0], "n": [1, 2, 3], "s": ["a", "bc", None]})


def _write(kind: str, path: Path) -> None:
    if kind == "feather":
        feather.write_feather(_small(), str(path), compression="uncompressed")
    else:
        pq.write_table(_small(), path, compression=kind)


@pytest.mark.parametrize("kind", ["none", "snappy", "feather"])
def test_every_flipped_byte_is_seen_or_an_error_or_metadata(tmp_path, kind):
    """An own reader tells what a flip did: where the cells are no longer equal, nothing passes."""
    _write(kind, tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        (tmp_path / "b").write_bytes(damaged)
        try:
            found = measure(tmp_path / "a", tmp_path / "b", Tolerance())
        except ComparisonError:
            continue
        if found.verdict >= Verdict.DRIFTED:
            continue
        read = (lambda p: pa.ipc.open_file(p).read_all()) if kind == "feather" else pq.read_table
        cells = read(str(tmp_path / "b")).to_pydict()
        assert found.verdict == Verdict.CLOSE or cells == _small().to_pydict(), at
        assert cells["x"] == pytest.approx(_small().to_pydict()["x"], rel=1e-5), at
        assert {**cells, "x": 0} == {**_small().to_pydict(), "x": 0}, at


@_few
@given(st.data())
def test_any_damage_gives_a_difference_or_a_comparison_error(tmp_path, data):
    kind = data.draw(st.sampled_from(["none", "snappy", "feather"]))
    _write(kind, tmp_path / "a")
    damaged = bytearray((tmp_path / "a").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(damaged), len(damaged) // 2, 9, 1]))
    (tmp_path / "b").write_bytes(damaged[:cut])
    try:
        COMPARATOR.compare(tmp_path / "a", tmp_path / "b", Tolerance())
    except ComparisonError:
        pass
