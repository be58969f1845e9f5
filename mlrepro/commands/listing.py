"""Listing: find and read runs: `ls` and `show`."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from mlrepro.commands import attestations, lock, noise, opening
from mlrepro.commands.attestations import Rebuild
from mlrepro.commands.deciding import decides
from mlrepro.evidence import Noise
from mlrepro.manifest import Manifest, Status
from mlrepro.stores import ledger


@dataclass(frozen=True)
class Row:
    """One run in a list."""

    id: str
    name: str
    status: Status
    started: str
    seconds: float
    command: str
    author: str
    artifacts: tuple[str, ...]
    metrics: str


@dataclass(frozen=True)
class Shown:
    """The record of a run, and what came after it.

    Attributes
    ----------
    record : Manifest
    lock : str
        In a few words whether its environment is locked by now.
    rebuilds : tuple of Rebuild
        All that the ledger knows, in their order in time.
    rebuilt : str
        In a few words how they came out; empty where there are none.
    noise : Noise or None
        How far the training moves by itself; None where nobody has measured it.
    """

    record: Manifest
    lock: str
    rebuilds: tuple[Rebuild, ...] = ()
    rebuilt: str = ""
    noise: Noise | None = None


def ls(
    *,
    start: Path | None = None,
    name: str = "",
    status: str = "",
    artifact: str = "",
    most: int | None = None,
) -> tuple[Row, ...]:
    """List runs, newest first.

    Parameters
    ----------
    start : Path, optional
        Where the user stands.
    name, status, artifact : str
        Only runs of this name, with this status, that made this path.
    most : int, optional
        How many at the most.
    """
    here = opening.place(start)
    rows = (_row(entry.manifest) for entry in reversed(ledger.entries(here.repository)))
    chosen = (
        row
        for row in rows
        if (not name or row.name == name)
        and (not status or row.status.value == status)
        and (not artifact or artifact in row.artifacts)
    )
    return tuple(itertools.islice(chosen, most))


def show(ref: str, *, start: Path | None = None) -> Manifest:
    """Return the record that a REF names."""
    return opening.run(ref, start)[1]


def shown(ref: str, *, start: Path | None = None) -> Shown:
    """Return the record that a REF names, whether its environment is locked, who rebuilt it."""
    here, record = opening.run(ref, start)
    found = attestations.of_run(here, record)
    state = lock.state(record, start=start)
    return Shown(
        record, state, found, attestations.summary(record, found), noise.known(here, record)
    )


def _row(record: Manifest) -> Row:
    made = [a.path for a in record.artifacts if decides(a.path, a.role, record.artifacts)]
    return Row(
        id=record.id,
        name=record.run.name,
        status=record.run.status,
        started=record.run.started,
        seconds=record.run.seconds,
        command=" ".join(record.run.command),
        author=record.run.author,
        artifacts=tuple(made),
        metrics=_metrics(record),
    )


def _metrics(record: Manifest, most: int = 3) -> str:
    shown = []
    for values in record.metrics.values():
        pairs = values.items() if isinstance(values, dict) else ()
        shown += [f"{k}={v:.6g}" for k, v in pairs if isinstance(v, (int, float))]
    return " ".join(shown[:most])
