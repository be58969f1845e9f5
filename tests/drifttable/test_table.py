"""What moves a boosted model: the verdicts and causes that a report must find by itself."""

from __future__ import annotations

import pytest

from tests.drifttable.cases import CASES
from tests.drifttable.running import Laboratory


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_each_thing_that_moves_a_model_is_judged_and_named(library, project):
    laboratory = Laboratory(project.root)

    rows = [laboratory.row(case) for case in CASES if case.a.library == library]

    assert len(rows) >= 8
    assert [row.fault for row in rows if row.fault] == []
