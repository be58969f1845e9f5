"""Unrestorable: what a rebuild could not bring back, and may therefore be why it drifted."""

from __future__ import annotations

import os
from collections.abc import Iterator

from mlrepro.capture import blindspots
from mlrepro.commands import expectations, locktoggle
from mlrepro.commands.trials import Context

_MACHINE = ("machine", "CPU", "CPU features", "CPU caches", "C library", "GPU", "system", "kernel")
_LISTED = " was listed"


def of(ctx: Context) -> tuple[str, ...]:
    """Return the factors that could not be brought back here, the weighty ones first."""
    found = (one for look in (_inputs, _environment, _clock, _machine, _variables, _unseen)
             for one in look(ctx))  # fmt: skip
    return tuple(dict.fromkeys(found))


def _inputs(ctx: Context) -> Iterator[str]:
    for change in ctx.report.inputs:
        yield f"input {change.what}: {change.recorded} → {change.current}"
    if ctx.record.run.stdin == "pipe":
        yield "the standard input, which was a pipe"
    for edit in ctx.record.code.edits if ctx.record.code else ():
        yield f"{edit.path}, which was edited while the run went on"


def _environment(ctx: Context) -> Iterator[str]:
    yield from ctx.unmade
    for change in () if ctx.unmade else locktoggle.differing(ctx):
        if change.what in ctx.in_vain:
            continue
        yield f"{change.what}: {change.recorded} → {change.current}"


def _clock(ctx: Context) -> Iterator[str]:
    for fit in ctx.record.fits:
        if fit.budget:
            yield f"the clock, by which {fit.call} was stopped ({fit.budget})"


def _machine(ctx: Context) -> Iterator[str]:
    for change in ctx.report.environment:
        if change.what in ctx.in_vain:
            continue
        if change.what in _MACHINE or change.what.endswith(" kernel"):
            yield f"{change.what}: {change.recorded} → {change.current}"


def _variables(ctx: Context) -> Iterator[str]:
    secret, others = expectations.absent(ctx.record, os.environ)
    for name in (*secret, *others):
        yield f"variable {name}, which is not set here"
    if "PYTHONHASHSEED" not in ctx.record.variables.restored:
        yield "PYTHONHASHSEED, which was not recorded"


def _unseen(ctx: Context) -> Iterator[str]:
    yield from (note for note in ctx.report.notes if _LISTED in note)
    yield from filter(blindspots.matters, ctx.record.blind_spots)
