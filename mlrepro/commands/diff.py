"""Diff: two runs, or a run and the working tree, by the comparators that a rebuild uses."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mlrepro import comparators
from mlrepro.capture import code, environment, params
from mlrepro.cleanroom import restore
from mlrepro.commands import (
    causes,
    codechanges,
    deciding,
    diffinputs,
    diffvalues,
    packages,
    refs,
)
from mlrepro.commands.diffvalues import LineCount
from mlrepro.comparators import pairing
from mlrepro.drift import ArtifactDrift, Change, Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError, MlreproError, NothingToCompareError
from mlrepro.manifest import Artifact, Input, Manifest, Package, is_in_tree
from mlrepro.stores.place import Place, digest, strict

WORKING_TREE = "the working tree"


@dataclass(frozen=True)
class DiffReport:
    """How two runs differ.

    Attributes
    ----------
    a, b : str
        What was compared: short run ids, or ``the working tree``.
    artifacts : tuple of ArtifactDrift
        Compared as in a rebuild.
    code, environment, inputs, params, metrics : tuple of Change
        What is unequal, by its name; the command line is a parameter.
    training : tuple of Change
        What the training libraries did otherwise: rounds, threads, parameters.
    notes : tuple of str
        What could not be compared, and did not have to be.
    code_lines : tuple of LineCount
        How many lines of each file in `code` came and went, where that is known.
    input_drifts : tuple of Difference
        What is in the inputs that differ, by their names; those whose bytes are not here, or are
        too many, are missing.
    same : bool
        Whether nothing differs: no fact, and no artifact beyond *equivalent*.
    """

    a: str
    b: str
    artifacts: tuple[ArtifactDrift, ...] = ()
    code: tuple[Change, ...] = ()
    environment: tuple[Change, ...] = ()
    inputs: tuple[Change, ...] = ()
    params: tuple[Change, ...] = ()
    metrics: tuple[Change, ...] = ()
    training: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    code_lines: tuple[LineCount, ...] = ()
    input_drifts: tuple[Difference, ...] = ()
    same: bool = field(init=False)

    def __post_init__(self) -> None:
        facts = (self.code, self.environment, self.inputs, self.params, self.metrics, self.training)
        close = all(a.difference.verdict <= Verdict.EQUIVALENT for a in self.artifacts if a.decides)
        object.__setattr__(self, "same", close and not any(facts))


@dataclass(frozen=True)
class _Side:
    """One side: a run whose bytes lie in the store, or the working tree."""

    label: str
    record: Manifest
    bytes_of: Callable[[Artifact], Path]
    notes: tuple[str, ...] = ()
    tree: bool = False
    """Whether it is the working tree."""

    @property
    def called(self) -> str:
        """What it is called in a sentence."""
        return WORKING_TREE if self.tree else self.record.run.name or self.record.short


def diff(
    a: str,
    b: str | None = None,
    *,
    start: Path | None = None,
    tolerance: Tolerance | None = None,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> DiffReport:
    """Compare two runs, or a run and the working tree.

    Parameters
    ----------
    a : str
        REF of a run.
    b : str, optional
        REF of another; the working tree otherwise.
    start : Path, optional
        Where the user stands.
    tolerance : Tolerance, optional
        What counts as close.
    notify : callable
        Takes a sentence before something slow.

    Raises
    ------
    UsageError
        If a REF names nothing.
    ComparisonError
        If a pair that decides cannot be compared, and nothing else differs.
    NothingToCompareError
        If there is nothing that could be compared.
    """
    here = strict((start or Path.cwd()).resolve())
    target = refs.resolve(here, a, start=start, notify=notify)
    only = target.artifact
    with tempfile.TemporaryDirectory(prefix="mlrepro-diff-") as scratch:
        left = _of_run(here, target.manifest, Path(scratch, "a"))
        if b is None:
            right = _of_working_tree(here, target, notify)
        else:
            other = refs.resolve(here, b, start=start, notify=notify)
            right = _of_run(here, other.manifest, Path(scratch, "b"))
            only = only if other.artifact == only else ""
        restore.fetch(here, _differing(left.record, right.record), notify=notify)
        artifacts, failed = _artifacts(left, right, only, tolerance or Tolerance())
        old, new = (
            diffinputs.side(here, one.called, one.record, here.root if one.tree else None)
            for one in (left, right)
        )
        drifts, uncompared = diffinputs.inside(here, old, new, Path(scratch), notify=notify)
    was, now = causes.of_record(left.record), causes.of_record(right.record)
    changed = _code(here, left.record, right.record)
    report = DiffReport(
        left.label,
        right.label,
        artifacts=artifacts,
        code=changed,
        environment=_environment(here, left.record, right.record, notify),
        inputs=diffinputs.changes(old, new),
        params=diffvalues.params(left.record, right.record),
        metrics=(*_metrics(left.record, right.record, artifacts), *causes.scores(was, now)),
        training=causes.changes(was, now),
        notes=(*right.notes, *(f"not compared: {error}" for _, error in failed), *uncompared),
        code_lines=_lines(here, left.record, right.record, changed),
        input_drifts=drifts,
    )
    report = _explained(here, report, left.record, right.record, notify)
    return _told(report, right, failed)


def _explained(
    here: Place,
    report: DiffReport,
    a: Manifest,
    b: Manifest,
    notify: Callable[[str], None],
) -> DiffReport:
    """Say of models that differ what may be the cause."""
    worst = max((one.difference.verdict for one in report.artifacts if one.decides), default=None)
    if worst is None or worst <= Verdict.EQUIVALENT or report.b == WORKING_TREE:
        return report
    loaded = causes.loaded(here, b, notify=notify)
    native = causes.native(here, a, loaded, report.environment, notify=notify)
    suspects = causes.suspects(causes.of_record(a), causes.of_record(b), a)
    return replace(
        report,
        environment=(*report.environment, *native),
        notes=(*report.notes, *suspects),
    )


_Failed = Sequence[tuple[bool, MlreproError]]
"""Whether a pair decides, and why it could not be compared."""


def _told(report: DiffReport, right: _Side, failed: _Failed) -> DiffReport:
    """Return a report that says something: that nothing differs only if enough was compared."""
    if not report.same:
        return report
    for decides, error in failed:
        if decides:
            raise ComparisonError(
                f"whether the two are the same cannot be told: {error}", hint=error.hint
            )
    if not any(one.decides for one in report.artifacts):
        if right.label != WORKING_TREE or right.record.code is None:
            raise NothingToCompareError("the two have no artifact that could be compared")
        # A run that only printed: its code, inputs and parameters are those of the working tree.
        note = "the run left no file, so only code, inputs and parameters were compared"
        return replace(report, notes=(*report.notes, note))
    return report


def _of_run(here: Place, record: Manifest, scratch: Path) -> _Side:
    def bytes_of(artifact: Artifact) -> Path:
        target = scratch / artifact.path
        restore.put(here.stores, artifact.digest, target, size=artifact.size)
        return target

    label = f"{record.short} ({record.run.name})" if record.run.name else record.short
    return _Side(label, record, bytes_of)


def _of_working_tree(here: Place, target: refs.Target, notify: Callable[[str], None]) -> _Side:
    """Describe the working tree as if it were a run that made the same files."""
    record = target.manifest

    def bytes_of(artifact: Artifact) -> Path:
        return here.root / target.moved.get(artifact.path, artifact.path)

    made = [_as_it_is(bytes_of(a), a) for a in record.artifacts if is_in_tree(a.path)]
    read = [_read_now(here, one) for one in diffinputs.read(here, record, notify)]
    present = tuple(a for a in made if a)
    files = [name for name in record.params if name != "command line"]
    found = params.of_files(here.root, record.run.directory, files)
    kept = {k: v for k, v in record.params.items() if k == "command line"}
    metrics = {
        a.path: params.of_file(here.root / a.path) for a in present if a.path in record.metrics
    }
    now = replace(
        record,
        artifacts=present,
        inputs=tuple(read),
        params={**kept, **found},
        metrics={k: v for k, v in metrics.items() if v},
        lists={k: v for k, v in record.lists.items() if k != "inputs"},
    )
    notes: tuple[str, ...] = ()
    try:
        now = replace(now, code=_code_now(here, record))
    except (OSError, MlreproError) as error:
        now = replace(now, code=None)
        notes = (f"the code of the working tree was not compared: {error}",)
    return _Side(WORKING_TREE, now, bytes_of, notes, tree=True)


def _code_now(here: Place, record: Manifest) -> Any:
    if record.code is None:
        return None
    taken = code.snapshot(here.repository, work="diff")
    code.unpin(here.repository, "diff")
    return replace(record.code, tree=taken.tree)


def _as_it_is(path: Path, artifact: Artifact) -> Artifact | None:
    found = _digest_of(path)
    return replace(artifact, digest=found) if found else None


def _read_now(here: Place, one: Input) -> Input:
    """Return an input as the working tree has it; one without a digest cannot be compared."""
    return replace(one, digest=_digest_of(here.root / one.path)) if one.digest else one


def _digest_of(path: Path) -> Any:
    try:
        return digest(path) if path.exists() else None
    except MlreproError:
        return None


def _differing(a: Manifest, b: Manifest) -> list[Any]:
    """Return the digests whose bytes a comparison needs: of artifacts that are not equal."""
    equal = {x.digest for x in a.artifacts} & {x.digest for x in b.artifacts}
    return [x.digest for x in (*a.artifacts, *b.artifacts) if x.digest not in equal]


def _artifacts(
    a: _Side, b: _Side, only: str, tolerance: Tolerance
) -> tuple[tuple[ArtifactDrift, ...], _Failed]:
    """Compare what both sides made: weights and metrics decide, else all that can be compared."""
    old, new = (
        {x.path: x for x in one.record.artifacts if not only or x.path == only} for one in (a, b)
    )
    if not (a.record.fits and b.record.fits):  # nobody saw what one of them trained
        old, new = (
            {p: x for p, x in one.items() if not deciding.is_unsaved(p, x.role)}
            for one in (old, new)
        )
    if b.label == WORKING_TREE:
        old = {p: x for p, x in old.items() if is_in_tree(p)}
    judged: list[ArtifactDrift] = []
    failed: list[tuple[bool, MlreproError]] = []
    for left, right in _pairs(old, new):
        x, y = old.get(left or ""), new.get(right or "")
        one = old[left] if left else new[right or ""]
        weighs = deciding.decides(one.path, one.role, (*old.values(), *new.values()))
        try:
            difference = _compare(a, b, x, y, tolerance)
        except MlreproError as error:
            failed.append((weighs, error))
            continue
        judged.append(
            ArtifactDrift(
                one.path,
                one.role,
                weighs and _counts(difference),
                difference,
                rebuilt_path=y.path if x and y and x.path != y.path else "",
                rebuilt=str(y.digest) if y else "",
            )
        )
    if not any(one.decides for one in judged) and not any(decides for decides, _ in failed):
        judged = [replace(one, decides=_counts(one.difference)) for one in judged]
        failed = [(True, error) for _, error in failed]
    return tuple(sorted(judged, key=lambda one: not one.decides)), failed


def _pairs(
    old: Mapping[str, Artifact], new: Mapping[str, Artifact]
) -> list[tuple[str | None, str | None]]:
    left, right = (
        {p: x.digest for p, x in side.items() if deciding.is_unsaved(p, x.role)}
        for side in (old, new)
    )
    files = pairing.pair([p for p in old if p not in left], [p for p in new if p not in right])
    return deciding.partners(left, right) + files


def _counts(difference: Difference) -> bool:
    return difference.compared > 0 or difference.verdict is Verdict.MISSING


def _compare(
    a: _Side, b: _Side, x: Artifact | None, y: Artifact | None, tolerance: Tolerance
) -> Difference:
    if x is None or y is None:
        side = b.label if x else a.label
        return Difference((x or y).path, Verdict.MISSING, f"{side} has none")  # type: ignore[union-attr]
    if x.digest == y.digest:
        return Difference(x.path, Verdict.IDENTICAL, "same bytes", compared=x.files or 1)
    return comparators.compare(a.bytes_of(x), b.bytes_of(y), name=x.path, tolerance=tolerance)


def _code(here: Place, a: Manifest, b: Manifest) -> tuple[Change, ...]:
    if a.code is None or b.code is None:
        return ()
    return codechanges.between(here, a.code.tree, b.code.tree, a, b)


def _lines(
    here: Place, a: Manifest, b: Manifest, changed: Sequence[Change]
) -> tuple[LineCount, ...]:
    if a.code is None or b.code is None:
        return ()
    return diffvalues.lines(here.repository, a.code.tree, b.code.tree, changed)


def _environment(
    here: Place, a: Manifest, b: Manifest, notify: Callable[[str], None]
) -> tuple[Change, ...]:
    """Name what differs, by the whole lists of distributions where both are here."""
    if a.environment == b.environment:
        return ()
    left, right = (packages.recorded(here, one, notify=notify) for one in (a, b))
    if left is None or right is None:
        left, right = (
            [Package(*item) for item in one.environment.packages.items()] for one in (a, b)
        )
    return environment.changes(a.environment, left, b.environment, right)


def _metrics(a: Manifest, b: Manifest, artifacts: Sequence[ArtifactDrift]) -> tuple[Change, ...]:
    """Name what differs, but for files whose comparator set all differences aside (times, say)."""
    equal = {
        one.path
        for one in artifacts
        if one.difference.verdict <= Verdict.EQUIVALENT or not _counts(one.difference)
    }
    return diffvalues.metrics(a, b, equal)
