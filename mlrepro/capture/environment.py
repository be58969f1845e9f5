"""Environment: the interpreter and its distributions as a fingerprint; what differs between two."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from mlrepro import documents, paths, plain, probe
from mlrepro.capture import distributions, recordcheck
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


def fingerprint(
    interpreter: Interpreter,
    *,
    cache: Path | None = None,
    root: Path | None = None,
    used: Collection[str] | None = None,
) -> tuple[Environment, tuple[Package, ...]]:
    """Return the environment of an interpreter and all distributions that it can import.

    Parameters
    ----------
    interpreter : Interpreter
        As the probe saw it, or as `interpreter` asked for it.
    cache : Path, optional
        A file that spares reading records again that did not change: 5 ms instead of 60.
    root : Path, optional
        The project's folder: editable installs and files that lie in it are told relative to it,
        and of an editable install outside it that was used, its commit.
    used : collection of str, optional
        Files that the run used: installed ones that were changed after they were installed
        are told, and make another environment. Where none are given, all modules and libraries
        are looked at, which takes 0.2 s for 200 distributions.
    """
    with _remembered(cache) as known:
        listed = distributions.found(interpreter, root=root, used=used or (), known=known)
        files = recordcheck.code(listed) if used is None else used
        changed = recordcheck.changed(listed, files, prefix=interpreter.prefix, known=known)
    found = tuple(
        replace(one.package, changed=changed[one.package.name])
        if one.package.name in changed
        else one.package
        for one in sorted(listed, key=lambda one: one.package.name)
    )
    versions = {package.name: package.version for package in found}
    environment = Environment(
        fingerprint=_fingerprint(interpreter, found),
        python=interpreter.version,
        implementation=interpreter.implementation,
        build=" ".join(interpreter.build.split()),
        prefix=interpreter.prefix,
        executable=interpreter.executable,
        packages={name: versions[name] for name in WELL_KNOWN if name in versions},
        count=len(found),
    )
    return environment, found


def troubles(found: Iterable[Package]) -> tuple[str, ...]:
    """Say what of an environment a colleague cannot have from the record, a sentence each."""
    sentences = []
    for package in found:
        if package.name == "mlrepro":  # whoever rebuilds has one of his own
            continue
        if package.changed:
            sentences.append(recordcheck.sentence(package.name, package.version, package.changed))
        if package.editable and package.direct.startswith("worktree:"):
            sentences.append(
                f"`{package.name}` is installed from a folder outside the project"
                f"{_at_commit(package.direct)}: a colleague has to have it"
            )
    return tuple(sentences)


def _at_commit(direct: str) -> str:
    commit, _, changed = direct.removeprefix("worktree:").partition("+")
    return f" (commit {commit[:12]}{', with changes' if changed else ''})" if commit else ""


def beside(found: Iterable[Package]) -> dict[str, str]:
    """Return what an environment needs that no installer of Python packages brings.

    Returns
    -------
    dict
        ``conda openssl`` → ``3.0.13 h7f8727e_0``.
    """
    return {
        package.name.replace(":", " "): f"{package.version} {package.tag}".strip()
        for package in found
        if not package.of_python
    }


def _fingerprint(interpreter: Interpreter, found: Iterable[Package]) -> Digest:
    facts = {
        "python": interpreter.version,
        "implementation": interpreter.implementation,
        "build": " ".join(interpreter.build.split()),
        "packages": [_identity(package) for package in found],
    }
    return Digest("sha256", hashlib.sha256(documents.canonical_json(facts)).hexdigest())


def _identity(package: Package) -> list[Any]:
    """Return what makes a distribution another one; where its bytes came from does not."""
    # Where an editable install lies differs from machine to machine; that it is one, does not.
    # Its code is an input of the run, or part of the project's.
    facts = [package.name, package.version, package.record, package.tag, bool(package.editable)]
    if package.changed:
        facts.append(dict(package.changed))
    return facts


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
        versions = [_version(package) if package else absent for package in (before, now)]
        return [Change(_called(name), *versions)]
    if _version(before) != _version(now):
        return [Change(_called(name), _version(before), _version(now))]
    if bool(before.editable) != bool(now.editable):
        words = [f"{p.version}{' (editable)' if p.editable else ''}" for p in (before, now)]
        return [Change(_called(name), *words)]
    if before.editable:
        return _worktree_change(before, now)
    return [*_wheel_change(before, now), *_edit_change(before, now)]


def _called(name: str) -> str:
    return name.replace(":", " ") if name.startswith("conda:") else f"package {name}"


def _version(package: Package) -> str:
    return package.version if package.of_python else f"{package.version} {package.tag}".strip()


def _worktree_change(before: Package, now: Package) -> list[Change]:
    """Compare the commits of a folder outside the project, where both are known."""
    words = [_at_commit(package.direct).strip(" ()") for package in (before, now)]
    known = all(words) and (before.direct != now.direct or "+" in now.direct)
    return [Change(f"source of {now.name} {now.version}", *words)] if known else []


def _wheel_change(before: Package, now: Package) -> list[Change]:
    """Compare the content; where it came from is told only if the content differs, too."""
    differ = bool(before.record and now.record and before.record != now.record)
    version = f"{now.name} {now.version}"
    if differ and before.owner != now.owner:
        words = [f"{p.version}{f' (of {p.owner})' if p.owner else ''}" for p in (before, now)]
        return [Change(f"package {now.name}", *words)]
    if before.tag != now.tag:
        return [Change(f"wheel of {version}", before.tag, now.tag)]
    if differ and before.direct != now.direct:
        words = [package.direct or "an index" for package in (before, now)]
        return [Change(f"source of {version}", *words)]
    return [Change(f"content of {version}", before.record, now.record)] if differ else []


def _edit_change(before: Package, now: Package) -> list[Change]:
    """Compare what was changed by hand after it was installed."""
    if before.changed == now.changed:
        return []
    files = sorted({*before.changed, *now.changed})
    differing = [one for one in files if before.changed.get(one) != now.changed.get(one)]
    words = [
        ", ".join(f"{one} {package.changed.get(one, 'as installed')}" for one in differing[:5])
        for package in (before, now)
    ]
    return [Change(f"files of {now.name} {now.version}", *words)]


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
