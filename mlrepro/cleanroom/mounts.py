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
_KERNELS = tuple(map(Path, ("/proc", "/sys", "/dev")))


@functools.cache
def available() -> bool:
    """Return whether folders can be shown elsewhere here: as root, or in a user namespace."""
    with tempfile.TemporaryDirectory(prefix="mlrepro-") as folder:
        return sys.platform == "linux" and _refusal(Path(folder), Path(folder)) is None


def possible(path: str) -> str | None:
    """Return why nothing can be shown at an absolute path; None where it can.

    It is tried out, in a namespace that ends with the trial.
    """
    place = Path(path)
    if not place.is_absolute() or ".." in place.parts or "\0" in path:
        return f"`{path}` is no absolute path"
    if len(place.parts) == 1 or any(place.is_relative_to(kernels) for kernels in _KERNELS):
        return f"`{path}` belongs to the system"
    if not available():
        return "user namespaces are not allowed on this machine"
    with tempfile.TemporaryDirectory(prefix="mlrepro-") as folder:
        source = Path(folder, "shown")
        source.touch() if _is_file(place) else source.mkdir()
        return _refusal(place, source)


def wrap(
    command: Sequence[str], *, binds: Mapping[str, Path], cwd: str, keep: Iterable[Path] = ()
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
    """
    shown = {Path(place): source.resolve() for place, source in binds.items()}
    kept = [*keep, *_needed(command), *(source.parent for source in shown.values())]
    for folder in kept:
        if any(folder.is_relative_to(place) for place in shown) and folder.exists():
            shown.setdefault(folder, folder)
    plan = {
        "binds": [[str(place), str(shown[place])] for place in sorted(shown, key=_depth)],
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


def _refusal(place: Path, source: Path) -> str | None:
    command = wrap([], binds={}, cwd="/")[:4]
    plan = json.dumps({"binds": [[str(place), str(source)]], "cwd": "/"})
    trial = subprocess.run(
        [*command, plan, "/bin/sh", "-c", ":"],
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
