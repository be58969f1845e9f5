"""Locking: from an environment's packages to its lock, with hashes from the index."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from mlrepro import locks
from mlrepro.capture import environment, records
from mlrepro.capture.observation import Interpreter
from mlrepro.capture.processtrail import ProcessTrail
from mlrepro.errors import LockError, ManifestError
from mlrepro.facts import Environment, Package
from mlrepro.locks import Lock, Requirement
from mlrepro.stores import indexes, uv
from mlrepro.stores.uv import Hashed

VARIABLE = "MLREPRO_LOCK"
"""Set to ``off`` where no run shall make a lock by itself."""
_OFF = ("off", "0", "false", "no")
_NOT_ASKED = "not asked for"


def is_wanted(root: Path) -> bool:
    """Say whether runs make locks: by the variable, else by ``lock`` in ``[tool.mlrepro]``."""
    if said := os.environ.get(VARIABLE):
        return said.lower() not in _OFF
    for name, keys in (("pyproject.toml", ("tool", "mlrepro")), ("mlrepro.toml", ())):
        table = _table(root / name)
        for key in keys:
            table = table.get(key, {}) if isinstance(table, dict) else {}
        if isinstance(table, dict) and table.get("lock") is False:
            return False
    return True


def first_interpreter(log: Path) -> Interpreter | None:
    """Return the Python whose environment a run will be said to have; None before it has begun.

    Parameters
    ----------
    log : Path
        The folder that the probe writes to, while it does.
    """
    trail = ProcessTrail(log)
    for record in records.read(log).records:
        if record.kind == "i":
            with suppress(ValueError, IndexError):
                trail.verbs["i"](record)
    return next((one for one in trail.interpreters if not _is_ours(one)), None)


def _is_ours(interpreter: Interpreter) -> bool:
    return any(PurePosixPath(word).name == "mlrepro" for word in interpreter.argv[1:3])


def _table(path: Path) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415  read beside a training only
    else:
        import tomli as tomllib  # noqa: PLC0415
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent; whoever needs it complains of a damaged one
        return {}


@dataclass(frozen=True)
class Asked:
    """What the index was asked for an environment, and what it said.

    Attributes
    ----------
    hashed : Hashed
        Its answer.
    indexes : tuple of str
        Those of the user's settings, without credentials.
    """

    hashed: Hashed = field(default_factory=Hashed)
    indexes: tuple[str, ...] = ()


def ask(
    env: Environment,
    packages: Iterable[Package],
    *,
    root: Path,
    background: bool = False,
    notify: Callable[[str], None] = lambda _sentence: None,
    started: Callable[[subprocess.Popen[str]], None] = lambda _process: None,
) -> Asked:
    """Ask the index for the hashes of all packages that came from one.

    Parameters
    ----------
    env, packages
        The environment.
    root : Path
        The project.
    background, notify, started
        As for `uv.hashes`.

    Raises
    ------
    UvError
        If there is no uv, or it cannot be started.
    """
    known = indexes.configured(root)
    pins = tuple(f"{one.name}=={one.version}" for one in packages if _is_of_index(one))
    answer = uv.hashes(
        uv.find(),
        pins,
        python=env.python,
        where=root,
        variables=known.variables,
        background=background,
        notify=notify,
        started=started,
    )
    return Asked(answer, known.addresses)


def lock(env: Environment, packages: Sequence[Package], asked: Asked) -> Lock:
    """Put a lock together.

    Raises
    ------
    LockError
        If the run recorded no environment, or one that no lock can hold.
    """
    if env.fingerprint is None:
        raise LockError("no environment was recorded", hint="Only a Python process has one.")
    usable = [one for one in packages if _is_usable(one) and not _is_watcher(one)]
    odd = {f"package {p.name}": p.version for p in packages if p.of_python and p not in usable}
    try:
        return Lock(
            env.fingerprint,
            env.python,
            env.implementation,
            tuple(_requirement(one, asked.hashed) for one in usable),
            asked.indexes,
            {**environment.beside(packages), **odd},
        )
    except ManifestError as error:
        raise LockError(f"the environment cannot be locked: {error}") from error


def completed(old: Lock, new: Lock) -> Lock:
    """Return the newer of two locks of one environment, with the hashes that only the old had."""
    before = {one.name: one for one in old.requirements if one.hashes}
    return Lock(
        new.fingerprint,
        new.python,
        new.implementation,
        tuple(
            before[one.name] if _is_open(one) and one.name in before else one
            for one in new.requirements
        ),
        tuple(dict.fromkeys((*old.indexes, *new.indexes))),
        {**old.beside, **new.beside},
    )


def _is_open(one: Requirement) -> bool:
    return not one.hashes and not one.source


def _is_usable(package: Package) -> bool:
    return package.of_python and locks.is_name(package.name) and locks.is_version(package.version)


def _is_watcher(package: Package) -> bool:
    """Say whether it is mlrepro itself, from a folder of its developers: no training needs it."""
    return package.name == "mlrepro" and package.editable.startswith("/")


def _is_of_index(package: Package) -> bool:
    return _is_usable(package) and not package.editable and not package.direct


def _requirement(package: Package, hashed: Hashed) -> Requirement:
    name, version = package.name, package.version
    if _is_of_index(package):
        if found := hashed.hashes.get(name):
            return Requirement(name, version, found)
        return Requirement(name, version, unhashed=hashed.reasons.get(name, _NOT_ASKED))
    source, why = _origin(package)
    try:
        return Requirement(name, version, source=source, unhashed="" if source else why)
    except ManifestError:  # an address of a form that no lock holds
        return Requirement(name, version, unhashed=why)


def _origin(package: Package) -> tuple[str, str]:
    """Return where a package came from as a lock's source, and why it has no hash otherwise."""
    if package.kept:
        return f"object:{package.kept}", "installed from a file"
    if package.editable:
        inside = not package.editable.startswith("/")
        outside = "installed from a folder outside the project"
        return (f"project:{package.editable}" if inside else ""), outside
    kind = package.direct.partition(":")[0]
    if kind == "git":
        return package.direct, "from git, by an address that is not kept"
    return "", {"file": "installed from a file", "archive": "from an address, not an index"}.get(
        kind, f"from {kind}, not an index"
    )
