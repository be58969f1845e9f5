"""Territory: whose a path is: the run's, the system's, or a tool's that decides no result."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from mlrepro.capture.observation import Interpreter

_SYSTEM = (
    *("/proc/", "/sys/", "/dev/", "/etc/", "/usr/", "/lib/", "/lib64/", "/bin/", "/sbin/"),
    *("/run/", "/var/lib/", "/var/cache/", "/System/", "/Library/", "/nix/store/"),
)
_MEMORY = "/dev/shm/"  # noqa: S108  data sets are put there for speed
# Below a home: settings and caches of tools. Downloaded data sets and models are not among them.
_HOME = (
    *(".cache/matplotlib/", ".config/matplotlib/", ".matplotlib/", ".cache/fontconfig/"),
    *(".cache/pip/", ".config/pip/", ".cache/uv/", ".cache/mlrepro/", ".pypirc", ".netrc"),
    *(".ipython/", ".jupyter/", ".local/share/jupyter/", ".python_history"),
    *(".config/git/", ".gitconfig", ".config/dvc/", ".aws/", ".config/gcloud/"),
    *(".ssh/", ".docker/", ".kube/"),
)
_OWN_FOLDERS = frozenset({".git", ".mlrepro", "__pycache__", ".ipynb_checkpoints"})


@dataclass(frozen=True)
class Territory:
    """Tells the paths of a run from all others.

    Attributes
    ----------
    root : str
        The project's folder; what lies in it is the run's wherever the folder itself lies:
        containers work in ``/usr/src/app``, clean rooms lie in the user's cache.
    """

    root: str
    home: str = field(default_factory=lambda: str(Path.home()))

    def holds(self, path: str) -> bool:
        """Say whether reading or writing an absolute path matters to the run's result."""
        inside = path.startswith(self.root + "/")
        relative = path[len(self.root) + 1 :] if inside else path
        if path.endswith(".pyc") or not _OWN_FOLDERS.isdisjoint(relative.split("/")):
            return False
        if relative.startswith((".dvc/tmp/", ".dvc/cache/")):
            return False
        if inside or path.startswith(_MEMORY):
            return True
        return not (self._is_tools(path) or path.startswith(_SYSTEM))

    def _is_tools(self, path: str) -> bool:
        site = os.environ.get("DVC_SITE_CACHE_DIR", "/var/tmp/dvc")  # noqa: S108  DVC's own default
        cache = os.environ.get("XDG_CACHE_HOME", "")  # clean rooms, and what rebuilds keep there
        if path.startswith(f"{site}/") or (cache and path.startswith(f"{cache}/mlrepro/")):
            return True
        return path.startswith(self.home + "/") and path[len(self.home) + 1 :].startswith(_HOME)


def real(path: str, known: dict[str, str]) -> str:
    """Return the path with its folder free of symlinks; `known` remembers folders."""
    folder, _, name = path.rpartition("/")
    if folder not in known:
        known[folder] = os.path.realpath(folder or "/").rstrip("/")
    return f"{known[folder]}/{name}"


_INSTALLED = ("lib", "lib64", "bin", "share", "include", "etc", "ssl", "conda-meta")
_SITES = ("/site-packages", "/dist-packages")


def of_interpreters(interpreters: Iterable[Interpreter]) -> tuple[str, ...]:
    """Return the beginnings of all paths that belong to interpreters and their packages.

    They are the environment of a run, which is recorded by itself.
    """
    found: set[str] = set()
    for interpreter in interpreters:
        for prefix in {interpreter.prefix.rstrip("/"), interpreter.base_prefix.rstrip("/")}:
            if prefix not in ("", "/usr"):  # those of the system are in no territory
                found.update(f"{prefix}/{name}/" for name in _INSTALLED)
                found.add(f"{prefix}/pyvenv.cfg")
        found.update(f"{entry}/" for entry in interpreter.path if entry.endswith(_SITES))
    return tuple(sorted(found | {_real(path) for path in found}))


def _real(path: str) -> str:
    return os.path.realpath(path) + ("/" if path.endswith("/") else "")
