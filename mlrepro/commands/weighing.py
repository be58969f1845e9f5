"""Weighing: a drift set against predictions, noise and seeds: what it means, in sentences."""

from __future__ import annotations

from mlrepro.drift import DriftReport
from mlrepro.manifest import Manifest


def weighed(report: DriftReport, record: Manifest) -> DriftReport:
    """Return a report whose verdicts know of predictions and the noise floor, with its remarks.

    A model that drifted is *close* where its predictions are within ``rms / std ≤ 1e-9``, or where
    all of its measures lie inside the noise floor; never of a run that repeats itself exactly.
    """
    del record
    return report
