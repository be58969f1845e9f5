"""Locktoggle: which of the packages that differ from the recorded ones make a rebuild drift."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mlrepro.capture import environment, locking
from mlrepro.cleanroom import interpreter
from mlrepro.commands import packages as recorded_packages
from mlrepro.commands.narrowing import narrowed
from mlrepro.commands.trials import Context, Finding, Outcome, Steps, Trial
from mlrepro.drift import Change
from mlrepro.errors import MlreproError
from mlrepro.locks import Lock, Requirement
from mlrepro.manifest import Package

PYTHON = "python"
_WORDS = ("package ", "wheel of ", "content of ", "files of ", "source of ", "python", "conda ")
_MOST_NAMED = 4


@dataclass(frozen=True)
class Between:
    """Two environments, and all that lie between them.

    Attributes
    ----------
    recorded : Lock
        The environment of the run.
    present : dict of str to Requirement
        What the other one has.
    python : str
        The other one's Python.
    names : tuple of str
        The packages that differ, and ``python`` where that does; the likely causes first.
    versions : dict of str to str
        Name → what it is in the other one.
    """

    recorded: Lock
    present: Mapping[str, Requirement]
    python: str
    names: tuple[str, ...]
    versions: Mapping[str, str]

    @property
    def edited(self) -> tuple[str, ...]:
        """The packages of the recorded version whose files are others."""
        had = {one.name: one.version for one in self.recorded.requirements}
        return tuple(one for one in self.names if one in had and self.versions.get(one) == had[one])

    def lock(self, restored: Sequence[str]) -> Lock:
        """Return the present environment with some of what differs as it was recorded."""
        had = {one.name: one for one in self.recorded.requirements}
        here = {name for name in self.names if name not in restored}
        found = [one for name, one in had.items() if name not in here]
        found += [self.present[name] for name in sorted(here) if name in self.present]
        python = self.python if PYTHON in here else self.recorded.python
        return replace(self.recorded, requirements=tuple(found), python=python)

    def named(self, names: Sequence[str]) -> str:
        """Name packages with their recorded versions."""
        had = {one.name: one.version for one in self.recorded.requirements}
        had[PYTHON] = self.recorded.python
        words = [f"{name} {had[name]}" if name in had else f"no {name}" for name in names]
        more = f" and {len(words) - _MOST_NAMED} more" if len(words) > _MOST_NAMED else ""
        return ", ".join(words[:_MOST_NAMED]) + more


def differing(ctx: Context) -> tuple[Change, ...]:
    """Return what the report says of packages that are not the recorded ones."""
    return tuple(
        one
        for one in ctx.report.environment
        if one.what.startswith(_WORDS) and one.what != "package mlrepro"
    )


def about(ctx: Context) -> int:
    """Return how many environments will be tried."""
    count = len(differing(ctx))
    return 2 + count.bit_length() if count > 1 else count


def packages(ctx: Context) -> Steps:
    """Bring the recorded packages back: all of them, then as few as are enough."""
    if not differing(ctx):
        return None
    try:
        between = _between(ctx)
    except (MlreproError, OSError) as error:
        ctx.unmade.append(f"the recorded packages: {error}")
        return None
    if not between.names:
        return None
    trial = _trial(ctx, between, between.names)
    seen = yield trial
    if ctx.explains(seen):
        return (yield from _narrowed(ctx, between, trial, seen))
    if seen.verdict is None:
        ctx.unmade.append(f"the recorded packages: {seen.note}")
    else:
        ctx.in_vain.update(change.what for change in differing(ctx))
    return None


def _narrowed(ctx: Context, between: Between, trial: Trial, seen: Outcome) -> Steps:
    """Find the fewest packages that are enough, where all of them are."""
    fixed = between.edited
    names = tuple(name for name in between.names if name not in fixed)
    if fixed and names:
        # A lock brings the files as they were published; what was edited here no lock can bring.
        trial = _trial(ctx, between, fixed)
        seen = yield trial
    if fixed and (not names or ctx.explains(seen)):
        return _of_edited(ctx, between, trial, seen)
    part, trial, seen = yield from narrowed(
        ctx, names, lambda some: _trial(ctx, between, (*some, *fixed))
    )
    return _finding(ctx, between, part, trial, seen)


def _of_edited(ctx: Context, between: Between, trial: Trial, seen: Outcome) -> Finding:
    names = between.named(between.edited)
    return Finding(
        f"files of {' and '.join(between.edited[:_MOST_NAMED])}",
        f"files of {names}: as they were recorded, and not as they are here, {ctx.said(seen)}",
        trial,
    )


def _trial(ctx: Context, between: Between, names: Sequence[str]) -> Trial:
    left = len(between.names) - len(names)
    rest = f", the other {left} as they are here" if left else ""
    what = f"{between.named(names)}, as recorded{rest}"
    how = ctx.changed(lock=between.lock(names))
    return Trial("packages", what, how, exactly=", ".join(sorted(names)))


def _finding(
    ctx: Context, between: Between, names: Sequence[str], trial: Trial, seen: Outcome
) -> Finding:
    said = ctx.said(seen)
    if len(names) == 1:
        name = names[0]
        kind = name if name == PYTHON else f"package {name}"
        here = between.versions.get(name, "none")
        return Finding(
            kind,
            f"{kind}: with the recorded {between.named(names)} instead of {here} {said}",
            trial,
        )
    listed = " and ".join(names) if len(names) <= _MOST_NAMED else f"{len(names)} packages"
    return Finding(
        f"packages {listed}",
        f"packages {listed}: with the recorded {between.named(names)} together {said}, and with no"
        " fewer of them",
        trial,
    )


def _between(ctx: Context) -> Between:
    """Look at both environments.

    Raises
    ------
    MlreproError
        If the recorded lock is not to be had, or the active Python does not start.
    """
    here, record = ctx.here, ctx.record
    lock = interpreter.lock_of(here, record, notify=ctx.notify)
    active = interpreter.choose(os.environ, root=here.root)
    present = {one.name: one for one in active.packages if one.of_python and one.name != "mlrepro"}
    names = _names(ctx, lock, present)
    version = active.environment.python
    if version != lock.python and active.environment.implementation == lock.implementation:
        names = (*names, PYTHON)
    changed = [present[name] for name in names if name in present]
    ctx.notify(f"asking the index for the hashes of {len(changed)} packages")
    asked = locking.ask(active.environment, changed, root=here.root, notify=ctx.notify)
    wanted = locking.lock(active.environment, changed, asked).requirements
    versions = {name: one.version for name, one in present.items()}
    versions[PYTHON] = version
    return Between(lock, {one.name: one for one in wanted}, version, names, versions)


def _names(ctx: Context, lock: Lock, present: Mapping[str, Package]) -> tuple[str, ...]:
    """Return the names of the packages that differ, those that make numbers first."""
    listed = recorded_packages.recorded(ctx.here, ctx.record, notify=ctx.notify) or ()
    had = {one.name: one for one in listed}
    locked = {one.name: one.version for one in lock.requirements}
    names = [
        name
        for name in {**locked, **present}
        if _differs(present.get(name), had.get(name), locked.get(name))
    ]
    return tuple(sorted(names, key=lambda name: (name not in environment.WELL_KNOWN, name)))


def _differs(now: Package | None, had: Package | None, version: str | None) -> bool:
    if now is None or had is None:  # where the list is not to be had, the lock tells versions
        return (now.version if now else None) != version
    return (now.version, now.record, now.changed) != (had.version, had.record, had.changed)
