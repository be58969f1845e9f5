"""Lock: the lock of a run's environment: made where there is none, completed where it lacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlrepro.capture import locking
from mlrepro.cleanroom import interpreter
from mlrepro.commands import opening, packages
from mlrepro.errors import LockError, MlreproError, RestoreError, UvMissingError
from mlrepro.locks import Lock, Requirement
from mlrepro.manifest import Digest, Manifest
from mlrepro.stores import ledgerlocks
from mlrepro.stores.place import Place, strict


def _silent(_sentence: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Locked:
    """What the lock of a run's environment holds.

    Attributes
    ----------
    run : str
        The run's id.
    fingerprint : Digest
        Of its environment.
    python : str
        For instance ``cpython 3.11.7``.
    packages, hashed : int
        How many there are, and of how many the content is known: by hashes or by their source.
    unhashed : tuple of Requirement
        Those of which only name and version are known, and why.
    indexes : tuple of str
        That the recording machine asked beside the usual one.
    beside : tuple of str
        What no Python index brings.
    changed : bool
        Whether this command made the lock or added to it.
    """

    run: str
    fingerprint: Digest
    python: str
    packages: int
    hashed: int
    unhashed: tuple[Requirement, ...] = ()
    indexes: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    changed: bool = False

    @property
    def whole(self) -> bool:
        """Whether the content of every package is known."""
        return self.hashed == self.packages


def lock(ref: str, *, start: Path | None = None, notify: Callable[[str], None] = _silent) -> Locked:
    """Make or complete the lock of the environment that a run had.

    Parameters
    ----------
    ref : str
        The run.
    start : Path, optional
        Where the user stands.
    notify : callable
        Takes a sentence while the index is asked.

    Raises
    ------
    LockError
        If the run recorded no environment, its list of packages is not here, or no index was
        reached and there is no lock yet.
    UvMissingError
        If there is no uv, and packages without hashes.
    """
    here, record = opening.run(ref, start)
    _fingerprint(record)
    known = honest(here, record)
    if known and not known.unhashed:
        return _locked(record, known, changed=False)
    found = made(here, record, known=known, notify=notify)
    changed = found != known
    if changed:
        ledgerlocks.put(here.repository, found)
    return _locked(record, found, changed=changed)


def honest(here: Place, record: Manifest) -> Lock | None:
    """Return the known lock of a run; None where it names what the run did not have."""
    known = ledgerlocks.get(here.repository, _fingerprint(record))
    with suppress(RestoreError):
        if known:
            interpreter.expect_recorded(here, record, known)
            return known
    return None


def made(
    here: Place,
    record: Manifest,
    *,
    known: Lock | None = None,
    notify: Callable[[str], None] = _silent,
) -> Lock:
    """Return the lock that the index gives now, with what a known one had; nothing is written.

    Raises
    ------
    LockError, UvMissingError
        As for `lock`.
    """
    _fingerprint(record)
    found = packages.recorded(here, record, notify=notify)
    if found is None:
        raise LockError(
            f"the list of packages of run {record.short} is not here",
            hint="Bring it in with `mlrepro pull`.",
        )
    env = record.environment
    notify(f"asking the index for the hashes of {len(found)} packages")
    asked = locking.ask(env, found, root=here.root, notify=notify)
    new = locking.lock(env, found, asked)
    if known:
        return locking.completed(known, new)
    if new.unhashed and not asked.hashed.reached:
        raise LockError(
            f"no index was reached, so the environment of run {record.short} is not locked",
            hint=f"`mlrepro lock {record.short}` can be repeated at any time.",
        )
    return new


def complete(
    here: Place, records: Iterable[Manifest], *, notify: Callable[[str], None] = _silent
) -> int:
    """Make the locks that runs lack, before they are sent; return how many were made.

    What cannot be locked now is named, and stands in nobody's way.
    """
    if not locking.is_wanted(here.root):
        return 0
    number = 0
    lacking: dict[Digest, Manifest] = {}
    for record in records:
        if record.environment.fingerprint:
            lacking.setdefault(record.environment.fingerprint, record)
    for fingerprint, record in lacking.items():
        if ledgerlocks.has(here.repository, fingerprint):
            continue
        try:
            ledgerlocks.put(here.repository, made(here, record, notify=notify))
        except UvMissingError as error:
            notify(f"{error}: environments are sent without locks")
            break
        except (MlreproError, OSError) as error:
            notify(f"sent without a lock of its environment: run {record.short} ({error})")
            continue
        number += 1
    return number


def state(record: Manifest, *, start: Path | None = None) -> str:
    """Return in a few words whether a run's environment is locked; empty where it had none."""
    fingerprint = record.environment.fingerprint
    if not fingerprint:
        return ""
    here = strict((start or Path.cwd()).resolve())
    found = ledgerlocks.get(here.repository, fingerprint)
    if found is None:
        return f"none yet; `mlrepro lock {record.short}` makes it"
    return told(found)


def told(found: Lock) -> str:
    """Return in a few words what a lock holds: ``118 of 120 packages hashed``."""
    number = len(found.requirements)
    if found.hashed == number:
        return f"all {number} packages hashed"
    names = [one.pin for one in found.unhashed]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{found.hashed} of {number} packages hashed; not {', '.join(names[:3])}{more}"


def _fingerprint(record: Manifest) -> Digest:
    if record.environment.fingerprint is None:
        raise LockError(
            f"run {record.short} recorded no environment", hint="Only a Python process has one."
        )
    return record.environment.fingerprint


def _locked(record: Manifest, found: Lock, *, changed: bool) -> Locked:
    return Locked(
        run=record.id,
        fingerprint=found.fingerprint,
        python=f"{found.implementation} {found.python}",
        packages=len(found.requirements),
        hashed=found.hashed,
        unhashed=found.unhashed,
        indexes=found.indexes,
        beside=tuple(f"{name} {version}".strip() for name, version in found.beside.items()),
        changed=changed,
    )
