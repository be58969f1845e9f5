"""Gates: limits that a rebuilt metric has to reach, told with the metric's sampling error."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from mlrepro.commands import metricvalues, testrows
from mlrepro.commands.metricvalues import plain_name
from mlrepro.commands.remaking import Made
from mlrepro.commands.testrows import Rows
from mlrepro.drift import DriftReport, Ensemble, Gate, Predicted
from mlrepro.errors import UsageError
from mlrepro.manifest import STREAMS, Manifest, Role
from mlrepro.stores.place import Place

_LISTED = 20
_ROUNDED = 1e-3
"""A metric that a file has in few digits is still that of the predictions."""
_ENOUGH = 5
"""The standard deviation of fewer is itself unsure by 40 % and more: the tested rows tell more."""


def expect(here: Place, record: Manifest, wanted: Sequence[tuple[str, float]]) -> None:
    """Refuse before the training what the recorded run already shows to have no answer.

    Raises
    ------
    UsageError
        If the run has no metric of that name, or several; the message names those that it has.
    """
    known = metricvalues.of_record(here, record) if wanted else {}
    for metric, _limit in wanted:
        found = _matches(metric, known)
        if len(found) > 1:
            raise UsageError(
                f"`{metric:.80}` is the name of several metrics: {_listed(found)}",
                hint="Give the whole name.",
            )
        if not found and known:
            raise UsageError(
                f"run {record.short} has no metric `{metric:.80}`", hint=f"It has {_listed(known)}."
            )


def check(wanted: Sequence[tuple[str, float]], made: Made, report: DriftReport) -> tuple[Gate, ...]:
    """Return each limit with the rebuilt metric's value and its error.

    A metric that the rebuild lacks does not pass: its value is NaN, and `source` says why. After
    hours of training that is better than an error that leaves no report.
    """
    if not wanted:
        return ()
    values = metricvalues.of_made(made)
    predicted = {
        f"{one.data}: {delta.metric}": delta.rebuilt
        for one in report.predictions
        for delta in one.deltas
    }
    rows = testrows.found(made.evaluations)
    return tuple(_gate(name, limit, values, predicted, report, rows) for name, limit in wanted)


def _gate(
    metric: str,
    limit: float,
    values: Mapping[str, float],
    predicted: Mapping[str, float],
    report: DriftReport,
    rows: Sequence[Rows],
) -> Gate:
    known = {**predicted, **values}
    found = _matches(metric, values) or _matches(metric, predicted)
    if len(found) != 1:
        what = f"several: {_listed(found)}" if found else f"none; there are {_listed(known)}"
        return Gate(metric, limit, math.nan, None, f"the rebuild has {what}", False)
    name = found[0]
    value = known[name]
    ensemble = report.noise.ensemble if report.noise else None
    error, source = (
        _of_resamples(name, value, report.predictions)
        or _of_seeds(name, ensemble, _ENOUGH)
        or testrows.error(name, value, rows)
        or _of_seeds(name, ensemble, 2)
        or (None, "")
    )
    return Gate(name, limit, value, error, source, value >= limit)


def _matches(metric: str, known: Iterable[str]) -> list[str]:
    """Return the names that a metric is meant by: the whole one, else the end of one.

    What a file says comes before what a fit said, and that before what was printed, so that
    ``auc`` is that of ``metrics.json`` where a booster was validated by it, too.
    """
    names = list(known)
    if metric in names:
        return [metric]
    alike = [name for name in names if _ends_with(name, metric)]
    for rank in (0, 1, 2):
        if found := [name for name in alike if _rank(name) == rank]:
            whole = [name for name in found if name.partition(": ")[2] == metric]
            return whole if len(whole) == 1 else found
    return []


def _ends_with(name: str, metric: str) -> bool:
    """Say whether a name ends with a metric, a whole word of it: ``valid.auc``, not ``pr_auc``."""
    before = name.removesuffix(metric)
    return before != name and before.endswith((": ", ".", " ", "/"))


def _rank(name: str) -> int:
    file, _, rest = name.partition(": ")
    if file == STREAMS[Role.STDOUT]:
        return 2
    return 0 if rest and "." in file and " " not in file else 1


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    more = f" … and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
    return ", ".join(known[:_LISTED]) + more if known else "none at all"


def _of_resamples(
    name: str, value: float, predictions: Sequence[Predicted]
) -> tuple[float, str] | None:
    """Return the error of a bootstrap over the rows that give this very metric."""
    for one in predictions:
        for delta in one.deltas:
            same = math.isclose(delta.rebuilt, value, rel_tol=_ROUNDED)
            if delta.metric == plain_name(name) and same and delta.error > 0:
                return delta.error, f"{delta.resamples} resamples of {one.rows} rows"
    return None


def _of_seeds(name: str, ensemble: Ensemble | None, enough: int) -> tuple[float, str] | None:
    """Return how far other seeds scatter: what another training of the same kind would give."""
    column = ensemble.metrics.get(name, ()) if ensemble else ()
    error = statistics.stdev(column) if len(column) >= enough else 0.0
    return (error, f"{len(column)} seeds") if error > 0 else None
