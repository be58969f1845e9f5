"""Pickles: read by a machine that calls nothing, and compared as trees of values and arrays.

Plain pickles of protocol 0 to 5 and joblib's, compressed ones, several in a row, and PyTorch's
files from before 1.6. What means nothing is in `aside.METADATA`; beyond that, how the file is
compressed.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from mlrepro.comparators import unpacked
from mlrepro.comparators.base import HEAD, Comparator
from mlrepro.comparators.blobs import Blob, Source
from mlrepro.comparators.damage import translated
from mlrepro.comparators.joblibs import JoblibMachine
from mlrepro.comparators.objecttree import Walk
from mlrepro.comparators.torchlegacy import MAGIC, tensors_of
from mlrepro.comparators.treewords import Step
from mlrepro.drift import Difference, Tolerance

_SUFFIXES = (".pkl", ".pickle", ".joblib", ".p", ".pck", ".pcl")
_PACKED_SUFFIXES = (".gz", ".z", ".bz2", ".xz", ".lzma", ".lz4", ".zlib")
_LOOSE = (".sav", ".dump", ".pt", ".pth", ".model", ".bin")  # others write these as well
_OLD = re.compile(rb"(\((lp|dp|tp|c|i)|c)[\w.]*\n|\]q.|\}q.", re.DOTALL)
_BINARY = re.compile(rb"\x80[\x02-\x05][\x95\]}()NKMJGXUcC\x8a\x8c\x88\x89\x8f(]", re.DOTALL)
_MOST_IN_A_ROW = 10_000


def _recognises(path: Path, head: bytes) -> bool:
    if _BINARY.match(head):
        return True
    suffixes = [s.lower() for s in path.suffixes]
    if unpacked.compression(head):
        last = suffixes[-1:] and suffixes[-1] in _PACKED_SUFFIXES
        inner = (suffixes[-2:-1] if last else suffixes[-1:]) or [""]
        return inner[0] in _SUFFIXES
    if not head or head.startswith(b"PK\3\4"):
        return False
    return suffixes[-1:] != [] and (
        suffixes[-1] in _SUFFIXES or (suffixes[-1] in _LOOSE and bool(_OLD.match(head)))
    )


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    with contextlib.ExitStack() as stack, translated(recorded.name):
        sides = []
        for path in (recorded, rebuilt):
            with path.open("rb") as file:
                head = file.read(HEAD)
            sides.append(stack.enter_context(unpacked.opened(path, head)))
        walk = Walk(tolerance)
        _note_packing(walk, sides[0][1], sides[1][1])
        roots = [read(source) for source, _ in sides]
        _walk(walk, roots[0], roots[1])
        return walk.tally.difference(recorded.name)


def _note_packing(walk: Walk, a: str, b: str) -> None:
    if a != b:
        walk.tally.aside(f"compression: {a or 'none'} → {b or 'none'}")
    elif a:
        walk.tally.found.metadata.append(f"{a}: how it is packed is not compared")


def read(source: Source) -> list[Any]:
    """Return what the pickles of a file hold, one after the other; the rest as a blob.

    Raises
    ------
    ValueError and others of `damage.DAMAGE`
        If it is no pickle, or a damaged one.
    """
    found: list[Any] = []
    at = 0
    while at < source.size and len(found) < _MOST_IN_A_ROW:
        if found and not _begins(source, at):
            return [*found, Blob(source, at, source.size - at)]
        machine = JoblibMachine(source, at)
        found.append(machine.run())
        at = machine.at
        if found == [MAGIC]:
            return [tensors_of(source, at)]
    if at < source.size or not found:
        raise ValueError("it holds more pickles than are read here" if found else "it is empty")
    return found


def _begins(source: Source, at: int) -> bool:
    """Say whether a pickle of protocol 2 or later begins here."""
    head = source.read(at, min(3, source.size - at))
    return head[:1] == b"\x80" and (len(head) < 2 or 2 <= head[1] <= 5)


def _walk(walk: Walk, a: list[Any], b: list[Any]) -> None:
    if len(a) != len(b):
        walk.tally.broken(Step(None, "", ""), f"{len(a)} → {len(b)} pickles in a row")
    alone = len(a) == len(b) == 1
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        walk.compare(x, y, "" if alone else f"[{i}]")


COMPARATOR = Comparator("pickle", _recognises, _compare)
