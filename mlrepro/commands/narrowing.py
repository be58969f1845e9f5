"""Narrowing: which of several changes, made together, bring a recorded result back."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from mlrepro.commands import bisection
from mlrepro.commands.trials import Context, Outcome, Trial

T = TypeVar("T")


def narrowed(
    ctx: Context, whole: Sequence[T], trial_of: Callable[[Sequence[T]], Trial]
) -> Generator[Trial, Outcome, tuple[tuple[T, ...], Trial, Outcome]]:
    """Try all changes together, then as few as are enough.

    Returns
    -------
    part : tuple
        The smallest part that is enough; empty where all together are not.
    trial, outcome
        Its trial; that of the whole where it is not enough.
    """
    trial = trial_of(whole)
    seen = yield trial
    if not ctx.explains(seen):
        return (), trial, seen
    asking = bisection.smallest(whole)
    try:
        part = next(asking)
        while True:
            tried = trial_of(part)
            found = yield tried
            if good := ctx.explains(found):
                trial, seen = tried, found
            part = asking.send(good)
    except StopIteration as stop:
        return stop.value, trial, seen
