"""Predictiontable: predictions, metric deltas and histories as text."""

from __future__ import annotations

from rich.console import Console

from mlrepro.drift import DriftReport


def write(console: Console, report: DriftReport) -> None:
    """Write what a report says of predictions and histories."""
    del console, report
