"""Wording: sentences that the terminal and the page share."""

from __future__ import annotations

import re

from mlrepro.drift import DriftReport
from mlrepro.verdicts import Verdict

_MOVED = re.compile(r"(-?\d+\.\d+(?:e[-+]?\d+)?) → (-?\d+\.\d+(?:e[-+]?\d+)?)(?![\w.])")
_DIGEST = re.compile(r"((?:md5|sha1|sha256|blake2b):[0-9a-f]{12})[0-9a-f]+")

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


def brief(text: str) -> str:
    """Round two numbers around an arrow to six digits, unless they would look equal then."""

    def rounded(match: re.Match[str]) -> str:
        a, b = (f"{float(number):.6g}" for number in match.groups())
        return match[0] if a == b else f"{a} → {b}"

    return _MOVED.sub(rounded, text)


def short_digests(text: str) -> str:
    """Cut digests to what tells them apart for a person."""
    return _DIGEST.sub(r"\1…", text)
