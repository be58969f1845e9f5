"""Drift: the verdicts, the tolerances, and the tree of differences that a comparison returns."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field

from mlrepro.manifest import Change, Role

__all__ = [
    "ArtifactDrift",
    "Change",
    "Difference",
    "DriftReport",
    "Measure",
    "Tolerance",
    "Verdict",
]


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


@dataclass(frozen=True)
class Difference:
    """A node of the tree of differences between two artifacts.

    Attributes
    ----------
    path : str
        What is compared, for instance ``model.txt``, ``tree 24`` or ``auc``.
    verdict : Verdict
        The verdict of this node, its children included.
    summary : str
        One line for a person: ``100 of 100 trees differ in structure``.
    measures : tuple of Measure
        What was measured here.
    first : str
        The first divergence: ``tree 24, split 3, threshold: 0.5 → 0.625``; empty where none.
    metadata : tuple of str
        Differences that mean nothing: ``parameters: [num_threads: 2] → [num_threads: 1]``.
    children : tuple of Difference
        The parts, in order.
    comparator : str
        Name of the comparator; empty for an inner node.
    compared : int
        How many values were compared here and below; 0 means that nothing was.
    """

    path: str
    verdict: Verdict
    summary: str = ""
    measures: tuple[Measure, ...] = ()
    first: str = ""
    metadata: tuple[str, ...] = ()
    children: tuple[Difference, ...] = ()
    comparator: str = ""
    compared: int = 0

    def walk(self) -> Iterator[Difference]:
        """Yield this node, then all below it, in order."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class ArtifactDrift:
    """One artifact of a rebuild, judged.

    Attributes
    ----------
    path : str
        The recorded path.
    role : Role
        What the artifact is to the run.
    decides : bool
        Whether its verdict counts for the rebuild's.
    difference : Difference
        What was found.
    rebuilt_path : str
        The path in the clean room where it differs from the recorded one (a dated folder).
    """

    path: str
    role: Role
    decides: bool
    difference: Difference
    rebuilt_path: str = ""


@dataclass(frozen=True)
class DriftReport:
    """What a rebuild found.

    Attributes
    ----------
    run : str
        Id of the recorded run, 64 hex digits.
    name : str
        The run's name; empty if it has none.
    artifacts : tuple of ArtifactDrift
        In the recorded order, the deciding ones first.
    code, environment, inputs : tuple of Change
        What was unequal before the training began.
    training : tuple of Change
        What the training libraries did otherwise, where something moved: rounds, threads …
    notes : tuple of str
        Sentences for the reader: values set aside, what could not be seen.
    seconds : float
        Wall time of the training in the clean room, in seconds.
    recorded_seconds : float
        Wall time of the recorded training, in seconds.
    room : str
        Where the clean room was kept; empty where it was removed.
    environment_used : str
        Which environment it was trained in, in words.
    """

    run: str
    name: str
    artifacts: tuple[ArtifactDrift, ...]
    code: tuple[Change, ...] = ()
    environment: tuple[Change, ...] = ()
    inputs: tuple[Change, ...] = ()
    training: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    recorded_seconds: float = 0.0
    room: str = ""
    environment_used: str = ""
    verdict: Verdict = field(init=False)

    def __post_init__(self) -> None:
        deciding = [a.difference.verdict for a in self.artifacts if a.decides]
        object.__setattr__(self, "verdict", max(deciding, default=Verdict.MISSING))
