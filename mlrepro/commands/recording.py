"""Recording: from what was observed of a run to its manifest, its objects and its ledger entry."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from mlrepro import documents, manifest, paths, plain, probe
from mlrepro.capture import (
    code,
    effective,
    environment,
    folders,
    inputs,
    libraries,
    machine,
    observers,
    outputs,
    params,
    variables,
)
from mlrepro.capture import work as works
from mlrepro.capture.observation import Interpreter, Observation
from mlrepro.capture.work import State, Work
from mlrepro.commands import keeping, spelling, storing
from mlrepro.errors import MlreproError
from mlrepro.manifest import (
    Artifact,
    CodeState,
    Digest,
    Environment,
    Grade,
    Listing,
    Manifest,
    Package,
    Role,
    Run,
    Status,
)
from mlrepro.process import Ended
from mlrepro.stores import git, ledger
from mlrepro.stores.place import Place


@dataclass(frozen=True)
class Recorded:
    """A run that was recorded.

    Attributes
    ----------
    manifest : Manifest
        The record.
    kept : tuple of str
        The files that `git add` should take so that the model is kept, relative to the root.
    staged : bool
        Whether they were staged already (DVC's ``core.autostage``).
    in_ledger : bool
        Whether the ledger holds it.
    troubles : tuple of str
        What could not be recorded, one sentence each.
    reasons : mapping of str to str
        Weights that only the ledger keeps: what was in the way of a pointer.
    ignored : mapping of str to tuple of str
        Call → parameters that were passed to it and that it does not know.
    warnings : tuple of str
        What the user should know of secrets, one sentence each.
    """

    manifest: Manifest
    kept: tuple[str, ...] = ()
    staged: bool = False
    in_ledger: bool = True
    troubles: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    ignored: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def prepare(here: Place, state: State) -> inputs.Known:
    """Gather what git, DVC and the ledger say of the project's files, while the training runs.

    What cannot be said is left empty: the run is recorded all the same.
    """
    if here.repo is None:
        return inputs.Known(here.root)
    untracked = frozenset(state.snapshot.untracked if state.snapshot else ())
    files: Mapping[str, git.TreeEntry] = {}
    runs: Mapping[str, tuple[str, str]] = {}
    with suppress(OSError, MlreproError):
        files = git.files(here.repo, state.snapshot.tree) if state.snapshot else {}
    with suppress(OSError, MlreproError):
        runs = ledger.by_digest(here.repo)
    return inputs.Known(
        here.root,
        tracked=frozenset(files) - untracked,
        untracked=untracked,
        pointers=keeping.pointers(here, [p for p in files if p.endswith(".dvc")]),
        ledger=runs,
        repo=here.repo,
        blobs={path: entry.name for path, entry in files.items()},
    )


def seal(
    here: Place,
    work: Work,
    state: State,
    ended: Ended | None,
    observation: Observation,
    *,
    known: inputs.Known | None = None,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> Recorded:
    """Record a run that is over.

    Parameters
    ----------
    here : Place
        The project.
    work : Work
        The run's folder.
    state : State
        What was known at the start.
    ended : Ended or None
        How the command ended; None where mlrepro was killed and it is not known.
    observation : Observation
        What the observers saw.
    known : inputs.Known, optional
        From `prepare`.
    notify : callable
        Takes a sentence while something is waited for.
    """
    overlapped = works.overlapped(here.root, state.work, state.began)
    # A run inside this one, or beside it, may have made what this one read.
    known = prepare(here, state) if known is None or overlapped else known
    troubles = [*state.troubles, *_troubles(ended)]
    made, read, unclaimed, choice = _sorted(
        here, work, state, ended, observation, known, troubles, overlapped=overlapped
    )
    trained = effective.find(observation, here.root, _weights(here, made))
    unsaved, lost = storing.models(here, trained.models)
    troubles += lost
    printed = [one for one in made if one.role in manifest.STREAMS]
    listed = effective.folders(observation, here.root, read.inputs)
    settled = _settle(here, state, read, [a.path for a in made], troubles)
    env, packages = _environment(here, observation)
    troubles += environment.troubles(packages)
    lists = {
        **_lists(read.inputs, packages),
        **_lists_of_training(here, observation, env, trained, listed),
    }
    record = Manifest(
        run=_run(here, state, ended, work),
        code=settled,
        artifacts=(*(a for a in made if a not in printed), *unsaved, *printed),
        inputs=inputs.shown(read.inputs),
        parents=inputs.parents(read.inputs, known, here.stores),
        params=_params(here.root, state, [i.path for i in read.inputs]),
        metrics=_metrics(here.root, made),
        environment=env,
        platform=machine.platform(),
        threads=observation.threads,
        variables=_variables(state, observation),
        observer=observation.name,
        blind_spots=(*observation.blind_spots, *unclaimed, *_code_blind_spots(state), *troubles),
        lists={k: Listing(Digest("sha256", _sha256(v)), n) for k, (v, n) in lists.items()},
        folders=_folders_listed(here, state, observation, known, settled, read),
        fits=trained.fits,
        generators=trained.generators,
        listed=listed[: effective.INLINE_FOLDERS],
    )
    record = spelling.legible(record)
    record = replace(record, sealed=record.id)  # computed once
    in_ledger = _append(here, work, record, {k: v for k, (v, _) in lists.items()}, troubles)
    kept: tuple[str, ...] = ()
    staged = False
    if in_ledger:
        kept, staged = keeping.keep(
            here, record, troubles=troubles, notify=notify, ignored=choice.ignored
        )
        unpin(here, work)
    return Recorded(
        record,
        kept,
        staged,
        in_ledger,
        troubles=tuple(troubles),
        reasons=choice.reasons,
        ignored=trained.ignored,
        warnings=_warnings(state),
    )


def _warnings(state: State) -> tuple[str, ...]:
    """Say which secrets are in the record, and which files were left out of it."""
    said = []
    if given := params.secrets_of(state.command):
        said.append(f"the command line, with the value of {', '.join(given)}, is in the manifest")
    left_out = state.snapshot.left_out if state.snapshot else ()
    if left_out:
        more = f" and {len(left_out) - 5} more" if len(left_out) > 5 else ""
        said.append(f"not recorded: {', '.join(left_out[:5])}{more}")
    return tuple(said)


def note(work: Work, ended: Ended) -> None:
    """Write down how a run ended, so that a kill of ours while it is recorded loses nothing."""
    with suppress(OSError):
        work.write_ended(replace(ended, failure=None))


def warm_up() -> None:
    """Load what is needed only at the end of a run."""
    import rfc8785  # noqa: F401, PLC0415  beside the training

    from mlrepro import yamlform  # noqa: F401, PLC0415
    from mlrepro.capture import trail  # noqa: F401, PLC0415


def unpin(here: Place, work: Work) -> None:
    """Let the code of a run go: the ledger has it, or nobody will."""
    if here.repo:
        with suppress(OSError, MlreproError):
            code.unpin(here.repo, work.name)


def _sorted(
    here: Place,
    work: Work,
    state: State,
    ended: Ended | None,
    observation: Observation,
    known: inputs.Known,
    troubles: list[str],
    *,
    overlapped: bool,
) -> tuple[list[Artifact], inputs.Found, tuple[str, ...], keeping.Choice]:
    """Tell outputs from inputs, and store what has to be stored of both."""
    start = here.root / state.directory
    found, unclaimed = outputs.find(
        here.root,
        observation,
        overlapped=overlapped,
        declared=state.options.outputs,
        start=start,
        code=known.tracked | known.untracked,
    )
    found, odd = spelling.named(found, "written")
    choice = keeping.decide(here, found, keep=state.options.keep and _completed(ended))
    with here.statcache() as cache:
        read = inputs.find(
            observation,
            known,
            here.stores,
            declared=state.options.inputs,
            start=start,
            began=state.began,
            cache=cache,
        )
        made, lost = storing.artifacts(here, found, choice.kept, cache)
    kept_inputs, odd_inputs = spelling.named(read.inputs, "read")
    read = replace(read, inputs=kept_inputs)
    printed, lost_text = storing.streams(here, work)
    loud = [spot for spot in unclaimed if not spot.startswith(outputs.NO_NEWS)]
    quiet = tuple(spot for spot in unclaimed if spot not in loud)
    troubles += [*read.troubles, *loud, *lost, *lost_text, *odd, *odd_inputs]
    return [*made, *printed], read, quiet, choice


def _troubles(ended: Ended | None) -> list[str]:
    """Say what could not be kept of what was printed."""
    found = []
    if ended and ended.lost:
        found.append(f"what was printed could not be kept whole: {ended.lost}")
    if ended and ended.truncated:
        found.append("only the beginning of what was printed is kept")
    if ended and ended.failure:
        found.append(f"the run's process could not be noted: {ended.failure}")
    return found


def finish_dead(here: Place) -> tuple[Recorded, ...]:
    """Finish the runs of this project that were killed, or whose record could not be written.

    Where mlrepro did not see the end, their status is *interrupted*. A record that still cannot
    be written waits for a month.
    """
    finished = []
    with works.dead(here.root) as killed:
        for work in killed:
            try:
                state = work.read()
            except MlreproError:  # killed before it was written: there is nothing to record
                unpin(here, work)
                works.conclude(here.root, work)
                continue
            recorded = _finished(here, work, state)
            finished += [recorded] if recorded else []
            if (recorded and recorded.in_ledger) or state.began < time.time() - _WAITING:
                paths.sweep(_folders(here, recorded), since=state.began)
                unpin(here, work)
                works.conclude(here.root, work, began=state.began, end=work.last_sign())
    return tuple(finished)


_WAITING = 30 * 86400.0


def _finished(here: Place, work: Work, state: State) -> Recorded | None:
    ended, at = work.read_ended(Ended)
    try:
        runs = ledger.entries(here.repo) if here.repo else ()
        entry = next((e for e in runs if e.work == state.work), None)
        if entry:  # killed between the ledger and the pointers
            kept, staged = keeping.keep(here, entry.manifest, troubles=[], notify=lambda _: None)
            return Recorded(entry.manifest, kept, staged)
        return seal(here, work, state, ended, observers.recover(work.log, here.root, until=at))
    except Exception:  # noqa: BLE001  a run of long ago never stands in the way of a command
        return None


def _folders(here: Place, recorded: Recorded | None) -> set[Path]:
    """Return where a killed mlrepro may have left half a file."""
    made = recorded.manifest.artifacts if recorded else ()
    return {here.root, *((here.root / artifact.path).parent for artifact in made)}


def _run(here: Place, state: State, ended: Ended | None, work: Work) -> Run:
    if ended is None:
        seconds = max(0.0, work.last_sign() - state.began)
        status, exit_code, signal, cpu, memory = Status.INTERRUPTED, None, None, 0.0, 0
        stdin = stdout = stderr = ""
    else:
        seconds, cpu, memory = ended.seconds, ended.cpu_seconds, ended.peak_memory
        exit_code, signal = ended.exit_code, ended.signal
        status = _status(ended)
        stdin, stdout, stderr = ended.streams.stdin, ended.streams.stdout, ended.streams.stderr
    return Run(
        command=state.command,
        started=state.started,
        status=status,
        directory=state.directory,
        root=state.root,
        seconds=round(seconds, 3),
        cpu_seconds=round(cpu, 3),
        peak_memory=memory,
        exit_code=exit_code,
        signal=signal,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        name=state.options.name,
        message=state.options.message,
        author=state.author or _author(here),
        work=state.work,
    )


def _author(here: Place) -> str:
    return git.author(here.repo) if here.repo else ""


def _status(ended: Ended) -> Status:
    if ended.signal is not None:
        return Status.INTERRUPTED
    return Status.COMPLETED if ended.exit_code == 0 else Status.FAILED


def _completed(ended: Ended | None) -> bool:
    return ended is not None and _status(ended) is Status.COMPLETED


def _settle(
    here: Place, state: State, read: inputs.Found, made: Sequence[str], troubles: list[str]
) -> CodeState | None:
    if here.repo is None or state.snapshot is None:
        return None
    opened = dict(read.code)
    # A script that is no Python file is not seen being read: its name is in the command.
    named = {os.path.normpath(os.path.join(state.directory, word)) for word in state.command}
    opened.update({path: 0 for path in state.snapshot.untracked if path in named - opened.keys()})
    try:
        return code.settle(
            here.repo,
            state.snapshot,
            opened=opened,
            outputs=made,
            read=read.opened,
            changed=[one.path for one in read.inputs if one.grade is Grade.BEFORE_WRITE],
        )
    except (OSError, MlreproError) as error:
        troubles.append(f"the code's snapshot could not be completed: {storing.sentence(error)}")
        return None


def _folders_listed(
    here: Place,
    state: State,
    observation: Observation,
    known: inputs.Known,
    settled: CodeState | None,
    read: inputs.Found,
) -> tuple[str, ...]:
    found = folders.empty(
        here.root,
        observation,
        began=state.began,
        code=known.tracked | set(settled.untracked if settled else ()),
        inputs=[one.path for one in read.inputs],
    )
    return tuple(name for name in found if spelling.is_text(name))


def _environment(here: Place, observation: Observation) -> tuple[Environment, tuple[Package, ...]]:
    """Take the environment of the first Python process: the training itself or its launcher."""
    if not observation.interpreters:
        return Environment(), ()
    cache = here.root / works.FOLDER / "distributions.json"
    # A run inside this run has a process of mlrepro's own, in mlrepro's environment.
    own = next((i for i in observation.interpreters if not _is_ours(i)), None)
    python = own or observation.interpreters[0]
    env, packages = environment.fingerprint(
        python, cache=cache, root=here.root, used=_used(observation)
    )
    known = here.root / works.FOLDER / "wheels.json"
    return env, storing.wheels(here, packages, path=python.path, known=known)


def _used(observation: Observation) -> tuple[str, ...]:
    """Return all that the run imported, loaded and read; the observer itself does not count."""
    own = f"{probe.folder().parent}/"
    libraries = (path for path in observation.libraries if not path.startswith(own))
    return (*observation.imported, *libraries, *(read.path for read in observation.reads))


def _is_ours(interpreter: Interpreter) -> bool:
    words = interpreter.argv[1:3]
    return PurePosixPath(words[0]).name == "mlrepro" if words else False


def _variables(state: State, observation: Observation) -> manifest.Variables:
    environ = {**os.environ, **state.variables.restored}
    return variables.tables(environ, observation.consulted, salt=state.work)


def _params(root: Path, state: State, read: Sequence[str]) -> dict[str, object]:
    found = params.of_files(root, state.directory, read)
    typed = params.of_command(state.command)
    return {**({"command line": typed} if typed else {}), **found}


def _metrics(root: Path, made: Iterable[Artifact]) -> dict[str, object]:
    found = {a.path: params.of_file(root / a.path) for a in made if a.role is Role.METRICS}
    return {path: values for path, values in found.items() if values}


def _code_blind_spots(state: State) -> Iterable[str]:
    if state.snapshot is None:
        return
    yield from state.snapshot.blind_spots
    if state.snapshot.left_out:
        yield f"left out of the code's snapshot: {', '.join(state.snapshot.left_out)}"


def _lists(
    read: Sequence[manifest.Input], packages: Sequence[Package]
) -> dict[str, tuple[bytes, int]]:
    lists = {}
    if len(read) > inputs.INLINE:
        lists["inputs"] = (documents.canonical_json(plain.dump(read)), len(read))
    if packages:
        lists["distributions"] = (documents.canonical_json(plain.dump(packages)), len(packages))
    return lists


def _weights(here: Place, made: Iterable[Artifact]) -> list[Path]:
    return [here.root / one.path for one in made if one.role is Role.WEIGHTS]


def _lists_of_training(
    here: Place,
    observation: Observation,
    env: Environment,
    trained: effective.Effective,
    listed: Sequence[manifest.Folder],
) -> dict[str, tuple[bytes, int]]:
    """Return the long lists of what was effective: fits, native libraries, listed folders."""
    lists = {}
    if trained.count:
        lists["fits"] = (trained.listing, trained.count)
    if observation.libraries:
        cache = here.root / works.FOLDER / "libraries.json"
        prefixes = {p for i in observation.interpreters for p in (i.prefix, i.base_prefix)}
        first = [env.prefix, *sorted(prefixes - {env.prefix})]
        found = libraries.found(observation.libraries, cache=cache, prefixes=first)
        lists["libraries"] = (documents.canonical_json(plain.dump(found)), len(found))
    if len(listed) > effective.INLINE_FOLDERS:
        lists["listed"] = (documents.canonical_json(plain.dump(listed)), len(listed))
    return lists


def _append(
    here: Place,
    work: Work,
    record: Manifest,
    lists: Mapping[str, bytes],
    troubles: list[str],
) -> bool:
    if here.repo is None:
        return False
    try:
        ledger.append(here.repo, record, lists)
    except (OSError, MlreproError) as error:
        again = "; the next mlrepro command tries again" if work.lasts else ""
        troubles.append(f"the run could not be recorded: {storing.sentence(error)}{again}")
        return False
    return True


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
