"""Training: the recorded command, run again in its room, under the recorded variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlrepro import process
from mlrepro.capture import observers, outputs, variables
from mlrepro.capture.observation import Observation, Read, Write
from mlrepro.capture.outputs import Output
from mlrepro.cleanroom import interpreter, mounts
from mlrepro.cleanroom import room as rooms
from mlrepro.cleanroom.interpreter import Chosen
from mlrepro.cleanroom.room import Room
from mlrepro.errors import MlreproError, RestoreError, TrainingFailedError
from mlrepro.manifest import Manifest, Status
from mlrepro.process import Ended, Streams
from mlrepro.stores.place import Place

_TAIL = 12


@dataclass(frozen=True)
class Trained:
    """A training in a room.

    Attributes
    ----------
    ended : Ended
        How it ended.
    outputs : tuple of Output
        What it made.
    stdout, stderr : Path
        What it printed.
    notes : tuple of str
        Where it left the room, and what could not be seen.
    """

    ended: Ended
    outputs: tuple[Output, ...]
    stdout: Path
    stderr: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """How the training will be started.

    Attributes
    ----------
    command : list of str
        The recorded command, mapped to the chosen interpreter.
    binds : dict of str to Path
        Absolute folders and files that are to show something else.
    """

    command: list[str]
    binds: Mapping[str, Path] = field(default_factory=dict)


def plan(
    here: Place, record: Manifest, chosen: Chosen, room: Room, binds: Mapping[str, Path]
) -> Plan:
    """Decide how the command reaches the room; refuse before the training what cannot work.

    Raises
    ------
    RestoreError
        If the code names its recorded folder and the room cannot be bound over it.
    """
    all_binds: dict[str, Path] = dict(binds)
    naming = _naming(here, record, room)
    if naming:
        all_binds[record.run.root] = room.root
    if all_binds:
        why = next(filter(None, map(mounts.possible, all_binds)), None)
        if why:
            raise RestoreError(
                f"{_what(naming, all_binds)}, and the clean room cannot be shown there: {why}",
                hint="Use paths relative to the script, or allow user namespaces.",
            )
    return Plan(interpreter.command(record, chosen, room), all_binds)


def train(record: Manifest, plan: Plan, room: Room, *, threads: bool) -> Trained:
    """Run the planned command and see what it makes.

    Parameters
    ----------
    record : Manifest
        The recorded run.
    plan : Plan
        From `plan`.
    room : Room
        Where.
    threads : bool
        Whether every pool of threads gets its recorded size.

    Raises
    ------
    TrainingFailedError
        If it does not start, or ends otherwise than recorded.
    """
    log = room.work / "log"
    log.mkdir()
    shown = record.run.root if record.run.root in plan.binds else ""
    observer = observers.choose("auto", log=log, root=room.root, command=plan.command, shown=shown)
    environ = _environ(record, room, threads=threads)
    folder = room.root / record.run.directory if record.run.directory else room.root
    command, cwd = plan.command, folder
    if plan.binds:
        inside = plan.binds.get(record.run.root)
        shown = (
            str(folder) if inside is None else os.path.join(record.run.root, record.run.directory)
        )
        command = mounts.wrap(plan.command, binds=plan.binds, cwd=shown.rstrip("/"))
    try:
        ended = process.execute(
            command,
            cwd=cwd,
            variables=observer.prepare(environ),
            stdout=room.work / "stdout",
            stderr=room.work / "stderr",
            streams=_streams(record),
            quiet=True,
        )
    except MlreproError as error:
        raise TrainingFailedError(
            f"the command does not start in the clean room: {error}"
        ) from error
    observation = observer.finish()
    _expect_success(record, ended, room)
    made, outside = outputs.find(room.root, observation)
    notes = (*outside, *_strays(observation, record, room, plan))
    return Trained(ended, made, room.work / "stdout", room.work / "stderr", notes)


def _naming(here: Place, record: Manifest, room: Room) -> list[str]:
    """Return the places in which the recorded folder is written out as an absolute path."""
    root = record.run.root
    if not root.startswith("/") or root == "/":
        return []
    places = rooms.mentions(here, room, root)
    named = [w for w in record.run.command[1:] if root in w]
    restored = [name for name, value in record.variables.restored.items() if root in value]
    return [*places, *named, *restored]


def _what(naming: list[str], binds: Mapping[str, Path]) -> str:
    if naming:
        return f"{', '.join(naming[:3])} names the author's folder by its absolute path"
    return f"the run read {', '.join(list(binds)[:3])}"


def _environ(record: Manifest, room: Room, *, threads: bool) -> dict[str, str]:
    environ = variables.restore(
        record.variables, dict(os.environ), threads=record.threads if threads else None
    )
    temporary = room.work / "tmp"
    temporary.mkdir()
    return {**environ, "TMPDIR": str(temporary)}


def _streams(record: Manifest) -> Streams | None:
    """Use the recorded kinds of descriptors: many programs print otherwise into a terminal."""
    if not record.run.stdout:
        return None
    return Streams("null", record.run.stdout, record.run.stderr or "pipe")


def _expect_success(record: Manifest, ended: Ended, room: Room) -> None:
    recorded_failure = (
        record.run.status is Status.FAILED and ended.exit_code == record.run.exit_code
    )
    if ended.exit_code == 0 or recorded_failure:
        return
    how = f"signal {ended.signal}" if ended.signal else f"exit code {ended.exit_code}"
    last = (room.work / "stderr").read_bytes() or (room.work / "stdout").read_bytes()
    lines = last.decode(errors="replace").strip().splitlines()[-_TAIL:]
    raise TrainingFailedError(
        f"the training failed in the clean room with {how}", hint="It said:\n" + "\n".join(lines)
    )


def _strays(observation: Observation, record: Manifest, room: Room, plan: Plan) -> list[str]:
    """Name what was touched in the author's folder instead of the room."""
    root = record.run.root
    if root in plan.binds or not root.startswith("/") or root == "/":
        return []
    touched: list[Read | Write] = [*observation.reads, *observation.writes]
    strays = sorted({t.path for t in touched if t.path.startswith(f"{root}/")})
    if not strays or str(room.root).startswith(f"{root}/"):
        return []
    return [f"the training reached out of the clean room: {', '.join(strays[:3])}"]
