"""Pieces: two stored streams of equal elements, read piece by piece by several threads."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from mlrepro.comparators.kernel import CHUNK

_PIECE = 1 << 22
"""Bytes of each side that one thread takes at a time. Fixed, so that the parts are put together in
the same way whatever the count of threads is."""

_THREADS = 4
"""At most: more of them wait for the interpreter's lock."""

Part = TypeVar("Part")
Pairs = Iterator[tuple[Any, Any]]


@dataclass(frozen=True)
class Stored:
    """Where a stream of elements lies."""

    path: Path
    offset: int


@dataclass(frozen=True)
class Stream(Generic[Part]):
    """Two stored streams of equally many elements of one type, and what is made of a piece.

    Attributes
    ----------
    a, b : Stored
        Where they lie.
    dtype : numpy.dtype
        Type of both.
    count : int
        How many elements each has.
    work : callable
        Takes an iterator of pairs of arrays, which it must not keep; runs in any thread.
    """

    a: Stored
    b: Stored
    dtype: Any
    count: int
    work: Callable[[Pairs], Part]

    def part(self, start: int, count: int) -> Part:
        """Return what is made of `count` elements from `start` on."""
        return self.work(_pairs(self, start, count))


def measured(streams: Iterable[Stream[Part]]) -> Iterator[tuple[int, Part]]:
    """Yield the number of a stream, and what its `work` makes of a piece of it, in order.

    Raises
    ------
    EOFError
        If a file ends early.
    """
    pieces = _pieces(streams)
    first = list(itertools.islice(pieces, 2))
    threads = min(_THREADS, _processors())
    if len(first) < 2 or threads < 2:
        for number, stream, start, count in (*first, *pieces):
            yield number, stream.part(start, count)
        return
    from concurrent.futures import Future, ThreadPoolExecutor  # noqa: PLC0415  10 ms: large arrays

    waiting: deque[tuple[int, Future[Part]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for number, stream, start, count in itertools.chain(first, pieces):
                waiting.append((number, pool.submit(stream.part, start, count)))
                if len(waiting) > 2 * threads:
                    done = waiting.popleft()
                    yield done[0], done[1].result()
            while waiting:
                done = waiting.popleft()
                yield done[0], done[1].result()
        finally:
            for _, future in waiting:
                future.cancel()


def _pieces(streams: Iterable[Stream[Part]]) -> Iterator[tuple[int, Stream[Part], int, int]]:
    for number, stream in enumerate(streams):
        step = max(1, _PIECE // stream.dtype.itemsize)
        for start in range(0, stream.count, step):
            yield number, stream, start, min(step, stream.count - start)


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pairs(stream: Stream[Part], start: int, count: int) -> Pairs:
    import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

    step = min(count, CHUNK)  # read what is measured next, so that it is still in the cache
    width = stream.dtype.itemsize
    buffers = np.empty(step, stream.dtype), np.empty(step, stream.dtype)
    with _at(stream.a, start * width) as left, _at(stream.b, start * width) as right:
        for done in range(0, count, step):
            n = min(step, count - done)
            for file, buffer in ((left, buffers[0]), (right, buffers[1])):
                _fill(file, memoryview(buffer[:n].view(np.uint8).data))
            yield buffers[0][:n], buffers[1][:n]


def _at(stored: Stored, offset: int) -> Any:
    file = stored.path.open("rb", buffering=0)
    file.seek(stored.offset + offset)
    return file


def _fill(file: Any, view: memoryview) -> None:
    while len(view):
        read = file.readinto(view)
        if not read:
            raise EOFError("it ends before its last element")
        view = view[read:]
