"""Trials: a rebuild with one thing changed, how it came out, and what that says of a drift."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from mlrepro import plain
from mlrepro.commands.refs import Target
from mlrepro.commands.remaking import How
from mlrepro.drift import DriftReport, Verdict
from mlrepro.manifest import Fit, Manifest, Role
from mlrepro.stores.place import Place


@dataclass(frozen=True)
class Trial:
    """A rebuild to be made.

    Attributes
    ----------
    factor : str
        What is changed: ``threads``.
    what : str
        How it is changed: ``8 threads, as recorded``; with the factor it names the trial.
    how : How
        The rebuild.
    read : callable
        Says what an outcome means; nothing, where its verdict does.
    exactly : str
        What `what` says in short, in full: two trials must not be taken for one.
    """

    factor: str
    what: str
    how: How
    read: Callable[[Outcome], str] = field(default=lambda _outcome: "", compare=False, repr=False)
    exactly: str = ""

    @property
    def key(self) -> str:
        """What the trial is known by in the file of those that were made."""
        return f"{self.factor}: {self.exactly or self.what}"


@dataclass(frozen=True)
class Outcome:
    """How a trial came out.

    Attributes
    ----------
    verdict : Verdict or None
        None where it could not be made.
    prints : dict of str to str
        Path of each artifact that decides → digest of what was made.
    distances : dict of str to str
        The same → digest of all that was measured between it and the recorded one.
    seconds : float
        Wall time, with all that surrounds the training.
    note : str
        Why it could not be made.
    """

    verdict: Verdict | None
    prints: Mapping[str, str] = field(default_factory=dict)
    distances: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    note: str = ""

    @property
    def is_back(self) -> bool:
        """Whether the recorded result is back."""
        return self.verdict is not None and self.verdict <= Verdict.EQUIVALENT


@dataclass(frozen=True)
class Finding:
    """Why it drifted, and the trial that shows it."""

    cause: str
    sentence: str
    by: Trial | None = None
    note: str = ""


Steps = Generator[Trial, Outcome, Finding | None]
"""A toggle at work: yields trials, is sent how each came out, and returns what that says."""


@dataclass(frozen=True)
class Context:
    """What is known before anything is tried.

    Attributes
    ----------
    here : Place
    target : Target
    how : How
        How the rebuild was made, brief.
    report : DriftReport
        What it found.
    notify : callable
    unmade : list of str
        Why a toggle could not even begin; toggles add to it.
    in_vain : set of str
        What a toggle brought back without any effect, as the report calls it.
    """

    here: Place
    target: Target
    how: How
    report: DriftReport
    notify: Callable[[str], None]
    unmade: list[str] = field(default_factory=list)
    in_vain: set[str] = field(default_factory=set)

    @property
    def record(self) -> Manifest:
        """The recorded run."""
        return self.target.manifest

    @cached_property
    def first(self) -> Outcome:
        """How the rebuild came out."""
        return outcome(self.report)

    @cached_property
    def may_race(self) -> bool:
        """Whether what came out once may be chance."""
        return any(map(may_race, self.record.fits))

    @cached_property
    def subject(self) -> str:
        """What is said to be identical."""
        roles = {one.role for one in self.report.artifacts if one.decides}
        return self.target.artifact or ("the model" if Role.WEIGHTS in roles else "the result")

    def explains(self, one: Outcome) -> bool:
        """Say whether a trial brings the recorded result back, or most of it."""
        closer = self.report.verdict >= Verdict.DRIFTED and one.verdict is Verdict.CLOSE
        return one.is_back or closer

    def said(self, one: Outcome) -> str:
        """Say how near to the recorded result a trial came."""
        if one.is_back:
            return f"{self.subject} is {one.verdict}"
        was = self.report.verdict
        return f"{self.subject} is {one.verdict} instead of {was}, so that is most of it"

    def changed(self, **factors: Any) -> How:
        """Return the rebuild with some factors changed."""
        return replace(self.how, factors=replace(self.how.factors, **factors))

    def with_variables(self, variables: Mapping[str, str | None], **more: Any) -> How:
        """Return the rebuild with some variables changed."""
        return self.changed(variables={**self.how.factors.variables, **variables}, **more)


def outcome(report: DriftReport, seconds: float = 0.0) -> Outcome:
    """Keep of a report what tells results apart."""
    deciding = [one for one in report.artifacts if one.decides]
    return Outcome(
        report.verdict,
        {one.path: one.rebuilt for one in deciding},
        # Of bytes that no comparator knows, next to nothing is measured.
        {
            one.path: _digest(
                [
                    (str(d.verdict), d.summary, d.first, plain.dump(d.measures))
                    for d in one.difference.walk()
                ]
            )
            for one in deciding
            if one.difference.comparator not in ("", "bytes")
        },
        seconds,
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def same(a: Outcome, b: Outcome) -> bool:
    """Say whether two rebuilds made the same: the same bytes, or what measures the same to a digit.

    A file may hold the time at which it was written.
    """
    if a.verdict is None or b.verdict is None or a.prints.keys() != b.prints.keys():
        return False
    return all(
        (a.prints[path] and a.prints[path] == b.prints[path])
        or (a.prints[path] == b.prints[path] and a.verdict is b.verdict is Verdict.MISSING)
        or (path in a.distances and a.distances[path] == b.distances.get(path))
        for path in a.prints
    )


def may_race(fit: Fit) -> bool:
    """Say whether a fit adds up in the order in which its threads finish.

    LightGBM does unless it is told not to: of 12 trainings with 4 threads and one seed, 7 gave one
    model and 5 another, which differed in the last digits (4.7, two cores under load).
    """
    if fit.threads == 1:
        return False
    if is_lightgbm(fit):
        return not is_on(fit, "deterministic")
    return word(fit, "booster") == "gblinear" and word(fit, "updater", "shotgun") == "shotgun"


def word(fit: Fit, name: str, default: str = "") -> str:
    """Return a parameter as a word in lower case."""
    return str(fit.params.get(name, default)).lower()


def is_on(fit: Fit, name: str) -> bool:
    """Say whether a parameter is true, as one writes it in Python, YAML or LightGBM."""
    return word(fit, name) in ("true", "1", "+")


def is_lightgbm(fit: Fit) -> bool:
    """Say whether a fit, or one inside it, is LightGBM's."""
    return _is_of(fit, ("lightgbm.", "LGBM"))


def is_xgboost(fit: Fit) -> bool:
    """Say whether a fit, or one inside it, is XGBoost's."""
    return _is_of(fit, ("xgboost.", "XGB"))


def _is_of(fit: Fit, words: tuple[str, ...]) -> bool:
    return any(call.rpartition(" ")[2].startswith(words) for call in (fit.call, *fit.inside))
