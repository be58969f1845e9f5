"""Preflight: what may be expected of a rebuild on this machine, said before any training.

`RULES` is the whole of it, in order: each rule yields an expectation and a sentence, and the worst
one wins. Nothing is restored, fetched to stay, or trained; remotes are only asked.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mlrepro.capture import machine
from mlrepro.cleanroom import mounts, pathmaps, restore
from mlrepro.cleanroom import room as rooms
from mlrepro.cleanroom.outside import Outside
from mlrepro.commands import aside, codechanges, expectations, refs, surroundings, verify
from mlrepro.commands.expectations import (
    IMPOSSIBLE,
    NOTE,
    UNLIKELY,
    Expectation,
    Found,
    Preflight,
    Reason,
)
from mlrepro.commands.surroundings import Surroundings
from mlrepro.commands.verify import State
from mlrepro.errors import InconclusiveError, MlreproError, RefNotFoundError, StoreError
from mlrepro.manifest import Input, Manifest, Platform, Source
from mlrepro.stores import git, ledger, place
from mlrepro.stores.place import Place

_NAMED = 5


@dataclass(frozen=True)
class _Look:
    """What the rules look at."""

    here: Place
    record: Manifest
    head: bool
    threads: bool
    env: str
    notify: Callable[[str], None]

    @cached_property
    def machine(self) -> Platform:
        return machine.platform()

    @cached_property
    def around(self) -> Surroundings:
        return surroundings.of(self.here, self.record, self.env, notify=self.notify)

    @cached_property
    def has_code(self) -> bool:
        code = self.record.code
        return code is not None and git.has(self.here.repository, f"{code.tree}^{{tree}}")

    @cached_property
    def inputs(self) -> tuple[Input, ...]:
        """All inputs that can be told; those of the manifest where the list is not to be had."""
        try:
            return restore.all_inputs(self.here, self.record)
        except MlreproError:
            return self.record.inputs


def preflight(
    ref: str,
    *,
    start: Path | None = None,
    env: str = "lock",
    threads: bool = True,
    head: bool = False,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> Preflight:
    """Say what `rebuild` would do with a run here, without doing it.

    Parameters
    ----------
    ref : str
        An artifact, a manifest or a run.
    start : Path, optional
        Where the user stands.
    env : str
        ``lock`` or ``current``, as for `rebuild`.
    threads : bool
        Whether every pool of threads gets its recorded size.
    head : bool
        Whether the code of HEAD is taken.
    notify : callable
        Takes a sentence before something slow.

    Raises
    ------
    UsageError
        If the REF or its manifest cannot be used.
    InconclusiveError
        If a store does not answer.
    """
    try:
        here = place.strict((start or Path.cwd()).resolve())
        record = _known(here, ref, start)
        if record and _is_whole(here, record):
            return _looked(_Look(here, record, head, threads, env, notify))
        with aside.fetched(here, notify=notify) as there:
            record = record or refs.resolve(there, ref, start=start).manifest
            look = _Look(there, record, head, threads, env, notify)
            if record.code and not look.has_code:
                aside.code(there, record.code.snapshot, notify=notify)
                look = replace(look)
            return _looked(look)
    except StoreError as error:
        raise InconclusiveError(str(error), hint=error.hint) from error


def _known(here: Place, ref: str, start: Path | None) -> Manifest | None:
    try:
        return refs.resolve(here, ref, start=start).manifest
    except RefNotFoundError:
        if not git.default_remote(here.repository):
            raise
        return None


def _is_whole(here: Place, record: Manifest) -> bool:
    """Say whether the code and the lists of a run are here."""
    if record.code and not git.has(here.repository, f"{record.code.tree}^{{tree}}"):
        return False
    try:
        for name in record.lists:
            ledger.listing(here.repository, record, name)
    except MlreproError:
        return False
    return True


def _looked(look: _Look) -> Preflight:
    reasons = tuple(
        Reason(about, *found) for about, rule in RULES for found in dict.fromkeys(rule(look))
    )
    record = look.record
    return Preflight(
        run=record.id,
        name=record.run.name,
        expectation=max((r.expectation for r in reasons), default=Expectation.BIT_FOR_BIT),
        reasons=reasons,
        environment=look.around.source,
        seconds=round(_seconds(look), 1),
        bytes=_bytes(look),
    )


def _seconds(look: _Look) -> float:
    """Return the recorded time, or longer where fewer cores do the recorded work."""
    run, cores = look.record.run, look.machine.affinity or look.machine.cores
    had = look.record.platform.affinity
    slower = run.cpu_seconds / cores if 0 < cores < had else 0.0
    return max(run.seconds, slower)


def _bytes(look: _Look) -> int:
    restored = sum(i.size or 0 for i in look.inputs if i.source is not Source.CODE)
    return restored + sum(artifact.size for artifact in look.record.artifacts)


def _run(look: _Look) -> Iterator[Found]:
    return expectations.of_run(look.record)


def _code(look: _Look) -> Iterator[Found]:
    """Look for the code: here, and on the git remote."""
    record, repo = look.record, look.here.repository
    if record.code is None:
        yield IMPOSSIBLE, "the run recorded no code"
    elif not look.has_code:
        remote = git.default_remote(repo)
        on = f"neither here nor on {remote}" if remote else "not here, and there is no git remote"
        yield IMPOSSIBLE, f"its code is {on}", "Ask the author for `mlrepro push`."
    elif look.head:
        yield from _of_head(look, record.code.tree)


def _of_head(look: _Look, recorded: str) -> Iterator[Found]:
    repo = look.here.repository
    commit = git.head(repo).commit
    if not commit:
        yield IMPOSSIBLE, "there is no commit yet that `--code head` could take"
        return
    tree = git.call(repo, "rev-parse", f"{commit}^{{tree}}").decode().strip()
    changes = codechanges.between(look.here, recorded, tree, look.record)
    if changes:
        yield UNLIKELY, f"HEAD has other code: {_listed([change.what for change in changes])}"


def _inputs(look: _Look) -> Iterator[Found]:
    """Look for what the run read: in the stores, on the DVC remote, outside the project."""
    found = verify.of_inputs(look.here, look.record, notify=look.notify)
    lost = [f.path for f in found if f.state is State.LOST]
    secrets = [path for path in lost if path.endswith(" (a secret)")]
    lost = [path for path in lost if path not in secrets]
    if lost:
        yield IMPOSSIBLE, f"not to be had: {_listed(lost)}", "Ask the author for `mlrepro push`."
    if secrets:
        yield UNLIKELY, f"a training may need a file that is not recorded: {_listed(secrets)}"
    absent = [f.path for f in found if f.state is State.ABSENT]
    if absent:
        yield NOTE, f"will be fetched from the DVC remote: {_listed(absent)}"


def _artifacts(look: _Look) -> Iterator[Found]:
    """Look for the recorded artifacts: a model that moved is compared with them."""
    lost = verify.lost_artifacts(look.here, look.record, notify=look.notify)
    if lost:
        yield NOTE, f"only whether they are identical can be told of {_listed(lost)}"


def _places(look: _Look) -> Iterator[Found]:
    """Look whether the room can be shown wherever the run had absolute paths."""
    with tempfile.TemporaryDirectory(prefix="mlrepro-") as folder:
        binds = _binds(look, Path(folder))
        why = mounts.refusal(binds) if binds else None
    if why:
        yield IMPOSSIBLE, f"nothing can be shown at {_listed(sorted(binds))}, as it must: {why}"


def _binds(look: _Look, folder: Path) -> dict[str, Path]:
    """Return what would have to be shown at recorded places; empty files stand for it."""
    outside = Outside(look.record, folder / "outside", pathmaps.read(look.here.root))
    for one in look.inputs:
        is_there = one.digest is None or restore.is_file(Path(one.path), one.digest)
        if one.path.startswith("/") and not is_there:
            for path in outside.places(one.path):
                outside.copy(path).touch()
    root = {look.record.run.root: folder} if _names_its_folder(look) else {}
    return {**outside.binds(), **root}


def _names_its_folder(look: _Look) -> bool:
    record = look.record
    root = record.run.root
    if not root.startswith("/") or root == "/" or not record.code or not look.has_code:
        return False
    nowhere = rooms.Room(Path(), Path(), Path(), Path(), record.code.tree)
    values = (*record.run.command[1:], *record.variables.restored.values())
    named = any(root in value for value in values)
    return named or bool(rooms.mentions(look.here, record, nowhere, root))


def _environment(look: _Look) -> Iterator[Found]:
    yield from look.around.found


def _libraries(look: _Look) -> Iterator[Found]:
    return surroundings.of_libraries(look.here, look.record, look.around, notify=look.notify)


def _machine(look: _Look) -> Iterator[Found]:
    return expectations.of_machine(look.record, look.machine)


def _threads(look: _Look) -> Iterator[Found]:
    return expectations.of_threads(look.record, look.machine, restored=look.threads)


def _randomness(look: _Look) -> Iterator[Found]:
    return expectations.of_randomness(look.record)


def _variables(look: _Look) -> Iterator[Found]:
    return expectations.of_variables(look.record, os.environ)


def _blind_spots(look: _Look) -> Iterator[Found]:
    return expectations.of_blind_spots(look.record)


def _memory(look: _Look) -> Iterator[Found]:
    return expectations.of_memory(look.record, look.machine)


def _disk(look: _Look) -> Iterator[Found]:
    """Compare what the room will hold with the space that is free where it will lie."""
    folder = rooms.cache_home()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < _bytes(look):
        needed, left = _bytes(look) / 1e9, free / 1e9
        yield IMPOSSIBLE, f"the clean room needs {needed:.1f} GB, and {left:.1f} GB are free"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


Rule = Callable[[_Look], Iterator[Found]]

RULES: Sequence[tuple[str, Rule]] = (
    ("run", _run),
    ("code", _code),
    ("inputs", _inputs),
    ("artifacts", _artifacts),
    ("paths", _places),
    ("environment", _environment),
    ("libraries", _libraries),
    ("machine", _machine),
    ("threads", _threads),
    ("randomness", _randomness),
    ("variables", _variables),
    ("blind spots", _blind_spots),
    ("memory", _memory),
    ("disk", _disk),
)
