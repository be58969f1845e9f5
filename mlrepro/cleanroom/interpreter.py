"""Interpreter: which Python a rebuild uses: that of the recorded lock, or the active one."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlrepro import plain
from mlrepro.capture import environment, locking
from mlrepro.capture import work as works
from mlrepro.capture.locking import Asked
from mlrepro.cleanroom import environments
from mlrepro.cleanroom.environments import Built
from mlrepro.drift import Change
from mlrepro.errors import MlreproError, ObjectNotFoundError, RestoreError, StoreError, UsageError
from mlrepro.locks import Lock
from mlrepro.manifest import Environment, Manifest, Package
from mlrepro.stores import git, ledger, ledgerlocks
from mlrepro.stores.place import Place


@dataclass(frozen=True)
class Chosen:
    """The environment that a rebuild trains in: that of the recorded lock, or the active one.

    Attributes
    ----------
    executable : str
        Its Python.
    environment : Environment
    packages : tuple of Package
    base : str
        The prefix of the Python that it was made of.
    lock : Lock or None
        What it was made from; None of the active one.
    used : str
        What it is, in words for the report.
    notes : tuple of str
        Why it is not the recorded one.
    """

    executable: str
    environment: Environment
    packages: tuple[Package, ...]
    base: str = ""
    lock: Lock | None = None
    used: str = ""
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def lent(
    here: Place,
    record: Manifest,
    wanted: str,
    variables: Mapping[str, str],
    *,
    lock: Lock | None = None,
    notify: Callable[[str], None],
) -> Iterator[Chosen]:
    """Lend the environment to train in.

    Parameters
    ----------
    wanted : str
        ``lock``: the recorded one, where it can be had; ``current``: the active one.
    variables : mapping
        They tell which one is active.
    lock : Lock, optional
        Another environment, on purpose; where it cannot be made, that is an error.
    notify : callable
        Takes a sentence before something slow, and where it is not the recorded one.

    Raises
    ------
    RestoreError
        If the active one is to be taken, and its Python does not start.
    """
    with contextlib.ExitStack() as stack:
        if lock:
            built = stack.enter_context(environments.borrow(lock, here=here, notify=notify))
            yield _recorded_one(built, lock)
            return
        active = _choice(variables, here.root)
        if (
            wanted == "current"
            or not record.environment.fingerprint
            or _is_recorded(active, record)
        ):
            yield _active_one(active, record)
            return
        try:
            lock = lock_of(here, record, notify=notify)
            built = stack.enter_context(environments.borrow(lock, here=here, notify=notify))
            chosen = _recorded_one(built, lock)
            for note in chosen.notes:
                notify(note)
        except (MlreproError, OSError) as error:
            note = f"not trained in the recorded environment, but in the active one: {error}"
            hint = getattr(error, "hint", None) or environments.CURRENT
            note += "" if environments.CURRENT in hint else f" ({hint.rstrip('.')})"
            notify(note)
            chosen = _active_one(active, record, note)
        yield chosen


def _choice(variables: Mapping[str, str], root: Path) -> Chosen | RestoreError:
    try:
        return choose(variables, root=root)
    except RestoreError as error:
        return error


def _is_recorded(active: Chosen | RestoreError, record: Manifest) -> bool:
    recorded = record.environment.fingerprint
    return isinstance(active, Chosen) and active.environment.fingerprint == recorded


def _active_one(active: Chosen | RestoreError, record: Manifest, note: str = "") -> Chosen:
    if isinstance(active, RestoreError):
        raise RestoreError(f"{note}; {active}" if note else str(active), hint=active.hint)
    same = ", which is the recorded one" if _is_recorded(active, record) else ""
    python = f"Python {active.environment.python}"
    used = f"the active one{same} ({python}, {active.environment.prefix})"
    return replace(active, used=used, notes=(note,) if note else ())


def lock_of(here: Place, record: Manifest, *, notify: Callable[[str], None]) -> Lock:
    """Return the lock of a run's environment; the ledger is fetched once where it is not here.

    Raises
    ------
    RestoreError
        If there is none.
    """
    try:
        return kept_lock(here, record)
    except RestoreError:
        remote = git.default_remote(here.repository)
        if not remote or not record.environment.fingerprint:
            raise
    notify(f"looking for its lock on {remote}")
    with contextlib.suppress(StoreError):
        ledger.pull(here.repository, remote)
    return kept_lock(here, record)


def kept_lock(here: Place, record: Manifest) -> Lock:
    """Return the lock of a run's environment that the ledger here has.

    Raises
    ------
    RestoreError
        If it has none.
    """
    fingerprint = record.environment.fingerprint
    lock = ledgerlocks.get(here.repository, fingerprint) if fingerprint else None
    if lock is None:
        raise RestoreError(
            "its lock is not in the ledger",
            hint="`mlrepro pull` brings it, or its author makes it with `mlrepro lock`.",
        )
    expect_recorded(here, record, lock)
    # The probe needs nothing of mlrepro, which may not be on any index.
    bare = [one for one in lock.unhashed if one.name == "mlrepro"]
    return lock.without("mlrepro") if bare else lock


def expect_recorded(here: Place, record: Manifest, lock: Lock) -> None:
    """Refuse a lock that would install what the run did not have: any writer can offer one.

    Raises
    ------
    RestoreError
        If it does, or the list of what the run had is not here.
    """
    if "distributions" not in record.lists:
        return
    try:
        listed = json.loads(ledger.listing(here.repository, record, "distributions"))
        found = [plain.load(Package, one, where="package") for one in listed]
        expected = locking.lock(record.environment, found, Asked()).requirements
    except ObjectNotFoundError as error:
        raise RestoreError("its list of packages is not here, so its lock cannot be checked",
                           hint="`mlrepro pull` brings it.") from error  # fmt: skip
    except (MlreproError, ValueError) as error:
        raise RestoreError(f"its list of packages cannot be read: {error}") from error
    sources = {one.pin: one.source for one in expected}
    odd = [
        one.pin
        for one in lock.requirements
        if one.pin not in sources or one.source not in ("", sources[one.pin])
    ]
    env = record.environment
    if (lock.python, lock.implementation) != (env.python, env.implementation):
        odd.insert(0, f"{lock.implementation} {lock.python}")
    if odd:
        more = f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else ""
        raise RestoreError(
            f"its lock names what the run did not have: {', '.join(odd[:_NAMED])}{more}",
            hint="`mlrepro lock` makes another one; whoever offered this one may be a stranger.",
        )


_NAMED = 5


def _recorded_one(built: Built, lock: Lock) -> Chosen:
    try:
        found = environment.interpreter(str(built.python), variables=_PLAIN)
    except UsageError as error:
        raise RestoreError(str(error)) from error
    # Nothing in it was changed: all its files were looked at when it was lent.
    had, packages = environment.fingerprint(found, used=())
    own = [Package(one.name, one.version, editable=one.source.partition(":")[2])
           for one in lock.requirements if one.source.startswith("project:")]  # fmt: skip
    packages = tuple(sorted([*packages, *own], key=lambda package: package.name))
    # Another Python, or a package that is not to be had: the notes say what.
    nearly = "nearly " if built.notes or built.version != lock.python else ""
    facts = f"Python {built.version}, {len(packages)} packages"
    used = f"{nearly}the recorded one, made from its lock ({facts})"
    base = found.base_prefix
    return Chosen(str(built.python), had, packages, base, lock, used, built.notes)


_PLAIN = {"PATH": os.defpath}


def choose(variables: Mapping[str, str], *, root: Path | None = None) -> Chosen:
    """Take the active virtual environment's Python, else the first one on the PATH, else ours.

    Parameters
    ----------
    variables : mapping
        They tell which is active.
    root : Path, optional
        The project, which remembers what was read of installed packages: 0.4 s spared.

    Raises
    ------
    RestoreError
        If that Python does not start.
    """
    executable = _active(variables)
    try:
        found = environment.interpreter(executable)
    except UsageError as error:
        raise RestoreError(
            str(error),
            hint="Activate the environment that the model is to be trained in.",
        ) from error
    cache = root / works.FOLDER / "distributions.json" if root else None
    known = environment.fingerprint(found, cache=cache, root=root)
    return Chosen(executable, *known, found.base_prefix)


def changes(
    record: Manifest, recorded: Sequence[Package] | None, chosen: Chosen
) -> tuple[Change, ...]:
    """Name every difference between the recorded environment and the chosen one.

    Where the list of recorded distributions is not to be had, only the well-known packages of the
    manifest are compared.
    """
    if not record.environment.python:
        return ()
    if recorded is None:
        known = (record.environment.packages, chosen.environment.packages)
        old, new = ([Package(*item) for item in packages.items()] for packages in known)
        return environment.changes(record.environment, old, chosen.environment, new)
    if chosen.lock and not any(one.name == "mlrepro" for one in chosen.packages):
        recorded = [one for one in recorded if one.name != "mlrepro"]
    return environment.changes(record.environment, recorded, chosen.environment, chosen.packages)


def _active(variables: Mapping[str, str]) -> str:
    if active := variables.get("VIRTUAL_ENV"):
        candidate = Path(active, "bin", "python")
        if candidate.exists():
            return str(candidate)
    search = variables.get("PATH")
    return (
        shutil.which("python", path=search)
        or shutil.which("python3", path=search)
        or sys.executable
    )
