"""PDFs: compared object by object, what is packed in them unpacked, numbers as numbers.

No content, and so metadata: dates, the names of the programs that wrote it, the file's ids, the
table of offsets, lengths, how streams are packed, the letters before a subset font's name, and XMP
metadata. No library reads it: an object is what stands between `obj` and `endobj`.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mlrepro.comparators.base import Comparator
from mlrepro.comparators.marks import Marks
from mlrepro.comparators.values import show
from mlrepro.drift import Difference, Tolerance
from mlrepro.errors import ComparisonError

_LARGEST, _UNPACKED = 256 * 2**20, 1 << 30
_OBJECT = re.compile(rb"(\d+)[ \t\r\n]+(\d+)[ \t\r\n]+obj\b")
_STREAM = re.compile(rb"stream\r?\n")
_LENGTH = re.compile(rb"/Length\s+(\d+)(?!\s+\d+\s+R)")
_LENGTH_OF = re.compile(rb"/Length\s+(\d+)\s+\d+\s+R")
_TEXT = rb"(?:\((?:\\.|[^\\()]|\((?:\\.|[^\\()])*\))*\)|<[0-9A-Fa-f\s]*>)"
_SAID = re.compile(rb"/(CreationDate|ModDate|Producer|Creator)\s*(" + _TEXT + rb")", re.DOTALL)
_SPACE = "\0\t\n\f\r "
_SPACES = re.compile(f"[{_SPACE}]+")
_ASIDES = (
    (re.compile(rb"/ID\s*\[[^\]]*\]"), b"/ID"),
    (re.compile(rb"/Length[123]?\s+\d+(?:\s+\d+\s+R)?"), b"/Length"),
    (re.compile(rb"/[A-Z]{6}\+"), b"/SUBSET+"),
    (re.compile(rb"startxref\s+\d+"), b"startxref"),
    (re.compile(rb"(?m)^xref\s+(?:\d+\s+\d+\s+(?:\d{10} \d{5} [nf]\s*)*)+"), b"xref "),
)


def _recognises(path: Path, head: bytes) -> bool:
    return head.startswith(b"%PDF-") or (bool(head) and path.suffix.lower() == ".pdf")


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    a, b = _File.read(recorded), _File.read(rebuilt)
    marks = Marks(tolerance)
    for x, y in itertools.zip_longest(a.objects, b.objects):
        if x is None or y is None or x.number != y.number:
            left, right = (f"object {o.number}" if o else "its end" for o in (x, y))
            marks.found.break_structure(f"{left} → {right}")
            break
        _objects(marks, x, y)
    marks.texts(a.rest, b.rest, "between its objects")
    said = itertools.zip_longest(a.said, b.said, fillvalue="absent")
    marks.found.metadata += [f"{x} → {y}" for x, y in said if x != y][:10]
    return marks.finish(recorded.name, "pdf: offsets or packing differ, not the pages")


@dataclass(frozen=True)
class _Object:
    """One object: its number, what is written in it, and its stream as it was packed."""

    number: str
    written: str
    stream: bytes | None


@dataclass(frozen=True)
class _File:
    """The objects of a file, what stands between them, and what was set aside in words."""

    objects: tuple[_Object, ...]
    rest: str
    said: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> _File:
        if path.stat().st_size > _LARGEST:
            raise ComparisonError(f"`{path.name}` is larger than {_LARGEST >> 20} MiB")
        data = path.read_bytes()
        try:
            return _parsed(data)
        except (ValueError, zlib.error) as error:
            raise ComparisonError(f"`{path.name}` is damaged: {error}") from error


def _parsed(data: bytes) -> _File:
    if not data.startswith(b"%PDF-") or not data.rstrip().endswith(b"%%EOF"):
        raise ValueError("it does not begin or end as a PDF does")
    objects: list[_Object] = []
    rest: list[bytes] = []
    said: list[str] = []
    room, at = _UNPACKED, 0
    lengths = {match[1] for match in _LENGTH_OF.finditer(data)}
    for number, head, packed, begin, end in _pieces(data):
        rest.append(data[at:begin])
        at = end
        stream = None if packed is None else _unpacked(head, packed, room)
        room -= len(stream or b"")
        said += [f"{k.decode()}: {show(v.decode('latin-1'))}" for k, v in _SAID.findall(head)]
        # The length of a stream depends on how it was packed.
        if number not in lengths or stream is not None or not head.strip().isdigit():
            objects += _kept(number, head, stream)
    tail = b"".join([*rest, data[at:]])
    if not objects or b"/Encrypt" in tail:
        raise ValueError("it is encrypted, or holds no object")
    return _File(tuple(objects), _canonical(tail), tuple(said))


def _pieces(data: bytes) -> Iterator[tuple[bytes, bytes, bytes | None, int, int]]:
    """Yield each object: its number, its words, its packed stream, where it begins and ends."""
    at = 0
    while match := _OBJECT.search(data, at):
        end = data.find(b"endobj", match.end())
        stream = _STREAM.search(data, match.end())
        head_end, packed = end, None
        if stream and stream.start() < end:
            head_end = stream.start()
            length = _LENGTH.search(data, match.end(), head_end)
            stop = stream.end() + int(length[1]) if length else stream.end()
            stop = data.find(b"endstream", stop)
            end = data.find(b"endobj", stop)
            packed = data[stream.end() : stop]
            if stop < 0 or data[stop + 9 : end].strip(_SPACE.encode()):
                raise ValueError(f"the stream of object {match[1].decode()} does not end")
        if end < 0:
            raise ValueError(f"object {match[1].decode()} does not end")
        yield match[1], data[match.end() : head_end], packed, match.start(), end + 6
        at = end + 6


def _unpacked(head: bytes, packed: bytes, room: int) -> bytes:
    """Return a stream unpacked, if it is packed by zlib alone; else as it is."""
    if not re.search(rb"/Filter\s*\[?\s*/FlateDecode\s*\]?\s*(?=/|>>)", head):
        return packed.rstrip(b"\r\n")
    unpacker = zlib.decompressobj()
    found = unpacker.decompress(packed, max(room, 1))
    if not unpacker.eof or unpacker.unused_data.strip(_SPACE.encode()):
        raise ValueError("a stream does not end where it should, or is too large")
    return found


def _kept(number: bytes, head: bytes, stream: bytes | None) -> Iterator[_Object]:
    """Yield what decides of an object, if anything does."""
    kind = re.search(rb"/Type\s*/(\w+)", head)
    name = kind[1] if kind else b""
    if name == b"Metadata":
        stream = b""
    elif name == b"ObjStm" and stream is not None:
        stream = _canonical(stream).encode("latin-1")
    if name != b"XRef":
        yield _Object(number.decode(), _canonical(head), stream)


def _canonical(written: bytes) -> str:
    found = _SAID.sub(b"", written)
    for pattern, word in _ASIDES:
        found = pattern.sub(word, found)
    return " ".join(_SPACES.split(found.decode("latin-1").strip(_SPACE)))


def _objects(marks: Marks, x: _Object, y: _Object) -> None:
    where = f"object {x.number}"
    marks.texts(x.written, y.written, where)
    if x.stream is None and y.stream is None:
        return
    a, b = (side or b"" for side in (x.stream, y.stream))
    if _is_text(a) and _is_text(b):
        marks.texts(a.decode("latin-1"), b.decode("latin-1"), f"{where}, its stream")
    else:
        marks.bytes(a, b, f"{where}, its stream")


def _is_text(data: bytes) -> bool:
    head = data[:4096]
    return not any(byte < 9 or 13 < byte < 32 or byte > 126 for byte in head)


COMPARATOR = Comparator("pdf", _recognises, _compare)
