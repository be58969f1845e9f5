"""Locks: the packages of an environment with the hashes of their files, as text for pip and uv.

A lock names no download address: whoever has the files, on whatever index, can use it. What pip
and uv cannot read stands in comment lines ``# mlrepro: {…}``. A lock may come from a stranger, so
all of it is checked: only names, versions, hashes and sources of known form, and no option of pip.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mlrepro import paths
from mlrepro.errors import ManifestError
from mlrepro.facts import Digest

_FIRST = "# mlrepro: lock 1"
_MARK = "# mlrepro: "
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
# PEP 440, with the spellings that it lets pass.
_VERSION = re.compile(
    r"(?:\d+!)?\d+(?:\.\d+)*"
    r"(?:[._-]?(?:a|b|c|rc|alpha|beta|pre|preview)[._-]?\d*)?"
    r"(?:[._-]?(?:post|rev|r)[._-]?\d*|-\d+)?"
    r"(?:[._-]?dev[._-]?\d*)?"
    r"(?:\+[a-z0-9]+(?:[._-][a-z0-9]+)*)?",
    re.IGNORECASE | re.ASCII,
)
_PYTHON = re.compile(r"\d+\.\d+(?:\.\d+)?(?:(?:a|b|rc)\d+)?", re.ASCII)
_WORD = re.compile(r"[a-z][a-z0-9_]{0,31}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_BREAK = " \\\n    --hash="
_PLAIN = re.compile(
    rf"([^\s=;]+)==([^\s;]+){re.escape(_BREAK)}(sha256:[0-9a-f]{{64}}"
    rf"(?:{re.escape(_BREAK)}sha256:[0-9a-f]{{64}})*)(?:\n|\Z)"
)
# ``user@`` names nobody's password with ssh alone; a query or a fragment may hold a token.
_ADDRESS = re.compile(
    r"(?:https?|git)://[\w.:\[\]-]+(?:/[\w.~%+/-]*)?|ssh://(?:[\w.-]+@)?[\w.:\[\]-]+/[\w.~%+/-]*",
    re.ASCII,
)
_GIT = re.compile(
    r"git:(?P<at>[^@\s]+(?:@[^@\s]+)?)@(?P<commit>[0-9a-f]{40}(?:[0-9a-f]{24})?)"
    r"(?:#subdirectory=(?P<sub>.+))?"
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def is_name(text: str) -> bool:
    """Say whether it is a package's name in normal form (PEP 503)."""
    return len(text) <= 200 and _NAME.fullmatch(text) is not None


def is_version(text: str) -> bool:
    """Say whether it is a version that an index can hold (PEP 440)."""
    return len(text) <= 200 and _VERSION.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Say whether it is the address of an index or a repository, and holds no credentials."""
    return len(text) <= 1000 and _ADDRESS.fullmatch(text) is not None


@dataclass(frozen=True)
class Requirement:
    """One package.

    Attributes
    ----------
    name, version : str
        The name in normal form.
    hashes : tuple of str
        ``sha256:<64 hex digits>`` of each file that an index holds of this version; sorted.
    unhashed : str
        Why there are none, in a few words; empty where there are.
    source : str
        Empty for an index; ``project:<path>``, editable inside the repository;
        ``git:<address>@<commit>``, with ``#subdirectory=<folder>`` where it lies in a folder there;
        ``object:md5:<hex>``, a wheel that the ledger keeps as an object.
    """

    name: str
    version: str
    hashes: tuple[str, ...] = ()
    unhashed: str = ""
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hashes", tuple(sorted(set(self.hashes))))
        if not is_name(self.name):
            raise ManifestError(f"not the name of a package: {self.name!r:.80}")
        if not is_version(self.version):
            raise ManifestError(f"not a version of {self.name}: {self.version!r:.80}")
        if odd := [one for one in self.hashes if not _HASH.fullmatch(one)]:
            raise ManifestError(f"not a hash of {self.name}: {odd[0]!r:.80}")
        if _CONTROL.search(self.unhashed) or len(self.unhashed) > 500:
            raise ManifestError(f"not a reason: {self.unhashed!r:.80}")
        _check_source(self.source)

    @property
    def pin(self) -> str:
        """``name==version``, as pip and uv read it."""
        return f"{self.name}=={self.version}"


def _check_source(source: str) -> None:
    kind, _, rest = source.partition(":")
    if kind == "project":
        if rest != ".":
            paths.inside(rest, where="the source of a package")
        good = not _CONTROL.search(rest)
    elif kind == "object":
        good = Digest.parse(rest).algorithm == "md5"
    elif kind == "git":
        found = _GIT.fullmatch(source)
        good = found is not None and is_address(found["at"])
        if found and found["sub"]:
            good = good and re.fullmatch(r"[\w./-]+", found["sub"], re.ASCII) is not None
            paths.inside(found["sub"], where="the source of a package")
    else:
        good = not source
    if not good:
        raise ManifestError(f"not the source of a package: {source!r:.80}")


@dataclass(frozen=True)
class Lock:
    """The packages of an environment, with hashes where they could be had.

    Attributes
    ----------
    fingerprint : Digest
        Of the environment that it was made of (`facts.Environment`).
    python, implementation : str
        For instance ``3.11.7`` and ``cpython``.
    requirements : tuple of Requirement
        Sorted by name.
    indexes : tuple of str
        Those that the recording machine asked beside the usual one, without credentials.
    beside : mapping of str to str
        What no Python index brings: ``conda libblas`` → its version; compared, not restored.
    """

    fingerprint: Digest
    python: str
    implementation: str
    requirements: tuple[Requirement, ...]
    indexes: tuple[str, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = tuple(sorted(self.requirements, key=lambda one: one.name))
        object.__setattr__(self, "requirements", found)
        if len({one.name for one in found}) != len(found):
            raise ManifestError("a lock names a package twice")
        if not _PYTHON.fullmatch(self.python) or not _WORD.fullmatch(self.implementation):
            raise ManifestError(f"not a Python: {self.implementation!r:.40} {self.python!r:.40}")
        if odd := [one for one in self.indexes if not is_address(one)]:
            raise ManifestError(f"not the address of an index: {odd[0]!r:.80}")
        if any(_CONTROL.search(text) for pair in self.beside.items() for text in pair):
            raise ManifestError("a lock holds control characters")

    @property
    def hashed(self) -> int:
        """How many packages have hashes, or a source that names their content."""
        return sum(bool(one.hashes or one.source) for one in self.requirements)

    @property
    def unhashed(self) -> tuple[Requirement, ...]:
        """The packages that only their name and version hold."""
        return tuple(one for one in self.requirements if not one.hashes and not one.source)

    @functools.cached_property
    def digest(self) -> Digest:
        """The sha256 of its text."""
        return Digest("sha256", hashlib.sha256(self.to_text().encode()).hexdigest())

    def to_text(self) -> str:
        """Write it down; equal locks are equal texts."""
        head = {
            "fingerprint": str(self.fingerprint),
            "python": self.python,
            "implementation": self.implementation,
            "indexes": list(self.indexes),
            "beside": dict(self.beside),
        }
        told = [one for one in self.requirements if not _is_plain(one)]
        lines = [_FIRST, _MARK + _json(head)]
        lines += [_MARK + _json(_told(one)) for one in told]
        for one in self.requirements:
            if _is_plain(one):
                lines += _hashed(one)
        return "\n".join(lines) + "\n"

    @classmethod
    def from_text(cls, text: str) -> Lock:
        """Read a lock that nobody vouches for.

        Raises
        ------
        ManifestError
            If a line is anything that `to_text` does not write.
        """
        lines = text.split("\n")
        if lines[0] != _FIRST or len(lines) < 2:
            raise ManifestError(f"not a lock that this mlrepro can read: {lines[0]!r:.60}")
        head = _read_json(lines[1])
        told = [line for line in lines[2:] if line.startswith("#")]
        plain = "\n".join(line for line in lines[2:] if not line.startswith("#"))
        found = [_of_told(_read_json(line)) for line in told]
        try:
            return cls(
                Digest.parse(head["fingerprint"]),
                _text(head["python"]),
                _text(head["implementation"]),
                (*found, *_of_lines(plain)),
                tuple(_text(one) for one in head.get("indexes", ())),
                {_text(k): _text(v) for k, v in dict(head.get("beside", {})).items()},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ManifestError(f"a lock whose head is damaged: {lines[1]!r:.80}") from error

    def installable(self) -> str:
        """Return what ``uv pip sync`` gets: all but what lies in the project itself."""
        lines: list[str] = []
        for one in self.requirements:
            kind = one.source.partition(":")[0]
            if kind == "git":
                lines.append(_of_git(one))
            elif one.hashes:
                lines += _hashed(one)
            elif kind != "project":
                lines.append(one.pin)
        return "".join(f"{line}\n" for line in lines)

    def without(self, *names: str) -> Lock:
        """Return it without some packages."""
        left = tuple(one for one in self.requirements if one.name not in names)
        return replace(self, requirements=left)


def _is_plain(one: Requirement) -> bool:
    return bool(one.hashes) and not one.source and not one.unhashed


def _hashed(one: Requirement) -> list[str]:
    return [_BREAK.join([one.pin, *one.hashes])]


def _of_git(one: Requirement) -> str:
    found = _GIT.fullmatch(one.source)
    assert found is not None  # noqa: S101  `_check_source` has seen it
    below = f"#subdirectory={found['sub']}" if found["sub"] else ""
    return f"{one.name} @ git+{found['at']}@{found['commit']}{below}"


def _told(one: Requirement) -> dict[str, Any]:
    facts: dict[str, Any] = {"name": one.name, "version": one.version}
    more = {"unhashed": one.unhashed, "source": one.source, "hashes": list(one.hashes)}
    return {**facts, **{name: value for name, value in more.items() if value}}


def _of_told(data: Mapping[str, Any]) -> Requirement:
    try:
        return Requirement(
            _text(data["name"]),
            _text(data["version"]),
            tuple(_text(one) for one in data.get("hashes", ())),
            _text(data.get("unhashed", "")),
            _text(data.get("source", "")),
        )
    except (KeyError, TypeError) as error:
        raise ManifestError(
            f"a lock that holds no package where one should be: {data!r:.80}"
        ) from error


def _of_lines(text: str) -> Iterator[Requirement]:
    """Yield the requirements of plain lines, which are a pin and its hashes below it."""
    at = 0
    while at < len(text):
        found = _PLAIN.match(text, at)
        if found is None:
            raise ManifestError(f"a line that no lock holds: {text[at : at + 80]!r:.90}")
        yield Requirement(found[1], found[2], tuple(found[3].split(_BREAK)))
        at = found.end()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _read_json(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line.removeprefix(_MARK)) if line.startswith(_MARK) else None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ManifestError(f"a line that no lock holds: {line!r:.80}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ManifestError(f"a lock with {type(value).__name__} in the place of text")
    return value
