"""Streams: what the child finds as descriptors 0, 1 and 2, and how they reach us."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mlrepro import terminal

# A file action of `posix_spawn`.
Action = tuple[Any, ...]


@dataclass(frozen=True)
class Streams:
    """What descriptors 0, 1 and 2 are: ``terminal``, ``pipe``, ``file``, ``null``, ``closed``."""

    stdin: str
    stdout: str
    stderr: str

    @classmethod
    def own(cls) -> Streams:
        """Return what those of this process are."""
        return cls(terminal.kind(0), terminal.kind(1), terminal.kind(2))


@contextmanager
def occupied() -> Iterator[None]:
    """Fill descriptors 0 to 2 where they are closed, so that no pipe of ours lands there.

    What fills them is closed by exec: the child finds them closed.
    """
    taken = [os.open(os.devnull, os.O_RDWR)]
    while taken[-1] <= 2:
        taken.append(os.open(os.devnull, os.O_RDWR))
    try:
        yield
    finally:
        close(taken)


@dataclass(frozen=True)
class Channel:
    """How one of the child's descriptors reaches us; without a source it does not."""

    kind: str
    action: Action | None = None
    source: int | None = None
    target: int | None = None
    sink: int | None = None
    like: int | None = None
    lost: str = ""

    @classmethod
    def open(cls, number: int, wanted: str, own: str | None) -> Channel:
        """Open what the child shall find as its descriptor `number`.

        Parameters
        ----------
        number : int
            1 or 2.
        wanted : str
            What the child shall find there.
        own : str or None
            What ours is; None where nothing shall be passed on to it.
        """
        if wanted == terminal.CLOSED:
            return cls(wanted, (os.POSIX_SPAWN_CLOSE, number))
        sink = None if own in (None, terminal.CLOSED) else number
        like = number if os.isatty(number) else None
        try:
            source, target = terminal.open_pair(like) if wanted == terminal.TERMINAL else os.pipe()
        except OSError as error:  # no descriptor or pseudo-terminal left: the child gets ours
            return cls(own or wanted, lost=f"stream {number} is not kept: {error.strerror}")
        action = (os.POSIX_SPAWN_DUP2, target, number)
        return cls(wanted, action, source, target, sink=sink, like=like)


def stdin_action(wanted: Streams, own: Streams) -> Action | None:
    """Return what makes the child's stdin the wanted one; None where it inherits ours."""
    if wanted.stdin == own.stdin:
        return None
    if wanted.stdin == terminal.CLOSED:
        return (os.POSIX_SPAWN_CLOSE, 0)
    if wanted.stdin == terminal.NULL:
        return (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    return None


def close(descriptors: Iterable[int | None]) -> None:
    """Close those that are open."""
    for descriptor in descriptors:
        if descriptor is not None:
            os.close(descriptor)
