"""JSON and YAML, compared as a person would read them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrepro.comparators.numbers import COMPARATOR
from mlrepro.comparators.values import is_time_name
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

GOLDEN = Path(__file__).parent.parent / "data" / "comparators" / "numbers"
_few = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _compare(folder: Path, a: str, b: str, *, suffix: str = ".json", **tolerance) -> Difference:
    paths = folder / f"a{suffix}", folder / f"b{suffix}"
    for path, text in zip(paths, (a, b), strict=True):
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return COMPARATOR.compare(*paths, Tolerance(**tolerance))


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ('{"a": 1, "b": 2}', '{ "b":2,\n"a":1 }', Verdict.EQUIVALENT),
        ('{"a": 1}', '{"a": 1.0}', Verdict.EQUIVALENT),
        ('{"a": NaN, "b": Infinity}', '{"b": Infinity, "a": NaN}', Verdict.EQUIVALENT),
        ('{"a": 0.5}', '{"a": 0.5000000001}', Verdict.CLOSE),
        ('{"a": 0.5}', '{"a": 0.50001}', Verdict.DRIFTED),
        ('{"a": 0.5}', '{"a": NaN}', Verdict.DRIFTED),
        ('{"rows": 100000000}', '{"rows": 100000001}', Verdict.DRIFTED),
        (f'{{"a": {10**400}}}', f'{{"a": {10**400 + 1}}}', Verdict.DRIFTED),
        (f'{{"a": {10**400}}}', '{"a": 0.5}', Verdict.DRIFTED),
        ('{"a": true}', '{"a": 1}', Verdict.DRIFTED),
        ('{"a": null}', '{"a": 0.0}', Verdict.DRIFTED),
        ('{"a": "x"}', '{"a": "y"}', Verdict.DRIFTED),
        ('{"a": [1, 2]}', '{"a": [1, 2, 3]}', Verdict.DRIFTED),
        ('{"a": 1, "b": 2}', '{"a": 1}', Verdict.DRIFTED),
        ('{"a": 1}', '{"a": {"b": 1}}', Verdict.DRIFTED),
    ],
)
def test_two_documents_get_the_verdict_a_person_gives(tmp_path, a, b, verdict):
    assert _compare(tmp_path, a, b).verdict == verdict
    assert _compare(tmp_path, b, a).verdict == verdict


def test_first_divergence_names_the_value(tmp_path):
    found = _compare(tmp_path, '{"val": {"auc": 0.93}}', '{"val": {"auc": 0.91}}')

    assert found.first == "val.auc: 0.93 → 0.91"


def test_a_history_tells_the_first_step_that_differs(tmp_path):
    found = _compare(tmp_path, '{"loss": [3.0, 2.0, 1.0]}', '{"loss": [3.0, 2.5, 1.5]}')

    assert found.first == "loss[1]: 2.0 → 2.5"
    assert found.summary == "2 of 3 values differ"


def test_a_count_may_move_only_where_the_user_lets_it(tmp_path):
    assert _compare(tmp_path, '{"n": 100}', '{"n": 101}').verdict == Verdict.DRIFTED
    assert _compare(tmp_path, '{"n": 100}', '{"n": 101}', rtol=0.1).verdict == Verdict.CLOSE


def test_times_are_set_aside_and_named(tmp_path):
    found = _compare(
        tmp_path,
        '{"auc": 0.9, "train_seconds": 3.1, "saved": "2026-11-21T04:12:33"}',
        '{"auc": 0.9, "train_seconds": 2.9, "saved": "2026-11-22T14:00:01"}',
    )

    assert found.verdict == Verdict.EQUIVALENT
    assert found.compared == 1
    assert "train_seconds: 3.1 → 2.9 (a time, set aside)" in found.metadata
    assert "2 set aside" in found.summary


def test_a_document_of_times_alone_compares_nothing_and_is_no_pass(tmp_path):
    found = _compare(tmp_path, '{"train_seconds": 3.1}', '{"train_seconds": 2.9}')

    assert found.compared == 0
    assert found.verdict == Verdict.DRIFTED
    assert "nothing was compared" in found.summary


@pytest.mark.parametrize(
    "name",
    [
        "train_seconds",
        "fitTime",
        "samples_per_second",
        "time/epoch_s",
        "created_at",
        "run_id",
        "runId",
        "pid",
        "epoch_time",
        "time_this_iter_s",
        "mean_fit_time",
        "date",
        "cpu_time_user",
        "elapsed_ms",
        "hostname",
        "timestamp",
        "uuid",
    ],
)
def test_names_of_times_are_known(name):
    assert is_time_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "time_steps",
        "timesteps",
        "timesteps_total",
        "n_seconds_window",
        "seconds_window",
        "time_budget",
        "update",
        "auc",
        "predicted_time",
        "time_mae",
        "params_s",
        "rms",
        "epoch",
        "loss",
        "date_range",
        "validation",
    ],
)
def test_names_that_only_sound_like_times_are_compared(name):
    assert not is_time_name(name)


def test_yaml_is_read_by_the_rules_of_1_2(tmp_path):
    found = _compare(tmp_path, "lr: 1e-5\nno: yes\n", "{'no': 'yes', lr: 0.00001}", suffix=".yaml")

    assert found.verdict == Verdict.EQUIVALENT


def test_json_lines_are_compared_line_by_line(tmp_path):
    found = _compare(
        tmp_path,
        '{"loss": 1.5}\n{"loss": 1.0}\n',
        '{"loss": 1.5}\n{"loss": 0.5}\n',
        suffix=".jsonl",
    )

    assert found.first == "[1].loss: 1.0 → 0.5"


def test_an_alias_bomb_and_a_ring_end(tmp_path):
    bomb = "a0: &a0 [1, 1]\n" + "".join(
        f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)
    )

    assert _compare(tmp_path, bomb, bomb + "b: 1\n", suffix=".yaml").verdict == Verdict.DRIFTED
    assert _compare(tmp_path, "&a [1, *a]", "&a [2, *a]", suffix=".yaml").verdict == Verdict.DRIFTED


@pytest.mark.parametrize(
    "damaged",
    ['{"a": 1', '{"a": 1, "a": 2}', "", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", "\ud800"],
)
def test_a_damaged_document_is_an_error_and_never_a_pass(tmp_path, damaged):
    with pytest.raises(ComparisonError):
        _compare(tmp_path, damaged, '{"a": 1}')
    with pytest.raises(ComparisonError):
        _compare(tmp_path, '{"a": 1}', damaged)


def test_documents_are_known_by_name_or_content():
    assert COMPARATOR.recognises(Path("metrics.json"), b"{")
    assert COMPARATOR.recognises(Path("params.yaml"), b"a: 1")
    assert COMPARATOR.recognises(Path("metrics"), b'{"a": 1}')
    assert not COMPARATOR.recognises(Path("stdout"), b"[LightGBM] [Info] x")


_leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_documents = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def test_what_two_real_versions_wrote_is_the_same():
    found = COMPARATOR.compare(GOLDEN / "old.json", GOLDEN / "new.json", Tolerance())

    assert found.verdict == Verdict.EQUIVALENT
    assert found.compared > 0


@_few
@given(_documents, _documents)
def test_both_directions_agree(tmp_path, a, b):
    texts = json.dumps(a), json.dumps(b)

    assert _compare(tmp_path, *texts).verdict == _compare(tmp_path, *texts[::-1]).verdict


@_few
@given(st.floats(-1e300, 1e300), st.sampled_from([1.01, 0.5, -1.0, 1.0001]))
def test_a_value_that_moved_beyond_tolerance_is_never_close(tmp_path, value, factor):
    moved = value * factor
    verdict = _compare(tmp_path, json.dumps([value]), json.dumps([moved])).verdict

    beyond = abs(value - moved) > max(1e-6 * max(abs(value), abs(moved)), 1e-12)
    assert (verdict == Verdict.DRIFTED) == beyond or math.isinf(moved)


@_few
@given(st.binary(max_size=60))
def test_any_bytes_give_a_difference_or_a_comparison_error(tmp_path, data):
    for suffix in (".json", ".yaml", ".jsonl"):
        paths = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
        paths[0].write_bytes(data)
        paths[1].write_bytes(b'{"a": 1}')
        try:
            assert COMPARATOR.compare(*paths, Tolerance()).verdict > Verdict.IDENTICAL
        except ComparisonError:
            pass


def test_a_score_below_a_key_that_sounds_like_a_time_is_a_result(tmp_path):
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    a.write_text('{"speed": {"rmse": 1.0}, "timing": {"fit": 1.0, "rmse": 2.0}}')
    b.write_text('{"speed": {"rmse": 5.0}, "timing": {"fit": 9.0, "rmse": 2.0}}')

    found = COMPARATOR.compare(a, b, Tolerance())

    assert found.verdict is Verdict.DRIFTED
    assert "speed.rmse" in found.first
    assert [line.split(":")[0] for line in found.metadata] == ["timing.fit"]


@pytest.mark.parametrize(
    ("key", "before", "after"),
    [
        ("predicted_date", "2024-03-01", "2025-03-01"),
        ("horizon", "2024-03-01/2024-04-01", "2024-03-01/2024-05-01"),
        ("predictions_md5", "9" * 32, "a" * 32),
    ],
)
def test_a_date_or_a_hash_that_is_a_value_decides(tmp_path, key, before, after):
    documents = (json.dumps({"auc": 0.9, key: value}) for value in (before, after))

    found = _compare(tmp_path, *documents)

    assert found.verdict is Verdict.DRIFTED


@pytest.mark.parametrize("key", ["created_at", "timestamp", "logged_at", "date", "start_time"])
def test_a_date_under_the_name_of_a_clock_is_set_aside(tmp_path, key):
    documents = (json.dumps({"auc": 0.9, key: value}) for value in ("2024-03-01", "2025-03-01"))

    found = _compare(tmp_path, *documents)

    assert found.verdict is Verdict.EQUIVALENT
