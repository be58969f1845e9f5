"""Blobs: bytes that stay where they lie, in a file or in memory, and are read a piece at a time."""

from __future__ import annotations

import io
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PIECE = 4 * 2**20
"""So many bytes are read at once."""


class Source:
    """Bytes that can be read at any place; not mapped, so that a file cut short is no SIGBUS."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file = file
        self.size = size

    @classmethod
    def held(cls, data: bytes) -> Source:
        """Return a source of bytes in memory."""
        return cls(io.BytesIO(data), len(data))

    @classmethod
    def opened(cls, path: Path) -> Source:
        """Return a source of a file; its owner closes it."""
        return cls(path.open("rb", buffering=0), path.stat().st_size)

    def read(self, at: int, count: int) -> bytes:
        """Return exactly `count` bytes from `at` on.

        Raises
        ------
        ValueError
            If there are not so many.
        """
        if at < 0 or count < 0 or at + count > self.size:
            raise ValueError("it ends too early")
        self.file.seek(at)
        pieces, missing = [], count
        while missing:
            piece = self.file.read(missing)  # a raw file may give less
            if not piece:
                raise ValueError("it ends too early")
            pieces.append(piece)
            missing -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """Close the file."""
        self.file.close()


@dataclass(frozen=True, eq=False, slots=True)
class Blob:
    """A run of bytes inside a source.

    Attributes
    ----------
    source : Source
        Where it lies.
    at, size : int
        Which bytes.
    kind : str
        What it is to Python: ``bytes``, ``bytearray``, ``text`` (UTF-8).
    """

    source: Source
    at: int
    size: int
    kind: str = "bytes"

    def read(self, start: int, count: int) -> bytes:
        """Return a part of it."""
        if start < 0 or start + count > self.size:
            raise ValueError("it ends too early")
        return self.source.read(self.at + start, count)

    def all(self) -> bytes:
        """Return all of it."""
        return self.source.read(self.at, self.size)

    def pieces(self, size: int = PIECE) -> Iterator[bytes]:
        """Yield all of it, a piece at a time."""
        for start in range(0, self.size, size):
            yield self.read(start, min(size, self.size - start))

    def crc(self) -> int:
        """Return its CRC-32."""
        found = 0
        for piece in self.pieces():
            found = zlib.crc32(piece, found)
        return found

    def first_difference(self, other: Blob) -> int | None:
        """Return the offset of the first unequal byte; None where both are equal."""
        at = 0
        for x, y in zip(self.pieces(), other.pieces(), strict=False):
            if x != y:
                pairs = zip(x, y, strict=False)
                return at + next(
                    (i for i, (p, q) in enumerate(pairs) if p != q), min(len(x), len(y))
                )
            at += len(x)
        return None if self.size == other.size else min(self.size, other.size)


class Slice(Source):
    """A blob as a source of its own, which ends where the blob ends."""

    def __init__(self, blob: Blob) -> None:
        super().__init__(blob.source.file, blob.size)
        self.blob = blob

    def read(self, at: int, count: int) -> bytes:
        """Return exactly `count` bytes from `at` on."""
        if at < 0 or count < 0:
            raise ValueError("it ends too early")
        return self.blob.read(at, count)


def held(data: bytes, kind: str = "bytes") -> Blob:
    """Return bytes of memory as a blob."""
    return Blob(Source.held(data), 0, len(data), kind)


def spooled(pieces: Iterator[bytes], most: int) -> Source:
    """Return what `pieces` yields as a source, in a temporary file where it is large.

    Raises
    ------
    ValueError
        If it is more than `most` bytes.
    """
    file = tempfile.SpooledTemporaryFile(max_size=PIECE)  # noqa: SIM115  the source's owner closes it
    size = 0
    try:
        for piece in pieces:
            size += len(piece)
            if size > most:
                raise ValueError(f"it unpacks to more than {most} bytes")
            file.write(piece)
    except BaseException:
        file.close()
        raise
    return Source(file, size)


def close(sources: list[Source]) -> None:
    """Close all of them."""
    for source in sources:
        source.close()
