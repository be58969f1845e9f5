"""Verdicts and tolerances."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro.drift import ArtifactDrift, Difference, DriftReport, Tolerance, Verdict
from mlrepro.manifest import Role

floats = st.floats()


@given(floats, floats)
def test_closeness_has_no_direction(a, b):
    assert Tolerance().scalar(a, b) == Tolerance().scalar(b, a)


@given(floats)
def test_everything_is_close_to_itself(a):
    assert Tolerance().scalar(a, a)


@pytest.mark.parametrize(
    ("a", "b", "close"),
    [(1.0, 1.0 + 9e-7, True), (1.0, 1.0 + 2e-6, False), (0.0, 1e-12, True), (0.0, 1e-11, False),
     (math.inf, math.inf, True), (math.inf, -math.inf, False), (math.inf, 1e308, False),
     (math.nan, 1.0, False), (1e300, -1e300, False)],
)  # fmt: skip
def test_scalars_follow_the_documented_limits(a, b, close):
    assert Tolerance().scalar(a, b) is close


def report(*verdicts: tuple[Verdict, bool]) -> DriftReport:
    parts = [
        ArtifactDrift(str(i), Role.WEIGHTS, d, Difference(str(i), v))
        for i, (v, d) in enumerate(verdicts)
    ]
    return DriftReport("0" * 64, "", tuple(parts))


def test_the_worst_part_that_decides_is_the_verdict():
    found = report((Verdict.IDENTICAL, True), (Verdict.CLOSE, True), (Verdict.DRIFTED, False))

    assert found.verdict is Verdict.CLOSE


def test_a_report_in_which_nothing_decides_is_no_pass():
    assert report((Verdict.IDENTICAL, False)).verdict > Verdict.CLOSE
