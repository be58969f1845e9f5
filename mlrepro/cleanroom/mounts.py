"""Mounts: the room shown at the recorded place, to the training alone."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

_ENTER = Path(__file__).with_name("_enter.py")
_NOTHING = ("/bin/sh", "-c", ":")
_KERNELS = tuple(map(Path, ("/proc", "/sys", "/dev")))
# What a training never lies in; a manifest that names a place there is not to be followed.
_SYSTEM = tuple(
    map(Path, ("/etc", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/boot", "/run"))
)
_SOURCES = tuple(map(Path, ("/usr/src", "/usr/local/src")))  # containers work in /usr/src/app
_PARENTS = tuple(map(Path, ("/", "/home", "/var", "/var/lib", "/var/run", "/tmp")))  # noqa: S108  refused


@functools.cache
def available() -> bool:
    """Return whether folders can be shown elsewhere here: as root, or in a user namespace."""
    with tempfile.TemporaryDirectory(prefix="mlrepro-") as folder:
        trial = wrap(_NOTHING, binds={folder: Path(folder)}, cwd="/")
        return sys.platform == "linux" and _tried(trial) is None


def possible(path: str) -> str | None:
    """Return why nothing can be shown at an absolute path; None where it can."""
    with tempfile.TemporaryDirectory(prefix="mlrepro-") as folder:
        source = Path(folder, "shown")
        source.touch() if _is_file(Path(path)) else source.mkdir()
        return refusal({path: source})


def refusal(binds: Mapping[str, Path]) -> str | None:
    """Return why places cannot be shown as wanted; None where they can.

    Parameters
    ----------
    binds : mapping of str to Path
        As for `wrap`. The places may come from a stranger's manifest: those of the system are
        refused. The rest is tried out, in a namespace that ends with the trial.
    """
    for path in binds:
        if why := implausible(path):
            return why
    if not available():
        return "user namespaces are not allowed on this machine"
    return _tried(wrap(_NOTHING, binds=binds, cwd="/"))


def implausible(path: str) -> str | None:
    """Return why a recorded place cannot be that of a project, of data or of an environment."""
    place = Path(path)
    if not place.is_absolute() or ".." in place.parts or "\0" in path:
        return f"`{path}` is no absolute path"
    for one in {place, Path(os.path.realpath(place))}:
        below = [*_KERNELS, *_SYSTEM]
        allowed = any(one.is_relative_to(sources) and one != sources for sources in _SOURCES)
        if one in _PARENTS or (any(one.is_relative_to(folder) for folder in below) and not allowed):
            return f"`{path}` belongs to the system"
    return None


def wrap(
    command: Sequence[str],
    *,
    binds: Mapping[str, Path],
    cwd: str,
    keep: Iterable[Path] = (),
    fixed: Iterable[str] = (),
    whole: Iterable[str] = (),
) -> list[str]:
    """Return a command line that runs `command` where recorded places show other folders.

    Nothing outside the command and its children sees a difference, and nothing stays behind, with
    one exception: a place below another one (`/p/.venv` below `/p`) that its folder lacks is
    created there, empty. Where a place had to be made to appear, its deepest existing ancestor is a
    temporary folder inside: what else the command writes directly into that one is lost. Ids,
    signals, streams and the exit status are the command's own. It cannot become another user
    (sudo), unless mlrepro runs as root.

    Parameters
    ----------
    command : sequence of str
        Looked up in the ``PATH`` of its variables.
    binds : mapping of str to Path
        Absolute recorded folders or files, and what they are to show.
    cwd : str
        The command's folder, as it is called inside.
    keep : iterable of Path
        Folders that stay to be seen at their own place, also where a recorded one would hide them.
        mlrepro's own environment, the command's, and the folders around what is shown always do.
    fixed : iterable of str
        Places of `binds` that nobody may write to.
    whole : iterable of str
        Places of `binds` in which nothing else is kept: an environment over another one.
    """
    shown = {Path(place): source.resolve() for place, source in binds.items()}
    kept = [*keep, *_needed(command), *(source.parent for source in shown.values())]
    hiding = {Path(place) for place in whole}
    for folder in kept:
        around = [place for place in shown if folder.is_relative_to(place)]
        if around and max(around, key=_depth) not in hiding and folder.exists():
            shown.setdefault(folder, folder)
    plan = {
        "binds": [[str(place), str(shown[place])] for place in sorted(shown, key=_depth)],
        "fixed": sorted(fixed),
        "cwd": cwd,
    }
    # -I -S: neither PYTHONPATH nor a sitecustomize, the probe's, is for this script.
    return [sys.executable, "-I", "-S", str(_ENTER), json.dumps(plan), *command]


def _needed(command: Sequence[str]) -> list[Path]:
    environments = [Path(sys.prefix), Path(sys.base_prefix), _ENTER.parents[2]]
    program = Path(command[0]) if command else Path()
    if program.is_absolute() and len(program.parts) > 3:  # …/bin/python
        environments.append(program.parents[1])
    return environments


def _depth(place: Path) -> tuple[int, Path]:
    return len(place.parts), place


def _is_file(place: Path) -> bool:
    return place.exists() and not place.is_dir()


def _tried(command: Sequence[str]) -> str | None:
    trial = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=os.environ,
    )
    if trial.returncode == 0:
        return None
    lines = trial.stderr.strip().splitlines() or ["it could not be tried"]
    return lines[-1].removeprefix("mlrepro: ")
