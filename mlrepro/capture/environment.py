"""Environment: the interpreter and its distributions as a fingerprint; what differs between two.

Distributions are read by `scandir` of the folders on ``sys.path``: `importlib.metadata` takes nine
times as long for 120 of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mlrepro import documents, paths, plain, probe
from mlrepro.capture.observation import Interpreter
from mlrepro.errors import UsageError
from mlrepro.manifest import Change, Digest, Environment, Package

WELL_KNOWN = (
    *("numpy", "scipy", "pandas", "polars", "pyarrow", "scikit-learn", "lightgbm", "xgboost"),
    *("xgboost-cpu", "catboost", "torch", "tensorflow", "keras", "jax", "jaxlib", "transformers"),
    *("optuna", "flaml", "statsmodels", "joblib", "numba", "lightning", "safetensors", "onnx"),
)
"""Packages whose versions the manifest itself shows."""

_MOST_REMEMBERED = 5_000

_FOLDER = re.compile(r"^(?P<name>.+?)-(?P<version>[^-]+)(?:-py[0-9.]+)?\.(?:dist|egg)-info$")
_NORMAL = re.compile(r"[-_.]+")
# What installers write for themselves, and what depends on where or by which Python it was done.
_INSTALLERS = re.compile(
    rb"^(?:\.\./|/|[^,]*\.pyc,|[^,]*\.dist-info/"
    rb"(?:INSTALLER|REQUESTED|RECORD|direct_url\.json|uv_[a-z_]+\.(?:json|toml))[^,]*,)"
)


def fingerprint(
    interpreter: Interpreter, *, cache: Path | None = None
) -> tuple[Environment, tuple[Package, ...]]:
    """Return the environment of an interpreter and all distributions that it can import.

    Parameters
    ----------
    interpreter : Interpreter
        As the probe saw it, or as `interpreter` asked for it.
    cache : Path, optional
        A file that spares reading records again that did not change: 2 ms instead of 37.
    """
    with _remembered(cache) as known_records:
        listed = packages(interpreter.path, known_records)
    found = tuple(sorted(listed, key=lambda package: package.name))
    known = {package.name: package.version for package in found}
    environment = Environment(
        fingerprint=_fingerprint(interpreter, found),
        python=interpreter.version,
        implementation=interpreter.implementation,
        build=" ".join(interpreter.build.split()),
        prefix=interpreter.prefix,
        executable=interpreter.executable,
        packages={name: known[name] for name in WELL_KNOWN if name in known},
        count=len(found),
    )
    return environment, found


def _fingerprint(interpreter: Interpreter, found: Iterable[Package]) -> Digest:
    facts = {
        "python": interpreter.version,
        "implementation": interpreter.implementation,
        "build": " ".join(interpreter.build.split()),
        # Where an editable install lies differs from machine to machine; that it is one, does not.
        "packages": [[p.name, p.version, p.record, p.tag, bool(p.editable)] for p in found],
    }
    return Digest("sha256", hashlib.sha256(documents.canonical_json(facts)).hexdigest())


def packages(path: Iterable[str], known: dict[str, Any] | None = None) -> list[Package]:
    """Return the distributions on an interpreter's path; of two of a name, the first.

    Parameters
    ----------
    path : iterable of str
        As ``sys.path``.
    known : dict, optional
        What was read of each distribution's folder before, by its state; it is added to.
    """
    known = {} if known is None else known
    found: dict[str, Package] = {}
    for folder in dict.fromkeys(path):
        for name, version, info in _infos(folder):
            normal = _NORMAL.sub("-", name).lower()
            if normal not in found:
                found[normal] = _package(normal, version, info, known)
    return list(found.values())


@contextmanager
def _remembered(cache: Path | None) -> Iterator[dict[str, Any]]:
    """Lend what is known of distributions, and keep what was added; it may be lost at any time."""
    known: dict[str, Any] = {}
    if cache:
        with suppress(OSError, ValueError, TypeError):  # absent, or damaged
            known = dict(json.loads(cache.read_text()))
    before = len(known)
    yield known
    if cache and len(known) != before:
        with suppress(OSError):
            paths.write_beside(cache, json.dumps(dict(list(known.items())[-_MOST_REMEMBERED:])))


def _state(info: Path) -> str:
    """Return what changes whenever an installer touches a distribution."""
    stats = []
    for path in (info, info / "RECORD", info / "direct_url.json"):
        try:
            found = path.stat()
        except OSError:
            continue
        stats.append(f"{found.st_ino}.{found.st_mtime_ns}.{found.st_size}")
    return f"{info}|{'|'.join(stats)}"


def _infos(folder: str) -> Iterator[tuple[str, str, Path]]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.name.endswith((".dist-info", ".egg-info")))
    except OSError:  # a zip file, or a folder that is not there
        return
    for name in names:
        match = _FOLDER.match(name)
        info = Path(folder, name)
        if match:
            yield match["name"], match["version"], info
        elif name.endswith(".egg-info"):
            version = _field(_text(info / "PKG-INFO"), "Version")
            yield name.removesuffix(".egg-info"), version, info


def _package(name: str, version: str, info: Path, known: dict[str, Any]) -> Package:
    state = _state(info)
    with suppress(KeyError, TypeError):
        record, tag, editable = map(str, known[state])
        return Package(name, version, record, tag, editable)
    package = _read(name, version, info)
    known[state] = [package.record, package.tag, package.editable]
    return package


def _read(name: str, version: str, info: Path) -> Package:
    editable = _editable(info) if info.suffix == ".dist-info" else _development(info)
    return Package(
        name=name,
        version=version,
        # The record of an editable install holds a file that names its folder.
        record="" if editable else _record(info),
        tag=_field(_text(info / "WHEEL"), "Tag"),
        editable=editable,
    )


def _record(info: Path) -> str:
    """Return the digest of what the wheel brought, whoever installed it wherever."""
    try:
        lines = (info / "RECORD").read_bytes().splitlines()
    except OSError:
        return ""
    kept = sorted(line for line in lines if not _INSTALLERS.match(line))
    return hashlib.sha256(b"\n".join(kept)).hexdigest()[:16]


def _editable(info: Path) -> str:
    text = _text(info / "direct_url.json")
    if not text:
        return ""
    try:
        data = json.loads(text)
        editable = data["dir_info"].get("editable", False)
        return str(data["url"]).removeprefix("file://") if editable else ""
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _development(info: Path) -> str:
    """Return the folder of an ``egg-info`` that lies beside its sources: a development install."""
    installed = info.parent.name in ("site-packages", "dist-packages")
    return "" if installed or not info.is_dir() else str(info.parent)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _field(text: str, name: str) -> str:
    for line in text.splitlines():
        if line.startswith(name + ": "):
            return line[len(name) + 2 :].strip()
    return ""


def changes(
    recorded: Environment,
    recorded_packages: Iterable[Package],
    current: Environment,
    current_packages: Iterable[Package],
) -> tuple[Change, ...]:
    """Name every difference between two environments, the interpreter's first.

    Two packages of one version differ where both records are known and unequal: the same version
    built twice, as ``+cu121`` wheels are.
    """
    found = [
        Change(what, before, now)
        for what, before, now in (
            ("python", recorded.python, current.python),
            ("implementation", recorded.implementation, current.implementation),
            ("python build", recorded.build, current.build),
        )
        if before != now and (what != "python build" or recorded.python == current.python)
    ]
    before, now = _by_name(recorded_packages), _by_name(current_packages)
    # Those that make the numbers come first.
    for name in sorted({*before, *now}, key=lambda name: (name not in WELL_KNOWN, name)):
        found += _package_change(name, before.get(name), now.get(name))
    return tuple(found)


def _by_name(found: Iterable[Package]) -> Mapping[str, Package]:
    return {package.name: package for package in found}


def _package_change(name: str, before: Package | None, now: Package | None) -> list[Change]:
    if before is None or now is None:
        absent = "not installed"
        versions = [package.version if package else absent for package in (before, now)]
        return [Change(f"package {name}", *versions)]
    if before.version != now.version:
        return [Change(f"package {name}", before.version, now.version)]
    if bool(before.editable) != bool(now.editable):
        words = [f"{p.version}{' (editable)' if p.editable else ''}" for p in (before, now)]
        return [Change(f"package {name}", *words)]
    if before.tag != now.tag:
        return [Change(f"wheel of {name} {now.version}", before.tag, now.tag)]
    if before.record and now.record and before.record != now.record:
        return [Change(f"content of {name} {now.version}", before.record, now.record)]
    return []


_QUESTION = """
import json, os, platform, sys
level = {"alpha": "a", "beta": "b", "candidate": "rc", "final": ""}[sys.version_info.releaselevel]
version = "%d.%d.%d" % sys.version_info[:3] + (level and level + str(sys.version_info.serial))
print(json.dumps({
    "pid": os.getpid(), "argv": [sys.executable], "executable": sys.executable,
    "prefix": sys.prefix, "base_prefix": sys.base_prefix, "version": version,
    "implementation": sys.implementation.name, "path": [p for p in sys.path if p],
    "build": sys.version,
}))
"""


def interpreter(executable: str, *, variables: Mapping[str, str] | None = None) -> Interpreter:
    """Ask another Python for the facts that the probe would log of it.

    Parameters
    ----------
    executable : str
        Path or name of the Python.
    variables : mapping, optional
        Its environment variables; this process's by default.

    Raises
    ------
    UsageError
        If it cannot be started, or is no Python.
    """
    environ = dict(os.environ if variables is None else variables)
    environ.pop(probe.LOG, None)
    try:
        done = subprocess.run(
            [executable, "-c", _QUESTION], env=environ, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=60,
        )  # fmt: skip
        answer = done.stdout.strip().splitlines()[-1:]  # a .pth file may print, too
        return plain.load(Interpreter, json.loads(answer[0] if answer else ""))
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"`{executable}` does not answer as a Python does") from error
