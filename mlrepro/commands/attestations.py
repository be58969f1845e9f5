"""Attestations: the rebuilds of a run that the ledger knows, counted, and as in-toto statements."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlrepro import documents
from mlrepro.attestation import Attestation, Rebuilt
from mlrepro.commands import opening
from mlrepro.commands.deciding import decides
from mlrepro.errors import ManifestError, ObjectNotFoundError
from mlrepro.manifest import Manifest, Platform, Role
from mlrepro.stores import git, ledgernotes, signing
from mlrepro.stores.place import Place
from mlrepro.stores.signing import Signature
from mlrepro.verdicts import Verdict

RECORDS = "attestations"
SIGNATURES = "signatures"
_AHEAD = dt.timedelta(days=1)
"""So far a clock may be ahead of ours."""
_MOST_CHECKED = 100
"""So many signatures are checked; each costs 20 ms."""


@dataclass(frozen=True)
class Rebuild:
    """One rebuild of a run, as somebody has left it in the ledger.

    Attributes
    ----------
    id : str
        sha256 of its bytes.
    mine : bool
        Whether this clone wrote it.
    record : Attestation
        What it says.
    signature : Signature or None
        What git makes of its signature here; None where it has none.
    """

    id: str
    mine: bool
    record: Attestation
    signature: Signature | None = None

    @property
    def counts(self) -> bool:
        """Whether it is one of the run: one with other code is not."""
        return self.record.method.code == "recorded"

    @property
    def as_recorded(self) -> bool:
        """Whether its threads and its environment were those of the run, or made to be."""
        method = self.record.method
        other = method.environment != "lock" and method.differing
        return method.threads == "recorded" and not other


def of_run(here: Place, record: Manifest) -> tuple[Rebuild, ...]:
    """Return all rebuilds of a run that the ledger here knows, the oldest first.

    What contradicts itself or the run's manifest is left out: anybody who may push can write it.
    """
    found = [
        (note, told)
        for note in ledgernotes.of_run(here.repository, record.id, RECORDS)
        if (told := _read(note.data, record))
    ]
    if not found:
        return ()
    signed = _signatures(
        here.repository, _signed(here.repository, record, [note for note, _ in found])
    )
    rebuilds = (Rebuild(note.id, note.mine, told, signed.get(note.id)) for note, told in found)
    return tuple(sorted(rebuilds, key=lambda one: (one.record.when, one.id)))


def _read(data: bytes, record: Manifest) -> Attestation | None:
    try:
        told = Attestation.from_bytes(data)
    except ManifestError:
        return None
    recorded = {artifact.path: artifact.digest for artifact in record.artifacts}
    # One that claims to come from the future would stay the newest for ever.
    if told.when > (dt.datetime.now(dt.timezone.utc) + _AHEAD).isoformat():
        return None
    true = all(one.recorded == recorded.get(one.path) for one in told.artifacts)
    return told if true and told.run == record.id and told.artifacts else None


def _signed(
    repo: git.Repository, record: Manifest, notes: Sequence[ledgernotes.Note]
) -> Iterable[tuple[ledgernotes.Note, bytes]]:
    """Yield notes with the raw commits that sign them; one that says other bytes signs none."""
    data = {note.id: note for note in notes}
    kept = ledgernotes.of_run(repo, record.id, SIGNATURES)
    for one in sorted(kept, key=lambda note: not note.mine)[:_MOST_CHECKED]:
        try:
            facts = json.loads(one.data)
            note, commit = data[facts["attestation"]], facts["commit"].encode()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
        if signing.message(commit) == note.data + b"\n":
            yield note, commit


def _signatures(
    repo: git.Repository, signed: Iterable[tuple[ledgernotes.Note, bytes]]
) -> dict[str, Signature]:
    """Check signatures; of several under one record the first good one counts."""
    found: dict[str, Signature] = {}
    for note, commit in signed:
        if note.id not in found or not found[note.id].good:
            found[note.id] = signing.verify(repo, commit)
    return found


def summary(record: Manifest, rebuilds: Sequence[Rebuild]) -> str:
    """Return in one line how the rebuilds of a run came out; empty where there are none.

    Several on one machine count once, by the newest; by one with the recorded threads and
    environment where there is one.
    """
    counting = [one for one in rebuilds if one.counts]
    machines = {_machine(one.record.machine) for one in counting if one.as_recorded}
    kept = [
        one for one in counting if one.as_recorded or _machine(one.record.machine) not in machines
    ]
    newest = {_machine(one.record.machine): one for one in kept}
    if not newest:
        return ""
    counted = [*newest.values()]
    # An older one on the same machine still speaks where it says the same.
    agreeing = [
        one
        for one in kept
        if one.record.verdict == newest[_machine(one.record.machine)].record.verdict
    ]
    verdicts = Counter(_verdict(one, record) for one in sorted(counted, key=_badness))
    outcome = ", ".join(f"{number} {word}" for word, number in verdicts.items())
    outcome = outcome if len(counted) > 1 else outcome.removeprefix("1 ")
    largest = _largest(counted)
    where = _machines(newest, record) + _people(agreeing)
    return f"{where}: {outcome}{largest}{_signers(agreeing)}"


def _machine(machine: Platform) -> tuple[object, ...]:
    """Return what tells machines apart; a container's random name does not."""
    host = "" if re.fullmatch(r"[0-9a-f]{12}", machine.host) else machine.host
    return host, machine.machine, machine.cpu, machine.cpu_flags, machine.cores


def _badness(one: Rebuild) -> Verdict:
    return Verdict[one.record.verdict.upper()]


def _machines(newest: Iterable[tuple[object, ...]], record: Manifest) -> str:
    machines = [*newest]
    if machines == [_machine(record.platform)]:
        return "on the machine that recorded it"
    return f"on {len(machines)} machine{'s' * (len(machines) != 1)}"


def _people(agreeing: Iterable[Rebuild]) -> str:
    people = {one.record.rebuilder.rpartition("<")[2].lower() for one in agreeing}
    return f" by {len(people)} people" if len(people) > 1 else ""


def _verdict(one: Rebuild, record: Manifest) -> str:
    """Return the verdict with what makes it say less: parts of the run, a wide tolerance."""
    told, method = one.record, one.record.method
    given = (("--rtol", method.rtol), ("--atol", method.atol))
    close = told.verdict == str(Verdict.CLOSE)
    words = [f"{name} {value:g}" for name, value in given if close and value is not None]
    words += ["--threads current"] * (method.threads != "recorded")
    words += ["another environment"] * (method.environment != "lock" and method.differing > 0)
    seen = [part.path for part in told.artifacts if part.decides]
    weights = [a for a in record.artifacts if a.role is Role.WEIGHTS]
    asked = {a.path for a in weights if decides(a.path, a.role, record.artifacts)}
    if asked - set(seen):
        words.append(f"{', '.join(seen[:2])}{' …' if len(seen) > 2 else ''} alone")
    return f"{told.verdict} ({'; '.join(words)})" if words else told.verdict


def _largest(counted: Sequence[Rebuild]) -> str:
    """Return the largest difference of the first kind that was measured, weights before metrics."""
    found: dict[str, float] = {}
    parts = [
        part
        for one in counted
        for part in one.record.artifacts
        if part.decides and Verdict[part.verdict.upper()] in (Verdict.CLOSE, Verdict.DRIFTED)
    ]
    for part in sorted(parts, key=_importance):
        for measure in part.measures:
            what = _LARGEST.fullmatch(measure.name)
            if what and math.isfinite(measure.value):
                name = " ".join(filter(None, ("largest", what["what"], "difference")))
                unit = f" {measure.unit}" if measure.unit else ""
                key = f", {name}{{}}{unit}" + (f" / {what['by']}" if what["by"] else "")
                found[key] = max(found.get(key, 0.0), measure.value)
    words, value = next(iter(found.items()), ("", 0.0))
    return words.replace("{}", f" {value:.2g}") if words and value else ""


# `leaf values, largest / std`, `largest |a−b|`, `|a−b| / max(|a|,|b|), largest`.
_LARGEST = re.compile(
    r"(?:(?P<what>[a-z ]+?)s?(?: in trees of equal structure)?, )?"
    r"(?:\|a−b\| / max\(\|a\|,\|b\|\), )?largest"
    r"(?: \|a−b\|| / (?P<by>\w+))?"
)


def _importance(part: Rebuilt) -> bool:
    return part.role is not Role.WEIGHTS


def _signers(agreeing: Iterable[Rebuild]) -> str:
    """Say how many are signed; several of one person on one machine count once, as above."""
    found: dict[tuple[object, ...], list[Signature]] = {}
    for one in agreeing:
        if one.signature:
            whose = (_machine(one.record.machine), one.record.rebuilder)
            found.setdefault(whose, []).append(one.signature)
    good = [next((s for s in several if s.good), None) for several in found.values()]
    names = sorted({one.signer or one.key for one in good if one} - {""})
    shown = f" by {', '.join(names[:3])}{' …' if len(names) > 3 else ''}" if names else ""
    words = f"; {len(good) - good.count(None)} signed{shown}" if any(good) else ""
    bad = good.count(None)
    return words + (f"; {bad} with a signature that git does not accept here" if bad else "")


def statements(
    start: Path, ref: str, *, notify: Callable[[str], None] = lambda _sentence: None
) -> str:
    """Return the rebuilds of a run as in-toto statements, one JSON object in each line.

    A signed one has one field more, ``signature``, with the raw commit that git signed; its
    message is the statement without that field, in canonical JSON.

    Raises
    ------
    ObjectNotFoundError
        If nobody has rebuilt it.
    """
    here, record = opening.run(ref, start)
    notes = ledgernotes.of_run(here.repository, record.id, RECORDS)
    told = {note: _read(note.data, record) for note in notes}
    kept = [(note, one) for note, one in told.items() if one and one.method.code == "recorded"]
    if not kept:
        raise ObjectNotFoundError(
            f"nobody has rebuilt run {record.short} yet",
            hint=f"`mlrepro rebuild {record.short}` leaves a record; `mlrepro pull` brings them.",
        )
    kept.sort(key=lambda pair: (pair[1].when, pair[0].id))
    signed = dict(_signed(here.repository, record, [note for note, _ in kept]))
    if len(told) > len(kept):
        notify(f"left out: {len(told) - len(kept)} that speak of other code, or are damaged")
    return "".join(_line(note.data, signed.get(note)) for note, _ in kept)


def _line(data: bytes, commit: bytes | None) -> str:
    if commit:
        signature = {"format": "git-commit", "commit": commit.decode()}
        data = documents.canonical_json({**json.loads(data), "signature": signature})
    return data.decode() + "\n"
