"""Explaining: one factor changed at a time, until the recorded result comes back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from mlrepro.commands import explainstate, signatures, toggles, unrestorable
from mlrepro.commands.explainstate import Journal
from mlrepro.commands.refs import Target
from mlrepro.commands.remaking import How
from mlrepro.commands.toggles import Toggle
from mlrepro.commands.trials import Context, Finding, Outcome, Trial, outcome
from mlrepro.drift import Attribution, DriftReport, Tried, Verdict
from mlrepro.errors import MlreproError, TrainingFailedError
from mlrepro.stores.place import Place

_ROOM = 1.5
"""Seconds that a rebuild takes beside its training; a guess, until one was timed."""

_BACK = Verdict.EQUIVALENT
"""The worst that a trial may be which brings the recorded result back."""


@dataclass(frozen=True)
class Search:
    """How long a cause is looked for.

    Attributes
    ----------
    max_time : float or None
        Seconds after which no further training begins; None for no limit.
    """

    max_time: float | None = None


class Progress:
    """What a search tells: which trial goes on, and beside it what takes long in that trial.

    At a terminal one sentence takes the place of the last; that of the trial must not be gone while
    it trains.

    Parameters
    ----------
    notify : callable
        Takes a sentence.
    """

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._trial = self._shown = ""

    def begin(self, sentence: str) -> None:
        """Tell of a trial that begins: ``explain 3 of about 9: threads: …``."""
        self._trial = sentence
        self._tell(sentence)

    def within(self, sentence: str) -> None:
        """Tell of a step within it; that it trains is what a trial is."""
        step = f"{self._trial.partition(':')[0]}: {sentence}"
        self._tell(self._trial if sentence.startswith("training") else step)

    def _tell(self, sentence: str) -> None:
        if sentence != self._shown:
            self._notify(sentence)
        self._shown = sentence


class _OutOfTimeError(Exception):
    """No further training may begin."""


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
    """Say why a rebuild drifted, by further rebuilds; None where no number moved.

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
    if report.verdict <= Verdict.EQUIVALENT:
        return None
    brief = replace(how, brief=True, keep_room=False, gates=(), sign=False, probe_data=None)
    ctx = Context(here, target, brief, report, notify)
    known = signatures.of(ctx)
    order = toggles.ordered([one.toggle for one in known])
    walk = _Walk(ctx, attempt, explainstate.opened(here, target, how, report), search.max_time)
    found, finished = None, True
    try:
        found = walk.through(order)
    except _OutOfTimeError:
        finished = False
    # Where a cause was found, or the search goes on, it is not known what else would matter.
    lost = finished and (found is None or found.cause == "unattributed")
    missing = unrestorable.of(ctx) if lost else ()
    return Attribution(
        cause=found.cause if found else "unattributed",
        sentence=_sentence(found, walk, missing, finished=finished),
        tried=tuple(walk.tried),
        signatures=tuple(one.sentence for one in known),
        unrestored=missing,
        finished=finished,
    )


def _sentence(found: Finding | None, walk: _Walk, missing: Iterable[str], *, finished: bool) -> str:
    lacking = "; not restored: " + ", ".join(missing) if missing else ""
    if found:
        return found.sentence + (lacking if found.cause == "unattributed" else "")
    if not finished:
        return (
            f"not finished: time ran out after {len(walk.tried)} of about {walk.total} trials,"
            f" each of about {walk.expected:.0f} s; the same command goes on from there"
            + _so_far(walk)
        )
    return f"unattributed: {_in_vain(walk)}{lacking}"


def _so_far(walk: _Walk) -> str:
    """Say what brought the result back already, where the search went on to narrow it."""
    back = [one for one in walk.tried if one.verdict is not None and one.verdict <= _BACK]
    return f"; so far: {back[-1].factor}: {back[-1].what}: {back[-1].verdict}" if back else ""


def _in_vain(walk: _Walk) -> str:
    """Say what a search without success has shown."""
    made = [one.factor for one in walk.tried if one.verdict is not None]
    count = len(made) - made.count("repeat")
    if "repeat" not in made:
        start = "the training could not be repeated here"
    else:
        start = "the training repeats itself on this machine"
    if not count:
        return f"{start}, and no factor could be changed"
    if count == 1:
        return f"{start}, and the one change that was possible did not bring the result back"
    return f"{start}, and none of {count} changes brought the recorded result back"


@dataclass
class _Walk:
    """The way through the toggles."""

    ctx: Context
    attempt: Callable[[How], DriftReport]
    journal: Journal
    limit: float | None
    tried: list[Tried] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    total: int = 0
    began: float = field(default_factory=time.monotonic)
    longest: float = 0.0

    @property
    def expected(self) -> float:
        """Seconds that the next trial is likely to take."""
        return self.longest or self.ctx.report.seconds + _ROOM

    def through(self, order: list[Toggle]) -> Finding | None:
        """Try one after the other; return what the first of them finds."""
        about = {one.name: one.about(self.ctx) for one in order}
        for toggle in order:
            if not about.pop(toggle.name):
                continue
            found = self._steps(toggle, sum(about.values()))
            if found is not None:
                return found
        return None

    def _steps(self, toggle: Toggle, later: int) -> Finding | None:
        """Let a toggle try what it will.

        Parameters
        ----------
        later : int
            How many trials those behind it are likely to need.
        """
        steps = toggle.steps(self.ctx)
        started, own = len(self.tried), toggle.about(self.ctx)
        try:
            trial = next(steps)
            while True:
                here = max(own, len(self.tried) - started + 1)
                self.total = started + here + later
                trial = steps.send(self._outcome(trial))
        except StopIteration as stop:
            found: Finding | None = stop.value
        if found and found.by:
            found = self._confirmed(found, found.by)
            self._mark(found)
        return found

    def _confirmed(self, found: Finding, trial: Trial) -> Finding:
        """Try once more what brought the result back, where that may have been chance."""
        known = self.journal.outcomes[trial.key]
        if not self.ctx.may_race or not self.ctx.explains(known):
            return found
        again = replace(trial, what=f"{trial.what}, once more to be sure", exactly="")
        self.total += 1
        if self.ctx.explains(self._outcome(again)):
            return found
        return Finding(
            "unattributed",
            f"unattributed: the training does not repeat itself on this machine: {trial.what}"
            " brought the recorded result back once, and not again",
        )

    def _outcome(self, trial: Trial) -> Outcome:
        known = self.journal.outcomes.get(trial.key)
        if known and any(trial.key == key for key in self.keys):
            return known  # two toggles, or two steps of one, asked for the same
        if known is None:
            self._begin(trial)
            known = self._made(trial)
        self.keys.append(trial.key)
        self.longest = max(self.longest, known.seconds)
        note = known.note or trial.read(known)
        self.tried.append(
            Tried(trial.factor, trial.what, known.verdict, round(known.seconds, 3), note=note)
        )
        return known

    def _made(self, trial: Trial) -> Outcome:
        """Rebuild; what goes wrong there is an outcome, too."""
        began = time.monotonic()
        try:
            found = outcome(self.attempt(trial.how))
        except BrokenPipeError:
            raise
        except (MlreproError, OSError) as error:
            taken = time.monotonic() - began
            found = Outcome(None, seconds=taken, note=_why(error))
            if isinstance(error, TrainingFailedError):  # it would fail again; a network may not
                self.journal.add(trial.key, found)
            return found
        found = replace(found, seconds=time.monotonic() - began)
        self.journal.add(trial.key, found)
        return found

    def _begin(self, trial: Trial) -> None:
        """Say what comes next, where there is time for it."""
        spent = time.monotonic() - self.began
        if self.limit is not None and spent + self.expected > self.limit:
            raise _OutOfTimeError
        number = len(self.tried) + 1
        left = (self.total - number + 1) * self.expected
        self.ctx.notify(
            f"explain {number} of about {self.total}: {trial.factor}: {trial.what}"
            f" (about {_lasting(left)} left)"
        )

    def _mark(self, found: Finding) -> None:
        """Say of the trial that shows the cause that it does."""
        for at, (one, key) in enumerate(zip(self.tried, self.keys, strict=True)):
            if found.by and key == found.by.key:
                note = "; ".join(filter(None, (one.note, found.note)))
                self.tried[at] = replace(one, restores=True, note=note)


def _why(error: Exception) -> str:
    """Say why a trial could not be made, in a line."""
    hint = getattr(error, "hint", None) or ""
    last = hint.strip().splitlines()[-1:] if isinstance(error, TrainingFailedError) else []
    return ": ".join([str(error), *last])[:300]


def _lasting(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
