"""Nested: what a container holds, unpacked into a folder and handed back to `compare`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from mlrepro.errors import ComparisonError

LARGEST = 64 * 2**30
"""So many bytes are unpacked of one side of a container, and never more than half the free disk."""

_DEEPEST = 8
"""An archive may hold itself."""

_depth: ContextVar[int] = ContextVar("depth of containers", default=0)


@contextmanager
def folder(name: str) -> Iterator[Path]:
    """Lend an empty folder for what lies inside a container.

    Raises
    ------
    ComparisonError
        If containers lie in each other too deeply.
    """
    if _depth.get() >= _DEEPEST:
        raise ComparisonError(f"`{name}` is packed more than {_DEEPEST} deep")
    entered = _depth.set(_depth.get() + 1)
    try:
        with tempfile.TemporaryDirectory(prefix="mlrepro-unpacked-") as lent:
            yield Path(lent)
    finally:
        _depth.reset(entered)


def write(pieces: Iterable[bytes], target: Path, name: str) -> None:
    """Write what comes out of a container, as long as it is bearable."""
    most, size = allowance(target.parent), 0
    with target.open("wb") as file:
        for piece in pieces:
            size += len(piece)
            if size > most:
                raise ComparisonError(f"`{name}` unpacks to more than {most >> 20} MiB")
            file.write(piece)


def allowance(place: Path) -> int:
    """Return how many bytes may be unpacked into a folder."""
    return min(LARGEST, shutil.disk_usage(place).free // 2)
