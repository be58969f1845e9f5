"""Pieces: two stored streams of equal elements, read piece by piece by several threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mlrepro.comparators.kernel import CHUNK

_PIECE = 1 << 23
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


def measured(
    a: Stored, b: Stored, dtype: Any, count: int, work: Callable[[Pairs], Part]
) -> Iterator[Part]:
    """Yield what `work` makes of each piece of two streams, in order.

    Parameters
    ----------
    a, b : Stored
        The streams.
    dtype : numpy.dtype
        Type of both.
    count : int
        How many elements each has.
    work : callable
        Takes an iterator of pairs of arrays, which it must not keep; runs in any thread.

    Raises
    ------
    EOFError
        If a file ends early.
    """
    step = max(1, _PIECE // dtype.itemsize)
    starts = range(0, count, step)
    threads = min(_THREADS, _processors(), len(starts))

    def part(start: int) -> Part:
        return work(_pairs(a, b, dtype, start, min(step, count - start)))

    if threads <= 1:
        yield from map(part, starts)
        return
    waiting: deque[Future[Part]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for start in starts:
                waiting.append(pool.submit(part, start))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _pairs(a: Stored, b: Stored, dtype: Any, start: int, count: int) -> Pairs:
    import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

    step = min(count, CHUNK)  # read what is measured next, so that it is still in the cache
    buffers = np.empty(step, dtype), np.empty(step, dtype)
    with a.path.open("rb", buffering=0) as left, b.path.open("rb", buffering=0) as right:
        left.seek(a.offset + start * dtype.itemsize)
        right.seek(b.offset + start * dtype.itemsize)
        for done in range(0, count, step):
            n = min(step, count - done)
            for file, buffer in ((left, buffers[0]), (right, buffers[1])):
                _fill(file, memoryview(buffer[:n].view(np.uint8).data))
            yield buffers[0][:n], buffers[1][:n]


def _fill(file: Any, view: memoryview) -> None:
    while len(view):
        read = file.readinto(view)
        if not read:
            raise EOFError("it ends before its last element")
        view = view[read:]
