"""What a person reads."""

from dataclasses import replace

import pytest

from mlrepro.drift import ArtifactDrift, Change, Difference, DriftReport, Measure, Verdict
from mlrepro.manifest import Role
from mlrepro.present import text


def report(verdict: Verdict, **changes) -> DriftReport:
    difference = Difference(
        "model.txt",
        verdict,
        "3 of 100 trees differ",
        measures=(Measure("leaf values, rms / std", 0.17, where="tree 24, leaf 3"),),
        first="tree 24, split 3, gain: 0.5 → 0.625",
        metadata=("parameters: [num_threads: 2] → [num_threads: 1]",),
        comparator="lightgbm",
        compared=100,
    )
    artifact = ArtifactDrift("model.txt", Role.WEIGHTS, True, difference)
    return DriftReport("ab" * 32, "base", (artifact,), **changes)


@pytest.mark.parametrize("verdict", Verdict)
def test_the_verdict_stands_in_the_last_lines_in_words(verdict):
    shown = text.render(report(verdict))

    assert f"verdict: {verdict}" in shown


def test_how_far_where_first_and_what_meant_nothing_is_said():
    shown = text.render(report(Verdict.DRIFTED))

    assert "leaf values, rms / std: 0.17, largest at tree 24, leaf 3" in shown
    assert "first divergence: tree 24, split 3, gain: 0.5 → 0.625" in shown
    assert "set aside: parameters: [num_threads: 2] → [num_threads: 1]" in shown


def test_a_part_that_repeats_what_stands_above_it_is_left_out():
    said, first = "3 of 100 trees differ in structure", "tree 24, split 3, gain: 0.5 → 0.625"
    one_by_one = Difference(
        "tree by tree", Verdict.DRIFTED, "3 of 100 trees differ, the first is tree 24",
        runs=((24, Verdict.EQUIVALENT), (76, Verdict.DRIFTED)),
    )  # fmt: skip
    found = report(Verdict.DRIFTED)
    model = replace(
        found.artifacts[0].difference,
        summary=said,
        children=(Difference("structure", Verdict.DRIFTED, said, first=first), one_by_one),
    )

    shown = text.render(replace(found, artifacts=(replace(found.artifacts[0], difference=model),)))

    assert shown.count(said) == 1
    assert "tree by tree" not in shown
    later = Difference("structure", Verdict.DRIFTED, said, first="tree 30, split 1, feature: 2 → 3")
    model = replace(model, summary=f"100 → 90 trees; {said}", children=(later,))
    shown = text.render(replace(found, artifacts=(replace(found.artifacts[0], difference=model),)))
    assert "structure: drifted · tree 30, split 1, feature: 2 → 3" in shown
    other = replace(one_by_one, summary="4 of 100 trees differ, the first is tree 7")
    model = replace(model, children=(other,))
    shown = text.render(replace(found, artifacts=(replace(found.artifacts[0], difference=model),)))
    assert "tree by tree: drifted · 4 of 100 trees differ, the first is tree 7" in shown


def test_every_unequal_fact_is_named():
    shown = text.render(report(Verdict.CLOSE, environment=(Change("numpy", "1.26.4", "2.0.1"),)))

    assert "environment differs:\n  numpy: 1.26.4 → 2.0.1" in shown


def test_no_line_is_cut_where_it_is_piped():
    found = report(Verdict.CLOSE, notes=("x" * 500,))

    assert "x" * 500 in text.render(found)


def test_markup_of_a_stranger_is_text():
    found = report(Verdict.CLOSE, notes=("[bold red]gone[/]",))

    assert "[bold red]gone[/]" in text.render(found)


def test_a_narrow_terminal_is_kept_within():
    shown = text.render(report(Verdict.DRIFTED), width=50)

    assert max(map(len, shown.splitlines())) <= 50
