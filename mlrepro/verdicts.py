"""Verdicts: the five words for how far two things are apart, the tolerances, the measures."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verdict(enum.IntEnum):
    """How far two artifacts are apart, best first; a whole is judged by the `max` of its parts.

    The first two words are reproducible-builds' words.
    """

    IDENTICAL = 0
    """Bit for bit."""
    EQUIVALENT = 1
    """Other bytes, the same content to the comparator: no number differs."""
    CLOSE = 2
    """Numbers differ, within the tolerance or the noise floor."""
    DRIFTED = 3
    """Numbers or structure differ beyond it."""
    MISSING = 4
    """The artifact stands on one side only."""

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Tolerance:
    """How far two numbers may be apart and still be *close*.

    Attributes
    ----------
    rtol : float or None
        Relative tolerance, given by the user; None leaves each comparator its own class limits
        (design: scalars 1e-6, trees 1e-6 of the leaf spread, float64 arrays 1e-6 of their
        standard deviation, float32 arrays 1e-5).
    atol : float
        Absolute tolerance in the unit of the value.
    exact : bool
        Only *identical* passes, and every artifact decides.
    """

    rtol: float | None = None
    atol: float = 1e-12
    exact: bool = False

    def scalar(self, a: float, b: float) -> bool:
        """Say whether two scalars are close: ``|a−b| ≤ rtol·max(|a|,|b|)`` or ``≤ atol``.

        Equal values, both NaN among them, are close; an infinity is close only to itself.
        """
        if a == b or (a != a and b != b):
            return True
        if a != a or b != b or a in _INFINITE or b in _INFINITE:
            return False
        rtol = 1e-6 if self.rtol is None else self.rtol
        return abs(a - b) <= max(rtol * max(abs(a), abs(b)), self.atol)


_INFINITE = (float("inf"), float("-inf"))


@dataclass(frozen=True)
class Measure:
    """One measured distance: ``rms / std = 0.17``.

    Attributes
    ----------
    name : str
        What is measured, for instance ``leaf values, rms / std``.
    value : float
        The number.
    unit : str
        Its unit; empty for a ratio.
    where : str
        Where the largest difference is, for instance ``tree 24, leaf 3``; empty if nowhere.
    """

    name: str
    value: float
    unit: str = ""
    where: str = ""
