"""Judging: the recorded artifacts against those that a rebuild made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mlrepro import comparators
from mlrepro.cleanroom import restore
from mlrepro.cleanroom.room import Room
from mlrepro.cleanroom.training import Trained
from mlrepro.commands import deciding, spelling
from mlrepro.commands.deciding import DECIDING, decides, is_unsaved
from mlrepro.comparators import pairing
from mlrepro.drift import ArtifactDrift, Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError, ManifestError, NothingToCompareError, StoreError
from mlrepro.manifest import STREAMS, Artifact, Digest, Manifest, Role
from mlrepro.stores.place import Place, digest

_SLOW = 100 * 2**20
"""Bytes that take about a second to digest."""


def judge(
    here: Place,
    record: Manifest,
    only: str,
    trained: Trained,
    room: Room,
    tolerance: Tolerance,
    *,
    notify: Callable[[str], None],
) -> tuple[tuple[ArtifactDrift, ...], tuple[str, ...]]:
    """Compare each recorded artifact with its rebuilt counterpart.

    Parameters
    ----------
    only : str
        The one artifact that is asked about; empty for the whole run.

    Returns
    -------
    artifacts : tuple of ArtifactDrift
        The deciding ones first.
    notes : tuple of str
        What could not be compared, and did not have to be.

    Raises
    ------
    NothingToCompareError
        If no artifact of the run can be compared.
    ComparisonError
        If an artifact that decides cannot be read by its comparator, and no other has drifted.
    """
    recorded = [a for a in record.artifacts if not only or a.path == only]
    pairs = _pairs(recorded, trained, alone=bool(only), fits=bool(record.fits))
    digests = {
        old.path: _rebuilt_digest(old, new, room, trained, notify)
        for old, new in pairs
        if old and new
    }
    different = [old for old, new in pairs if old and new and digests[old.path] != old.digest]
    _fetch(here, different, notify)
    judged: list[ArtifactDrift] = []
    failed: list[tuple[bool, ComparisonError]] = []
    for old, new in pairs:
        if old and (old.size > _SLOW) and old in different:
            notify(f"comparing {old.path} ({old.size / 1e9:.1f} GB)")
        try:
            judged.append(_judge_one(here, old, new, room, trained, tolerance, old in different))
        except ComparisonError as error:
            grave = old is not None and decides(old.path, old.role, record.artifacts)
            failed.append((tolerance.exact or bool(only) or grave, error))
    judged = [
        replace(
            one,
            decides=one.decides and decides(one.path, one.role, record.artifacts),
            rebuilt=str(digests.get(one.path, "")),
        )
        for one in judged
    ]
    return _weighed(judged, failed, exact=tolerance.exact, alone=bool(only))


def counterparts(
    record: Manifest, trained: Trained, room: Room
) -> tuple[tuple[Artifact, Path], ...]:
    """Return each recorded artifact that the training made again, and where that lies."""
    pairs = _pairs(record.artifacts, trained, alone=True, fits=bool(record.fits))
    return tuple((old, _rebuilt_path(new, room, trained)) for old, new in pairs if old and new)


def _fetch(here: Place, artifacts: Sequence[Artifact], notify: Callable[[str], None]) -> None:
    # What cannot be had is said of each artifact, when it is compared.
    with suppress(StoreError, ManifestError):
        restore.fetch(here, [one.digest for one in artifacts], notify=notify)


def _weighed(
    judged: Sequence[ArtifactDrift],
    failed: Sequence[tuple[bool, ComparisonError]],
    *,
    exact: bool,
    alone: bool,
) -> tuple[tuple[ArtifactDrift, ...], tuple[str, ...]]:
    """Decide in spite of what could not be compared, or say that it cannot be decided."""
    grave = [error for weighs, error in failed if weighs]
    drifted = any(
        one.difference.verdict >= Verdict.DRIFTED and (one.decides or exact) for one in judged
    )
    if grave and not drifted:
        others = ", ".join(f"{one.path} {one.difference.verdict}" for one in judged)
        hints = [grave[0].hint or "", f"The others: {others}." if others else ""]
        raise ComparisonError(str(grave[0]), hint=" ".join(filter(None, hints)) or None)
    if failed and not any(map(_counts, judged)):
        raise failed[0][1]
    notes = tuple(f"not compared: {error}" for _, error in failed)
    return _decided(judged, exact=exact, alone=alone), notes


def _pairs(
    recorded: Sequence[Artifact], trained: Trained, *, alone: bool, fits: bool
) -> list[tuple[Artifact | None, tuple[str, Role] | None]]:
    """Pair recorded artifacts with rebuilt ones by path, dates and the like masked."""
    old = {a.path: a for a in recorded}
    # A record cannot name the others, so the recorded run may well have made them too.
    new = {o.path: o.role for o in trained.outputs if spelling.is_text(o.path)}
    unsaved = {a.path: a.digest for a in recorded if is_unsaved(a.path, a.role)}
    # Without fits nobody saw what the recorded run trained.
    rebuilt = {n: digest(path) for n, path in trained.effective.models} if fits else {}
    new.update(dict.fromkeys(rebuilt, Role.WEIGHTS))
    for role, path in ((Role.STDOUT, trained.stdout), (Role.STDERR, trained.stderr)):
        if path.exists() and path.stat().st_size:
            new[STREAMS[role]] = role
    pairs: list[tuple[Artifact | None, tuple[str, Role] | None]] = []
    names = deciding.partners(unsaved, rebuilt)
    names += pairing.pair(
        [n for n in old if n not in unsaved], [n for n in new if n not in rebuilt]
    )
    places = list(old)
    names.sort(key=lambda pair: places.index(pair[0]) if pair[0] else len(places))
    for left, right in names:
        if left is None and alone:
            continue
        pairs.append((old[left] if left else None, (right, new[right]) if right else None))
    return pairs


def _rebuilt_path(new: tuple[str, Role], room: Room, trained: Trained) -> Path:
    path, role = new
    streams = {Role.STDOUT: trained.stdout, Role.STDERR: trained.stderr}
    models = dict(trained.effective.models)
    return streams.get(role) or models.get(path) or room.root / path


def _rebuilt_digest(
    old: Artifact,
    new: tuple[str, Role],
    room: Room,
    trained: Trained,
    notify: Callable[[str], None],
) -> Digest:
    """Digest the rebuilt bytes: where they are equal, nothing need be fetched."""
    if old.size > _SLOW:
        notify(f"digesting {old.path} ({old.size / 1e9:.1f} GB)")
    return digest(_rebuilt_path(new, room, trained))


def _judge_one(
    here: Place,
    old: Artifact | None,
    new: tuple[str, Role] | None,
    room: Room,
    trained: Trained,
    tolerance: Tolerance,
    different: bool,
) -> ArtifactDrift:
    if old is None or new is None:
        return _one_sided(old, new)
    if different:
        difference = _compare(here, old, _rebuilt_path(new, room, trained), room, tolerance)
    else:
        # Two empty files say nothing about a training.
        compared = (old.files or 1) if old.size else 0
        difference = Difference(old.path, Verdict.IDENTICAL, "same bytes", compared=compared)
    moved = new[0] if new[0] != old.path else ""
    return ArtifactDrift(old.path, old.role, old.role in DECIDING, difference, moved)


def _compare(
    here: Place, old: Artifact, rebuilt: Path, room: Room, tolerance: Tolerance
) -> Difference:
    """Lay the recorded bytes out under their own name, since names tell kinds, and compare."""
    recorded = room.work / "recorded" / old.path
    try:
        restore.put(here.stores, old.digest, recorded, size=old.size)
    except (StoreError, ManifestError) as error:
        # The working tree may still have it: git keeps small text.
        if restore.is_file(here.root / old.path, old.digest):
            kept = here.root / old.path
            return comparators.compare(kept, rebuilt, name=old.path, tolerance=tolerance)
        raise ComparisonError(
            f"{old.path} was rebuilt with other bytes, and the recorded ones are not to be had"
            f" ({error})",
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
