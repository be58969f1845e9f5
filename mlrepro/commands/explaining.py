"""Explaining: one factor changed at a time, until the recorded result comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mlrepro.commands.refs import Target
from mlrepro.commands.remaking import How
from mlrepro.drift import Attribution, DriftReport
from mlrepro.stores.place import Place


@dataclass(frozen=True)
class Search:
    """How long a cause is looked for.

    Attributes
    ----------
    max_time : float or None
        Seconds after which no further training begins; None for no limit.
    """

    max_time: float | None = None


def explain(
    here: Place,
    target: Target,
    how: How,
    report: DriftReport,
    attempt: Callable[[How], DriftReport],
    search: Search,
    *,
    notify: Callable[[str], None],
) -> Attribution | None:
    """Say why a rebuild drifted, by further rebuilds; None where it did not.

    Parameters
    ----------
    how : How
        How the rebuild was made.
    report : DriftReport
        What it found.
    attempt : callable
        Makes another rebuild and returns its report; raises `InconclusiveError` or
        `ComparisonError` where it cannot be told.
    search : Search
        How long to look.
    """
    del here, target, how, report, attempt, search, notify
    return None
