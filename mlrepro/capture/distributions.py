"""Distributions: what is installed on an interpreter's path.

They are read by `scandir` of the folders on ``sys.path``: `importlib.metadata` takes nine times as
long for 120 of them.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlrepro.capture import origins
from mlrepro.capture.observation import Interpreter
from mlrepro.manifest import Package

_FOLDER = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)(?:-py[0-9.]+)?\.(?:dist|egg)-info$")
_NORMAL = re.compile(r"[-_.]+")
# What installers write for themselves, and what depends on where or by which Python it was done.
_INSTALLERS = re.compile(
    rb"^(?:\.\./|/|[^,]*\.pyc,|[^,]*\.dist-info/"
    rb"(?:INSTALLER|REQUESTED|RECORD|direct_url\.json|uv_[a-z_]+\.(?:json|toml))[^,]*,)"
)
_OF_CONDA_BUILD = re.compile(r"/(?:feedstock_root|conda-bld|croot|_build_env)/")


@dataclass(frozen=True)
class Installed:
    """A distribution and how it lies there.

    Attributes
    ----------
    package : Package
    info : str
        Its ``dist-info`` or ``egg-info``; a `Path` for each costs as much as to ask the system
        for its state.
    tops : tuple of str
        First parts of the paths of its files, relative to the folder that `info` lies in.
    state : str
        Changes whenever an installer touches it.
    """

    package: Package
    info: str
    tops: tuple[str, ...] = ()
    state: str = ""


def normal(name: str) -> str:
    """Return a distribution's name in normal form (PEP 503)."""
    return _NORMAL.sub("-", name).lower()


def found(
    interpreter: Interpreter,
    *,
    root: Path | None = None,
    used: Collection[str] = (),
    known: dict[str, Any] | None = None,
) -> list[Installed]:
    """Return the distributions on an interpreter's path; of two of a name, the first.

    Parameters
    ----------
    interpreter : Interpreter
    root : Path, optional
        The project's folder: what lies in it is told relative to it.
    used : collection of str
        Files that the run used: an editable install outside the project is asked for its commit
        only where some of them lie in it.
    known : dict, optional
        What was read of each distribution's folder before, by its state; it is added to.
    """
    known = {} if known is None else known
    managed = conda(interpreter.prefix)
    # An environment may lie in the very folder that is installed editable.
    outside = [p for p in used if not p.startswith(f"{interpreter.prefix.rstrip('/')}/")]
    by_conda = {(normal(package.name[6:]), package.version) for package in managed}
    result: dict[str, Installed] = {}
    for folder in dict.fromkeys(interpreter.path):
        system = _is_systems(folder, interpreter)
        for name, version, info in _infos(folder):
            key = normal(name)
            if key in result:
                continue
            one = _installed(key, version, info, known)
            package = one.package
            if package.owner == "conda" or ((key, version) in by_conda and _is_broken(package)):
                # Its address is a folder of the machine that conda's package was built on.
                package = replace(package, owner="conda", direct="")
            elif system:
                package = replace(package, owner="system")
            placed = origins.placed(package, root, outside)
            result[key] = one if placed is one.package else replace(one, package=placed)
    return [*result.values(), *(Installed(package, "") for package in managed)]


def info_of(package: Package, path: Iterable[str]) -> str:
    """Return the ``dist-info`` of a distribution.

    Raises
    ------
    OSError
        If it is not there.
    """
    for folder in dict.fromkeys(path):
        for name, version, info in _infos(folder):
            if (normal(name), version) == (package.name, package.version):
                return info
    raise OSError(f"{package.name} is not there")


def conda(prefix: str) -> list[Package]:
    """Return the packages of the conda environment that a prefix is; none where it is no such."""
    try:
        with os.scandir(Path(prefix, "conda-meta")) as entries:
            names = sorted(e.name for e in entries if e.name.endswith(".json"))
    except OSError:
        return []
    # The name of each file says it all; the files themselves are up to some megabytes long.
    parts = (name.removesuffix(".json").rsplit("-", 2) for name in names)
    return [
        Package(f"conda:{part[0]}", part[1], tag=part[2], owner="conda")
        for part in parts
        if len(part) == 3
    ]


def _is_broken(package: Package) -> bool:
    """Say whether a local address leads nowhere on this machine."""
    path = package.direct.partition("#")[0].removeprefix("file:")
    if not package.direct.startswith("file:"):
        return not package.direct
    return bool(_OF_CONDA_BUILD.search(path)) or not os.path.lexists(path)


def _is_systems(folder: str, interpreter: Interpreter) -> bool:
    """Say whether a folder belongs to the system's package manager, or to the base interpreter."""
    if folder.endswith("/dist-packages"):
        return not folder.startswith("/usr/local/")
    base = interpreter.base_prefix.rstrip("/")
    return (
        base != interpreter.prefix.rstrip("/")
        and folder.startswith(f"{base}/")
        and folder.endswith("/site-packages")
        and not folder.startswith(f"{interpreter.prefix.rstrip('/')}/")
    )


def _infos(folder: str) -> Iterator[tuple[str, str, str]]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.name.endswith((".dist-info", ".egg-info")))
    except OSError:  # a zip file, or a folder that is not there
        return
    for name in names:
        match = _FOLDER.match(name)
        info = f"{folder.rstrip('/')}/{name}"
        if match:
            yield match["name"], match["version"], info
        elif name.endswith(".egg-info"):
            version = _field(_text(f"{info}/PKG-INFO"), "Version")
            yield name.removesuffix(".egg-info"), version, info


# --- one distribution


def _state(info: str) -> str:
    """Return what changes whenever an installer touches a distribution."""
    stats = []
    for path in (info, f"{info}/RECORD", f"{info}/direct_url.json"):
        try:
            status = os.stat(path)
        except OSError:
            continue
        stats.append(f"{status.st_ino}.{status.st_mtime_ns}.{status.st_size}")
    return f"{info}|{'|'.join(stats)}"


def _installed(name: str, version: str, info: str, known: dict[str, Any]) -> Installed:
    state = _state(info)
    with suppress(KeyError, TypeError, ValueError):
        *words, tops = known[state]
        record, tag, editable, direct, owner = map(str, words)
        package = Package(name, version, record, tag, editable, direct, owner)
        return Installed(package, info, tuple(map(str, tops)), state)
    one = _read(name, version, info, state)
    p = one.package
    known[state] = [p.record, p.tag, p.editable, p.direct, p.owner, list(one.tops)]
    return one


def _read(name: str, version: str, info: str, state: str) -> Installed:
    editable = "" if info.endswith(".dist-info") else _development(info)
    direct = ""
    if not editable:
        editable, direct = origins.of(_text(f"{info}/direct_url.json"))
    lines = _lines(info)
    package = Package(
        name=name,
        version=version,
        # The record of an editable install holds a file that names its folder.
        record="" if editable else record_of(lines),
        tag=_field(_text(f"{info}/WHEEL"), "Tag"),
        editable=editable,
        direct=direct,
        owner="conda" if _text(f"{info}/INSTALLER").strip().lower() == "conda" else "",
    )
    return Installed(package, info, () if editable else _tops(lines), state)


def _lines(info: str) -> list[bytes]:
    try:
        return Path(info, "RECORD").read_bytes().splitlines()
    except OSError:
        return []


def record_of(lines: Sequence[bytes]) -> str:
    """Return the digest of what the wheel brought, whoever installed it wherever."""
    if not lines:
        return ""
    kept = sorted(line for line in lines if not _INSTALLERS.match(line))
    return hashlib.sha256(b"\n".join(kept)).hexdigest()[:16]


def record_in(wheel: Path) -> str:
    """Return the digest of a wheel's contents; what its installation has is the same.

    Raises
    ------
    OSError
        If it cannot be read, or is no wheel.
    """
    import zipfile  # noqa: PLC0415  paid where a package came from a file

    try:
        with zipfile.ZipFile(wheel) as archive:
            names = (n for n in archive.namelist() if n.endswith(".dist-info/RECORD"))
            return record_of(archive.read(next(names, "RECORD")).splitlines())
    except (zipfile.BadZipFile, KeyError, RuntimeError, NotImplementedError) as error:
        raise OSError(f"`{wheel}` is no wheel") from error


def _tops(lines: Iterable[bytes]) -> tuple[str, ...]:
    names = {
        line.lstrip(b'"').partition(b"/")[0].partition(b",")[0].rstrip(b'"')
        for line in lines
        if not _INSTALLERS.match(line)
    }
    kept = (os.fsdecode(name) for name in names if name and not name.endswith(b".dist-info"))
    return tuple(sorted(name for name in kept if _is_text(name)))


def _is_text(name: str) -> bool:
    """Say whether a name can be written into JSON of UTF-8; others are no importable modules."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _development(info: str) -> str:
    """Return the folder of an ``egg-info`` that lies beside its sources: a development install."""
    folder = info.rpartition("/")[0]
    installed = folder.endswith(("/site-packages", "/dist-packages"))
    return "" if installed or not os.path.isdir(info) else folder


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _field(text: str, name: str) -> str:
    for line in text.splitlines():
        if line.startswith(name + ": "):
            return line[len(name) + 2 :].strip()
    return ""
