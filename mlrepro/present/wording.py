"""Wording: sentences that the terminal and the page share."""

from __future__ import annotations

from mlrepro.drift import DriftReport
from mlrepro.verdicts import Verdict

_EXCUSE = "close: "
"""What stands in a summary before the reason why a drift counts as close; see `weighing`."""


def meaning(report: DriftReport) -> str:
    """Say in a line what the verdict of a rebuild means."""
    deciding = [a.difference for a in report.artifacts if a.decides]
    kinds = {found.comparator for found in deciding if found.verdict is Verdict.DRIFTED}
    if report.verdict is Verdict.DRIFTED and kinds == {"bytes"}:
        return "other bytes of a kind that no comparator knows: how far cannot be told"
    excused = [f.summary for f in deciding if f.verdict is Verdict.CLOSE and _EXCUSE in f.summary]
    if report.verdict is Verdict.CLOSE and excused:
        return f"numbers differ, {excused[0].rpartition(_EXCUSE)[2]}"
    return {
        Verdict.IDENTICAL: "the same, bit for bit",
        Verdict.EQUIVALENT: "other bytes, but no number differs",
        Verdict.CLOSE: "numbers differ, within the tolerance",
        Verdict.DRIFTED: "numbers or structure differ beyond the tolerance",
        Verdict.MISSING: "an artifact stands on one side only",
    }[report.verdict]
