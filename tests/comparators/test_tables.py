"""CSV and TSV, compared by column."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrepro.comparators.tables import COMPARATOR
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

GOLDEN = Path(__file__).parent.parent / "data" / "comparators" / "table"
_few = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _compare(folder: Path, a: str, b: str, **tolerance) -> Difference:
    (folder / "a.csv").write_text(a)
    (folder / "b.csv").write_text(b)
    return COMPARATOR.compare(folder / "a.csv", folder / "b.csv", Tolerance(**tolerance))


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ("id,pred\n1,0.5\n2,0.25\n", "id,pred\r\n1,0.50\r\n2,2.5e-1\r\n", Verdict.EQUIVALENT),
        ("id,pred\n1,0.5\n2,0.25\n", "id;pred\n1;0.5\n2;0.25\n", Verdict.EQUIVALENT),
        ("id,pred\n1,0.5\n2,0.25\n", "pred,id\n0.5,1\n0.25,2\n", Verdict.EQUIVALENT),
        ("id,pred\n1,\n2,nan\n", "id,pred\n1,NaN\n2,\n", Verdict.EQUIVALENT),
        ("id,pred\n1,0.5\n2,0.25\n", "id,pred\n1,0.5\n2,0.25000001\n", Verdict.CLOSE),
        ("id,pred\n1,0.5\n2,0.25\n", "id,pred\n1,0.5\n2,0.26\n", Verdict.DRIFTED),
        ("id,pred\n1,0.5\n2,0.25\n", "id,pred\n1,0.5\n2,\n", Verdict.DRIFTED),
        ("id,pred\n1000000001,0.5\n2,0.25\n", "id,pred\n1000000002,0.5\n2,0.25\n", Verdict.DRIFTED),
        ("id\n9007199254740992\n", "id\n9007199254740993\n", Verdict.DRIFTED),
        ("id,name\n1,a\n2,b\n", "id,name\n1,a\n2,c\n", Verdict.DRIFTED),
        ("id,code\n1,1_0\n", "id,code\n1,10\n", Verdict.DRIFTED),
        ("id,pred\n1,0.5\n", "id,pred\n1,0.5\n2,0.25\n", Verdict.DRIFTED),
        ("id,pred\n1,0.5\n", "id,score\n1,0.5\n", Verdict.DRIFTED),
        ("id,pred\n1,0.5\n", "1,0.5\n1,0.5\n", Verdict.DRIFTED),
        ("id,pred\n1,0.5\n", "id,pred\n1,0.5,9\n", Verdict.DRIFTED),
        ("1,0.5\n2,0.25\n", "1,0.5\n2,0.250\n", Verdict.EQUIVALENT),
    ],
)
def test_two_tables_get_the_verdict_a_person_gives(tmp_path, a, b, verdict):
    assert _compare(tmp_path, a, b).verdict == verdict
    assert _compare(tmp_path, b, a).verdict == verdict


def test_first_divergence_names_row_and_column(tmp_path):
    found = _compare(tmp_path, "id,pred\n1,0.5\n2,0.25\n", "id,pred\n1,0.5\n2,0.75\n")

    assert found.first == "row 2, column pred: 0.25 → 0.75"
    assert found.children[0].path == "pred"
    assert any(m.where == "row 2, column pred" for m in found.children[0].measures)


def test_another_order_of_columns_is_named(tmp_path):
    found = _compare(tmp_path, "id,pred\n1,0.5\n", "pred,id\n0.5,1\n")

    assert "column order: id, pred → pred, id" in found.metadata


def test_a_column_of_times_is_set_aside(tmp_path):
    found = _compare(tmp_path, "step,fit_time\n1,0.5\n2,0.6\n", "step,fit_time\n1,0.7\n2,0.6\n")

    assert found.verdict == Verdict.EQUIVALENT
    assert found.metadata == ("row 1, column fit_time: 0.5 → 0.7 (a time, set aside)",)


def test_a_long_table_is_read_in_blocks(tmp_path):
    rows = [f"{i},{i / 7:.9g}" for i in range(30_000)]
    a = "id,pred\n" + "\n".join(rows)
    rows[20_000] = "20000,9e9"

    found = _compare(tmp_path, a, "id,pred\n" + "\n".join(rows))

    assert found.first.startswith("row 20001, column pred:")
    assert found.children[0].measures[1].where == "row 20001, column pred"


@pytest.mark.parametrize(
    "damaged", ['id,pred\n1,"0.5\n', "id,pred\n1,\0\n", "id,pred\n1," + "9" * 200_000]
)
def test_a_damaged_table_is_an_error_and_never_a_pass(tmp_path, damaged):
    with pytest.raises(ComparisonError):
        _compare(tmp_path, "id,pred\n1,0.5\n", damaged)


def test_tables_are_known_by_name_or_content():
    assert COMPARATOR.recognises(Path("p.csv"), b"a")
    assert COMPARATOR.recognises(Path("p"), b"id,pred\n1,0.5\n2,0.5\n")
    assert not COMPARATOR.recognises(Path("stdout"), b"Hello, world\nDone, I think\nBye, now\n")
    assert not COMPARATOR.recognises(
        Path("stdout"), b"epoch 1, loss 0.5\nepoch 2, loss 0.4\nepoch 3, loss 0.3\n"
    )


_cells = st.sampled_from(["", "1", "2", "0.5", "nan", "inf", "a", "1e400", "2026-11-21", "-0.0"])
_tables = st.lists(st.lists(_cells, min_size=1, max_size=3).map(",".join), max_size=4).map(
    "\n".join
)


def test_what_two_real_versions_wrote_is_the_same():
    found = COMPARATOR.compare(GOLDEN / "old.csv", GOLDEN / "new.csv", Tolerance())

    assert found.verdict == Verdict.EQUIVALENT
    assert found.compared > 0


@_few
@given(_tables, _tables)
def test_both_directions_agree(tmp_path, a, b):
    assert _compare(tmp_path, a, b).verdict == _compare(tmp_path, b, a).verdict


@_few
@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20), st.data())
def test_a_cell_that_moved_far_is_never_close(tmp_path, values, data):
    at = data.draw(st.integers(0, len(values) - 1))
    moved = list(values)
    moved[at] += 1 + 0.01 * max(map(abs, values))
    texts = ["x\n" + "\n".join(map(repr, column)) for column in (values, moved)]

    assert _compare(tmp_path, *texts).verdict == Verdict.DRIFTED


@_few
@given(st.binary(max_size=80))
def test_any_bytes_give_a_difference_or_a_comparison_error(tmp_path, data):
    (tmp_path / "a.csv").write_bytes(data)
    (tmp_path / "b.csv").write_text("a,b\n1,2\n")
    try:
        COMPARATOR.compare(tmp_path / "a.csv", tmp_path / "b.csv", Tolerance())
    except ComparisonError:
        pass


@pytest.mark.parametrize(
    ("column", "before", "after"),
    [
        ("date", "2024-03-01", "2025-03-01"),
        ("predicted_date", "2024-03-01T12:00:00Z", "2025-03-01T12:00:00Z"),
        ("time", "10", "15"),
        ("time", "10:15:00", "10:45:00"),
        ("arrival_time", "10.5", "15.5"),
        ("date", "20240301", "20250301"),
        ("", "2024-03-01", "2024-04-01"),
    ],
)
def test_dates_and_times_that_a_table_is_about_decide(tmp_path, column, before, after):
    rows = "{0},pred\n{1},0.5\n{1},0.7\n"

    found = _compare(tmp_path, rows.format(column, before), rows.format(column, after))

    assert found.verdict is Verdict.DRIFTED
    assert before in found.first


@pytest.mark.parametrize(
    "column",
    ["created_at", "logged_at", "timestamp", "elapsed", "duration", "train_seconds", "wall_time",
     "start_time", "end_time", "mean_fit_time", "cpu_time_user", "time_this_iter_s", "run_id"],
)  # fmt: skip
def test_columns_of_clocks_are_set_aside(tmp_path, column):
    found = _compare(tmp_path, f"{column},pred\n10,1\n", f"{column},pred\n15,1\n")

    assert found.verdict is Verdict.EQUIVALENT


def test_a_cell_that_names_a_dated_file_is_set_aside(tmp_path):
    rows = "file,pred\nout/{}/fold.csv,0.5\n"

    found = _compare(tmp_path, rows.format("2026-11-21"), rows.format("2026-11-22"))

    assert found.verdict is Verdict.EQUIVALENT
