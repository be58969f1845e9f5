"""Repeating: one more training of a recorded run, and what of it outlives its room."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlrepro import comparators
from mlrepro.cleanroom.factors import Factors
from mlrepro.commands import deciding, floors, judging, metricvalues, remaking
from mlrepro.commands.remaking import How, Made
from mlrepro.drift import Difference, Repeated, Tolerance, Verdict
from mlrepro.errors import ComparisonError, TrainingFailedError
from mlrepro.manifest import Manifest, Role
from mlrepro.stores.place import Place, digest

_ALL_PAIRS = 6
"""Up to so many repeats each is compared with each; of more, each with the first."""


@dataclass(frozen=True)
class Repeat:
    """What is left of one training.

    Attributes
    ----------
    kept : dict of str to Path
        Recorded path of each artifact that decides → a copy of what was made.
    against : dict of str to Difference
        The same, compared with the recorded artifact; nothing where those are not to be had.
    metrics : dict of str to float
        The numbers it is judged by.
    seconds : float
        How long it took.
    environment : str
        In which environment, in words.
    """

    kept: Mapping[str, Path] = field(default_factory=dict)
    against: Mapping[str, Difference] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    environment: str = ""


def trained(
    here: Place,
    record: Manifest,
    *,
    factors: Factors | None = None,
    into: Path | None = None,
    earlier: Sequence[Repeat] = (),
    notify: Callable[[str], None],
) -> Repeat:
    """Train a run once more in a clean room.

    Parameters
    ----------
    factors : Factors, optional
        What is changed.
    into : Path, optional
        A folder for copies of what decides; without it only the numbers are kept.
    earlier : sequence of Repeat
        Those of which a file that came out the same need not be kept again.

    Raises
    ------
    MlreproError
        If it cannot be restored or its training fails.
    """
    how = How(brief=True, factors=factors or Factors())
    try:
        return _once(here, record, how, into, earlier, notify, folders=True)
    except TrainingFailedError as error:
        if "File exists" not in (error.hint or ""):
            raise
    return _once(here, record, how, into, earlier, notify, folders=False)  # as `rebuild` does


def _once(
    here: Place,
    record: Manifest,
    how: How,
    into: Path | None,
    earlier: Sequence[Repeat],
    notify: Callable[[str], None],
    *,
    folders: bool,
) -> Repeat:
    with remaking.made(here, record, how, folders=folders, notify=notify) as made:
        repeat = Repeat(
            metrics=metricvalues.of_made(made),
            seconds=made.trained.ended.seconds,
            environment=made.chosen.used,
        )
        if into is None:
            return repeat
        against = _against(made, notify)
        return replace(repeat, kept=_copies(made, into, set(against), earlier), against=against)


def _against(made: Made, notify: Callable[[str], None]) -> dict[str, Difference]:
    """Compare with what was recorded; what is not to be had here is no matter."""
    try:
        judged, _notes = judging.judge(
            made.here, made.record, "", made.trained, made.room, Tolerance(), notify=notify
        )
    except ComparisonError:
        return {}
    return {one.path: one.difference for one in judged if one.decides}


def _copies(made: Made, into: Path, paths: set[str], earlier: Sequence[Repeat]) -> dict[str, Path]:
    """Copy what decides out of the room, under its own name, since names tell kinds."""
    into.mkdir(parents=True)
    found = {}
    for number, (old, new) in enumerate(judging.counterparts(made.record, made.trained, made.room)):
        if old.path in paths if paths else _counts(made.record, old.path, old.role):
            known = next((o.kept[old.path] for o in earlier if _equal(o, old.path, new)), None)
            found[old.path] = known or _copy(new, into / str(number) / Path(old.path).name)
    return found


def _equal(one: Repeat, path: str, new: Path) -> bool:
    before = one.kept.get(path)
    return before is not None and before.is_dir() == new.is_dir() and digest(before) == digest(new)


def _copy(source: Path, target: Path) -> Path:
    target.parent.mkdir()
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)
    return target


def _counts(record: Manifest, path: str, role: Role) -> bool:
    counting = [a for a in record.artifacts if deciding.decides(a.path, a.role, record.artifacts)]
    return deciding.decides(path, role, record.artifacts) if counting else role is not Role.STDERR


def spread(
    record: Manifest, repeats: Sequence[Repeat], *, recorded_counts: bool
) -> tuple[int, tuple[Repeated, ...]]:
    """Compare trainings with each other.

    Parameters
    ----------
    recorded_counts : bool
        Whether the recorded run is one of them, the first.

    Returns
    -------
    identical : int
        How many are, bit for bit, the first one, which is counted.
    artifacts : tuple of Repeated
        How far each artifact moved, in the recorded order.

    Raises
    ------
    ComparisonError
        If two of them cannot be compared.
    """
    names = {path for one in repeats for path in (*one.kept, *one.against)}
    order = [a.path for a in record.artifacts if a.path in names]
    found: dict[str, list[Difference]] = {path: [] for path in order}
    same = [True] * (len(repeats) + recorded_counts)
    for a, b in _pairs(len(same)):
        for path in order:
            difference = _between(path, repeats, a - recorded_counts, b - recorded_counts)
            if difference is None:
                continue
            found[path].append(difference)
            same[b] &= a > 0 or difference.verdict is Verdict.IDENTICAL
    return sum(same), tuple(floors.of(path, differences) for path, differences in found.items())


def _pairs(count: int) -> list[tuple[int, int]]:
    every = itertools.combinations(range(count), 2)
    return [(a, b) for a, b in every if count <= _ALL_PAIRS or a == 0]


def _between(path: str, repeats: Sequence[Repeat], a: int, b: int) -> Difference | None:
    """Compare two trainings; the recorded one has the number -1. None where neither has it."""
    if a < 0:
        if not repeats[b].against:
            raise ComparisonError(f"the recorded {path} is not to be had, so it is no repeat")
        return repeats[b].against.get(path)
    left, right = repeats[a].kept.get(path), repeats[b].kept.get(path)
    if left is right is None:
        return None
    if left == right:
        return Difference(path, Verdict.IDENTICAL)
    if left is None or right is None:
        return Difference(path, Verdict.MISSING)
    return comparators.compare(left, right, name=path, tolerance=Tolerance())


def recorded(record: Manifest, repeats: Sequence[Repeat]) -> tuple[Repeated, ...]:
    """Return how far the recorded artifacts lie from the repeats, in the recorded order."""
    order = [a.path for a in record.artifacts]
    paths = sorted(
        {path for one in repeats for path in one.against if path in order}, key=order.index
    )
    return tuple(
        floors.of(path, [one.against[path] for one in repeats if path in one.against])
        for path in paths
    )
