"""Values: what the comparators of plain numbers share: two scalars, their words, names of times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from mlrepro.drift import Difference, Measure, Tolerance, Verdict

LISTED = 20
"""So many metadata lines or children are listed; the rest are counted."""


@dataclass
class Findings:
    """What one comparison has met so far; becomes the node of the report."""

    what: str = "values"
    compared: int = 0
    differing: int = 0
    beyond: int = 0
    structural: int = 0
    set_aside: int = 0
    first: str = ""
    metadata: list[str] = field(default_factory=list)
    measures: list[Measure] = field(default_factory=list)
    children: list[Difference] = field(default_factory=list)

    def differ(self, where: str, *, close: bool) -> None:
        """Note a value that differs; the first one that is not close stands in the report."""
        self.differing += 1
        if not close and not self.beyond + self.structural:
            self.first = where
        self.first = self.first or where
        self.beyond += not close

    def break_structure(self, where: str) -> None:
        """Note something that stands on one side only, or is of another shape or type."""
        self.compared += 1
        if not self.beyond + self.structural:
            self.first = where
        self.structural += 1

    def put_aside(self, where: str) -> None:
        """Note a value that differs and means nothing for the result: a time, a path."""
        self.set_aside += 1
        if len(self.metadata) < LISTED:
            self.metadata.append(where)

    @property
    def verdict(self) -> Verdict:
        """The verdict of all that was met; where nothing was compared it is no pass."""
        if self.beyond or self.structural or not self.compared:
            return Verdict.DRIFTED
        return Verdict.CLOSE if self.differing else Verdict.EQUIVALENT

    def difference(self, path: str) -> Difference:
        """Return the finished node.

        Where all that differs was set aside and nothing else was there, `compared` is 0, and the
        verdict is *drifted*: a caller who forgets to look at `compared` must not see a pass.
        """
        unlisted = self.set_aside - len(self.metadata)
        metadata = (*self.metadata, *([f"{unlisted} more set aside"] if unlisted > 0 else []))
        return Difference(
            path,
            self.verdict,
            summary=self._summary(),
            measures=tuple(self.measures),
            first=self.first,
            metadata=metadata,
            children=tuple(self.children),
            compared=self.compared,
        )

    def _summary(self) -> str:
        parts = []
        if self.structural:
            parts.append(f"{self.structural} on one side only or of another kind")
        if self.differing:
            parts.append(f"{self.differing} of {self.compared} {self.what} differ")
        if not self.compared:
            parts.append("nothing was compared")
        if self.set_aside:
            parts.append(f"{self.set_aside} set aside")
        return "; ".join(parts)


def scalars_close(a: float, b: float, tolerance: Tolerance) -> bool:
    """Say whether two numbers are close; two whole numbers must be equal.

    A count is exact: only a tolerance that the user gave lets it move.
    """
    if a == b:
        return True
    if isinstance(a, int) and isinstance(b, int) and not is_given(tolerance):
        return False
    try:
        return tolerance.scalar(a, b)
    except OverflowError:  # an int beyond every float
        return False


def is_given(tolerance: Tolerance) -> bool:
    """Say whether the tolerance is the user's own, so that it also holds for whole numbers."""
    return tolerance.rtol is not None or tolerance.atol != Tolerance().atol


def relative(a: float, b: float) -> float:
    """Return the relative distance ``|a−b| / max(|a|,|b|)``; infinite where it has none."""
    try:
        largest = max(abs(a), abs(b))
        distance = abs(a - b) / largest if largest else 0.0
    except OverflowError:
        return float("inf")
    return float(distance) if distance == distance else float("inf")


def show(value: object) -> str:
    """Return a value in few characters, as a report shows it."""
    text = repr(value) if isinstance(value, (float, int)) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "…"


def worst(children: Sequence[Difference]) -> Verdict:
    """Return the worst verdict of the parts in which anything was compared.

    A part that holds only times is passed over, unless it is all there is.
    """
    told = [c for c in children if c.compared or c.verdict in _TOLD]
    return max((c.verdict for c in told), default=Verdict.DRIFTED)


_TOLD = (Verdict.IDENTICAL, Verdict.MISSING)


def _words(text: str) -> list[str]:
    return text.split()


# The head of a compound decides in English: `train_time` is a time, `time_steps` are steps.
_TIMES = frozenset(
    _words("""
    time times timing timings seconds second secs sec duration durations elapsed timestamp
    timestamps datetime date dates wall walltime wallclock clock runtime runtimes started
    finished throughput latency speed pid ppid hostname host uuid guid ms us ns msec usec
    millis milliseconds microseconds nanoseconds minutes hours eta fps rss memory
    """)
)
_STATISTICS = frozenset(
    _words("""
    total mean avg average std min max median sum p50 p90 p95 p99 user sys cpu unix utc iso
    taken mb gb kb mib gib kib bytes s used peak
    """)
)
_IDENTITIES = frozenset({"run_id", "job_id", "session_id", "trial_id", "process_id", "exec_id"})
_MOMENTS = frozenset(
    _words("""
    created updated saved modified started finished began ended logged
    """)
)
# With `_s` they are a unit: `train_s`, `fit_s`.
_WORKS = frozenset(
    _words("""
    train training fit fitting predict prediction inference eval evaluation total load
    loading run epoch step iter iteration preprocess preprocessing score scoring setup
    compile save
    """)
)
# `n_seconds` counts what was asked for; `predicted_time` and `time_mae` are results.
_RESULTS = frozenset(
    _words("""
    n num number count pred preds predicted true target actual label labels forecast
    survival feature features mae rmse mse mape loss error
    """)
)
# Below a key of these words every number is a duration: {"seconds": {"fit": 1.2, "score": 0.3}}.
_SPANS = frozenset(
    _words("""
    time times timing timings seconds secs duration durations elapsed timestamp timestamps wall
    walltime
    """)
)
_SCORES = frozenset(
    _words("""
    auc acc accuracy f1 r2 precision recall logloss rmse rmsle mape kappa mcc gini ndcg map
    perplexity bleu rouge iou dice likelihood aic bic
    """)
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def is_time_name(name: str) -> bool:
    """Say whether a name is that of a time, a duration, a rate or of this one process.

    ``train_seconds``, ``fitTime``, ``samples_per_second``, ``time/epoch_s``, ``created_at`` and
    ``run_id`` are; ``time_steps``, ``n_seconds_window``, ``time_budget`` and ``predicted_time``
    are not.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or _RESULTS & set(words):
        return False
    if "_".join(words[-2:]) in _IDENTITIES or (
        words[-1] == "at" and words[-2:-1] and words[-2] in _MOMENTS
    ):
        return True
    if "per" in words[1:-1]:
        return bool(_TIMES & {words[words.index("per") - 1], words[words.index("per") + 1]})
    if words[-1] == "s" and len(words) > 1 and (_WORKS | _TIMES) & set(words[:-1]):
        return True
    head = _head(words)
    return head in _TIMES or (words[0] == "time" and words[1:2] in (["this"], ["to"], ["since"]))


def is_moment_name(name: str) -> bool:
    """Say whether a text of this name tells when something was done: ``saved``, ``dateCreated``."""
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(words) and words[-1] in _MOMENTS and not _RESULTS & set(words)


def spans_below(name: str) -> bool:
    """Say whether what lies below a key of this name is all times: ``timing`` is, ``speed`` not."""
    words = [word.lower() for word in _WORD.findall(name)]
    return is_time_name(name) and _head(words) in _SPANS


def is_score_name(name: str) -> bool:
    """Say whether a name is that of a measure of quality, whatever it lies below."""
    return bool((_SCORES | _RESULTS) & {word.lower() for word in _WORD.findall(name)})


def is_clock_name(name: str) -> bool:
    """Say whether a column's name is that of a clock, and not of a date or time that is data.

    ``created_at``, ``timestamp``, ``fit_time`` and ``train_seconds`` are; ``time``, ``date`` and
    ``arrival_time``, which a table of results holds as well, are not.
    """
    words = [word.lower() for word in _WORD.findall(name)]
    if not is_time_name(name):
        return False
    return _head(words) not in _DATA or bool(_CLOCKS & set(words))


# Alone, or beside any word that is no work of a program, they are what a table is about.
_DATA = frozenset(
    _words("time times date dates datetime speed memory latency clock hours minutes host")
)
_CLOCKS = (
    _WORKS
    | _MOMENTS
    | frozenset(
        _words("""
        start end wall walltime cpu gpu user sys elapsed process processing compute build wait
        this since unix peak used per request response query
        """)
    )
)


def _head(words: list[str]) -> str:
    at = len(words) - 1
    while at > 0 and (words[at] in _STATISTICS or words[at].isdigit()):
        at -= 1
    return words[at]
