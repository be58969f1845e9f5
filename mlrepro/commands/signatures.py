"""Signatures: what is known of a kind of training without a trial, and where it says to look."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from mlrepro.commands.trials import Context, is_lightgbm, is_on, is_xgboost, may_race, word
from mlrepro.manifest import Change, Fit


@dataclass(frozen=True)
class Signature:
    """A sentence, and the toggle that it points to; empty where it points to none."""

    sentence: str
    toggle: str = ""


def of(ctx: Context) -> tuple[Signature, ...]:
    """Return what is known of the recorded fits, each thing once."""
    fits = ctx.record.fits
    found = [one for rule in _RULES for fit in fits for one in rule(fit)]
    found += [one for fit in fits for one in _sketch(fit, ctx.report.environment)]
    return tuple(dict.fromkeys(found))


def _sampled(fit: Fit) -> Iterator[Signature]:
    """GOSS and quantised gradients draw with one generator for each thread."""
    if not is_lightgbm(fit):
        return
    even = ", even with deterministic=true"
    if "goss" in (word(fit, "boosting"), word(fit, "data_sample_strategy")):
        yield Signature(f"LightGBM's GOSS depends on the thread count{even}", "threads")
    if is_on(fit, "use_quantized_grad"):
        yield Signature(
            f"LightGBM's quantised gradients depend on the thread count{even}", "threads"
        )


def _invariant(fit: Fit) -> Iterator[Signature]:
    """Deterministic and column-wise: LightGBM's setting that no count of threads changes."""
    if not is_lightgbm(fit) or any(_sampled(fit)):
        return
    if is_on(fit, "deterministic") and is_on(fit, "force_col_wise"):
        yield Signature(
            "LightGBM is deterministic and column-wise here: the thread count does not matter to it"
        )
    elif (fit.threads or 0) != 1:
        yield Signature(
            "LightGBM with deterministic=true and force_col_wise=true does not depend on the thread"
            " count; this run did not set both"
        )


def _race(fit: Fit) -> Iterator[Signature]:
    if not may_race(fit):
        return
    if is_lightgbm(fit):
        yield Signature(
            "LightGBM with several threads and without deterministic=true adds up in the order in"
            " which they finish: the last digits may be others each time"
        )
    else:
        yield Signature(
            "XGBoost's gblinear with the updater shotgun is a race between threads;"
            " updater=coord_descent is not"
        )


_SKETCHES = ("", "auto", "hist", "approx", "gpu_hist")


def _sketch(fit: Fit, environment: Sequence[Change]) -> Iterator[Signature]:
    if not is_xgboost(fit) or word(fit, "booster", "gbtree") == "gblinear":
        return
    if word(fit, "tree_method") not in _SKETCHES:
        return
    for change in environment:
        if change.what in ("package xgboost", "package xgboost-cpu") and _crosses(
            change.recorded, change.current, (3, 3)
        ):
            yield Signature(
                "XGBoost's sketch, which finds the thresholds, changed in 3.3:"
                f" {change.recorded} → {change.current}",
                "packages",
            )
    yield Signature("XGBoost's sketch, which finds the thresholds, depends on the order of rows")


def _budget(fit: Fit) -> Iterator[Signature]:
    if fit.budget:
        yield Signature(
            f"{fit.call} had a time budget ({fit.budget}): such a search does not repeat itself"
        )


_RULES: Sequence[Callable[[Fit], Iterator[Signature]]] = (
    _sampled,
    _race,
    _budget,
    _invariant,
)


def _crosses(a: str, b: str, limit: tuple[int, ...]) -> bool:
    sides = [tuple(map(int, re.findall(r"\d+", version)[:2])) for version in (a, b)]
    return all(sides) and (sides[0] < limit) != (sides[1] < limit)
