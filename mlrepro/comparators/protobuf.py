"""Protobuf: the wire format, read field by field; what does not fit it is a ValueError."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_LARGEST_NUMBER = (1 << 29) - 1
_RUN = 1 << 16


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Attributes
    ----------
    number : int
        Its number in the schema.
    wire : int
        How it is stored: `VARINT`, `FIXED64`, `BYTES` or `FIXED32`.
    value : int
        A varint's unsigned value; 0 for all else.
    begin, end : int
        Where its content lies.
    """

    number: int
    wire: int
    value: int
    begin: int
    end: int


def field_at(data: Any, at: int, end: int) -> Field:
    """Return the field that begins at `at`; the next one begins at its end.

    Raises
    ------
    ValueError
        If it does not end by `end`, or is none.
    """
    tag, at = _varint(data, at, end)
    number, wire = tag >> 3, tag & 7
    if not 0 < number <= _LARGEST_NUMBER:
        raise ValueError(f"a field has the number {number}")
    start, value = at, 0
    if wire == VARINT:
        value, at = _varint(data, at, end)
    elif wire == BYTES:
        length, start = _varint(data, at, end)
        at = start + length
    elif wire in _WIDTHS:
        at += _WIDTHS[wire]
    else:  # 3 and 4 are groups, which no schema here has
        raise ValueError(f"a field has the wire type {wire}")
    if at > end:
        raise ValueError("a field ends behind its message")
    return Field(number, wire, value, start, at)


_WIDTHS = {FIXED64: 8, FIXED32: 4}


def _varint(data: Any, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, at
        shift += 7
        if shift > 63:
            break
    raise ValueError("a number is damaged")


def signed(value: int) -> int:
    """Return the signed number that a varint of 64 bits stands for."""
    return value - (1 << 64) if value >> 63 else value


def varints(data: bytes) -> Any:
    """Return packed varints as an array of int64."""
    import numpy as np  # noqa: PLC0415  0.1 s: paid where models are compared

    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if len(raw) and (not len(ends) or ends[-1] != len(raw) - 1):
        raise ValueError("a list of numbers ends early")
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)[: len(ends)]
    lengths = ends - starts + 1
    values = np.zeros(len(ends), np.uint64)
    if len(ends) and int(lengths.max()) > 10:
        raise ValueError("a number is damaged")
    for byte in range(int(lengths.max()) if len(ends) else 0):
        longer = lengths > byte
        bits = (raw[starts[longer] + byte] & 0x7F).astype(np.uint64)
        values[longer] |= bits << np.uint64(7 * byte)
    return values.view(np.int64)


def run_of_floats(data: Any, at: int, end: int, tag: int) -> tuple[bytes, int]:
    """Return unpacked float32 fields of a one-byte tag, from `at` on, as packed ones; their end.

    An ensemble of trees holds millions of them, each with a tag of its own.
    """
    import numpy as np  # noqa: PLC0415  see varints

    found = []
    while True:
        count = min((end - at) // 5, _RUN)
        records = np.frombuffer(data[at : at + 5 * count], np.uint8).reshape(-1, 5)
        others = np.flatnonzero(records[:, 0] != tag)
        run = int(others[0]) if len(others) else count
        found.append(records[:run, 1:].tobytes())
        at += 5 * run
        if run < _RUN:
            return b"".join(found), at


def run_of_ints(data: Any, at: int, end: int, tag: int) -> tuple[Any, int]:
    """Return unpacked varints of a one-byte tag, from `at` on, as an array; their end."""
    import numpy as np  # noqa: PLC0415  see varints

    found = []
    while True:
        raw = data[at : min(end, at + 5 * _RUN)]
        stops = np.flatnonzero(np.frombuffer(raw, np.uint8) < 0x80)
        stops = stops[: len(stops) // 2 * 2]
        tags = np.concatenate([[0], stops[1:-1:2] + 1]).astype(np.int64)[: len(stops) // 2]
        # A tag is a varint of one byte, so tags and numbers take turns until another field begins.
        bytes_ = np.frombuffer(raw, np.uint8)
        others = np.flatnonzero((bytes_[tags] != tag) | (stops[::2] != tags))
        run = int(others[0]) if len(others) else len(tags)
        size = int(stops[2 * run - 1]) + 1 if run else 0
        found.append(varints(raw[:size])[1::2])
        at += size
        if len(others) or not run or at + 20 > end:
            return np.concatenate(found), at


def float32(data: Any, field: Field) -> float:
    """Return the float of a field of 4 bytes."""
    number: float = struct.unpack("<f", data[field.begin : field.end])[0]
    return number
