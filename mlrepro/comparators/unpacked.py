"""Unpacked: a file as a source of bytes; what is compressed is unpacked into a temporary file."""

from __future__ import annotations

import bz2
import importlib
import importlib.util
import lzma
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlrepro.comparators.blobs import PIECE, Source, spooled
from mlrepro.errors import ComparisonError

_PACKED = 1 << 20
"""So many packed bytes are unpacked at once, in pieces of `PIECE`."""

DAMAGE = (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError)
"""What the unpackers raise for a damaged file."""


def compression(head: bytes) -> str:
    """Return how a file is compressed, by its first bytes; empty if it is not."""
    for name, magic in _MAGIC.items():
        if head.startswith(magic):
            return name
    # zlib says how large its window is and how hard it tried, and its first two bytes divide by 31
    if head[:1] == b"\x78" and len(head) > 1 and int.from_bytes(head[:2], "big") % 31 == 0:
        return "zlib"
    return ""


_MAGIC = {
    "gzip": b"\x1f\x8b",
    "bz2": b"BZh",
    "xz": b"\xfd7zXZ\0",
    "lzma": b"]\0\0",
    "lz4": b"\x04\x22\x4d\x18",
}


@contextmanager
def opened(path: Path, head: bytes) -> Iterator[tuple[Source, str]]:
    """Yield the bytes of a file, unpacked where it is compressed, and how it was.

    Raises
    ------
    ComparisonError
        If it is compressed by what is not to be had here.
    """
    kind = compression(head)
    source = _unpacked(path, kind) if kind else Source.opened(path)
    try:
        yield source, kind
    finally:
        source.close()


def _unpacked(path: Path, kind: str) -> Source:
    # Half of what is free: a small file may unpack to a thousand times its size.
    most = shutil.disk_usage(tempfile.gettempdir()).free // 2
    return spooled(_pieces(path, _unpacker(kind, path.name)), most)


def pieces(path: Path, kind: str) -> Iterator[bytes]:
    """Yield what a file of a known compression unpacks to; `DAMAGE` is raised for a damaged one."""
    return _pieces(path, _unpacker(kind, path.name))


def _unpacker(kind: str, name: str) -> Callable[[], Any]:
    if kind == "lz4":
        if importlib.util.find_spec("lz4") is None:
            raise ComparisonError(f"`{name}` is compressed by lz4, and mlrepro has no lz4 module")
        make: Callable[[], Any] = importlib.import_module("lz4.frame").LZ4FrameDecompressor
        return make
    kinds: dict[str, Callable[[], Any]] = {
        "gzip": lambda: _Deflated(31),
        "zlib": lambda: _Deflated(15),
        "bz2": bz2.BZ2Decompressor,
        "xz": lzma.LZMADecompressor,
        "lzma": lambda: lzma.LZMADecompressor(format=lzma.FORMAT_ALONE),
    }
    return kinds[kind]


class _Deflated:
    """zlib's own unpacker, in the words of the others."""

    def __init__(self, wbits: int) -> None:
        self.inner = zlib.decompressobj(wbits)

    def decompress(self, data: bytes, most: int) -> bytes:
        return self.inner.decompress(self.inner.unconsumed_tail + data, most)

    @property
    def needs_input(self) -> bool:
        return not self.inner.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self.inner.eof

    @property
    def unused_data(self) -> bytes:
        return self.inner.unused_data


def _pieces(path: Path, unpacker: Callable[[], Any]) -> Iterator[bytes]:
    """Yield what a file unpacks to; one stream may follow another, as gzip and xz allow."""
    with path.open("rb") as file:
        stream, data = unpacker(), file.read(_PACKED)
        while True:
            yield stream.decompress(data, PIECE)
            data = b""
            if stream.eof:
                data = stream.unused_data or file.read(_PACKED)
                if not data:
                    return
                stream = unpacker()
            elif stream.needs_input:
                data = file.read(_PACKED)
                if not data:
                    raise EOFError("its compressed data ends too early")
