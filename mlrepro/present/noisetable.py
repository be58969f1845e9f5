"""Noisetable: a noise floor, a seed ensemble and gates as text."""

from __future__ import annotations

from rich.console import Console

from mlrepro.drift import DriftReport, Noise


def write(console: Console, noise: Noise) -> None:
    """Write what `calibrate` measured."""
    del console, noise


def write_below(console: Console, report: DriftReport) -> None:
    """Write what a report says of noise, seeds and gates, and its remarks."""
    del console, report
