"""Coverage: every way to read and write under every observer; what is missed is written down.

An observer that comes to miss something fails here, and one that comes to see more as well:
the table of the cases is what the documentation and `make coverage-matrix` say.
"""

from __future__ import annotations

import pytest

from tests.coverage.case import Case
from tests.coverage.cases import CASES
from tests.coverage.running import OBSERVERS, NotHereError, run

OPTIONAL = ("rust", "node")
"""Languages that a machine on which the tests run may lack."""


@pytest.mark.parametrize("observer", OBSERVERS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_program_reads_and_writes_is_seen(case: Case, observer, workshop, tmp_path):
    try:
        outcome = run(case, observer, workshop, tmp_path)
    except NotHereError as error:
        if case.language in OPTIONAL:
            pytest.skip(str(error))
        raise

    said = "\n".join(outcome.blind_spots)
    assert not outcome.wrong, said
    assert outcome.missed == case.missed.get(observer, ""), said
    assert outcome.refused == case.refused.get(observer, ()), said
    assert outcome.named == (observer in case.named), said
    assert "W" not in outcome.missed_by_scan
    if observer == "native" and not outcome.missed:
        expected = case.spots.get(observer)
        assert len(outcome.blind_spots) == (expected is not None)
        assert (expected or "") in said


def test_the_table_holds_the_57_ways_of_the_measurement():
    counted = [case for case in CASES if case.counted]

    assert len(counted) == 57
    assert sum("R" in case.kinds for case in counted) == 55
    assert sum("W" in case.kinds for case in counted) == 26


def test_only_what_cannot_be_detected_is_missed_without_a_word():
    silent = {
        (observer, case.name)
        for case in CASES
        for observer, kinds in case.missed.items()
        if "R" in kinds and observer not in case.named  # writes are seen by the scan
    }

    assert silent == {
        ("audit", "os.open(dir_fd=)"),
        ("audit", "ctypes calling open"),
    }
