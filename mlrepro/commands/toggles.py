"""Toggles: what is changed, one at a time and cheap before dear, to find why a rebuild drifted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mlrepro.commands import locktoggle, processortoggle
from mlrepro.commands.remaking import How
from mlrepro.commands.trials import (
    Context,
    Finding,
    Outcome,
    Steps,
    Trial,
    is_lightgbm,
    is_on,
    is_xgboost,
    same,
)
from mlrepro.manifest import Fit, Generator

SEED = 20_061
"""What generators are given that the program does not seed: any number."""


@dataclass(frozen=True)
class Toggle:
    """A factor that may be why.

    Attributes
    ----------
    name : str
        What it is called.
    steps : callable
        Tries it.
    about : callable
        How many trials that will take, about; 0 where it cannot be the cause here.
    """

    name: str
    steps: Callable[[Context], Steps]
    about: Callable[[Context], int]


def repeat(ctx: Context) -> Steps:
    """Rebuild once more with nothing changed, to see whether the training repeats itself here."""

    def read(seen: Outcome) -> str:
        if same(ctx.first, seen):
            return "the same as before: it repeats itself on this machine"
        return "not the same as before: it does not repeat itself on this machine"

    for number in range(_repeats(ctx)):
        what = "once more, nothing changed" if not number else f"again, nothing changed ({number})"
        again = yield Trial("repeat", what, ctx.how, read)
        if again.verdict is not None and not same(ctx.first, again):
            break
    else:
        return None
    for look in _UNSTEADY:
        found = yield from look(ctx)
        if found is not None:
            return found
    why = f" ({'; '.join(budgets)})" if (budgets := list(_budgets(ctx))) else ""
    return Finding(
        "unattributed",
        "unattributed: the training does not repeat itself on this machine, and neither seeds nor"
        f" one thread nor a fixed hash seed make it do so{why}; what it takes from the clock, the"
        " network or the system's own randomness cannot be replayed",
    )


def _repeats(ctx: Context) -> int:
    """Return how often a rebuild is repeated: once may be chance where threads race."""
    return 3 if ctx.may_race else 1


def rows_or_columns(ctx: Context) -> Steps:
    """Let LightGBM build its histograms by rows, and by columns: it chooses by a stopwatch."""
    ways = (("row", "col"), ("col", "row"))
    for way, other in ways if _chooses_by_itself(ctx) else ():
        forced = {f"force_{way}_wise": True, f"force_{other}_wise": False}
        trial = Trial("row- or column-wise", f"LightGBM {way}-wise", _forced(ctx, lightgbm=forced))
        if trial.how == ctx.how:
            continue
        found = yield trial
        if ctx.explains(found):
            return Finding(
                "LightGBM row- or column-wise",
                f"LightGBM row- or column-wise: with force_{way}_wise=true {ctx.said(found)}",
                trial,
            )
    return None


def _chooses_by_itself(ctx: Context) -> bool:
    fits = [fit for fit in ctx.record.fits if is_lightgbm(fit)]
    names = ("force_row_wise", "force_col_wise")
    return bool(fits) and not any(is_on(fit, name) for fit in fits for name in names)


def _twice(factor: str, what: str, how: How) -> Steps:
    """Rebuild twice with something fixed; find that it was that, if both are the same."""
    first = yield Trial(factor, what, how)
    if first.verdict is None:
        return None

    def read(seen: Outcome) -> str:
        return "the same twice" if same(first, seen) else "not the same twice"

    trial = Trial(factor, f"{what}, again", how, read)
    again = yield trial
    return Finding(factor, "", trial) if same(first, again) else None


def _seeds(ctx: Context) -> Steps:
    """Give a seed to the generators that had none."""
    found = yield from _twice("seeds", f"seed {SEED} where there is none", _seeded(ctx))
    if found is None:
        return None
    unseeded = [one for one in ctx.record.generators if not one.seeded]
    names = ", ".join(map(_named, unseeded)) or "a generator that is not known"
    were = "was" if len(unseeded) < 2 else "were"
    return replace(
        found,
        cause="unseeded generator",
        sentence=f"unseeded generator: {names} {were} not seeded; with a seed the training repeats"
        " itself, and without one it never gives the recorded numbers again",
    )


def _seeded(ctx: Context, **more: Any) -> How:
    return ctx.changed(forced={**ctx.how.factors.forced, "seed": SEED}, **more)


def _named(one: Generator) -> str:
    if not one.where:
        return one.name
    return f"{one.name} at {one.where}" if ":" in one.where else f"{one.name} in {one.where}"


def _known_seeds(ctx: Context) -> Steps:
    if all(one.seeded for one in ctx.record.generators):
        return None
    return (yield from _seeds(ctx))


def _unknown_seeds(ctx: Context) -> Steps:
    if not all(one.seeded for one in ctx.record.generators):
        return None  # tried already
    return (yield from _seeds(ctx))


def _hash_seed(ctx: Context) -> Steps:
    """Fix the order of sets of strings, where the run had another one each time."""
    if _has_hash_seed(ctx):
        return None
    how = ctx.with_variables({_HASH: "0"})
    found = yield from _twice("hash seed", f"{_HASH}=0", how)
    was = ctx.record.variables.restored.get(_HASH, "not set")
    sentence = (
        f"hash-seed order: with a fixed {_HASH} the training repeats itself; it was {was} when it"
        " was recorded, so the order of sets was another one each time"
    )
    return found and replace(found, cause="hash-seed order", sentence=sentence)


_HASH = "PYTHONHASHSEED"


def _has_hash_seed(ctx: Context) -> bool:
    return ctx.record.variables.restored.get(_HASH, "").isdecimal()


def _one_thread(ctx: Context) -> Steps:
    """Leave nothing to a race between threads."""
    most = recorded_threads(ctx)
    if most == 1:
        return None
    found = yield from _twice("threads", "1 thread, in no race", _single(ctx))
    many = f"with {most}" if most else "with more"
    return found and replace(
        found,
        cause="race between threads",
        sentence=f"race between threads: with 1 thread the training repeats itself, {many} it does"
        " not",
    )


def _all_fixed(ctx: Context) -> Steps:
    """Fix all of these together."""
    single = _single(ctx)
    given = {**single.factors.variables, _HASH: "0"}
    how = _seeded(ctx, variables=given)
    forced = {**single.factors.forced, **how.factors.forced}
    how = replace(how, factors=replace(how.factors, forced=forced))
    found = yield from _twice("seeds", "seeds, 1 thread and hash seed, all fixed", how)
    return found and replace(
        found,
        cause="several sources of randomness",
        sentence="several sources of randomness: only with seeds, 1 thread and a hash seed all"
        " fixed does the training repeat itself",
    )


_UNSTEADY: Sequence[Callable[[Context], Steps]] = (
    rows_or_columns,
    _known_seeds,
    _hash_seed,
    _one_thread,
    _unknown_seeds,
    _all_fixed,
)
"""What is looked at where a training does not repeat itself; the likely first."""


def threads(ctx: Context) -> Steps:
    """Give every pool, and every fit, as many threads as were recorded."""
    most = recorded_threads(ctx)
    if not ctx.how.threads:
        how = replace(ctx.how, threads=True)
        found = yield from _with_threads(ctx, most, Trial("threads", f"{most}, as recorded", how))
        if found:
            return found
    forced = _recorded_in_fits(ctx)
    if not forced:
        return None
    how = replace(_forced(ctx, **forced), threads=True)
    trial = Trial("threads", f"{most}, as recorded, told to each fit", how)
    return (yield from _with_threads(ctx, most, trial))


def _with_threads(ctx: Context, count: int, trial: Trial) -> Steps:
    found = yield trial
    if not ctx.explains(found):
        return None
    many = f"{count} thread{'' if count == 1 else 's'}"
    given = "with the recorded " if trial.what.count("recorded") else "with "
    return Finding("thread count", f"thread count: {given}{many} {ctx.said(found)}", trial)


def _recorded_in_fits(ctx: Context) -> dict[str, dict[str, int]]:
    """Return the counts that fits had, where they have others here: `n_jobs=-1` asks the cores."""
    if not any(change.what.endswith(": threads") for change in ctx.report.training):
        return {}
    found = {}
    for library, name, is_its in _COUNTS:
        counts = {fit.threads for fit in ctx.record.fits if is_its(fit) and fit.threads}
        if len(counts) == 1:
            found[library] = {name: next(iter(counts)) or 0}
    return found


_COUNTS: Sequence[tuple[str, str, Callable[[Fit], bool]]] = (
    ("lightgbm", "num_threads", is_lightgbm),
    ("xgboost", "nthread", is_xgboost),
)


def recorded_threads(ctx: Context) -> int:
    """Return the most threads that any fit or pool of the run had; 0 where nobody saw."""
    fits = [fit.threads or 0 for fit in ctx.record.fits]
    return max(fits, default=0) or max((pool.threads for pool in ctx.record.threads), default=0)


def _single(ctx: Context) -> How:
    """Return the rebuild with one thread everywhere."""
    used = [(lib, name) for lib, name, its in _COUNTS if any(map(its, ctx.record.fits))]
    forced = {lib: {**ctx.how.factors.forced.get(lib, {}), name: 1} for lib, name in used}
    given = {**ctx.how.factors.variables, **dict.fromkeys(_POOLS, "1")}
    return ctx.changed(variables=given, forced={**ctx.how.factors.forced, **forced})


_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
          "NUMEXPR_NUM_THREADS")  # fmt: skip


def other_threads(ctx: Context) -> Steps:
    """Try the counts that nobody recorded: those of this machine, and 1."""
    if ctx.how.threads:
        how = replace(ctx.how, threads=False)
        found = yield Trial("threads", "as many as this machine gives", how)
        if ctx.explains(found):
            return Finding(
                "thread count",
                f"thread count: with as many threads as this machine gives {ctx.said(found)}",
                Trial("threads", "as many as this machine gives", how),
            )
    return (yield from _with_threads(ctx, 1, Trial("threads", "1 thread", _single(ctx))))


def code(ctx: Context) -> Steps:
    """Train with the recorded code."""
    trial = Trial("code", "as recorded", replace(ctx.how, head=False))
    found = yield trial
    if not ctx.explains(found):
        return None
    names = [change.what for change in ctx.report.code]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    which = f" of {', '.join(names[:3])}{more}" if names else ""
    return Finding("code", f"code: with the recorded code{which} {ctx.said(found)}", trial)


def _forced(ctx: Context, **libraries: Mapping[str, Any]) -> How:
    known = ctx.how.factors.forced
    merged = {name: {**known.get(name, {}), **given} for name, given in libraries.items()}
    return ctx.changed(forced={**known, **merged})


def _budgets(ctx: Context) -> Iterator[str]:
    for fit in ctx.record.fits:
        if fit.budget:
            yield f"the clock ended {fit.call}: {fit.budget}"


def _threads_about(ctx: Context) -> int:
    return (not ctx.how.threads) + bool(_recorded_in_fits(ctx))


def _of_many(ctx: Context) -> bool:
    return recorded_threads(ctx) != 1


TOGGLES: Sequence[Toggle] = (
    Toggle("repeat", repeat, _repeats),
    Toggle("threads", threads, _threads_about),
    Toggle("code", code, lambda ctx: int(ctx.how.head and bool(ctx.report.code))),
    Toggle("rows or columns", rows_or_columns, lambda ctx: 2 * _chooses_by_itself(ctx)),
    # The clock and entropy cannot be replayed yet; a training that depends on them does not
    # repeat itself, nor does one that depends on a hash seed that nobody recorded: see `repeat`.
    Toggle("packages", locktoggle.packages, locktoggle.about),
    Toggle("processor", processortoggle.features, processortoggle.about),
    Toggle("other threads", other_threads, lambda ctx: (1 + ctx.how.threads) * _of_many(ctx)),
)
"""In the order in which they are tried."""


def ordered(likely: Sequence[str]) -> list[Toggle]:
    """Return the toggles, those first that known signatures point to; `repeat` before all."""
    return sorted(TOGGLES, key=lambda one: (one.name != "repeat", one.name not in likely))
