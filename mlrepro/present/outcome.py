"""Outcome: the lines that `mlrepro run` leaves behind; plain text, since rich costs 60 ms."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence

from mlrepro.capture import blindspots
from mlrepro.commands.run import RunResult
from mlrepro.manifest import Artifact, Kept, Manifest, Role, Status, is_in_tree


def lines(result: RunResult) -> Iterator[str]:
    """Yield what a user should know at the end of a run."""
    recorded = result.recorded
    if recorded is None:
        yield from result.troubles
        return
    record = recorded.manifest
    name = f" ({record.run.name})" if record.run.name else ""
    if recorded.in_ledger:
        status = "" if record.run.status is Status.COMPLETED else f", {record.run.status.value}"
        yield f"recorded run {record.short}{name}{status}"
    yield from _unsaved(record)
    for artifact in record.artifacts:
        in_ledger = artifact.kept is Kept.LEDGER and is_in_tree(artifact.path)
        if artifact.role is Role.WEIGHTS and in_ledger:
            yield _only_in_ledger(artifact, record.short, recorded.reasons.get(artifact.path, ""))
    # As the user's shell names them, who may stand in a folder of the project.
    names = [os.path.relpath(name, record.run.directory or ".") for name in recorded.kept]
    if recorded.staged:
        yield f"staged: {shlex.join(names)}"
    elif names:
        dash = "-- " if any(name.startswith("-") for name in names) else ""
        yield f"to keep the model: git add {dash}{shlex.join(names)}"
    for edit in record.code.edits if record.code else ():
        yield f"{edit.path} was edited while the run went on; {_LOADED.get(edit.loaded, '')}"
    yield from _ignored(recorded.ignored)
    yield from _unseen(record)
    yield from recorded.warnings
    yield from result.troubles


def _unsaved(record: Manifest) -> Iterator[str]:
    """Say that a model is kept which the program let go, where it is all that the run left."""
    weights = [a.path for a in record.artifacts if a.role is Role.WEIGHTS]
    if weights and not any(map(is_in_tree, weights)):
        what = "a model that was" if len(weights) == 1 else f"{len(weights)} models that were"
        names = weights[0] if len(weights) == 1 else f"{weights[0]} to {weights[-1]}"
        yield f"the ledger keeps {what} trained and not saved: {names}"


def _ignored(found: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Name what was passed to a library and is unknown to it: users want to know at once."""
    for call, names in found.items():
        yield f"{call} ignored: {', '.join(names)} (unknown parameter{'s' * (len(names) > 1)})"


def _unseen(record: Manifest) -> Iterator[str]:
    """Say in one line that something was not seen which the result may depend on."""
    found = [sentence for sentence in record.blind_spots if blindspots.matters(sentence)]
    if found:
        count = f"{len(found)} blind spots" if len(found) > 1 else "1 blind spot"
        more = " …" if len(found) > 1 else ""
        hint = "" if len(found) == 1 else f" (mlrepro show --inputs {record.short})"
        yield f"{count}: {found[0]}{more}{hint}"


_LOADED = {
    "before": "the run had read it before",
    "after": "the run read it after the edit",
    "never": "the run was not seen to read it",
}


def _only_in_ledger(artifact: Artifact, run: str, reason: str) -> str:
    return f"{artifact.path} is kept in the ledger only (run {run})" + (
        f": {reason}" if reason else ""
    )
