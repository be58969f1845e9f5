"""Comparators: how two artifacts are measured, one module for each kind, in one ordered table.

A comparator is a module that exports one `Comparator`, and a row of `COMPARATORS` below. The
first row that recognises both files of a pair measures them; bytes come last and know every file.
Two folders go to `directory`, which hands each pair of members back to `compare`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlrepro.comparators import (
    arrays,
    compressed,
    databases,
    directory,
    images,
    lightgbm,
    numbers,
    onnxes,
    parquets,
    pdfs,
    pickles,
    plugins,
    printed,
    raw_bytes,
    skops,
    svgs,
    tables,
    tensors,
    torches,
    xgboost,
    zipped,
)
from mlrepro.comparators.base import HEAD, Comparator
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_BLOCK = 1 << 20


def compare(recorded: Path, rebuilt: Path, *, name: str, tolerance: Tolerance) -> Difference:
    """Measure how far two artifacts are apart: bytes first, then what they hold.

    Parameters
    ----------
    recorded, rebuilt : Path
        Two files or two folders; that both exist is the caller's care.
    name : str
        The artifact's recorded path. It, not the path of a stored object, tells the kind.
    tolerance : Tolerance
        How far two numbers may be apart and still be close.

    Raises
    ------
    ComparisonError
        If either cannot be read or is damaged; never taken for a pass.
    """
    try:
        return _compare(recorded, rebuilt, name, tolerance)
    except OSError as error:
        raise ComparisonError(f"`{name}` cannot be read: {error.strerror or error}") from error


def _compare(recorded: Path, rebuilt: Path, name: str, tolerance: Tolerance) -> Difference:
    kinds = _kind(recorded, name), _kind(rebuilt, name)
    if kinds[0] != kinds[1]:
        return Difference(
            name, Verdict.DRIFTED, first=f"{kinds[0]} → {kinds[1]}", comparator="kind", compared=1
        )
    folder = kinds[0] == "folder"
    comparator = _comparator(recorded, rebuilt, name, folder=folder)
    if not folder and _same_bytes(recorded, rebuilt):
        return Difference(name, Verdict.IDENTICAL, comparator=comparator.name, compared=1)
    if comparator.named:
        found = comparator.named(recorded, rebuilt, tolerance, name)
    else:
        found = comparator.compare(recorded, rebuilt, tolerance)
    return dataclasses.replace(found, path=name, comparator=found.comparator or comparator.name)


def _kind(path: Path, name: str) -> str:
    if path.is_dir():
        return "folder"
    if path.is_file():
        return "file"
    raise ComparisonError(f"`{name}` is neither a file nor a folder")


def _comparator(recorded: Path, rebuilt: Path, name: str, *, folder: bool) -> Comparator:
    if folder:
        return next(c for c in _asked() if c.recognises(recorded, b""))
    named = Path(name)  # an object of the store has no suffix; the artifact has
    heads = _head(recorded), _head(rebuilt)
    return next(c for c in _asked() if all(c.recognises(named, head) for head in heads))


def _asked() -> Iterator[Comparator]:
    """Yield whom to ask, in order; those of other packages between the two halves of the table."""
    general = COMPARATORS.index(tables.COMPARATOR)
    yield from COMPARATORS[:general]
    yield from plugins.comparators()
    yield from COMPARATORS[general:]


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(HEAD)


def _same_bytes(a: Path, b: Path) -> bool:
    if a.stat().st_size != b.stat().st_size:
        return False
    with a.open("rb") as left, b.open("rb") as right:
        blocks = ((left.read(_BLOCK), right.read(_BLOCK)) for _ in itertools.count())
        for x, y in blocks:
            if x != y:
                return False
            if not x:
                return True
    return True


COMPARATORS: Sequence[Comparator] = (
    lightgbm.COMPARATOR,
    xgboost.COMPARATOR,
    torches.COMPARATOR,
    skops.COMPARATOR,
    pickles.COMPARATOR,
    arrays.COMPARATOR,
    tensors.COMPARATOR,
    onnxes.COMPARATOR,
    parquets.COMPARATOR,
    images.COMPARATOR,
    svgs.COMPARATOR,
    pdfs.COMPARATOR,
    databases.COMPARATOR,
    tables.COMPARATOR,
    numbers.COMPARATOR,
    directory.comparator(compare),
    compressed.comparator(compare),
    zipped.comparator(compare),
    printed.COMPARATOR,
    raw_bytes.COMPARATOR,
)
"""In the order in which they are asked: a kind that content tells before one that a name tells.

From `tables` on they are general; those of other packages are asked before these: see `plugins`.
"""
