"""Compressed: gzip files compared by what they hold; the time in their header means nothing."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from mlrepro.comparators.base import Comparator
from mlrepro.comparators.raw_bytes import first_difference
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_MAGIC = b"\x1f\x8b"


def _recognises(path: Path, head: bytes) -> bool:
    return bool(head) and (head.startswith(_MAGIC) or path.suffix == ".gz")


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:  # noqa: ARG001  of the interface
    try:
        with gzip.open(recorded) as a, gzip.open(rebuilt) as b:
            offset = first_difference(a, b)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ComparisonError(f"`{recorded.name}` cannot be decompressed: {error}") from error
    if offset is None:
        return Difference(
            recorded.name,
            Verdict.EQUIVALENT,
            metadata=("gzip: the header or the compression differs, not the content",),
            compared=1,
        )
    return Difference(
        recorded.name,
        Verdict.DRIFTED,
        summary=f"the decompressed bytes differ from offset {offset}",
        first=f"offset {offset}",
        compared=1,
    )


COMPARATOR = Comparator("gzip", _recognises, _compare)
