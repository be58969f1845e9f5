"""Folders, member by member, and how their names are paired."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro.comparators import compare
from mlrepro.comparators.pairing import mask, pair
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError


def _compare(folder: Path, a: dict[str, str], b: dict[str, str]) -> Difference:
    for side, members in (("a", a), ("b", b)):
        (folder / side).mkdir()
        for name, text in members.items():
            path = folder / side / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return compare(folder / "a", folder / "b", name="out", tolerance=Tolerance())


def test_equal_folders_are_identical(tmp_path):
    found = _compare(tmp_path, {"x/m.json": "1", "y": "2"}, {"x/m.json": "1", "y": "2"})

    assert found.verdict == Verdict.IDENTICAL
    assert found.compared == 2


def test_the_worst_member_is_the_verdict_of_the_folder(tmp_path):
    found = _compare(
        tmp_path,
        {"a.json": '{"x": 1.0}', "m.json": '{"auc": 0.5}'},
        {"a.json": '{"x": 1}', "m.json": '{"auc": 0.6}'},
    )

    assert found.verdict == Verdict.DRIFTED
    assert found.first == "m.json: auc: 0.5 → 0.6"
    assert [c.path for c in found.children] == ["a.json", "m.json"]


def test_a_member_on_one_side_is_missing(tmp_path):
    found = _compare(tmp_path, {"a": "1", "b": "2"}, {"a": "1"})

    assert found.verdict == Verdict.MISSING
    assert found.children[0].summary == "only recorded"


def test_a_member_of_times_alone_does_not_decide(tmp_path):
    found = _compare(
        tmp_path,
        {"m.json": '{"auc": 0.5}', "timing.json": '{"seconds": 3}'},
        {"m.json": '{"auc":0.5}', "timing.json": '{"seconds": 4}'},
    )

    assert found.verdict == Verdict.EQUIVALENT
    assert found.compared == 1


def test_dated_members_are_paired_and_named(tmp_path):
    found = _compare(
        tmp_path, {"run_2026-11-21_04-12-33/m": "1"}, {"run_2026-11-22_14-00-01/m": "1"}
    )

    assert found.verdict == Verdict.EQUIVALENT
    assert "run_2026-11-21_04-12-33/m → run_2026-11-22_14-00-01/m (paired)" in found.metadata


def test_a_symlink_is_compared_by_its_target(tmp_path):
    for side, target in (("a", "m1"), ("b", "m2")):
        (tmp_path / side).mkdir()
        (tmp_path / side / "best").symlink_to(target)

    found = compare(tmp_path / "a", tmp_path / "b", name="out", tolerance=Tolerance())

    assert found.verdict == Verdict.DRIFTED
    assert found.first == "best: m1 → m2"


def test_a_damaged_member_is_an_error_and_never_a_pass(tmp_path):
    with pytest.raises(ComparisonError):
        _compare(tmp_path, {"m.json": '{"auc": 0.5}'}, {"m.json": '{"auc": 0.'})


@pytest.mark.parametrize(
    ("name", "masked"),
    [
        ("outputs/2026-11-21_04-12-33/m.txt", "outputs/<date>/m.txt"),
        ("outputs/2026-11-21/04-12-33/m.txt", "outputs/<date>/<time>/m.txt"),
        ("20261121-041233", "<date>"),
        ("log_2026-11-21T04:12:33.123Z.txt", "log_<date>.txt"),
        ("run_pid1234.log", "run_pid<pid>.log"),
        ("ckpt_1763712345.bin", "ckpt_<epoch>.bin"),
        ("0f8fad5b-d9cb-469f-a165-70867728950e/x", "<uuid>/x"),
        ("events.out.tfevents.1763712345.host.12.0", "events.out.tfevents.<event>"),
        ("fold_3/model_10.txt", "fold_3/model_10.txt"),
        ("model-1.2.3", "model-1.2.3"),
        ("epoch=10-step=20000.ckpt", "epoch=10-step=20000.ckpt"),
        ("checkpoint-1500", "checkpoint-1500"),
        ("rapid7/loss-0.1234", "rapid7/loss-0.1234"),
    ],
)
def test_dates_and_identities_are_masked_and_numbers_are_not(name, masked):
    assert mask(name) == masked


def test_equal_names_are_paired_before_masked_ones():
    recorded = ["out/2026-01-01/a", "out/2026-01-02/a", "only", "same"]
    rebuilt = ["same", "out/2026-01-02/a", "out/2026-02-02/a", "new"]

    assert pair(recorded, rebuilt) == [
        ("out/2026-01-01/a", "out/2026-02-02/a"),
        ("out/2026-01-02/a", "out/2026-01-02/a"),
        ("only", None),
        ("same", "same"),
        (None, "new"),
    ]


_names = st.lists(st.sampled_from([f"2026-01-0{i}" for i in range(1, 5)] + ["a", "b"]), unique=True)


@given(_names, _names)
def test_every_name_is_paired_once(recorded, rebuilt):
    pairs = pair(recorded, rebuilt)

    assert [a for a, _ in pairs if a] == recorded
    assert sorted(b for _, b in pairs if b) == sorted(rebuilt)
