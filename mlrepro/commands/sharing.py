"""Sharing: `push` and `pull`: ledger and code by git, objects by DVC's remote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlrepro.cleanroom import restore
from mlrepro.commands import lock, opening, packages, refs
from mlrepro.errors import DvcError, GitError, RefusedError
from mlrepro.manifest import Digest, Kept, Manifest, Source
from mlrepro.stores import dvc, git, ledger
from mlrepro.stores.place import Place, strict


@dataclass(frozen=True)
class Shared:
    """What was sent or brought.

    Attributes
    ----------
    remote : str
        The git remote.
    runs : int
        How many runs were new to the other side.
    objects : int
        How many objects travelled.
    unreachable : tuple of str
        Inputs that only this machine has, since they were named and not kept.
    """

    remote: str
    runs: int
    objects: int
    unreachable: tuple[str, ...] = ()


def push(
    *,
    start: Path | None = None,
    remote: str = "",
    confirm: Callable[[Sequence[tuple[str, str]]], bool] = lambda _files: False,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> Shared:
    """Send this clone's runs: the objects first, so that no ledger names what is not there.

    Parameters
    ----------
    start : Path, optional
        Where the user stands.
    remote : str
        The git remote; the branch's own, or ``origin``, where none is given.
    confirm : callable
        Asked with (run id, path) of the files that would leave the machine for the first time and
        that git does not track: code, and inputs whose bytes were stored.
    notify : callable
        Takes a sentence before each step.

    Raises
    ------
    RefusedError
        If nobody confirmed; nothing was sent.
    GitError, DvcError
        If a remote is absent or does not take it.
    """
    here = opening.place(start)
    remote = _remote(here, remote)
    pending = ledger.pending(here.repository, remote)
    private = (*pending.untracked, *_stored_inputs(here, pending), *_wheels(here, pending))
    if private and not confirm(private):
        names = ", ".join(sorted({path for _, path in private}))
        raise RefusedError(
            f"nothing was sent: these files, which git does not track, would be: {names}"
        )
    records = [entry.manifest for entry in pending.entries]
    sent = _push_objects(here, records, notify)
    lock.complete(here, records, notify=notify)
    notify(f"sending {_counted(len(records), 'run')} to {remote}")
    ledger.push(here.repository, remote)
    return Shared(remote, len(records), sent, _unreachable(records))


def _stored_inputs(here: Place, pending: ledger.Pending) -> tuple[tuple[str, str], ...]:
    """Return run and path of each stored input that neither git, DVC nor an earlier run brings."""
    made = ledger.by_digest(here.repository) if pending.entries else {}
    found = {}
    for entry in pending.entries:
        folders = tuple(f"{parent.path}/" for parent in entry.manifest.parents)
        for one in restore.all_inputs(here, entry.manifest):
            of_a_run = str(one.digest) in made or one.path.startswith(folders)
            if one.source is Source.STORED and not of_a_run:
                found[one.path] = entry.id
    if not found:
        return ()
    waiting = {entry.id for entry in pending.entries}
    sent = {
        one.path
        for entry in ledger.entries(here.repository)
        if entry.id not in waiting
        for one in entry.manifest.inputs
        if one.source is Source.STORED
    }
    told = sent | git.tracked(here.repository, [p for p in found if not p.startswith("/")])
    return tuple((run, path) for path, run in sorted(found.items()) if path not in told)


def _wheels(here: Place, pending: ledger.Pending) -> tuple[tuple[str, str], ...]:
    """Return run and name of each wheel that was installed from a file and is kept."""
    found = {}
    for entry in pending.entries:
        for one in packages.kept(here, entry.manifest):
            found[f"the wheel of {one.name} {one.version}"] = entry.id
    return tuple((run, name) for name, run in sorted(found.items()))


def pull(
    names: Sequence[str] = (),
    *,
    start: Path | None = None,
    remote: str = "",
    everything: bool = False,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> Shared:
    """Bring the runs of others, and the objects of the runs that are named.

    Parameters
    ----------
    names : sequence of str
        REFs whose code and objects are wanted.
    everything : bool
        Bring the objects of all runs.
    start, remote, notify
        As for `push`.
    """
    here = strict((start or Path.cwd()).resolve())
    remote = _remote(here, remote)
    notify(f"fetching runs from {remote}")
    runs = ledger.pull(here.repository, remote)
    here = strict(here.root)
    records = [refs.resolve(here, name, start=start).manifest for name in names]
    if everything:
        records = [entry.manifest for entry in ledger.entries(here.repository)]
    wanted = _objects(here, records)
    absent = here.stores.missing(wanted)
    restore.fetch(here, absent, notify=notify)
    still = here.stores.missing(absent)
    for record in records:
        if record.code and not git.has(here.repository, record.code.tree):
            ledger.fetch_code(here.repository, remote, record.code.snapshot)
    if still:
        raise DvcError(
            f"{_counted(len(still), 'object')} could not be had: {', '.join(map(str, still[:3]))}",
            hint="Ask the author for `mlrepro push`.",
        )
    return Shared(remote, runs, len(absent))


def _remote(here: Place, remote: str) -> str:
    remote = remote or git.default_remote(here.repository)
    if not remote:
        raise GitError(
            "this repository has no remote", hint="Add one with `git remote add origin ADDRESS`."
        )
    return remote


def _push_objects(here: Place, records: Sequence[Manifest], notify: Callable[[str], None]) -> int:
    """Send objects to mlrepro's own place, and those with a pointer to DVC's place as well."""
    named = _objects(here, records)
    wanted = [d for d in named if not here.stores.missing([d])]
    if len(wanted) < len(named):
        away = _counted(len(named) - len(wanted), "object")
        notify(f"not here and so not sent: {away} of these runs; `mlrepro verify` names them")
    if not wanted:
        return 0
    if not here.has_dvc or not dvc.setting(here.root, "core.remote"):
        raise DvcError(
            "no default DVC remote is set, so nobody could fetch the models",
            hint="Set one with `dvc remote add -d NAME ADDRESS`, then push again.",
        )
    notify(f"sending {_counted(len(wanted), 'object')} to the DVC remote")
    sent = dvc.push(here.root, wanted, remote=None, nested=True)
    pointed = {a.digest for r in records for a in r.artifacts if a.kept is Kept.POINTER}
    pointed |= {i.digest for r in records for i in r.inputs if i.source is Source.DVC and i.digest}
    held = [d for d in pointed if not here.stores.missing([d])]
    if held:
        dvc.push(here.root, held, remote=None, nested=False)
    if lost := dvc.verify_remote(here.root, wanted, remote=None):
        raise DvcError(f"{len(lost)} objects did not arrive on the DVC remote: {lost[0]}")
    return sent


def _objects(here: Place, records: Sequence[Manifest]) -> list[Digest]:
    """Return every object that the runs name, once."""
    found: dict[Digest, None] = {}
    for record in records:
        found.update(
            dict.fromkeys(a.digest for a in record.artifacts if a.kept is not Kept.NOWHERE)
        )
        for one in restore.all_inputs(here, record):
            if one.digest and one.source in (Source.STORED, Source.DVC):
                found[one.digest] = None
        found.update(dict.fromkeys(Digest.parse(one.kept) for one in packages.kept(here, record)))
    return list(found)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _unreachable(records: Sequence[Manifest]) -> tuple[str, ...]:
    named = {i.path for r in records for i in r.inputs if i.source is Source.ELSEWHERE}
    return tuple(sorted(named))
