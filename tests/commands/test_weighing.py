"""What a drift means beside predictions, repeats and seeds."""

from dataclasses import replace

import pytest

from mlrepro.commands import floors, weighing
from mlrepro.drift import (
    ArtifactDrift,
    Delta,
    Difference,
    DriftReport,
    Ensemble,
    Measure,
    Noise,
    Predicted,
    Tolerance,
    Verdict,
)
from mlrepro.manifest import Generator, Manifest, Role, Run, Status

RECORD = Manifest(Run(("python", "train.py"), "", Status.COMPLETED))
STRUCTURE = Difference("structure", Verdict.DRIFTED, "100 of 100 trees differ in structure")


def moved(size=0.17, *, path="model.txt", ulp=3.0, children=(STRUCTURE,), **changes) -> Difference:
    measures = (Measure("leaf values, rms / std", size), Measure("leaf values, median", ulp, "ULP"))
    facts = {"measures": measures, "children": children, "comparator": "lightgbm", **changes}
    return Difference(path, Verdict.DRIFTED, "100 of 100 trees differ", compared=100, **facts)


def report(difference=None, role=Role.WEIGHTS, **facts) -> DriftReport:
    difference = difference or moved()
    return DriftReport(
        "ab" * 32, "", (ArtifactDrift(difference.path, role, True, difference),), **facts
    )


def predicted(**facts) -> Predicted:
    return Predicted(**{"path": "model.txt", "data": "valid_0", "rows": 500, "outputs": 1,
                        "ratio": 0.2, "largest": 0.1, **facts})  # fmt: skip


def noise(*differences, **facts) -> Noise:
    found = {"repeats": 3, "identical": 1, "artifacts": (floors.of("model.txt", differences),)}
    return Noise(**{**found, **facts})


EXACT = noise(Difference("model.txt", Verdict.IDENTICAL), identical=3)


def weigh(given, **options) -> DriftReport:
    return weighing.weighed(given, RECORD, **options)


def test_a_model_that_predicts_the_same_is_close_and_says_why():
    found = weigh(report(predictions=(predicted(ratio=1e-13), predicted(ratio=1e-10, data="b"))))

    assert found.verdict is Verdict.CLOSE
    summary = found.artifacts[0].difference.summary
    assert summary.startswith("100 of 100 trees differ; close: but its predictions of 1000 rows")


@pytest.mark.parametrize(
    "asked",
    [
        (),
        (predicted(ratio=1e-13, rows=0),),
        (predicted(ratio=1e-13), predicted(ratio=1e-3)),
        (predicted(ratio=float("nan")),),
        (predicted(ratio=1e-13, flips=1),),
        (predicted(ratio=1e-13, path="other.txt"),),
    ],
)
def test_a_model_that_was_not_asked_or_answers_otherwise_has_drifted(asked):
    assert weigh(report(predictions=asked)).verdict is Verdict.DRIFTED


def test_a_drift_inside_the_noise_floor_is_close():
    found = weigh(report(noise=noise(moved(0.1, ulp=1.0), moved(0.2, ulp=1.0))))

    assert found.verdict is Verdict.CLOSE
    assert found.artifacts[0].difference.summary.endswith("inside the noise floor of 3 repeats")
    assert found.remarks == ("model.txt: the drift is inside the noise floor of 3 repeats",)


def test_within_noise_is_never_said_of_a_run_that_repeats_itself_exactly():
    found = weigh(report(noise=EXACT))

    assert found.verdict is Verdict.DRIFTED
    assert found.remarks == (
        "identical to itself on this machine (3 repeats), so this drift has a cause",
    )


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (moved(0.3), "1.5 times the noise floor of 3 repeats; more repeats would tell"),
        (moved(3.0), "15 times the noise floor of 3 repeats"),
        (moved(0.1, children=(Difference("objective", Verdict.DRIFTED, "l2 → l1"),)), "another kind"),
        (moved(0.1, children=(Difference("w", Verdict.MISSING, "only recorded"),)), "another kind"),
        (moved(0.1, measures=()), "another kind"),
        (moved(0.1, measures=(Measure("features", 2),)), "another kind"),
        (moved(float("nan")), "another kind"),
        (moved(0.1, comparator="bytes"), "another kind"),
    ],
)  # fmt: skip
def test_a_drift_beyond_the_floor_or_of_another_kind_stays_one(difference, said):
    found = weigh(report(difference, noise=noise(moved(0.2))))

    assert found.verdict is Verdict.DRIFTED
    assert said in found.remarks[0]


def test_numbers_of_metrics_inside_their_own_noise_are_close():
    def auc(distance):
        change = Difference("auc", Verdict.DRIFTED, f"0.9 → {0.9 + distance}")
        measures = (Measure("|a−b| / max(|a|,|b|), largest", distance, where="auc"),)
        return moved(path="metrics.json", measures=measures, children=(change,))

    floor = noise(artifacts=(floors.of("metrics.json", [auc(0.01)]),))

    assert weigh(report(auc(0.005), Role.METRICS, noise=floor)).verdict is Verdict.CLOSE
    assert weigh(report(auc(0.02), Role.METRICS, noise=floor)).verdict is Verdict.DRIFTED


@pytest.mark.parametrize(
    "tolerance", [Tolerance(exact=True), Tolerance(rtol=1e-7), Tolerance(atol=1e-3)]
)
def test_a_tolerance_that_the_user_gave_decides_alone(tolerance):
    given = report(noise=noise(moved(0.2)), predictions=(predicted(ratio=0.0),))

    found = weigh(given, tolerance=tolerance)

    assert found.verdict is Verdict.DRIFTED
    assert "the tolerance that was given decides" in found.remarks[0]


def test_a_floor_that_a_stranger_measured_turns_no_verdict():
    found = weigh(report(noise=noise(moved(0.2), trusted=False)))

    assert found.verdict is Verdict.DRIFTED
    assert "mlrepro calibrate" in found.remarks[0]


def test_a_floor_of_another_machine_says_so():
    elsewhere = {"here": False, "machine": "EPYC, 8 of 8 cores"}

    found = weigh(report(noise=noise(moved(0.2), **elsewhere)))
    exact = weigh(report(noise=replace(EXACT, **elsewhere)))

    assert found.artifacts[0].difference.summary.endswith("on another machine (EPYC, 8 of 8 cores)")
    assert "identical to itself on another machine (3 repeats, EPYC" in exact.remarks[0]


def test_equal_quality_is_told_and_the_model_is_still_drifted():
    delta = Delta("auc", 0.9321, 0.9314, -0.0021, 0.0006, 0.004, 1000)

    found = weigh(report(predictions=(predicted(deltas=(delta,)),)))

    assert found.verdict is Verdict.DRIFTED
    assert found.remarks == (
        "another model of the same quality: auc −0.0007, 95 % interval −0.0021 to +0.0006"
        " includes 0",
    )


def test_numbers_of_any_size_are_told_in_two_digits():
    assert weighing.signed((-0.0007, -0.0021, 0.0006)) == ["−0.0007", "−0.0021", "+0.0006"]
    assert weighing.signed((12.0, 0.0, 340.0)) == ["+12", "0", "+340"]
    assert weighing.signed((-4e-6, -2.4e-5, 1e-9)) == ["−0.000004", "−0.000024", "+1e−09"]
    assert weighing.signed((-4e-7, -2.4e-7, 1e-9)) == ["−4.0e−07", "−2.4e−07", "+1.0e−09"]


def test_equal_metrics_of_another_model_are_told_as_equal():
    delta = Delta("auc", 0.9, 0.9, 0.0, 0.0, 0.004, 1000)

    found = weigh(report(predictions=(predicted(deltas=(delta,)),)))

    assert found.remarks == ("another model of the same quality: auc is equal",)


def test_quality_is_judged_by_tested_rows_and_those_it_learned_from_are_named():
    better = Delta("auc", 0.90, 0.99, 0.05, 0.12, 0.004, 1000)
    same = Delta("auc", 0.90, 0.91, -0.02, 0.04, 0.004, 1000)
    learned = predicted(data="training rows of lightgbm.train", deltas=(better,))

    both = weigh(report(predictions=(learned, predicted(deltas=(same,)))))
    alone = weigh(report(predictions=(learned,)))

    assert both.remarks[0].startswith("another model of the same quality: auc +0.010")
    assert alone.remarks[0].startswith(
        "another model of better quality on the rows it learned from"
    )


@pytest.mark.parametrize(
    ("metric", "word"), [("auc", "better"), ("rmse", "worse"), ("surprise", "other")]
)
def test_another_quality_is_told_in_the_direction_of_the_metric(metric, word):
    delta = Delta(metric, 0.90, 0.95, 0.03, 0.07, 0.004, 1000)

    found = weigh(report(predictions=(predicted(deltas=(delta,)),)))

    assert found.remarks[0].startswith(f"another model of {word} quality: {metric} +0.050")


SEEDS = Ensemble(
    "--seed", tuple(range(1, 11)), 42,
    {"metrics.json: auc": (0.928, 0.929, 0.93, 0.931, 0.932, 0.933, 0.934, 0.935, 0.93, 0.931)},
    {"metrics.json: auc": 0.9361},
)  # fmt: skip


def test_a_drifted_model_gets_its_place_among_other_seeds():
    inside = weigh(report(noise=Noise(ensemble=SEEDS)), metrics={"metrics.json: auc": 0.9312})
    outside = weigh(report(noise=Noise(ensemble=SEEDS)), metrics={"metrics.json: auc": 0.5})

    assert inside.remarks == (
        "its auc 0.9312 lies inside the ensemble of 10 seeds (0.928 to 0.935)",
        "seed 42 is the luckiest of 11 by its auc",
    )
    assert "lies outside the ensemble of 10 seeds (0.928 to 0.935), 194." in outside.remarks[0]
    assert inside.verdict is Verdict.DRIFTED


@pytest.mark.parametrize(
    ("name", "own", "said"),
    [
        ("rmse", 0.1, "seed 42 is the luckiest of 4 by its rmse"),
        ("rmse", 9.0, "seed 42 is the unluckiest of 4 by its rmse"),
        ("best_iteration", 9.0, "seed 42 is the highest of 4 by its best_iteration"),
        ("rmse", 2.0, None),
    ],
)
def test_luck_depends_on_what_the_metric_means(name, own, said):
    few = Ensemble("--seed", (1, 2, 3), 42, {name: (1.0, 2.0, 3.0)}, {name: own})
    same = Difference("model.txt", Verdict.IDENTICAL)

    assert weigh(report(same, noise=Noise(ensemble=few))).remarks == ((said,) if said else ())


def test_rows_that_were_drawn_without_a_seed_do_not_judge_the_recorded_model():
    worse = Delta("auc", 0.92, 0.89, -0.04, -0.02, 0.004, 1000)
    drawn = Generator("numpy default_rng", seeded=False, where="split.py:8")
    record = replace(RECORD, generators=(drawn,))
    asked = report(predictions=(predicted(deltas=(worse,)),))

    found = weighing.weighed(asked, record)

    assert "these rows cannot tell which is better" in found.remarks[-1]
    assert "numpy default_rng at split.py:8 was not seeded" in found.remarks[-1]
    assert "worse quality" in weighing.weighed(asked, record, given=True).remarks[-1]


def test_an_end_of_an_interval_that_is_not_0_is_not_told_as_0():
    assert weighing.signed((0.0076, -0.0002, 0.0153)) == [
        "+0.008",
        "\N{MINUS SIGN}0.0002",
        "+0.015",
    ]
