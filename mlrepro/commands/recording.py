"""Recording: from what was observed of a run to its manifest, its objects and its ledger entry."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlrepro import documents, manifest, plain
from mlrepro.capture import (
    code,
    environment,
    inputs,
    machine,
    observers,
    outputs,
    params,
    variables,
)
from mlrepro.capture import work as works
from mlrepro.capture.observation import Observation
from mlrepro.capture.outputs import Output
from mlrepro.capture.work import State, Work
from mlrepro.commands import keeping
from mlrepro.errors import MlreproError
from mlrepro.manifest import (
    Artifact,
    CodeState,
    Digest,
    Environment,
    Kept,
    Listing,
    Manifest,
    Package,
    Role,
    Run,
    Status,
)
from mlrepro.process import Ended
from mlrepro.stores import dvc, git, ledger
from mlrepro.stores.place import Place
from mlrepro.stores.statcache import StatCache


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
    """

    manifest: Manifest
    kept: tuple[str, ...] = ()
    staged: bool = False
    in_ledger: bool = True
    troubles: tuple[str, ...] = ()


def prepare(here: Place, state: State) -> inputs.Known:
    """Gather what git, DVC and the ledger say of the project's files, while the training runs."""
    if here.repo is None:
        return inputs.Known(here.root)
    untracked = frozenset(state.snapshot.untracked if state.snapshot else ())
    files = git.files(here.repo, state.snapshot.tree) if state.snapshot else {}
    return inputs.Known(
        here.root,
        tracked=frozenset(files) - untracked,
        untracked=untracked,
        pointers=keeping.pointers(here, [p for p in files if p.endswith(".dvc")]),
        ledger=ledger.by_digest(here.repo),
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
    known = known or prepare(here, state)
    troubles = [*state.troubles, *_troubles(ended)]
    made, read, unclaimed = _sorted(here, work, state, ended, observation, known, troubles)
    settled = _settle(here, state, read, [a.path for a in made], troubles)
    env, packages = _environment(here, observation)
    lists = _lists(read.inputs, packages)
    record = Manifest(
        run=_run(state, ended, work),
        code=settled,
        artifacts=tuple(made),
        inputs=inputs.shown(read.inputs),
        parents=inputs.parents(read.inputs, known.ledger),
        params=_params(here.root, state, [i.path for i in read.inputs]),
        metrics=_metrics(here.root, made),
        environment=env,
        platform=machine.platform(),
        threads=observation.threads,
        variables=_variables(state, observation),
        observer=observation.name,
        blind_spots=(*observation.blind_spots, *unclaimed, *_code_blind_spots(state), *troubles),
        lists={k: Listing(Digest("sha256", _sha256(v)), n) for k, (v, n) in lists.items()},
    )
    in_ledger = _append(here, record, {k: v for k, (v, _) in lists.items()}, troubles)
    kept: tuple[str, ...] = ()
    staged = False
    if in_ledger:
        kept, staged = keeping.keep(here, record, troubles=troubles, notify=notify)
    if here.repo:
        _forgiven(troubles, lambda: code.unpin(here.repository, work.name))
    return Recorded(record, kept, staged, in_ledger, tuple(troubles))


def _sorted(
    here: Place,
    work: Work,
    state: State,
    ended: Ended | None,
    observation: Observation,
    known: inputs.Known,
    troubles: list[str],
) -> tuple[list[Artifact], inputs.Found, tuple[str, ...]]:
    """Tell outputs from inputs, and store what has to be stored of both."""
    found, unclaimed = outputs.find(
        here.root,
        observation,
        overlapped=works.overlapped(here.root, state.work, state.began),
        declared=state.options.outputs,
        code=known.tracked | known.untracked,
    )
    kept_how = keeping.decide(here, found, keep=state.options.keep and _completed(ended))
    with here.statcache() as cache:
        read = inputs.find(
            observation, known, here.stores, declared=state.options.inputs, cache=cache
        )
        made, lost = _store(here, found, kept_how, cache)
    printed, lost_text = _store_streams(here, work)
    troubles += [*read.troubles, *lost, *lost_text]
    return [*made, *printed], read, unclaimed


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
    """Finish the runs of this project that were killed, as *interrupted*."""
    finished = []
    with works.dead(here.root) as killed:
        for work in killed:
            try:
                state = work.read()
                observation = observers.recover(work.log, here.root)
                finished.append(seal(here, work, state, None, observation))
            except MlreproError:
                pass  # killed before its state was written: there is nothing to record
            work.remove()
    return tuple(finished)


def _run(state: State, ended: Ended | None, work: Work) -> Run:
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
        author=state.author,
        work=state.work,
    )


def _status(ended: Ended) -> Status:
    if ended.signal is not None:
        return Status.INTERRUPTED
    return Status.COMPLETED if ended.exit_code == 0 else Status.FAILED


def _completed(ended: Ended | None) -> bool:
    return ended is not None and _status(ended) is Status.COMPLETED


def _store(
    here: Place, found: Sequence[Output], kept: Mapping[str, Kept], cache: StatCache
) -> tuple[list[Artifact], list[str]]:
    made, lost = [], []
    for output in found:
        how = kept[output.path]
        try:
            pointed = how is Kept.POINTER
            stored = here.stores.add(
                here.root / output.path,
                into_dvc=pointed,
                ignore=dvc.ignore_rules(here.root) if pointed else None,
                cache=cache,
            )
        except (OSError, MlreproError) as error:
            lost.append(f"{output.path} could not be stored: {_sentence(error)}")
            continue
        made.append(
            Artifact(
                output.path, output.role, stored.digest, stored.size, how, stored.files, output.seen
            )
        )
    return made, lost


def _store_streams(here: Place, work: Work) -> tuple[list[Artifact], list[str]]:
    printed, lost = [], []
    for role, path in ((Role.STDOUT, work.stdout), (Role.STDERR, work.stderr)):
        name = manifest.STREAMS[role]
        try:
            if not path.exists() or path.stat().st_size == 0:
                continue
            stored = here.stores.add(path, into_dvc=False)
        except (OSError, MlreproError) as error:
            lost.append(f"{name} could not be stored: {_sentence(error)}")
            continue
        printed.append(Artifact(name, role, stored.digest, stored.size, Kept.LEDGER))
    return printed, lost


def _settle(
    here: Place, state: State, read: inputs.Found, made: Sequence[str], troubles: list[str]
) -> CodeState | None:
    if here.repo is None or state.snapshot is None:
        return None
    opened = dict(read.code)
    opened.update({one.path: 0 for one in read.inputs if one.path in state.snapshot.untracked})
    try:
        return code.settle(here.repo, state.snapshot, opened=opened, outputs=made)
    except (OSError, MlreproError) as error:
        troubles.append(f"the code's snapshot could not be completed: {_sentence(error)}")
        return None


def _environment(here: Place, observation: Observation) -> tuple[Environment, tuple[Package, ...]]:
    """Take the environment of the first Python process: the training itself or its launcher."""
    if not observation.interpreters:
        return Environment(), ()
    cache = here.root / works.FOLDER / "distributions.json"
    return environment.fingerprint(observation.interpreters[0], cache=cache)


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


def _append(here: Place, record: Manifest, lists: Mapping[str, bytes], troubles: list[str]) -> bool:
    if here.repo is None:
        return False
    return _forgiven(troubles, lambda: ledger.append(here.repository, record, lists))


def _forgiven(troubles: list[str], step: Callable[[], object]) -> bool:
    """Do a step of the recording; what fails is said, and the rest goes on."""
    try:
        step()
    except (OSError, MlreproError) as error:
        troubles.append(f"the ledger could not be written: {_sentence(error)}")
        return False
    return True


def _sentence(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
