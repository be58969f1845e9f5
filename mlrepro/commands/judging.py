"""Judging: the recorded artifacts against those that a rebuild made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from mlrepro import comparators
from mlrepro.cleanroom import restore
from mlrepro.cleanroom.room import Room
from mlrepro.cleanroom.training import Trained
from mlrepro.comparators import pairing
from mlrepro.drift import ArtifactDrift, Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError, NothingToCompareError, ObjectNotFoundError
from mlrepro.manifest import STREAMS, Artifact, Manifest, Role
from mlrepro.stores.place import Place, digest

DECIDING = frozenset({Role.WEIGHTS, Role.METRICS})


def judge(
    here: Place,
    record: Manifest,
    only: str,
    trained: Trained,
    room: Room,
    tolerance: Tolerance,
    *,
    notify: Callable[[str], None],
) -> tuple[ArtifactDrift, ...]:
    """Compare each recorded artifact with its rebuilt counterpart.

    Parameters
    ----------
    only : str
        The one artifact that is asked about; empty for the whole run.

    Raises
    ------
    NothingToCompareError
        If no artifact of the run can be compared.
    ComparisonError
        If an artifact that decides cannot be read by its comparator.
    """
    recorded = [a for a in record.artifacts if not only or a.path == only]
    pairs = _pairs(recorded, trained, alone=bool(only))
    fetchable = [
        old.digest for old, new in pairs if old and new and not _same(old, new, room, trained)
    ]
    restore.fetch(here, fetchable, notify=notify)
    judged = [_judge_one(here, old, new, room, trained, tolerance) for old, new in pairs]
    return _decided(judged, exact=tolerance.exact, alone=bool(only))


def _pairs(
    recorded: Sequence[Artifact], trained: Trained, *, alone: bool
) -> list[tuple[Artifact | None, tuple[str, Role] | None]]:
    """Pair recorded artifacts with rebuilt ones by path, dates and the like masked."""
    old = {a.path: a for a in recorded}
    new = {o.path: o.role for o in trained.outputs}
    for role, path in ((Role.STDOUT, trained.stdout), (Role.STDERR, trained.stderr)):
        if path.exists() and path.stat().st_size:
            new[STREAMS[role]] = role
    pairs: list[tuple[Artifact | None, tuple[str, Role] | None]] = []
    for left, right in pairing.pair(list(old), list(new)):
        if left is None and alone:
            continue
        pairs.append((old[left] if left else None, (right, new[right]) if right else None))
    return pairs


def _rebuilt_path(new: tuple[str, Role], room: Room, trained: Trained) -> Path:
    path, role = new
    streams = {Role.STDOUT: trained.stdout, Role.STDERR: trained.stderr}
    return streams.get(role) or room.root / path


def _same(old: Artifact, new: tuple[str, Role], room: Room, trained: Trained) -> bool:
    """Whether the bytes are equal, which the digest alone tells: nothing need be fetched then."""
    return digest(_rebuilt_path(new, room, trained)) == old.digest


def _judge_one(
    here: Place,
    old: Artifact | None,
    new: tuple[str, Role] | None,
    room: Room,
    trained: Trained,
    tolerance: Tolerance,
) -> ArtifactDrift:
    if old is None or new is None:
        return _one_sided(old, new)
    rebuilt = _rebuilt_path(new, room, trained)
    if _same(old, new, room, trained):
        difference = Difference(old.path, Verdict.IDENTICAL, "same bytes", compared=old.files or 1)
    else:
        difference = _compare(here, old, rebuilt, room, tolerance)
    moved = new[0] if new[0] != old.path else ""
    return ArtifactDrift(old.path, old.role, old.role in DECIDING, difference, moved)


def _compare(
    here: Place, old: Artifact, rebuilt: Path, room: Room, tolerance: Tolerance
) -> Difference:
    """Lay the recorded bytes out under their own name, since names tell kinds, and compare."""
    recorded = room.work / "recorded" / old.path
    recorded.parent.mkdir(parents=True, exist_ok=True)
    try:
        if old.digest.is_dir:
            here.stores.put(old.digest, recorded)
        elif found := here.stores.find(old.digest):
            recorded.symlink_to(found)
        else:
            raise ObjectNotFoundError(f"object {old.digest} is not in the cache")
    except ObjectNotFoundError as error:
        raise ComparisonError(
            f"{old.path} was rebuilt with other bytes, and the recorded ones are not to be had",
            hint=error.hint,
        ) from error
    return comparators.compare(recorded, rebuilt, name=old.path, tolerance=tolerance)


def _one_sided(old: Artifact | None, new: tuple[str, Role] | None) -> ArtifactDrift:
    path, role, side = (
        (old.path, old.role, "the rebuild did not make it")
        if old
        else (*(new or ("", Role.OTHER)), "the recorded run did not make it")
    )
    stream = role in STREAMS
    difference = Difference(path, Verdict.MISSING, side)
    return ArtifactDrift(path, role, role in DECIDING and not stream, difference)


def _decided(
    judged: Sequence[ArtifactDrift], *, exact: bool, alone: bool
) -> tuple[ArtifactDrift, ...]:
    """Say which artifacts decide: weights and metrics, else all there is."""
    if exact or alone:
        judged = [replace(one, decides=True) for one in judged]
    elif not any(one.decides and _counts(one) for one in judged):
        judged = [replace(one, decides=_stands_in(one, judged)) for one in judged]
    if not any(one.decides and _counts(one) for one in judged):
        raise NothingToCompareError(
            "the run left nothing that could be compared: no weights, metrics or printed result",
            hint="Name its outputs with `mlrepro run --output GLOB`.",
        )
    return tuple(sorted(judged, key=lambda one: not one.decides))


def _stands_in(one: ArtifactDrift, judged: Sequence[ArtifactDrift]) -> bool:
    """Whether an artifact decides in a run without weights and metrics; stderr only as a last."""
    if not _counts(one):
        return False
    return one.role is not Role.STDERR or not any(
        _counts(other) and other.role is not Role.STDERR for other in judged
    )


def _counts(one: ArtifactDrift) -> bool:
    return one.difference.compared > 0 or one.difference.verdict is Verdict.MISSING
