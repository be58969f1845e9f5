"""Attesting: the record of one rebuild, left in the ledger for all who ask about the run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from mlrepro import documents
from mlrepro.attestation import Attestation, Distance, Material, Method, Rebuilt, digests
from mlrepro.capture import machine
from mlrepro.cleanroom import interpreter
from mlrepro.cleanroom.factors import Factors
from mlrepro.commands import attestations, packages
from mlrepro.commands.remaking import How, Made
from mlrepro.drift import ArtifactDrift, DriftReport
from mlrepro.errors import MlreproError
from mlrepro.manifest import Digest, Role
from mlrepro.stores import git, ledgerlocks, ledgernotes, signing
from mlrepro.stores.place import Place
from mlrepro.verdicts import Tolerance

_MOST_ARTIFACTS = 1000
_MOST_MEASURED = 50
_MOST_MEASURES = 12
_LARGEST = 256 * 2**20
"""A file of more bytes is not read again for its sha256: 0.2 s."""


def check_signing(here: Place, how: How) -> None:
    """Say before the training that git cannot sign, where signing was asked for.

    Raises
    ------
    GitError
        If it cannot.
    """
    if how.sign:
        signing.check(here.repository)


def attested(
    made: Made, report: DriftReport, how: How, *, notify: Callable[[str], None]
) -> DriftReport:
    """Leave a record of a rebuild in this clone's ledger, and return the report with its id.

    A ledger that cannot be written costs a note, never the report.
    """
    if how.brief or how.factors != Factors():
        return report
    try:
        data = _record(made, report, how).to_bytes()
        name = ledgernotes.put(made.here.repository, made.record.id, attestations.RECORDS, data)
    except (MlreproError, OSError) as error:
        return _noted(report, f"this rebuild left no record in the ledger: {error}")
    report = replace(report, attestation=name)
    if not how.sign:
        return report
    notify("signing the record of this rebuild")
    try:
        _sign(made.here.repository, made.record.id, name, data)
    except (MlreproError, OSError) as error:
        return _noted(report, f"the record of this rebuild is not signed: {error}")
    return report


def _noted(report: DriftReport, note: str) -> DriftReport:
    return replace(report, notes=(*report.notes, note))


def _sign(repo: git.Repository, run: str, name: str, data: bytes) -> None:
    commit = signing.sign(repo, data + b"\n").decode()
    facts = {"schema": 1, "attestation": name, "commit": commit}
    ledgernotes.put(repo, run, attestations.SIGNATURES, documents.canonical_json(facts))


def _record(made: Made, report: DriftReport, how: How) -> Attestation:
    artifacts = [
        _artifact(made, one, measured=number < _MOST_MEASURED)
        for number, one in enumerate(report.artifacts[:_MOST_ARTIFACTS])
    ]
    when = datetime.now(timezone.utc).isoformat(timespec="microseconds")
    return Attestation(
        run=made.record.id,
        rebuilder=git.author(made.here.repository),
        when=when.replace("+00:00", "Z"),
        mlrepro=metadata.version("mlrepro"),
        verdict=str(report.verdict),
        artifacts=tuple(artifacts),
        method=_method(made, how),
        machine=machine.platform(),
        threads=made.trained.observation.threads,
        materials=tuple(_materials(made)),
        seconds=report.seconds,
    )


def _artifact(made: Made, one: ArtifactDrift, *, measured: bool) -> Rebuilt:
    recorded = made.record.artifact(one.path)
    found = one.difference
    measures = found.measures[:_MOST_MEASURES] if measured else ()
    return Rebuilt(
        path=one.path,
        role=one.role,
        verdict=str(found.verdict),
        decides=one.decides,
        recorded=recorded.digest if recorded else None,
        rebuilt=Digest.parse(one.rebuilt) if one.rebuilt else None,
        sha256=_sha256(made, one, recorded.digest) if recorded else "",
        comparator=found.comparator,
        measures=tuple(Distance(m.name, float(m.value), m.unit, m.where) for m in measures),
        first=found.first,
    )


def _sha256(made: Made, one: ArtifactDrift, digest: Digest) -> str:
    """Return the sha256 of the recorded bytes where they are at hand, and are those of the md5."""
    if digest.algorithm != "md5" or digest.is_dir:
        return ""
    for path in _places(made, one, digest):
        if path.is_file() and path.stat().st_size <= _LARGEST:
            data = path.read_bytes()
            if hashlib.md5(data, usedforsecurity=False).hexdigest() == digest.value:
                return hashlib.sha256(data).hexdigest()
    return ""


def _places(made: Made, one: ArtifactDrift, digest: Digest) -> Iterator[Path]:
    if stored := made.here.stores.find(digest):
        yield stored
    trained = made.trained
    streams = {Role.STDOUT: trained.stdout, Role.STDERR: trained.stderr}
    if one.role in streams:
        yield streams[one.role]
    else:
        yield made.room.root / (one.rebuilt_path or one.path)


def _method(made: Made, how: How) -> Method:
    chosen, given = made.chosen, how.tolerance
    had = packages.recorded(made.here, made.record, notify=lambda _sentence: None)
    return Method(
        code="head" if how.head else "recorded",
        tree=made.room.tree,
        threads="recorded" if how.threads else "current",
        environment="lock" if chosen.lock else "active",
        fingerprint=chosen.environment.fingerprint,
        python=chosen.environment.python,
        lock=_lock(made),
        differing=len(interpreter.changes(made.record, had, chosen)),
        rtol=given.rtol,
        atol=None if given.atol == Tolerance().atol else given.atol,
        exact=given.exact,
    )


def _lock(made: Made) -> str:
    """Return the sha256 of the lock as the ledger has it."""
    fingerprint = made.record.environment.fingerprint
    if made.chosen.lock is None or fingerprint is None:
        return ""
    lock = ledgerlocks.get(made.here.repository, fingerprint) or made.chosen.lock
    return hashlib.sha256(lock.to_text().encode()).hexdigest()


def _materials(made: Made) -> Iterator[Material]:
    """Yield what went in; long lists by their own digests, as the ledger keeps them."""
    record = made.record
    yield Material("manifest", {"sha256": record.id})
    yield Material("code", {"gitTree": made.room.tree})
    for one in record.inputs:
        if one.digest:
            yield Material(one.path, digests(one.digest))
    for name, listed in record.lists.items():
        yield Material(f"{name}.json", digests(listed.digest))
