"""Printed output, judged as a person would."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrepro.comparators.alignment import align
from mlrepro.comparators.lines import scan
from mlrepro.comparators.printed import COMPARATOR
from mlrepro.drift import Difference, Tolerance, Verdict

GOLDEN = Path(__file__).parent.parent / "data" / "comparators" / "printed"
_few = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _compare(folder: Path, a: str | bytes, b: str | bytes, **tolerance) -> Difference:
    for name, text in (("a", a), ("b", b)):
        (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return COMPARATOR.compare(folder / "a", folder / "b", Tolerance(**tolerance))


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ("auc 0.5", "auc 0.50\n", Verdict.EQUIVALENT),
        ("auc  0.5", "auc 0.5", Verdict.EQUIVALENT),
        ("\x1b[32mauc\x1b[0m 0.5", "auc 0.5", Verdict.EQUIVALENT),
        ("auc 0.5 in 3.2s", "auc 0.5 in 12.9s", Verdict.EQUIVALENT),
        ("auc 0.5\n", "auc 0.5\ntook 3.2 seconds", Verdict.DRIFTED),
        ("auc 0.5\n12.3s\n", "auc 0.5\n", Verdict.EQUIVALENT),
        ("auc 0.5", "auc 0.5000000001", Verdict.CLOSE),
        ("auc 0.5", "auc 0.51", Verdict.DRIFTED),
        ("auc 0.5", "auc nan", Verdict.DRIFTED),
        ("rows 100000000", "rows 100000001", Verdict.DRIFTED),
        ("fold_3 auc 0.5", "fold_4 auc 0.5", Verdict.DRIFTED),
        ("auc 0.5\nconverged", "auc 0.5\nnot converged", Verdict.DRIFTED),
        ("auc 0.5\nauc 0.6", "auc 0.5", Verdict.DRIFTED),
        ("auc <number> 1", "auc 0.5 1", Verdict.DRIFTED),
        ("auc <0.5>", "auc <0.50>", Verdict.EQUIVALENT),
    ],
)
def test_two_texts_get_the_verdict_a_person_gives(tmp_path, a, b, verdict):
    assert _compare(tmp_path, a, b).verdict == verdict
    assert _compare(tmp_path, b, a).verdict == verdict


@pytest.mark.parametrize(
    ("text", "results"),
    [
        ("2026-11-21 04:12:33,123 INFO train: epoch 1/10 loss=0.5", ["1", "10", "0.5"]),
        ("{'loss': 0.5, 'epoch': 1.0, 'train_runtime': 3.2}", ["0.5", "1.0"]),
        ("[100]\ttrain-rmse:0.123\tval-rmse:0.456", ["100", "0.123", "0.456"]),
        ("10/10 [====================] - 1s 5ms/step - loss: 0.5", ["10", "10", "0.5"]),
        ("100%|███| 10/10 [00:10<00:00,  1.03s/it, loss=0.12]", ["0.12"]),
        (" 85%|████▌     | 85/100 [00:01<00:09, 45.1it/s]", []),
        ("Sat Nov 21 07:03:51 2026", []),
        ("Time elapsed: 0:00:03", []),
        ("Training time: 3.21", []),
        ("it took 3.2", []),
        ("took 3m 12s", []),
        ("1.2 s/it and 45.1it/s", []),
        ("peak RSS 123.4 MB", []),
        ("memory usage: 1.2+ MB", []),
        ("<Booster object at 0x7f001122>", []),
        ("saved to /home/ann/run 1 and /tmp/tmpab12/m.txt", ["1"]),
        ("worker (pid 1234)", []),
        ("time step 5", ["5"]),
        ("confusion [[10 2]", ["10", "2"]),
        ("lr 1e-05 score -inf", ["1e-05", "-inf"]),
        ("version 1.2.3 model-10", ["10"]),
        ("accuracy: 93.1%", ["93.1"]),
        ("5 minimum 6", ["5", "6"]),
        ("3 heads, 20 samples", ["3", "20"]),
    ],
)
def test_results_are_told_from_times_paths_and_bars(text, results):
    assert [n.text for n in scan(text, 1, known={}).numbers] == results


def test_first_divergence_names_line_and_value(tmp_path):
    found = _compare(tmp_path, "start\nepoch 1 auc 0.931\n", "start\nepoch 1 auc 0.917\n")

    assert found.first == "line 2: auc 0.931 → 0.917"


def test_a_progress_bar_counts_by_its_last_state(tmp_path):
    a = "\r 10%|█  | 1/10 [00:01<00:09, loss=9]\r100%|███| 10/10 [00:09<00:00, 1.1it/s, loss=0.5]\n"
    b = "\r 50%|█  | 5/10 [00:01<00:09, loss=7]\r100%|███| 10/10 [00:08<00:00, 1.3it/s, loss=0.5]\n"

    found = _compare(tmp_path, a, b)

    assert found.verdict == Verdict.EQUIVALENT
    assert found.compared == 1


def test_what_is_set_aside_is_counted_by_kind(tmp_path):
    found = _compare(tmp_path, "auc 0.5\ndone in 3.2 s\n", "auc 0.5\ndone in 3.4 s\n")

    assert found.metadata == ("1 durations set aside (line 2: 3.2 s → 3.4 s)",)


def test_the_clocks_choice_of_lightgbm_is_named(tmp_path):
    row = (
        "[LightGBM] [Warning] Auto-choosing row-wise multi-threading, the overhead of testing was "
        "0.000123 seconds.\nYou can set `force_row_wise=true` to remove the overhead.\n"
        "And if memory is not enough, you can set `force_col_wise=true`.\nTotal Bins 255\n"
    )
    col = row.replace("row-wise", "col-wise").replace("And if memory", "And if memory")

    found = _compare(tmp_path, row, col.replace("0.000123", "0.5"))

    assert found.verdict == Verdict.EQUIVALENT
    assert "only recorded: LightGBM chose row-wise by a timing" in found.metadata


def test_a_warning_on_one_side_is_named_and_no_drift(tmp_path):
    warning = '/usr/lib/x.py:12: UserWarning: 7 rows\n  warnings.warn("x")\n'

    found = _compare(tmp_path, f"{warning}auc 0.5\n", "auc 0.5\n")

    assert found.verdict == Verdict.EQUIVALENT
    assert found.metadata == ("only recorded: UserWarning: 7 rows",)


def test_a_text_without_results_compares_nothing_and_is_no_pass(tmp_path):
    found = _compare(tmp_path, "12:00:01 start\ndone in 3s", "12:00:02 start\ndone in 4s")

    assert found.compared == 0
    assert found.verdict == Verdict.DRIFTED


def test_bytes_that_are_no_utf8_are_compared_all_the_same(tmp_path):
    assert _compare(tmp_path, b"\xff auc 0.5", b"\xff auc 0.6").verdict == Verdict.DRIFTED


@pytest.mark.parametrize("other", ["old.log", "again.log"])
def test_what_real_libraries_print_is_judged_by_its_results(other):
    found = COMPARATOR.compare(GOLDEN / "new.log", GOLDEN / other, Tolerance())

    assert found.verdict == Verdict.EQUIVALENT
    assert found.compared > 5


def test_text_is_known_by_what_it_holds():
    assert COMPARATOR.recognises(Path("stdout"), b"hello \xe2\x96\x88\r\n\x1b[0m")
    assert not COMPARATOR.recognises(Path("stdout"), b"\x00\x01")
    assert not COMPARATOR.recognises(Path("x.txt"), bytes(range(1, 256)))


@_few
@given(
    st.lists(st.sampled_from("abcd"), max_size=12), st.lists(st.sampled_from("abcd"), max_size=12)
)
def test_an_alignment_keeps_every_line_once_and_in_order(a, b):
    pairs = list(align(a, b))

    assert [i for i, _ in pairs if i is not None] == list(range(len(a)))
    assert [j for _, j in pairs if j is not None] == list(range(len(b)))
    assert all(a[i] == b[j] for i, j in pairs if i is not None and j is not None)


def test_an_alignment_finds_a_line_in_a_large_gap():
    a = [f"{i % 7}" for i in range(3000)]
    b = ["x", *a[:1500], "y", *a[1500:], "z"]

    pairs = [(i, j) for i, j in align(a, b) if i is not None and j is not None]

    assert len(pairs) == 3000


_texts = st.lists(
    st.sampled_from(["auc 0.5", "auc 0.6", "auc 0.5000000001", "done in 3s", "3s", "x", ""]),
    max_size=5,
).map("\n".join)


@_few
@given(_texts, _texts)
def test_both_directions_agree(tmp_path, a, b):
    assert _compare(tmp_path, a, b).verdict == _compare(tmp_path, b, a).verdict


@_few
@given(st.floats(0.001, 1e6), st.floats(1.001, 2))
def test_a_number_that_moved_beyond_tolerance_is_never_close(tmp_path, value, factor):
    found = _compare(tmp_path, f"loss {value!r} end", f"loss {value * factor!r} end")

    assert found.verdict == Verdict.DRIFTED


@_few
@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_are_compared(tmp_path, a, b):
    assert _compare(tmp_path, a, b).verdict > Verdict.IDENTICAL
