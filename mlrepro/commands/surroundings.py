"""Surroundings: which environment a rebuild would train in here, and what it may change."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlrepro.capture import libraries, recordcheck
from mlrepro.capture.libraries import Library
from mlrepro.cleanroom import environments, interpreter, making
from mlrepro.cleanroom.interpreter import Chosen
from mlrepro.commands import causes, packages
from mlrepro.commands.expectations import CLOSE, IMPOSSIBLE, NOTE, UNLIKELY, Found
from mlrepro.errors import ManifestError, MlreproError, RestoreError, StoreError, UvError
from mlrepro.locks import Lock, Requirement
from mlrepro.manifest import Change, Digest, Manifest, Package
from mlrepro.stores import uv
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
_DIGITS = 32  # as `environments` names its folders


@dataclass(frozen=True)
class Surroundings:
    """The environment that a rebuild would take.

    Attributes
    ----------
    source : str
        ``lock``: made of the recorded packages; ``current``: the active one; empty: none.
    found : tuple of Found
        What is to be said of it.
    chosen : Chosen or None
        The active one, where it is taken.
    named : frozenset of str
        Packages of which is said that they differ.
    """

    source: str
    found: tuple[Found, ...]
    chosen: Chosen | None = None
    named: frozenset[str] = frozenset()


def of(here: Place, record: Manifest, env: str, *, notify: Callable[[str], None]) -> Surroundings:
    """Find the environment that ``rebuild --env`` would take, without making it.

    As `interpreter.lent` chooses: the active one where it is the recorded one or is asked for, else
    the one of the lock, else the active one again.
    """
    if not record.environment.python:
        return Surroundings("", ((CLOSE, "no Python was seen: this machine's programs are used"),))
    active, why = _active()
    recorded = record.environment.fingerprint
    before: list[Found] = []
    if env == "lock" and recorded and not (active and active.environment.fingerprint == recorded):
        try:
            found = _of_lock(here, interpreter.kept_lock(here, record))
            edited = _edited(packages.recorded(here, record, notify=notify) or ())
            return Surroundings("lock", (*found, *edited))
        except MlreproError as error:
            told = f"the active environment is used, not the recorded one: {error}"
            before.append((NOTE, told, error.hint or ""))
    if active is None:
        return Surroundings("", (*before, (IMPOSSIBLE, *why)))
    return _current(here, record, active, before, notify)


def _edited(recorded: Iterable[Package]) -> Iterator[Found]:
    """Name what was changed by hand in the recorded environment: no lock brings that back."""
    for one in recorded:
        if one.changed:
            sentence = recordcheck.sentence(one.name, one.version, one.changed)
            yield UNLIKELY, f"{sentence}; no lock brings that back"


def _active() -> tuple[Chosen | None, tuple[str, str]]:
    try:
        return interpreter.choose(os.environ), ("", "")
    except MlreproError as error:
        return None, (str(error), error.hint or "")


def _of_lock(here: Place, lock: Lock) -> Iterator[Found]:
    """Weigh what an environment will be made of; raises what keeps it from being made."""
    count = f"{len(lock.requirements)} package{'s' * (len(lock.requirements) != 1)}"
    if (environments.home() / lock.digest.value[:_DIGITS] / "mlrepro.json").is_file():
        yield NOTE, f"the recorded environment, {count}, was made here before"
        return
    for one in lock.requirements:
        if one.source.startswith("object:") and not _is_kept(here, one):
            raise RestoreError(f"the wheel of {one.pin} is neither here nor on the DVC remote")
    program = uv.find()
    python, version = _python(program, lock)
    absent, without = _rehearsed(here, program, lock, python)
    brought = f", after {absent} download{'s' * (absent != 1)}" if absent else ""
    yield NOTE, f"the recorded environment, {count}, will be made from its lock{brought}"
    if version != lock.python:
        same = _minor(version) == _minor(lock.python)
        told = f"Python {version} would be used: {lock.python} is not on this machine"
        yield (NOTE if same else CLOSE), told, f"`uv python install {lock.python}` brings it."
    if without:
        names = [one.pin for one in without]
        yield NOTE, f"left out, since not to be had: {', '.join(names[:_NAMED])}{_more(names)}"
    for one in lock.unhashed:
        if one not in without:
            why = f": {one.unhashed}" if one.unhashed else ""
            yield CLOSE, f"of {one.name} only its version, {one.version}, is known{why}"


def _rehearsed(
    here: Place, program: Path, lock: Lock, python: Path
) -> tuple[int, Sequence[Requirement]]:
    """Return how many packages would be fetched, and which would be left out.

    Those that no index brings are not asked for.
    """
    asked = lock.without(*(one.name for one in lock.requirements if one.source))
    without: Sequence[Requirement] = ()
    while True:
        text = asked.without(*(one.name for one in without)).installable()
        try:
            return uv.rehearse(program, text, python=python, where=here.root), without
        except UvError as error:
            spared = () if without else making.spared(asked, error)
            if not spared:
                raise RestoreError(making.why(lock, error), hint=making.CURRENT) from error
            without = spared


def _is_kept(here: Place, one: Requirement) -> bool:
    try:
        wanted = Digest.parse(one.source.removeprefix("object:"))
        if not here.stores.missing([wanted]):
            return True
        from mlrepro.stores import dvc  # noqa: PLC0415  paid where a wheel is not here

        return not dvc.verify_remote(here.root, [wanted])
    except (StoreError, ManifestError):
        return False


def _python(program: Path, lock: Lock) -> tuple[Path, str]:
    """Return the recorded Python, or the nearest one, as `environments` chooses."""
    if exact := uv.python(program, lock.python, lock.implementation):
        return exact, lock.python
    nearest = uv.nearest(program, lock.python) if lock.implementation == "cpython" else None
    if nearest is None:
        told = f"there is no {lock.implementation} {lock.python} on this machine, nor a similar one"
        raise RestoreError(told, hint=f"`uv python install {lock.python}` brings it.")
    return nearest


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _current(
    here: Place,
    record: Manifest,
    chosen: Chosen,
    before: list[Found],
    notify: Callable[[str], None],
) -> Surroundings:
    had = packages.recorded(here, record, notify=notify)
    if had is None:
        told = "the list of all packages is not here: only the well-known ones are compared"
        before.append((CLOSE, told))
    changes = interpreter.changes(record, had, chosen)
    if not changes:
        same = chosen.environment.fingerprint == record.environment.fingerprint
        told = "is the recorded one" if same else "differs in nothing that is compared"
        before.append((NOTE, f"the active environment {told}: {chosen.executable}"))
    found = (*before, *_of_python(changes), *_of_packages(record, changes))
    named = frozenset(_package(change) for change in changes)
    return Surroundings("current", found, chosen, named)


def _package(change: Change) -> str:
    """Return the package that a change is about: ``wheel of numpy 1.26.4`` is about numpy."""
    return change.what.partition(" ")[2].removeprefix("of ").split(" ")[0]


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
        kind, name = change.what.split(" ")[0], _package(change)
        told = f"{name}: {change.recorded} → {change.current}"
        if kind in ("files", "source"):  # edited by hand, or another commit
            yield UNLIKELY, f"{change.what}: {change.recorded} → {change.current}"
            continue
        if kind not in ("package", "wheel", "content") or change.recorded == "not installed":
            continue
        if change.current == "not installed" and name in used:
            yield IMPOSSIBLE, f"{name} {change.recorded}, which trains the model, is not installed"
        elif kind == "package" and name in _LEARNERS:
            yield UNLIKELY, told
        elif name in _LEARNERS | _NUMBERS:
            yield CLOSE, told if kind == "package" else f"another build of {name} is here"
        else:
            others.append(name)
    if others:
        yield NOTE, f"other versions of {', '.join(others[:_NAMED])}{_more(others)}"


def _more(names: list[str]) -> str:
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
    for change in libraries.changes(old, now, explained=around.named):
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
