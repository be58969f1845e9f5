"""Archives: the members of a zip file as blobs, their checksums verified.

What means nothing: the times, versions, attributes and padding that the zip's own headers hold.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Iterator

from mlrepro.comparators.blobs import PIECE, Blob, Source, spooled

_LOCAL = struct.Struct("<4s5H3L2H")
_MOST_MEMBERS = 1_000_000


def members(source: Source, kept: list[Source]) -> dict[str, Blob]:
    """Return the members of a zip file by their names; what was unpacked is added to `kept`.

    Raises
    ------
    ValueError, zipfile.BadZipFile
        If it is damaged: a header, a checksum, a length.
    """
    with zipfile.ZipFile(source.file) as archive:
        infos = archive.infolist()
    if len(infos) > _MOST_MEMBERS or len({i.filename for i in infos}) != len(infos):
        raise ValueError("it holds too many members, or two of one name")
    # PyTorch writes all checksums as 0 where it was asked not to compute them.
    checked = any(info.CRC for info in infos)
    found = {}
    for info in infos:
        blob = _member(source, info, kept)
        if checked and blob.crc() != info.CRC:
            raise ValueError(f"the checksum of `{info.filename:.80}` is wrong")
        found[info.filename] = blob
    return found


def _member(source: Source, info: zipfile.ZipInfo, kept: list[Source]) -> Blob:
    head = _LOCAL.unpack(source.read(info.header_offset, _LOCAL.size))
    signature, _, flags, method, *_, named, extra = head
    if signature != b"PK\3\4" or method != info.compress_type or (flags | info.flag_bits) & 1:
        raise ValueError(f"`{info.filename:.80}` is encrypted, or its two headers differ")
    name = source.read(info.header_offset + _LOCAL.size, named)
    if name != info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437"):
        raise ValueError(f"`{info.filename:.80}` has two names")
    start = info.header_offset + _LOCAL.size + named + extra
    packed = Blob(source, start, info.compress_size)
    if start + info.compress_size > source.size:
        raise ValueError(f"`{info.filename:.80}` ends too early")
    if method == zipfile.ZIP_STORED:
        if info.compress_size != info.file_size:
            raise ValueError(f"`{info.filename:.80}` has two lengths")
        return packed
    if method != zipfile.ZIP_DEFLATED:
        raise ValueError(f"`{info.filename:.80}` is packed in a way that is not read here")
    unpacked = spooled(_inflated(packed), info.file_size)
    kept.append(unpacked)
    if unpacked.size != info.file_size:
        raise ValueError(f"`{info.filename:.80}` has another length than it states")
    return Blob(unpacked, 0, unpacked.size)


def _inflated(packed: Blob) -> Iterator[bytes]:
    stream = zlib.decompressobj(-15)
    for piece in packed.pieces():
        data = piece
        while data and not stream.eof:
            yield stream.decompress(data, PIECE)
            data = stream.unconsumed_tail
    yield stream.flush()
    if not stream.eof or stream.unused_data:
        raise ValueError("a member's compressed data does not end where it should")
