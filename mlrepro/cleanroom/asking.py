"""Asking: what two models say of the same rows, in the environment and the room of a rebuild.

A model of scikit-learn or PyTorch is a program that runs when it is read. So it is read where the
training has just run, by `_predict`, which leaves plain numbers behind; no byte of a model is
interpreted in mlrepro's own process.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrepro.cleanroom import training
from mlrepro.cleanroom.room import Room
from mlrepro.cleanroom.training import Plan
from mlrepro.manifest import Manifest

if TYPE_CHECKING:
    import numpy as np

_SCRIPTS = ("_predict.py", "_predictmodels.py", "_predictrows.py")
_SECONDS = 600
_MOST_NUMBERS = 20_000_000
_LONGEST = 16 * 2**20
_NOTES = 300


@dataclass(frozen=True)
class Model:
    """A model of which there are two.

    Attributes
    ----------
    path : str
        Its recorded path.
    recorded, rebuilt : Path
        Its two files, in the room.
    """

    path: str
    recorded: Path
    rebuilt: Path


@dataclass(frozen=True)
class Answer:
    """What both models say of one set of rows.

    Attributes
    ----------
    path : str
        The model's recorded path.
    data : str
        Which rows.
    kind : str
        ``probability``, ``margin``, ``value`` or ``label``.
    task : str
        ``binary``, ``multiclass``, ``regression``, ``ranking`` or ``other``.
    total : int
        How many rows there were, of which some were taken, evenly spaced.
    recorded, rebuilt : array
        Rows × outputs.
    label, weight : array or None
        One for each row.
    """

    path: str
    data: str
    kind: str
    task: str
    total: int
    recorded: np.ndarray[Any, Any]
    rebuilt: np.ndarray[Any, Any]
    label: np.ndarray[Any, Any] | None = None
    weight: np.ndarray[Any, Any] | None = None


@dataclass(frozen=True)
class Told:
    """All that was answered.

    Attributes
    ----------
    folder : Path
        Where the numbers lie.
    lines : tuple of dict
        What was said, in order; nothing in it is trusted.
    end : str
        Why the asking ended too early; empty where it did not.
    """

    folder: Path
    lines: tuple[dict[str, Any], ...]
    end: str = ""

    def answers(self) -> Iterator[Answer]:
        """Yield what both models say, one set at a time."""
        for line in self.lines:
            if "index" in line:
                yield from _answer(self.folder, line)

    def notes(self) -> Iterator[tuple[str, str]]:
        """Yield the path of each model that could not be asked, and why; or none and a remark."""
        for line in self.lines:
            if "note" in line:
                yield str(line.get("model", "")), str(line["note"])[:_NOTES]
        begun = [str(line["begun"]) for line in self.lines if "begun" in line]
        if self.end:
            yield begun[-1] if begun else "", self.end

    def files(self) -> tuple[str, ...]:
        """Return the data files that the training named instead of rows."""
        found = next((line["files"] for line in self.lines if "files" in line), ())
        return tuple(map(str, found)) if isinstance(found, list) else ()


def ask(
    record: Manifest,
    plan: Plan,
    room: Room,
    models: Sequence[Model],
    *,
    rows: Path,
    file: Path | None = None,
) -> Told:
    """Ask both models of each pair about rows.

    Parameters
    ----------
    record, plan, room : Manifest, Plan, Room
        The rebuild that has just ended.
    models : sequence of Model
        What is asked.
    rows : Path
        The folder in which the probe kept rows.
    file : Path, optional
        A table to ask about instead.

    Raises
    ------
    OSError
        If the room cannot be written, or the environment's Python does not start.
    """
    own, out = room.work / "asking", room.work / "asked"
    for folder in (own, out):
        folder.mkdir()
    for name in _SCRIPTS:
        shutil.copy(Path(__file__).with_name(name), own)
    if file is not None:  # the room may be shown over the folder in which it lies
        (own / "file").mkdir()
        file = Path(shutil.copy(file, own / "file" / file.name))
    wanted = {
        "models": [[one.path, str(one.recorded), str(one.rebuilt)] for one in models],
        "rows": str(rows) if rows.is_dir() else "",
        "file": str(file or ""),
        "path": _search_path(plan),
        "out": str(out),
    }
    (own / "plan.json").write_text(json.dumps(wanted), encoding="utf-8")
    words = (plan.chosen.executable, "-B", str(own / _SCRIPTS[0]), str(own / "plan.json"))
    command, cwd, variables = training.beside(record, plan, room, words)
    end = _ended(command, cwd, variables, room.work / "asking.log")
    return Told(out, tuple(_lines(out / "answers")), end)


def _search_path(plan: Plan) -> list[str]:
    """Return where the training's own modules lie: its script's folder, and where it started."""
    scripts = [word for word in plan.command[1:] if word.endswith(".py")][:1]
    folders = [os.path.dirname(os.path.join(plan.cwd, script)) for script in scripts]
    return [*folders, plan.cwd]


def _ended(command: list[str], cwd: Path, variables: dict[str, str], log: Path) -> str:
    """Run the script; say what went wrong, in words."""
    with (
        log.open("wb") as said,
        subprocess.Popen(
            command, cwd=cwd, env=variables, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            start_new_session=True,
        ) as child,
    ):  # fmt: skip
        try:
            code = child.wait(_SECONDS)
        except subprocess.TimeoutExpired:
            return f"it took longer than {_SECONDS} s"
        finally:
            with suppress(ProcessLookupError):  # what it started goes with it
                os.killpg(child.pid, signal.SIGKILL)
    if code < 0:
        return f"signal {-code} ended it"
    lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    return f"exit code {code}: {lines[-1]}"[:_NOTES] if code else ""


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST)
    except OSError:
        return
    for line in data.splitlines():
        try:
            found = json.loads(line)
        except ValueError:  # cut off in the middle
            return
        if isinstance(found, dict):
            yield found


def _answer(folder: Path, line: dict[str, Any]) -> Iterator[Answer]:
    """Read one answer, if it holds what it should."""
    words = [str(line.get(name, ""))[:_NOTES] for name in ("model", "data", "kind", "task")]
    index, total = line["index"], line.get("total", 0)
    if not isinstance(index, int) or not isinstance(total, int):
        return
    a, b = (_numbers(folder / f"{index}-{side}.npy", 2) for side in ("recorded", "rebuilt"))
    if a is None or b is None or a.shape != b.shape:
        return
    label, weight = (_column(folder / f"{index}-{name}.npy", a) for name in ("label", "weight"))
    yield Answer(words[0], words[1], words[2], words[3], total, a, b, label, weight)


def _column(path: Path, table: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    found = _numbers(path, 1) if path.is_file() else None
    return found if found is not None and len(found) == len(table) else None


def _numbers(path: Path, dimensions: int) -> np.ndarray[Any, Any] | None:
    """Read plain numbers; a header that promises more than the file holds is refused."""
    import numpy as np  # noqa: PLC0415  0.1 s, paid where predictions are compared

    try:
        shown = np.load(path, allow_pickle=False, mmap_mode="r")
        if shown.dtype.kind not in "biuf" or shown.ndim != dimensions or shown.size > _MOST_NUMBERS:
            return None
        return np.array(shown, dtype=np.float64)
    except (OSError, ValueError):
        return None
