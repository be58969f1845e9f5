"""Training: the recorded command, run again in its room, under the recorded variables."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mlrepro import probe, process
from mlrepro.capture import effective, observers, outputs, variables
from mlrepro.capture.effective import Effective
from mlrepro.capture.observation import Observation
from mlrepro.capture.outputs import Output
from mlrepro.cleanroom import borrowed, layers, mounts, reach, shelter
from mlrepro.cleanroom import room as rooms
from mlrepro.cleanroom.factors import Factors
from mlrepro.cleanroom.interpreter import Chosen
from mlrepro.cleanroom.layers import Layer
from mlrepro.cleanroom.room import Room
from mlrepro.errors import MlreproError, RestoreError, TrainingFailedError
from mlrepro.manifest import Manifest, Role, Status
from mlrepro.process import Ended, Streams
from mlrepro.stores.place import Place

_TAIL = 12
_TAIL_BYTES = 20_000


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
    root : Path
        The room's folder.
    effective : Effective
        What the training libraries did, and the models that it did not save.
    observation : Observation
        All that was seen of it.
    """

    ended: Ended
    outputs: tuple[Output, ...]
    stdout: Path
    stderr: Path
    notes: tuple[str, ...] = ()
    root: Path = Path()
    effective: Effective = field(default_factory=Effective)
    observation: Observation = field(default_factory=Observation)


@dataclass(frozen=True)
class Plan:
    """How the training will be started.

    Attributes
    ----------
    command : list of str
        The recorded command, mapped to the chosen interpreter.
    cwd : str
        Its folder, as it is called inside.
    chosen : Chosen
        The environment that it is to run in.
    binds : dict of str to Path
        Absolute folders and files that are to show something else.
    top : str
        What the room is called inside.
    outer : tuple of str
        The folders that the room stands for: the user's, and the recorded one.
    keep : tuple of Path
        What stays to be seen although it lies in one of them.
    layer : Layer or None
        What the room adds to an environment that was made from a lock.
    whole : tuple of str
        Places that may show such an environment, in which nothing is kept.
    """

    command: list[str]
    cwd: str
    chosen: Chosen
    binds: Mapping[str, Path] = field(default_factory=dict)
    top: str = ""
    outer: tuple[str, ...] = ()
    keep: tuple[Path, ...] = ()
    layer: Layer | None = None
    whole: tuple[str, ...] = ()


def plan(
    here: Place, record: Manifest, chosen: Chosen, room: Room, outside: Mapping[str, Path]
) -> Plan:
    """Decide how the command reaches the room; refuse before the training what cannot work.

    Parameters
    ----------
    outside : mapping of str to Path
        Places outside the project that are to show something.

    Raises
    ------
    RestoreError
        If the code names its recorded folder and the room cannot be bound over it, or the run
        was interrupted, so that no training could end as it did.
    """
    _expect_an_end(record)
    prefix = Path(chosen.environment.prefix)
    layer = layers.put(chosen.lock, room, prefix=prefix) if chosen.lock else None
    environment = reach.binds(here, record, chosen, room, layer)
    naming = _naming(here, record, room)
    binds = {**outside, **environment, **({record.run.root: room.root} if naming else {})}
    keep = (*reach.folders(chosen), here.repository.common_dir / "objects")
    other = reach.other_binds(here, record, chosen, room, layer)
    binds = _sheltered(here, record, room, binds, other, naming, keep)
    inner = reach.inner_binds(record, chosen, room, binds, layer)
    binds.update(inner)
    made = (*environment, *other, *inner) if chosen.lock else ()
    top = record.run.root if naming else str(room.root)
    cwd = os.path.join(top, record.run.directory).rstrip("/")
    command = reach.command(record, chosen, room, layer)
    outer = shelter.roots(here, record)
    return Plan(command, cwd, chosen, binds, top, outer, keep, layer, made)


def _sheltered(
    here: Place,
    record: Manifest,
    room: Room,
    binds: Mapping[str, Path],
    other: Mapping[str, Path],
    naming: list[str],
    keep: Sequence[Path],
) -> dict[str, Path]:
    """Add the user's own folder, and `other`, to what must be bound, where that is possible."""
    why: str | None = _not_over_home(here, binds)
    places = shelter.places(here, record, room, (*reach.own_folders(), *keep))
    needed = {**dict.fromkeys(places, room.root), **binds}
    for wanted in ({**needed, **other}, needed) if other else (needed,):
        if not why and wanted and mounts.refusal(wanted) is None:
            return wanted
    if binds and (why := why or mounts.refusal(binds)):
        raise RestoreError(
            f"{_what(naming, binds)}, and the clean room cannot be shown there: {why}",
            hint="Use paths relative to the script, or allow user namespaces.",
        )
    return dict(binds)


def train(
    record: Manifest,
    plan: Plan,
    room: Room,
    *,
    threads: bool,
    factors: Factors | None = None,
) -> Trained:
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
    factors : Factors, optional
        What is changed on purpose.

    Raises
    ------
    TrainingFailedError
        If it does not start, or ends otherwise than recorded.
    """
    log = room.work / "log"
    log.mkdir()
    probe.hide(place for place in plan.whole if place in plan.binds)
    shown = next((place for place in _shown(record, plan) if place in plan.binds), "")
    observer = observers.choose("auto", log=log, root=room.root, command=plan.command, shown=shown)
    environ = _environ(record, plan, room, _temporary(room), threads=threads)
    environ = factors.environ(environ) if factors else environ
    command, cwd = _inside(_fed(record, plan.command, room), plan, room)
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
            f"the command does not start in the clean room: {error}", hint=_ENVIRONMENT
        ) from error
    finally:
        if room.temporary.is_symlink():
            borrowed.remove(room.temporary.resolve())
    observation = observer.finish()
    _expect_the_same_end(record, ended, room)
    own = (str(room.folder), *map(str, reach.folders(plan.chosen)))
    made, unclaimed = outputs.find(room.root, observation)
    notes = (
        *unclaimed,
        *shelter.strays(observation, plan.outer, plan.binds, own),
        *reach.strangers(observation.interpreters, plan.chosen, plan.binds, plan.layer),
        *_of_end(record, ended),
    )
    weights = [room.root / one.path for one in made if one.role is Role.WEIGHTS]
    seen = effective.find(observation, room.root, weights)
    printed = room.work / "stdout", room.work / "stderr"
    return Trained(ended, made, *printed, notes, room.root, seen, observation)


def beside(
    record: Manifest, plan: Plan, room: Room, command: Sequence[str]
) -> tuple[list[str], Path, dict[str, str]]:
    """Return how another command is started where the training was: words, folder, variables."""
    inside, cwd = _inside(list(command), plan, room)
    return inside, cwd, _environ(record, plan, room, room.work, threads=True)


def _inside(command: list[str], plan: Plan, room: Room) -> tuple[list[str], Path]:
    """Return a command that sees what the training sees, and the folder to start it in."""
    if not plan.binds:
        return command, Path(plan.cwd)
    prefix = Path(plan.chosen.environment.prefix)
    mine = {p for p, s in plan.binds.items() if s != prefix and not _is_in(room, s)}
    wrapped = mounts.wrap(command, binds=plan.binds, cwd=plan.cwd, keep=plan.keep,
                          fixed=mine, whole=plan.whole)  # fmt: skip
    return wrapped, room.root


def _is_in(room: Room, source: Path) -> bool:
    return source.resolve().is_relative_to(room.folder.resolve())


def _shown(record: Manifest, plan: Plan) -> tuple[str, ...]:
    """Return where the training may see the room, its own folder there first."""
    return (plan.top, *plan.outer, record.run.root)


_ENVIRONMENT = "Activate the environment that the model is to be trained in."


def _expect_an_end(record: Manifest) -> None:
    run = record.run
    if any("\0" in word for word in (*run.command, run.root, run.directory)):
        raise RestoreError(f"run {record.short} holds a command that no system can start")
    if run.was_stopped:
        raise RestoreError(
            f"run {record.short} was interrupted, and no training can be stopped at the same point",
            hint="Rebuild a run that was completed; `mlrepro ls` lists them.",
        )


def _not_over_home(here: Place, binds: Mapping[str, Path]) -> str:
    """Refuse to hide one's home from the training, unless the project lies right in it."""
    home = Path.home().resolve()
    for place in binds:
        real = Path(os.path.realpath(place))
        if home.is_relative_to(real) and real != here.root:
            return f"`{place}` holds your home folder"
    return ""


def _fed(record: Manifest, command: list[str], room: Room) -> list[str]:
    """Give the command the file that it had as its standard input."""
    streamed = [one for one in record.inputs if "stream" in one.seen.split("+")]
    if record.run.stdin != "file" or len(streamed) != 1 or streamed[0].path.startswith("/"):
        return command
    # The file is opened by the shell, in the room: inside, its place may be another.
    return ["/bin/sh", "-c", 'exec "$@" <"$0"', str(room.root / streamed[0].path), *command]


def _of_end(record: Manifest, ended: Ended) -> list[str]:
    notes = []
    if ended.left_open:
        notes.append("a process in the background outlived the training")
    if ended.truncated:
        notes.append("only the beginning of what was printed is compared")
    if record.run.status is Status.FAILED and ended.exit_code == 0:
        notes.append(f"the recorded run failed with exit code {record.run.exit_code}, this did not")
    return notes


def _naming(here: Place, record: Manifest, room: Room) -> list[str]:
    """Return the places in which the recorded folder is written out as an absolute path."""
    root = record.run.root
    if not root.startswith("/") or root == "/":
        return []
    places = rooms.mentions(here, record, room, root)
    named = [w for w in record.run.command[1:] if root in w]
    restored = [name for name, value in record.variables.restored.items() if root in value]
    return [*places, *named, *restored]


def _what(naming: list[str], binds: Mapping[str, Path]) -> str:
    if naming:
        return f"{', '.join(naming[:3])} names the author's folder by its absolute path"
    return f"the run read {', '.join(list(binds)[:3])}"


def recorded_variables(
    record: Manifest, environ: Mapping[str, str], *, threads: bool
) -> dict[str, str]:
    """Return the recorded variables over those of this machine; a stranger may have recorded them.

    Parameters
    ----------
    environ : mapping
        Of this machine; nothing, to know what the record alone gives.
    threads : bool
        Whether every pool of threads gets its recorded size.
    """
    given = record.variables.restored
    # Sorted into the three tables once more: what no honest run would have recorded goes.
    honest = {
        name: value
        for name, value in variables.tables(given, given, salt="").restored.items()
        if name not in _STARTUP and (threads or not _COUNTS.match(name))
    }
    return variables.restore(
        replace(record.variables, restored=honest),
        dict(environ),
        threads=record.threads if threads else None,
    )


def _environ(
    record: Manifest, plan: Plan, room: Room, temporary: Path, *, threads: bool
) -> dict[str, str]:
    """Return the variables of the training."""
    environ = recorded_variables(record, os.environ, threads=threads)
    if not threads:
        environ.update({n: v for n, v in os.environ.items() if _COUNTS.match(n)})
    path = environ.pop("PYTHONPATH", "")
    if plan.layer and "PYTHONPATH" not in record.variables.derived:
        path = ""  # this machine's own packages, which the recorded environment did not have
    search = [shelter.search_path(path, plan.outer, room, plan.top)] if path else []
    if search := [*_own_modules(plan), *search]:
        environ["PYTHONPATH"] = os.pathsep.join(search)
    return {
        **reach.variables(plan.chosen, plan.layer, environ),
        "TMPDIR": str(temporary),
        # Neither a git nor a DVC repository around the cache is the training's.
        "GIT_CEILING_DIRECTORIES": str(room.root.parent),
    }


def _own_modules(plan: Plan) -> list[str]:
    """Return the folders of the project's own packages, as they are called inside."""
    if plan.layer is None or plan.layer.metadata is None:
        return []
    folders = [os.path.normpath(os.path.join(plan.top, name)) for name in plan.layer.modules]
    return [*folders, str(plan.layer.metadata)]


_COUNTS = re.compile(r"^(?:OMP|MKL|OPENBLAS|GOTO|BLIS|NUMEXPR|VECLIB|NUMBA|TBB)_\w*THREADS$")
_STARTUP = frozenset({"BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS", "PS4", "IFS", "PERL5OPT",
                      "RUBYOPT", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "GCONV_PATH"})  # fmt: skip
_LONGEST = 70


def _temporary(room: Room) -> Path:
    """Return a folder for TMPDIR: short, since sockets below it have at most 107 characters."""
    if len(str(room.temporary)) <= _LONGEST:
        return room.temporary
    short = Path(tempfile.gettempdir(), f"mlrepro-{room.folder.name}")
    room.temporary.rmdir()
    short.mkdir(mode=0o700, exist_ok=True)
    room.temporary.symlink_to(short)
    return short


def _streams(record: Manifest) -> Streams | None:
    """Use the recorded kinds of descriptors: many programs print otherwise into a terminal."""
    if not record.run.stdout:
        return None
    return Streams("null", record.run.stdout, record.run.stderr or "pipe")


def _expect_the_same_end(record: Manifest, ended: Ended, room: Room) -> None:
    if ended.signal == signal.SIGINT:
        raise KeyboardInterrupt
    run = record.run
    as_recorded = (run.exit_code, run.signal) == (ended.exit_code, ended.signal)
    if ended.exit_code == 0 or (as_recorded and run.status is not Status.COMPLETED):
        return
    said = _tail(room.work / "stderr").rpartition("\n")[2]
    if ended.exit_code in (126, 127) and said.startswith("mlrepro: `"):  # from _enter
        raise TrainingFailedError(
            f"the command does not start in the clean room: {said.removeprefix('mlrepro: ')}",
            hint=_ENVIRONMENT,
        )
    how = f"signal {ended.signal}" if ended.signal else f"exit code {ended.exit_code}"
    last = _tail(room.work / "stderr") or _tail(room.work / "stdout")
    raise TrainingFailedError(
        f"the training failed in the clean room with {how}",
        hint=f"It said:\n{last}" if last else "It said nothing.",
    )


def _tail(path: Path) -> str:
    """Return the last lines of what was printed, free of control characters."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[^\n\t -~\u00a0-\U0010ffff]", "", text)
    return "\n".join(text.strip().splitlines()[-_TAIL:])
