"""Drift: the tree of differences that a comparison returns, and the report of a rebuild."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mlrepro.evidence import (
    Attribution,
    Delta,
    Distribution,
    Ensemble,
    Gate,
    History,
    Noise,
    Predicted,
    Repeated,
    Tried,
)
from mlrepro.manifest import Change, Role
from mlrepro.verdicts import Measure, Tolerance, Verdict

__all__ = [
    "ArtifactDrift",
    "Attribution",
    "Change",
    "Delta",
    "Difference",
    "Distribution",
    "DriftReport",
    "Ensemble",
    "Gate",
    "History",
    "Measure",
    "Noise",
    "Predicted",
    "Repeated",
    "Tolerance",
    "Tried",
    "Verdict",
]


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
    distribution : Distribution or None
        How large the differences of the numbers are; None where none were counted.
    runs : tuple of (int, Verdict)
        All parts in their order, where `children` holds only some: so many, and their verdict.
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
    distribution: Distribution | None = None
    runs: tuple[tuple[int, Verdict], ...] = ()

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
    rebuilt : str
        Digest of the bytes on the other side, ``md5:9b2c…``; empty where they are not there.
    """

    path: str
    role: Role
    decides: bool
    difference: Difference
    rebuilt_path: str = ""
    rebuilt: str = ""


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
    predictions : tuple of Predicted
        What the recorded and the rebuilt models say of the same rows.
    histories : tuple of History
        The course of each score on both sides.
    noise : Noise or None
        The measured noise floor and seed ensemble; None where nobody has measured them.
    gates : tuple of Gate
        What was asked of the rebuilt metrics.
    attribution : Attribution or None
        Why it drifted, where that was asked for.
    remarks : tuple of str
        What all this means together, in sentences: ``another model of the same quality …``.
    attestation : str
        The id of the record of this rebuild in the ledger; empty where none could be left.
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
    predictions: tuple[Predicted, ...] = ()
    histories: tuple[History, ...] = ()
    noise: Noise | None = None
    gates: tuple[Gate, ...] = ()
    attribution: Attribution | None = None
    remarks: tuple[str, ...] = ()
    attestation: str = ""
    verdict: Verdict = field(init=False)

    def __post_init__(self) -> None:
        deciding = [a.difference.verdict for a in self.artifacts if a.decides]
        object.__setattr__(self, "verdict", max(deciding, default=Verdict.MISSING))
