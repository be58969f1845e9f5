"""Tensors: safetensors compared tensor by tensor, in bounded memory; no library is needed.

Metadata, which never moves the verdict: the order of the tensors in the file and in its header,
the spelling of the header (spaces), and every entry of ``__metadata__``, which is free text that no
loader of weights reads. All else counts: names, types, shapes, and every element.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlrepro.comparators.base import Comparator
from mlrepro.comparators.elements import Elements, place, whole
from mlrepro.comparators.formats import FORMATS
from mlrepro.comparators.pieces import Stored, Stream, measured
from mlrepro.comparators.values import LISTED, show
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_HEADER = 100_000_000
"""Bytes of a header; the format's own limit."""

_PLAIN = {
    "F64": "f8", "F32": "f4", "F16": "f2", "C64": "c8", "BOOL": "u1",
    "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
    "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1",
}  # fmt: skip
_STORED = {
    "BF16": "bfloat16", "F8_E4M3": "float8_e4m3", "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0",
}  # fmt: skip
_PACKED = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
"""Bits of an element that is no whole byte: such tensors are compared byte by byte."""


@dataclass(frozen=True)
class _Tensor:
    """What the header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def raw(self) -> str:
        """The type of numpy that its elements are read as."""
        if self.dtype in _PLAIN:
            return "<" + _PLAIN[self.dtype]
        return "<u2" if self.dtype == "BF16" else "u1"


@dataclass(frozen=True)
class _File:
    """A file whose header has been read and checked."""

    path: Path
    data: int
    tensors: dict[str, _Tensor]
    metadata: dict[str, str]

    def stored(self, tensor: _Tensor) -> Stored:
        return Stored(self.path, self.data + tensor.begin)


def _recognises(path: Path, head: bytes) -> bool:
    if path.suffix == ".safetensors":
        return bool(head)
    size = int.from_bytes(head[:8], "little")
    return 0 < size <= _HEADER and head[8:].startswith((b'{"', b"{}"))


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    a, b = _read(recorded, recorded.name), _read(rebuilt, recorded.name)
    names = [*a.tensors, *(n for n in b.tensors if n not in a.tensors)]
    try:
        nodes = _nodes(names, a, b, tolerance)
    except (EOFError, OSError) as error:
        raise ComparisonError(f"`{recorded.name}` cannot be read: {error}") from error
    return replace(whole(recorded.name, nodes, "tensors"), metadata=_metadata(a, b)[: LISTED + 1])


def _nodes(names: list[str], a: _File, b: _File, tolerance: Tolerance) -> list[Difference]:
    found: dict[str, Difference | Elements] = {n: _structure(n, a, b, tolerance) for n in names}
    same = [n for n in names if isinstance(found[n], Elements)]
    streams = [_stream(n, a, b, found[n]) for n in same]
    for number, part in measured(streams):
        elements = found[same[number]]
        if isinstance(elements, Elements):
            elements.merge(part)
    return [_node(n, found[n], a) for n in names]


def _structure(name: str, a: _File, b: _File, tolerance: Tolerance) -> Difference | Elements:
    if name not in a.tensors or name not in b.tensors:
        side = "recorded" if name in a.tensors else "rebuilt"
        return Difference(name, Verdict.MISSING, summary=f"only {side}", compared=1)
    x, y = a.tensors[name], b.tensors[name]
    if x.shape != y.shape or x.dtype != y.dtype:
        kind, old, new = (
            ("dtype", x.dtype, y.dtype)
            if x.dtype != y.dtype
            else ("shape", str(list(x.shape)), str(list(y.shape)))
        )
        change = f"{name}: {kind} {old} → {new}"
        return Difference(name, Verdict.DRIFTED, first=change, compared=1)
    if x.dtype in _STORED:
        return Elements.stored(FORMATS[_STORED[x.dtype]], tolerance)
    import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

    return Elements.of(np.dtype(x.raw), tolerance)


def _stream(name: str, a: _File, b: _File, elements: Any) -> Stream[Elements]:
    import numpy as np  # noqa: PLC0415  see _structure

    x, y = a.tensors[name], b.tensors[name]
    dtype = np.dtype(x.raw)
    count = (x.end - x.begin) // dtype.itemsize
    found: Stream[Elements] = elements.stream(a.stored(x), b.stored(y), dtype, count)
    return found


def _node(name: str, found: Difference | Elements, a: _File) -> Difference:
    if isinstance(found, Difference):
        return found
    if not found.compared:  # no element at all: shape and type are equal, and that is all there is
        return Difference(name, Verdict.EQUIVALENT, compared=1)
    tensor = a.tensors[name]
    shape = (tensor.end - tensor.begin,) if tensor.dtype in _PACKED else tensor.shape
    return found.difference(name, lambda at: name + place(at, shape))


def _metadata(a: _File, b: _File) -> tuple[str, ...]:
    notes = []
    if list(a.tensors) != list(b.tensors) and a.tensors.keys() == b.tensors.keys():
        notes.append("order of tensors")
    for key in {**a.metadata, **b.metadata}:
        old, new = a.metadata.get(key, "–"), b.metadata.get(key, "–")
        if old != new:
            notes.append(f"__metadata__ {show(key)}: {show(old)} → {show(new)}")
    return tuple(notes)


def _read(path: Path, name: str) -> _File:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        rest = path.stat().st_size - 8 - length
        if length > _HEADER or rest < 0:
            raise _damaged(name, f"its header would have {length} bytes")
        text = file.read(length)
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _damaged(name, f"its header is no JSON: {error}") from error
    if not isinstance(header, dict):
        raise _damaged(name, "its header is no JSON object")
    metadata = header.pop("__metadata__", {})
    if not _is_texts(metadata):
        raise _damaged(name, "__metadata__ holds more than texts")
    tensors = {key: _tensor(name, key, entry) for key, entry in header.items()}
    _check_places(name, tensors, rest)
    ordered = dict(sorted(tensors.items(), key=lambda item: item[1].begin))
    return _File(path, 8 + length, ordered, metadata)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _is_texts(metadata: Any) -> bool:
    return isinstance(metadata, dict) and all(isinstance(v, str) for v in metadata.values())


def _tensor(name: str, key: str, entry: Any) -> _Tensor:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(name, f"tensor {show(key)} is not described by type, shape and offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not (_is_counts(shape) and _is_counts(offsets) and len(offsets) == 2):
        raise _damaged(name, f"tensor {show(key)} has a shape or offsets that are no counts")
    bits = _bits(dtype)
    if not bits:
        raise _damaged(name, f"tensor {show(key)} has the unknown type {show(dtype)}")
    if (offsets[1] - offsets[0]) * 8 != bits * math.prod(shape):
        raise _damaged(name, f"tensor {show(key)} has another size than its shape")
    return _Tensor(dtype, tuple(shape), offsets[0], offsets[1])


def _bits(dtype: Any) -> int:
    if not isinstance(dtype, str):
        return 0
    if dtype in _PLAIN:
        return 8 * int(_PLAIN[dtype][1:])
    return 16 if dtype == "BF16" else 8 if dtype in _STORED else _PACKED.get(dtype, 0)


def _is_counts(values: Any) -> bool:
    # A product of long numbers would take for ever.
    return (
        isinstance(values, list)
        and len(values) < 100
        and all(type(v) is int and 0 <= v < 1 << 63 for v in values)
    )


def _check_places(name: str, tensors: dict[str, _Tensor], size: int) -> None:
    """Check that the tensors fill the file: none lies over another, and no byte is left out."""
    at = 0
    for key, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != at:
            raise _damaged(name, f"tensor {show(key)} begins at {tensor.begin}, and not at {at}")
        at = tensor.end
    if at != size:
        raise _damaged(name, f"its tensors have {at} bytes, and the file {size}")


def _damaged(name: str, why: str) -> ComparisonError:
    return ComparisonError(f"`{name}` is damaged: {' '.join(why.split())[:200]}")


COMPARATOR = Comparator("safetensors", _recognises, _compare)
