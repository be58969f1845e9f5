"""Attestation: what one rebuild of a run found, as the in-toto statement that the ledger keeps.

The bytes that are kept are those that are signed and exported: a Statement v1 in canonical JSON,
whose predicate is the record. It may come from a stranger, so all of it is checked: whoever reads
one knows that its verdict follows from its parts, and that it holds no control characters.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlrepro import documents, plain
from mlrepro.errors import ManifestError
from mlrepro.facts import Digest, Platform, Role, ThreadPool
from mlrepro.verdicts import Verdict

TYPE = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:mlrepro:rebuild:1"
SCHEMA = 1
_LONGEST = 2000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z", re.ASCII)
_NAMES = {str(verdict): verdict for verdict in Verdict}


@dataclass(frozen=True)
class Distance:
    """One measure of a comparison, as `verdicts.Measure`; what JSON cannot hold is a word."""

    name: str
    value: float
    unit: str = ""
    where: str = ""

    def __plain__(self) -> dict[str, Any]:
        value = self.value if math.isfinite(self.value) else str(self.value)
        data = {"name": self.name, "value": value, "unit": self.unit, "where": self.where}
        return {key: one for key, one in data.items() if one != ""}

    @classmethod
    def __from_plain__(cls, data: Any, where: str) -> Distance:
        if not isinstance(data, dict):
            raise ManifestError(f"{where} must be a mapping")
        value = data.get("value")
        value = float(value) if value in ("nan", "inf", "-inf") else value
        texts = [data.get(name, "") for name in ("name", "unit", "where")]
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise ManifestError(f"{where}.value must be a number")
        if not all(isinstance(text, str) for text in texts):
            raise ManifestError(f"{where} must hold text")
        return cls(texts[0], float(value), texts[1], texts[2])


@dataclass(frozen=True)
class Rebuilt:
    """One artifact of the run, and what became of it.

    Attributes
    ----------
    path : str
        The recorded path.
    role : Role
    verdict : str
        One of the five words.
    decides : bool
        Whether it counts for the rebuild's verdict.
    recorded, rebuilt : Digest or None
        Of the bytes on either side; None where they are not there.
    sha256 : str
        Of the recorded bytes, for readers to whom md5 says nothing; empty where it was not taken.
    comparator : str
        Who judged; empty where the digests did.
    measures : tuple of Distance
    first : str
        The first divergence.
    """

    path: str
    role: Role
    verdict: str
    decides: bool = False
    recorded: Digest | None = None
    rebuilt: Digest | None = None
    sha256: str = ""
    comparator: str = ""
    measures: tuple[Distance, ...] = ()
    first: str = ""


@dataclass(frozen=True)
class Method:
    """How the rebuild was made.

    Attributes
    ----------
    code : str
        ``recorded``, or ``head``: such a one is no rebuild of the run, and is not counted.
    threads : str
        ``recorded`` or ``current``.
    environment : str
        ``lock``: made from the recorded lock; ``active``.
    tree : str
        The git tree that it was trained with.
    fingerprint : Digest or None
        Of that environment.
    python : str
        Its version.
    lock : str
        sha256 of the lock's text; empty where it was made from none.
    differing : int
        How many facts of the environment were other than recorded.
    rtol, atol : float or None
        The tolerance, where the user gave one.
    exact : bool
        Whether only *identical* passed.
    """

    code: str
    threads: str
    environment: str
    tree: str = ""
    fingerprint: Digest | None = None
    python: str = ""
    lock: str = ""
    differing: int = 0
    rtol: float | None = None
    atol: float | None = None
    exact: bool = False


@dataclass(frozen=True)
class Material:
    """What went into the rebuild: a name, and its digests by their algorithms."""

    name: str
    digest: Mapping[str, str]


@dataclass(frozen=True)
class Attestation:
    """The record of one rebuild.

    Attributes
    ----------
    run : str
        Id of the run that was rebuilt, 64 hex digits.
    rebuilder : str
        ``Name <address>`` as git knows who did it.
    when : str
        UTC, ISO 8601, when it was judged.
    mlrepro : str
        Version of mlrepro.
    verdict : str
        The worst of the artifacts that decide.
    artifacts : tuple of Rebuilt
        The deciding ones first.
    method : Method
    machine : Platform
        Where it was rebuilt.
    threads : tuple of ThreadPool
        Its pools of threads.
    materials : tuple of Material
        The code, the environment and the inputs.
    seconds : float
        Wall time of its training.
    schema : int
        Version of the format.
    """

    run: str
    rebuilder: str
    when: str
    mlrepro: str
    verdict: str
    artifacts: tuple[Rebuilt, ...]
    method: Method
    machine: Platform = field(default_factory=Platform)
    threads: tuple[ThreadPool, ...] = ()
    materials: tuple[Material, ...] = ()
    seconds: float = 0.0
    schema: int = SCHEMA

    def statement(self) -> dict[str, Any]:
        """Return the in-toto statement."""
        return {
            "_type": TYPE,
            "subject": _subjects(self.artifacts),
            "predicateType": PREDICATE,
            "predicate": {"schema": self.schema, **_clean(plain.dump(self))},
        }

    def to_bytes(self) -> bytes:
        """Return the statement in canonical JSON."""
        return documents.canonical_json(self.statement())

    @classmethod
    def from_bytes(cls, data: bytes) -> Attestation:
        """Read a statement that nobody vouches for.

        Raises
        ------
        ManifestError
            If it is damaged, newer than this mlrepro, or contradicts itself.
        """
        try:
            statement = json.loads(data)
            _expect_harmless(statement)
        except (ValueError, RecursionError) as error:
            raise ManifestError("not the record of a rebuild") from error
        if not isinstance(statement, dict) or statement.get("_type") != TYPE:
            raise ManifestError("not an in-toto statement")
        predicate = statement.get("predicate")
        if statement.get("predicateType") != PREDICATE or not isinstance(predicate, dict):
            raise ManifestError("not the record of a rebuild")
        if predicate.get("schema") != SCHEMA:
            raise ManifestError(f"a record of schema {predicate.get('schema')!r:.20}")
        try:
            found = plain.load(cls, predicate)
        except OverflowError as error:
            raise ManifestError("a number that no float holds") from error
        _expect_consistent(found)
        if statement.get("subject") != _subjects(found.artifacts):
            raise ManifestError("its subjects are not its artifacts")
        return found


def digests(digest: Digest, sha256: str = "") -> dict[str, str]:
    """Return a digest as in-toto writes it; a folder's md5 is of DVC's list of its files."""
    name = "dvcDirMd5" if digest.is_dir else digest.algorithm
    named = {name: digest.value.removesuffix(".dir")}
    return {**named, "sha256": sha256} if sha256 else named


def _subjects(artifacts: tuple[Rebuilt, ...]) -> list[dict[str, Any]]:
    return [
        {"name": _clean(one.path), "digest": digests(one.recorded, one.sha256)}
        for one in artifacts
        if one.recorded
    ]


def _clean(data: Any) -> Any:
    """Return plain data whose text holds no control characters and is of bounded length."""
    if isinstance(data, str):
        return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", data[:_LONGEST])
    if isinstance(data, dict):
        return {_clean(key): _clean(value) for key, value in data.items()}
    return [_clean(value) for value in data] if isinstance(data, list) else data


def _expect_harmless(data: Any) -> None:
    if isinstance(data, str) and (len(data) > _LONGEST or _CONTROL.search(data)):
        raise ManifestError(f"text that no record holds: {data!r:.60}")
    for value in _parts(data):
        _expect_harmless(value)


def _parts(data: Any) -> list[Any]:
    if isinstance(data, dict):
        return [*data.keys(), *data.values()]
    return data if isinstance(data, list) else []


def _expect_consistent(found: Attestation) -> None:
    if not _STAMP.fullmatch(found.when):
        raise ManifestError(f"not a moment: {found.when!r:.40}")
    words = {found.verdict, *(one.verdict for one in found.artifacts)}
    if odd := words - _NAMES.keys():
        raise ManifestError(f"not a verdict: {min(odd)!r:.40}")
    deciding = [_NAMES[one.verdict] for one in found.artifacts if one.decides]
    if _NAMES[found.verdict] is not max(deciding, default=Verdict.MISSING):
        raise ManifestError("its verdict is not that of its artifacts")
    for one in found.artifacts:
        _expect_consistent_artifact(one)
    if found.seconds < 0 or found.method.differing < 0:
        raise ManifestError("a negative count")


def _expect_consistent_artifact(one: Rebuilt) -> None:
    same = one.recorded == one.rebuilt and one.recorded is not None
    # Of a folder, what DVC ignores is part of the one digest and not of the other.
    folder = one.recorded is not None and one.recorded.is_dir
    identical = one.verdict == str(Verdict.IDENTICAL)
    if same != identical and not (identical and folder):
        raise ManifestError(f"the verdict of {one.path!r:.60} is not that of its digests")
    if one.sha256 and not re.fullmatch(r"[0-9a-f]{64}", one.sha256):
        raise ManifestError(f"not a sha256: {one.sha256!r:.80}")
