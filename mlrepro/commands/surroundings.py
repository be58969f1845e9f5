"""Surroundings: which environment a rebuild would train in here, and what it may change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlrepro.capture import libraries
from mlrepro.capture.libraries import Library
from mlrepro.cleanroom import environments, interpreter
from mlrepro.cleanroom.interpreter import Chosen
from mlrepro.commands import causes, packages
from mlrepro.commands.expectations import CLOSE, IMPOSSIBLE, NOTE, UNLIKELY, Found
from mlrepro.errors import ManifestError, MlreproError, StoreError
from mlrepro.locks import Lock, Requirement
from mlrepro.manifest import Change, Digest, Manifest
from mlrepro.stores import ledgerlocks, uv
from mlrepro.stores.place import Place

# They decide what is learned; another version often learns another model. XGBoost 3.2 → 3.4 moved
# 100 of 100 trees in a trial.
_LEARNERS = frozenset(
    (
        *("scikit-learn", "lightgbm", "xgboost", "xgboost-cpu", "catboost", "torch", "tensorflow"),
        *("keras", "jax", "jaxlib", "transformers", "optuna", "flaml", "statsmodels", "lightning"),
    )
)
_NUMBERS = frozenset(("numpy", "scipy", "pandas", "polars", "pyarrow", "numba"))
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
_NAMED = 5


@dataclass(frozen=True)
class Surroundings:
    """The environment that a rebuild would take.

    Attributes
    ----------
    source : str
        ``lock``: made of the recorded packages; ``current``: the active one; empty: none.
    found : tuple of (Expectation, str)
        What is to be said of it.
    chosen : Chosen or None
        The active one, where it is taken.
    """

    source: str
    found: tuple[Found, ...]
    chosen: Chosen | None = None


def of(here: Place, record: Manifest, env: str, *, notify: Callable[[str], None]) -> Surroundings:
    """Find the environment that ``rebuild --env`` would take, without making it."""
    if not record.environment.python:
        return Surroundings("", ((CLOSE, "no Python was seen: this machine's programs are used"),))
    before: list[Found] = []
    if env == "lock":
        try:
            lock, program = _lock(here, record), uv.find()
            return Surroundings("lock", tuple(_of_lock(here, lock, program)))
        except MlreproError as error:
            before.append((NOTE, f"{error}; so the active environment is used"))
    return _current(here, record, before, notify)


def _lock(here: Place, record: Manifest) -> Lock:
    fingerprint = record.environment.fingerprint
    found = ledgerlocks.get(here.repository, fingerprint) if fingerprint else None
    if found is None:
        raise StoreError(f"there is no lock of it (`mlrepro lock {record.short}` makes one)")
    return found


def _of_lock(here: Place, lock: Lock, program: Path) -> Iterator[Found]:
    built = (environments.home() / lock.digest.value[:32] / "mlrepro.json").is_file()
    count = f"{len(lock.requirements)} packages"
    yield from _interpreter(program, lock)
    if built:
        yield NOTE, f"the recorded environment, {count}, was made here before"
        return
    yield NOTE, f"the recorded environment, {count}, will be made from its lock"
    unhashed = [one for one in lock.unhashed if one.unhashed]
    if unhashed:
        told = ", ".join(f"{one.pin} ({one.unhashed})" for one in unhashed[:_NAMED])
        yield UNLIKELY, f"only name and version are known of {told}{_more(unhashed)}"
    for one in lock.requirements:
        if one.source.startswith("object:") and not _is_kept(here, one):
            yield IMPOSSIBLE, f"the wheel of {one.pin} is neither here nor on the DVC remote"


def _is_kept(here: Place, one: Requirement) -> bool:
    try:
        wanted = Digest.parse(one.source.removeprefix("object:"))
        if not here.stores.missing([wanted]):
            return True
        from mlrepro.stores import dvc  # noqa: PLC0415  paid where a wheel is not here

        return not dvc.verify_remote(here.root, [wanted])
    except (StoreError, ManifestError):
        return False


def _interpreter(program: Path, lock: Lock) -> Iterator[Found]:
    if uv.python(program, lock.python, lock.implementation):
        return
    nearest = uv.nearest(program, lock.python)
    if nearest is None:
        yield IMPOSSIBLE, f"there is no Python {_minor(lock.python)} on this machine"
        return
    same = _minor(nearest[1]) == _minor(lock.python)
    told = f"Python {lock.python} is not here; {nearest[1]} is the nearest"
    yield (NOTE if same else CLOSE), told


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _current(
    here: Place, record: Manifest, before: list[Found], notify: Callable[[str], None]
) -> Surroundings:
    try:
        chosen = interpreter.choose(os.environ)
    except MlreproError as error:
        return Surroundings("", (*before, (IMPOSSIBLE, str(error))))
    had = packages.recorded(here, record, notify=notify)
    if had is None:
        names = "only the well-known packages are compared: the list of all is not here"
        before.append((CLOSE, names))
    changes = interpreter.changes(record, had, chosen)
    if not changes:
        before.append((NOTE, f"the active environment is the recorded one: {chosen.executable}"))
    found = (*before, *_of_python(changes), *_of_packages(record, changes))
    return Surroundings("current", found, chosen)


def _of_python(changes: tuple[Change, ...]) -> Iterator[Found]:
    for change in changes:
        told = f"{change.what}: {change.recorded} → {change.current}"
        if change.what == "implementation":
            yield UNLIKELY, told
        elif change.what == "python":
            same = _minor(change.recorded) == _minor(change.current)
            yield (NOTE if same else CLOSE), told
        elif change.what == "python build":
            yield NOTE, "another build of the same Python"


def _of_packages(record: Manifest, changes: tuple[Change, ...]) -> Iterator[Found]:
    """Weigh each package by what it does; those that make no numbers are only named."""
    used = {fit.call.replace(" ", ".").split(".")[0] for fit in record.fits}
    used = {_DISTRIBUTIONS.get(name, name) for name in used}
    others = []
    for change in changes:
        kind, _, rest = change.what.partition(" ")
        name = rest.removeprefix("of ").split(" ")[0]
        told = f"{name}: {change.recorded} → {change.current}"
        if kind not in ("package", "wheel", "content") or change.recorded == "not installed":
            continue
        if change.current == "not installed" and name in used:
            yield IMPOSSIBLE, f"{name} {change.recorded}, which trains the model, is not installed"
        elif kind == "package" and name in _LEARNERS:
            yield UNLIKELY, told
        elif name in _LEARNERS | _NUMBERS:
            built = "another build of " if kind != "package" else ""
            yield CLOSE, told if kind == "package" else f"{built}{rest.removeprefix('of ')}"
        else:
            others.append(name)
    if others:
        yield NOTE, f"other versions of {', '.join(others[:_NAMED])}{_more(others)}"


def _more(names: list[str] | list[Requirement]) -> str:
    return f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""


def of_libraries(
    here: Place, record: Manifest, around: Surroundings, *, notify: Callable[[str], None]
) -> Iterator[Found]:
    """Compare the builds of the native libraries that made the numbers with those in their place.

    In an environment that is made from its lock they come with their packages; only the system's
    own are compared then.
    """
    recorded = causes.loaded(here, record, notify=notify)
    if not recorded:
        return
    prefixes = _prefixes(around.chosen)
    places = {one: _place(one, prefixes) for one in recorded}
    at = {path: one for one, path in places.items() if path}
    current = {found.name: found for found in libraries.found(at, prefixes=prefixes)}
    old = [one for one in at.values() if one.name in current and _same_package(one, current)]
    now = [current[one.name] for one in old]
    told: Mapping[str, Change] = {c.what: c for c in libraries.changes(old, now)}
    for change in told.values():
        if change.what != "other libraries":
            yield CLOSE, f"another build of {change.what.removeprefix('library ')} is here"


def _same_package(one: Library, current: Mapping[str, Library]) -> bool:
    return one.package == current[one.name].package


def _prefixes(chosen: Chosen | None) -> tuple[str, ...]:
    return (chosen.environment.prefix,) if chosen else ()


def _place(one: Library, prefixes: tuple[str, ...]) -> str:
    """Return where a recorded library would lie here; empty where that cannot be told."""
    places = [one.path] if one.path.startswith("/") else [f"{p}/{one.path}" for p in prefixes]
    return next((place for place in places if Path(place).is_file()), "")
