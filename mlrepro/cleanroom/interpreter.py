"""Interpreter: which Python a rebuild uses, and how the recorded command reaches it."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mlrepro import paths
from mlrepro.capture import environment
from mlrepro.capture import work as works
from mlrepro.capture.observation import Interpreter
from mlrepro.cleanroom import environments, mounts
from mlrepro.cleanroom import room as rooms
from mlrepro.cleanroom.environments import Built
from mlrepro.cleanroom.layers import Layer
from mlrepro.cleanroom.room import Room
from mlrepro.drift import Change
from mlrepro.errors import MlreproError, RestoreError, StoreError, UsageError
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
    notify: Callable[[str], None],
) -> Iterator[Chosen]:
    """Lend the environment to train in.

    Parameters
    ----------
    wanted : str
        ``lock``: the recorded one, where it can be had; ``current``: the active one.
    variables : mapping
        They tell which one is active.
    notify : callable
        Takes a sentence before something slow, and where it is not the recorded one.

    Raises
    ------
    RestoreError
        If the active one is to be taken, and its Python does not start.
    """
    with contextlib.ExitStack() as stack:
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
        except MlreproError as error:
            note = f"not trained in the recorded environment, but in the active one: {error}"
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
    # The probe needs nothing of mlrepro, which may not be on any index.
    bare = [one for one in lock.unhashed if one.name == "mlrepro"]
    return lock.without("mlrepro") if bare else lock


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
    used = (
        f"the recorded one, made from its lock (Python {built.version}, {len(packages)} packages)"
    )
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


def command(record: Manifest, chosen: Chosen, room: Room, layer: Layer | None = None) -> list[str]:
    """Map the recorded command to the chosen interpreter.

    ``/home/ann/.venv/bin/python`` becomes the chosen Python; an environment that lay inside the
    project (``.venv/bin/python``, in a Makefile too) becomes a symlink to the chosen one. What the
    room's layer has (``/home/ann/.venv/bin/train-model``, ``/opt/conda/bin/conda run``) is started
    from there.
    """
    words = list(record.run.command)
    prefix = record.environment.prefix
    inner = _below(prefix, record.run.root)
    if inner:
        link = paths.resolve_inside(room.root, inner)
        if not os.path.lexists(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(_shown(chosen, layer))
    if own := _of_layer(words[0], layer, chosen):
        words[0] = own
    elif words[0].startswith("/"):
        words[0] = _mapped(words[0], prefix, record, chosen)
    return words


def inner_binds(
    record: Manifest,
    chosen: Chosen,
    room: Room,
    shown: Mapping[str, Path],
    layer: Layer | None = None,
) -> dict[str, Path]:
    """Show the chosen environment where the recorded one lay inside the project.

    Only where something is shown anyway. `command` would make a symlink there, which would lead
    to itself where the room is shown over the project of the chosen environment.
    """
    inner = _below(record.environment.prefix, record.run.root)
    if not inner or not shown:
        return {}
    link = paths.resolve_inside(room.root, inner)
    # Empty where the room was just shown on trial over a project in which mlrepro itself lies.
    if os.path.lexists(link) and not _is_empty(link):
        return {}
    link.mkdir(parents=True, exist_ok=True)
    tops = [str(room.root), *(place for place, source in shown.items() if source == room.root)]
    return {os.path.join(top, inner): _shown(chosen, layer) for top in tops}


def _is_empty(link: Path) -> bool:
    return link.is_dir() and not link.is_symlink() and not any(link.iterdir())


def _shown(chosen: Chosen, layer: Layer | None) -> Path:
    """Return what is to be seen at the recorded place of the environment."""
    return layer.prefix if layer and layer.prefix else _folder(chosen)


def folders(chosen: Chosen) -> tuple[Path, ...]:
    """Return the folders of the chosen environment that a training needs."""
    return (_folder(chosen), Path(chosen.executable).parent)


def own_folders() -> tuple[Path, ...]:
    """Return the folders that mlrepro itself, and its probe, run from."""
    return (Path(sys.prefix), Path(__file__).resolve().parents[2])


def _folder(chosen: Chosen) -> Path:
    return Path(chosen.environment.prefix or sys.prefix)


def binds(
    here: Place, record: Manifest, chosen: Chosen, room: Room, layer: Layer | None = None
) -> dict[str, Path]:
    """Show the chosen environment at the recorded place, where the code names that one."""
    prefix, new = record.environment.prefix, chosen.environment.prefix
    if not new or _below(prefix, record.run.root) or _is_same(prefix, new):
        return {}
    # /usr/local, say: a system's Python is no environment that could be moved.
    if mounts.implausible(prefix) or _holds_more(prefix, here, chosen, room):
        return {}
    named = any(f"{prefix}/" in word for word in record.run.command[1:])
    if not named and not rooms.mentions(here, record, room, f"{prefix}/"):
        return {}
    return {prefix: _shown(chosen, layer)}


def other_binds(
    here: Place, record: Manifest, chosen: Chosen, room: Room, layer: Layer | None = None
) -> dict[str, Path]:
    """Show the environment of a lock at the recorded place, if this machine has something there.

    A script outside the project may name it. Not necessary, so nothing is made to appear.
    """
    prefix, new = record.environment.prefix, chosen.environment.prefix
    if chosen.lock is None or _below(prefix, record.run.root) or _is_same(prefix, new):
        return {}
    if not Path(prefix, "pyvenv.cfg").is_file() or mounts.implausible(prefix):
        return {}
    return {} if _holds_more(prefix, here, chosen, room) else {prefix: _shown(chosen, layer)}


def _holds_more(prefix: str, here: Place, chosen: Chosen, room: Room) -> bool:
    """Say whether a place holds what a training must go on to see: the Python it is made of."""
    if chosen.lock is None:
        return False
    pythons = [Path(one) for one in (chosen.base, chosen.environment.prefix) if one]
    needed = [here.root, room.folder, Path.home(), *pythons]
    real = os.path.realpath(prefix)
    return any(Path(os.path.realpath(one)).is_relative_to(real) for one in needed)


def variables(chosen: Chosen, layer: Layer | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables by which the chosen environment is the active one.

    Parameters
    ----------
    layer : Layer or None
        What the room adds; None where the environment was active anyway.
    environ : mapping
        Those of the training otherwise.
    """
    found = {**environ, "PATH": search_path(chosen, environ.get("PATH", os.defpath))}
    if layer is None:
        return found
    found = {name: value for name, value in found.items() if not name.startswith(_OTHERS)}
    prefix = str(_folder(chosen))
    # `uv run` in the room would make an environment of today's packages.
    uv = {"UV_PROJECT_ENVIRONMENT": prefix, "UV_PYTHON": chosen.executable, "UV_NO_SYNC": "1"}
    search = f"{layer.programs}{os.pathsep}{found['PATH']}"
    return {**found, **uv, "VIRTUAL_ENV": prefix, "PATH": search}


_OTHERS = ("CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CONDA_SHLVL", "PYTHONHOME", "PYENV_VERSION")


def search_path(chosen: Chosen, path: str) -> str:
    """Return a PATH on which `python` is the chosen one."""
    folder = str(Path(chosen.executable).parent)
    found = shutil.which("python", path=path) or shutil.which("python3", path=path)
    if found and Path(found).parent == Path(folder):
        return path
    return f"{folder}:{path}"


def strangers(
    started: Sequence[Interpreter],
    chosen: Chosen,
    binds: Mapping[str, Path],
    layer: Layer | None = None,
) -> list[str]:
    """Name the Python processes of a training that ran outside the chosen environment.

    Parameters
    ----------
    started : sequence of Interpreter
        What was observed.
    chosen : Chosen
        The environment that was meant.
    binds : mapping of str to Path
        Places that showed something else to the training.
    layer : Layer or None
        What the room added.
    """
    found = {}
    own = (chosen.environment.prefix, str(_shown(chosen, layer)))
    for one in started:
        prefix = one.prefix
        if any(_is_same(prefix, known) for known in own):
            continue
        for place, source in binds.items():
            if prefix == place or _below(prefix, place):
                prefix = str(source / _below(prefix, place))
        if own[0] and not any(_is_same(prefix, known) for known in own):
            found[one.executable] = f"{one.executable} (Python {one.version})"
    if not found:
        return []
    return [f"not the recorded environment: the training also ran {', '.join(found.values())}"]


def _is_same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _of_layer(word: str, layer: Layer | None, chosen: Chosen) -> str:
    """Return what a room has in the place of a program that is named by its path."""
    if layer is None or layer.programs is None or "/" not in word:
        return ""
    name = os.path.basename(word)
    own = layer.programs / name
    return "" if (_folder(chosen) / "bin" / name).exists() or not own.exists() else str(own)


def _mapped(word: str, prefix: str, record: Manifest, chosen: Chosen) -> str:
    if word == record.environment.executable:
        return chosen.executable
    if below := _below(word, prefix):
        mapped = Path(chosen.environment.prefix) / below
        return str(mapped) if mapped.exists() else chosen.executable
    return word if Path(word).exists() else (shutil.which(Path(word).name) or word)


def _below(path: str, folder: str) -> str:
    """Return `path` relative to `folder`; empty where it does not lie below."""
    if not folder or not path.startswith(folder.rstrip("/") + "/"):
        return ""
    relative = os.path.normpath(path[len(folder.rstrip("/")) + 1 :])
    return "" if relative.startswith("..") else relative


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
