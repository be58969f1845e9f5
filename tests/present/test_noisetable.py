"""What a person reads of noise, seeds and gates."""

import json

import pytest

from mlrepro.drift import DriftReport, Ensemble, Gate, Measure, Noise, Repeated, Verdict
from mlrepro.present import data, text

SIZE = Measure("leaf values, rms / std", 1.5e-7, where="tree 3")
PARTS = Measure("trees that differ", 2, "of 4")
NOISE = Noise(
    repeats=3,
    identical=1,
    machine="EPYC, 2 of 8 cores, 2 threads",
    artifacts=(
        Repeated("model.txt", Verdict.CLOSE, (SIZE, Measure("trees", 0.0)), ("x",)),
        Repeated("metrics.json", Verdict.IDENTICAL),
    ),
    recorded=(
        Repeated("model.txt", Verdict.DRIFTED, (Measure(SIZE.name, 0.2),)),
        Repeated("metrics.json", Verdict.IDENTICAL),
    ),
    ensemble=Ensemble(
        "--seed", (1, 2, 3), 42, {"metrics.json: auc": (0.928, 0.931, 0.935)},
        {"metrics.json: auc": 0.932},
    ),
    measured="2026-11-21T13:00:00Z",
    notes=("seed 4 failed and is left out",),
)  # fmt: skip


def test_a_measured_noise_floor_is_told_in_full():
    lines = text.render(NOISE, width=120).splitlines()

    assert lines[:8] == [
        "machine: EPYC, 2 of 8 cores, 2 threads",
        "noise floor of 3 repeats: they differ",
        "  model.txt  close",
        "      leaf values, rms / std 1.5e-07 at most",
        "  metrics.json  identical",
        "  recorded model.txt: it lies apart from them: drifted, leaf values, rms / std 0.2",
        "  recorded metrics.json: the same, bit for bit",
        "3 other seeds by --seed: 1, 2, 3 (recorded: 42)",
    ]
    assert lines[9].split() == [
        "metrics.json:", "auc", "0.932", "0.928", "0.931333", "0.935", "0.0035", "2", "of", "4",
    ]  # fmt: skip
    assert lines[-1] == "note: seed 4 failed and is left out"


def test_the_numbers_of_the_seeds_fit_a_narrow_terminal():
    shown = text.render(NOISE, width=60)

    assert max(map(len, shown.splitlines())) <= 60
    assert "0.928 to 0.935, mean 0.931333 ± 0.0035" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("identical", "verdict", "said"),
    [
        (3, Verdict.IDENTICAL, "identical, bit for bit"),
        (1, Verdict.EQUIVALENT, "other bytes, but no number differs"),
        (1, Verdict.DRIFTED, "they differ: m by leaf values, rms / std 1.5e-07"),
    ],
)
def test_a_report_says_how_far_repeats_are_apart(identical, verdict, said):
    noise = Noise(
        3, identical, artifacts=(Repeated("m", verdict, (PARTS, SIZE)),), measured="2026-11-21T"
    )
    gate = Gate("auc", 0.93, 0.9, 0.001, "5 seeds", False)

    shown = text.render(
        DriftReport("ab" * 32, "", (), noise=noise, gates=(gate,), remarks=("it has a cause",))
    )

    assert f"noise floor of 3 repeats: {said} (here, 2026-11-21)" in shown
    assert "gate: auc 0.9 is under 0.93 by 30 standard errors (one is 0.001, by 5 seeds)" in shown
    assert "so: it has a cause" in shown


def test_what_a_stranger_measured_cannot_move_the_cursor():
    found = Noise(2, 1, machine="\x1b[2J", artifacts=(Repeated("\x1b[2J", Verdict.DRIFTED),))

    assert "\x1b" not in text.render(found, width=100)


def test_all_of_it_stands_in_the_json():
    found = json.loads(data.to_json(NOISE))

    assert found["artifacts"][0]["measures"][0]["where"] == "tree 3"
    assert found["artifacts"][0]["verdict"] == "close"
    assert found["ensemble"]["metrics"] == {"metrics.json: auc": [0.928, 0.931, 0.935]}
    assert (found["trusted"], found["notes"]) == (True, ["seed 4 failed and is left out"])
