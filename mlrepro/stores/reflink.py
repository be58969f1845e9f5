"""Reflink: bytes carried from file to file with their digest, shared on disk where that can be."""

from __future__ import annotations

import fcntl
import hashlib
import os

SMALL = 256 * 1024
"""A file up to this size is carried in one piece; a reflink would save nothing."""

_CHUNK = 4 * 2**20
# linux/fs.h: _IOW(0x94, 9, int); known to btrfs, XFS, bcachefs, ZFS and overlays of these
_FICLONE = 0x40049409


def clone(source: int, target: int) -> bool:
    """Let the empty file `target` share the blocks of `source`; False where that cannot be."""
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def carry(source: int, target: int) -> tuple[str, int]:
    """Bring all bytes of a descriptor into an empty other; return md5 and size of what arrived.

    The digest is taken from the bytes that were written, never from a second look at the source:
    it stays true when somebody writes to the source meanwhile.
    """
    if clone(source, target):
        return digest(target)
    first = os.read(source, _CHUNK)
    if len(first) < _CHUNK and not (second := os.read(source, _CHUNK)):
        write(target, first)
        return md5(first), len(first)
    return _carry_large(source, target, first if len(first) == _CHUNK else first + second)


def digest(descriptor: int) -> tuple[str, int]:
    """Return the md5 and the size of an open file's bytes, read from its beginning."""
    hasher, size = hashlib.md5(usedforsecurity=False), 0
    os.lseek(descriptor, 0, os.SEEK_SET)
    buffer = memoryview(bytearray(_CHUNK // 4))
    while count := os.readv(descriptor, [buffer]):
        hasher.update(buffer[:count])
        size += count
    return hasher.hexdigest(), size


def md5(data: bytes) -> str:
    """Return the md5 of some bytes in hex: DVC's name for them, no promise of security."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def write(descriptor: int, data: bytes) -> None:
    """Write all of `data`; `os.write` may take less, for instance above 2 GiB."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _carry_large(source: int, target: int, chunk: bytes) -> tuple[str, int]:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  7 ms, paid for large files

    hasher, size = hashlib.md5(usedforsecurity=False), 0
    # md5 and write both let go of the GIL: on two cores the copy costs no more than the digest.
    with ThreadPoolExecutor(1) as writer:
        while chunk:
            written = writer.submit(write, target, chunk)
            hasher.update(chunk)
            size += len(chunk)
            following = os.read(source, _CHUNK)
            written.result()
            chunk = following
    return hasher.hexdigest(), size
