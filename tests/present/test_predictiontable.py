"""Predictions and histories as text."""

from mlrepro.drift import (
    ArtifactDrift,
    Delta,
    Difference,
    DriftReport,
    History,
    Predicted,
    Verdict,
)
from mlrepro.manifest import Role
from mlrepro.present import text


def report(predictions=(), histories=()) -> DriftReport:
    model = ArtifactDrift("m", Role.WEIGHTS, True, Difference("m", Verdict.DRIFTED))
    return DriftReport(
        "ab" * 32, "", (model,), predictions=tuple(predictions), histories=tuple(histories)
    )


AUC = Delta("auc", 0.9312, 0.9305, -0.0021, 0.0006, 0.003, 1000)
MOVED = Predicted(
    "m", "valid_0 of lightgbm.train", 5000, 1, 0.17, 0.31, "row 812", "row 3", 41, 0.982, (AUC,)
)
RAW = Predicted("m", "valid_0 of lightgbm.train, raw scores", 5000, 1, 0.2, 1.5, "row 8", "row 3")
COURSE = History("valid_0 auc", (0.5, 0.913, 1.0), (0.5, 0.914, 1.0), 2)


def test_predictions_and_each_metric_are_told_in_a_line():
    found = text.render(report([MOVED, RAW], [COURSE]))

    assert (
        "predictions for 5000 rows (valid_0 of lightgbm.train):\n"
        "  rms / std 0.17, largest 0.31 at row 812, first at row 3; 41 labels flip; rank correlation 0.982\n"
        "  auc: 0.9312 → 0.9305 (−0.0007, 95 % −0.0021 to +0.0006, 1000 resamples)\n"
        "  raw scores: rms / std 0.2, largest 1.5 at row 8, first at row 3\n"
        "histories:\n"
        "  valid_0 auc: first differs at step 2: 0.913 → 0.914 (3 steps)\n"
    ) in found


def test_lines_fit_a_narrow_terminal_and_keep_their_indent():
    lines = text.render(report([MOVED], [COURSE]), width=60).splitlines()

    assert max(map(len, lines)) <= 60
    (at,) = [n for n, line in enumerate(lines) if line.startswith("  auc:")]
    assert lines[at + 1].startswith("  ")


def test_equal_predictions_are_said_to_be_equal_and_near_ones_are_not():
    equal = Predicted("m", "rows", 1, 1, 0.0, 0.0)
    near = Predicted("m", "rows", 9, 1, 1e-9, 1e-9, "row 1", "row 1", 0, 1 - 1e-7)

    assert "predictions for 1 row (rows):\n  all equal" in text.render(report([equal]))
    found = text.render(report([near]))
    assert "no labels flip; rank correlation 1 − 1e-07" in found
    assert "largest 1e-09 at row 1;" in found


def test_what_is_equal_is_told_in_few_words():
    same = Delta("auc", 0.93125, 0.93125, 0.0, 0.0, 0.003, 1000)
    raw = Predicted("m", "rows, raw scores", 9, 1, 0.0, 0.0)
    ranked = Predicted("m", "rows", 9, 1, 0.1, 0.1, "row 1", "row 1", None, 1.0, (same,))

    found = text.render(report([ranked, raw]))

    assert "  auc: 0.9313, equal\n" in found or "  auc: 0.9312, equal\n" in found
    assert "rank correlation 1\n" in found
    assert "raw scores" not in found


def test_histories_of_other_lengths_and_tiny_differences_are_told_apart():
    shorter = History("loss", (3.0, 2.0), (3.0, 2.0, 1.0), 3)
    tiny = History("l2", (0.12345678901,), (0.12345678902,), 1)
    same = History("l1", (1.0,), (1.0,), None)

    found = text.render(report(histories=[shorter, tiny, same]))

    assert "loss: the same as far as both go, 2 → 3 steps" in found
    assert "0.12345678901 → 0.12345678902" in found
    assert "l1" not in found


def test_a_strangers_names_move_no_cursor():
    evil = Predicted("m", "\x1b[2Jrows", 1, 1, 0.0, 0.0)

    assert "\x1b" not in text.render(report([evil]))
