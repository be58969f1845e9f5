"""Gatewords: what a gate says, in a sentence: whether it is reached, and by how many errors."""

from __future__ import annotations

import math

from mlrepro.commands.metricvalues import better
from mlrepro.drift import Gate

_NEAR = 1.96
"""Standard errors that a normal distribution leaves in 1 of 20 cases."""


def sentence(gate: Gate) -> str:
    """Return what a gate says: ``auc 0.9 is under 0.93 by 2 standard errors (one is 0.015, …)``."""
    name = gate.metric
    if math.isnan(gate.value):
        return f"{name}: not known to reach {gate.limit:g}: {gate.source}"
    value = f"{gate.value:.6g}"
    far = abs(gate.distance) if gate.distance is not None else None
    error = f"one is {gate.error:.2g}, by {gate.source}" if gate.error else ""
    if gate.passed:
        above = f", {_errors(far)} above ({error})" if far is not None else ""
        lower = "; but lower is better, and only less would fail" if better(name) < 0 else ""
        return f"{name} {value} reaches {gate.limit:g}{above}{lower}"
    if far is None:
        return f"{name} {value} is under {gate.limit:g}; its sampling error is not known"
    within = ": within its sampling error" if far <= _NEAR else ""
    return f"{name} {value} is under {gate.limit:g} by {_errors(far)} ({error}){within}"


def _errors(count: float | None) -> str:
    shown = f"{count or 0:.2g}" if (count or 0) < 100 else f"{count:.0f}"
    return f"{shown} standard error{'' if shown == '1' else 's'}"
