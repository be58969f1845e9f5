"""Raw bytes: the last row of the table; says where two files part, and that no more is known."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Protocol

from mlrepro.comparators.base import Comparator
from mlrepro.drift import Difference, Measure, Tolerance, Verdict

_BLOCK = 1 << 20


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:  # noqa: ARG001  of the interface
    with recorded.open("rb") as a, rebuilt.open("rb") as b:
        offset = first_difference(a, b)
    if offset is None:
        return Difference(recorded.name, Verdict.IDENTICAL, compared=1)
    sizes = recorded.stat().st_size, rebuilt.stat().st_size
    resized = sizes[0] != sizes[1]
    return Difference(
        recorded.name,
        Verdict.DRIFTED,
        summary=f"bytes differ from offset {offset}; no comparator knows this kind",
        measures=(Measure("size, rebuilt − recorded", sizes[1] - sizes[0], "bytes"),)
        if resized
        else (),
        first=f"offset {offset}",
        compared=1,
    )


class Readable(Protocol):
    """Whatever bytes can be read from, a block at a time."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""


def first_difference(a: Readable, b: Readable) -> int | None:
    """Return the offset of the first byte in which two streams differ; None where none does."""
    for start in itertools.count(0, _BLOCK):
        left, right = a.read(_BLOCK), b.read(_BLOCK)
        if left != right:
            pairs = zip(left, right, strict=False)
            shorter = min(len(left), len(right))
            return start + next((i for i, (x, y) in enumerate(pairs) if x != y), shorter)
        if not left:
            return None
    return None


COMPARATOR = Comparator("bytes", lambda path, head: True, _compare)  # noqa: ARG005  knows every file
