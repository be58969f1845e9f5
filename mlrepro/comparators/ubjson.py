"""UBJSON: a reader for what XGBoost writes, which believes no length that a file states.

Numbers are big-endian. A typed array (``[$d#L…``) becomes a numpy array, everything else plain
Python. An announced length is held against the bytes that are left before anything is allocated.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

_INTEGERS = {
    marker: struct.Struct(form)
    for marker, form in ((b"i", ">b"), (b"U", ">B"), (b"I", ">h"), (b"l", ">i"), (b"L", ">q"))
}
_NUMBERS = {**_INTEGERS, b"d": struct.Struct(">f"), b"D": struct.Struct(">d")}
_ARRAYS = {
    b"$i#": ">i1",
    b"$U#": ">u1",
    b"$I#": ">i2",
    b"$l#": ">i4",
    b"$L#": ">i8",
    b"$d#": ">f4",
    b"$D#": ">f8",
}
_WORDS = {b"Z": None, b"T": True, b"F": False}
_DEEPEST = 64  # XGBoost nests nine deep


def read(data: bytes) -> Any:
    """Read one UBJSON value that fills `data` whole.

    Raises
    ------
    ValueError
        If it is damaged, truncated, or goes on after its end.
    """
    reader = _Reader(data)
    value = reader.value(reader.take(1), 0)
    if reader.at != len(data):
        raise ValueError(f"{len(data) - reader.at} bytes follow the end")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.dtypes: dict[bytes, Any] = {}

    def take(self, count: int) -> bytes:
        start, self.at = self.at, self.at + count
        found = self.data[start : self.at]
        if count < 0 or len(found) != count:
            raise ValueError(f"byte {start}: the file ends too early or states a wrong length")
        return found

    def value(self, marker: bytes, depth: int) -> Any:
        if marker == b"[":
            return self.array(depth + 1)
        if marker == b"{":
            return self.object(depth + 1)
        if marker == b"S":
            return self.text()
        if marker in _NUMBERS:
            return self.number(_NUMBERS[marker])
        if marker in _WORDS:
            return _WORDS[marker]
        if marker == b"C":
            return self.take(1).decode("latin-1")
        raise ValueError(f"byte {self.at - 1}: unknown marker {marker!r}")

    def number(self, form: struct.Struct) -> Any:
        return form.unpack(self.take(form.size))[0]

    def length(self) -> int:
        marker = self.take(1)
        form = _INTEGERS.get(marker)
        if form is None:
            raise ValueError(f"byte {self.at - 1}: a length must be an integer")
        count: int = form.unpack(self.take(form.size))[0]
        # Each element of an uncounted kind takes at least one byte, so more cannot be there.
        if not 0 <= count <= len(self.data) - self.at:
            raise ValueError(f"byte {self.at}: a length of {count} exceeds the file")
        return count

    def text(self) -> str:
        return self.take(self.length()).decode("utf-8", "backslashreplace")

    def array(self, depth: int) -> Any:
        if self.peek() == b"$":
            return self.typed()
        self.descend(depth)
        return list(self.items(b"]", lambda marker: self.value(marker, depth)))

    def object(self, depth: int) -> dict[str, Any]:
        self.descend(depth)
        result: dict[str, Any] = {}

        def member(marker: bytes) -> None:
            self.at -= len(marker)
            key = self.text()
            if key in result:
                raise ValueError(f"`{key:.40}` is there twice")
            result[key] = self.value(self.take(1), depth)

        self.items(b"}", member)
        return result

    def items(self, end: bytes, item: Callable[[bytes], Any]) -> list[Any]:
        if self.peek() == b"#":
            self.take(1)
            return [item(self.take(1)) for _ in range(self.length())]
        found = []
        while (marker := self.take(1)) != end:
            found.append(item(marker))
        return found

    def typed(self) -> Any:
        import numpy as np  # noqa: PLC0415  0.1 s, paid when a model is compared

        kind = self.take(3)
        dtype = self.dtypes.get(kind)
        if dtype is None:
            if kind not in _ARRAYS:
                raise ValueError(f"byte {self.at}: an array of kind {kind!r} is not known")
            dtype = self.dtypes[kind] = np.dtype(_ARRAYS[kind])
        return np.frombuffer(self.take(self.length() * dtype.itemsize), dtype)

    def descend(self, depth: int) -> None:
        if depth > _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} deep")

    def peek(self) -> bytes:
        return self.data[self.at : self.at + 1]
