"""Array pairs: two arrays that lie in blobs, compared chunk by chunk, structured ones by field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from mlrepro.comparators.blobs import PIECE
from mlrepro.comparators.elements import Elements
from mlrepro.comparators.formats import FORMATS
from mlrepro.comparators.objects import Array
from mlrepro.comparators.values import worst
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_WHOLE = 64 * 2**20
"""Views with gaps, and arrays in two memory orders, are read whole, up to so many bytes."""


def compare(path: str, a: Array, b: Array, tolerance: Tolerance) -> Difference:
    """Compare two arrays: what they are made of, then their bytes, then their numbers."""
    if change := _structure(a, b):
        first = f"{path}: {change}"
        return Difference(path, Verdict.DRIFTED, summary=change, first=first, compared=1)
    notes = tuple(_notes(a, b))
    if not a.size or not a.dtype.itemsize or _same_bytes(a, b):
        return Difference(path, Verdict.EQUIVALENT, metadata=notes, compared=max(1, a.size))
    columns: dict[str, Elements] = {}
    for x, y in _chunks(a, b):
        for field, p, q in _fields(x, y, ""):
            if field not in columns:
                columns[field] = _elements(p.dtype, a.special, tolerance)
            columns[field].add(_raw(p), _raw(q))
    found = _joined(path, a, columns)
    return replace(found, metadata=(*notes, *found.metadata))


def _elements(dtype: Any, special: str, tolerance: Tolerance) -> Elements:
    if special in FORMATS:
        return Elements.stored(FORMATS[special], tolerance)
    return Elements.of(dtype, tolerance)


def _joined(path: str, array: Array, columns: dict[str, Elements]) -> Difference:
    parts = [
        found.difference(
            f"{path}{field}",
            _places(path, field, array),
            max(1, found.compared // array.size),
        )
        for field, found in columns.items()
    ]
    if len(parts) == 1:
        return replace(parts[0], path=path)
    unequal = [p for p in parts if p.verdict > Verdict.EQUIVALENT or p.metadata]
    verdict = worst(parts)
    telling = next(p for p in parts if p.verdict is verdict)
    return Difference(
        path,
        verdict,
        summary=f"{len(unequal)} of {len(parts)} fields differ" if unequal else "",
        measures=telling.measures,
        first=telling.first,
        children=tuple(unequal),
        compared=sum(p.compared for p in parts),
        distribution=telling.distribution,
    )


def _places(path: str, field: str, array: Array) -> Callable[[int], str]:
    """Return what turns a position in the order of the chunks into a place in words."""
    axes = _dense(array) or tuple(range(len(array.shape)))

    def place(at: int) -> str:
        index = [0] * len(array.shape)
        for axis in reversed(axes):
            at, index[axis] = divmod(at, array.shape[axis])
        return f"{path}[{', '.join(map(str, index))}]{field}" if index else f"{path}{field}"

    return place


def _structure(a: Array, b: Array) -> str:
    for what, x, y in (("kind", a.kind, b.kind), ("shape", a.shape, b.shape)):
        if x != y:
            return f"{what}: {x} → {y}"
    # Text is as wide as its longest word, so its width is a value and no structure.
    text = a.dtype.kind == b.dtype.kind and a.dtype.kind in "US"
    same = text or a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=")
    return "" if same and a.special == b.special else f"dtype: {_named(a)} → {_named(b)}"


def _named(array: Array) -> str:
    return array.special or str(array.dtype)


def _notes(a: Array, b: Array) -> Iterator[str]:
    if a.dtype.byteorder != b.dtype.byteorder:
        yield f"byte order: {a.dtype.str} → {b.dtype.str}"
    if a.size and _layout(a) != _layout(b):
        yield f"memory order: strides {a.strides} → {b.strides}"
    for name in a.notes.keys() | b.notes.keys():
        if a.notes.get(name) != b.notes.get(name):
            yield f"{name}: {a.notes.get(name, 'absent')} → {b.notes.get(name, 'absent')}"


def _layout(array: Array) -> tuple[int, ...]:
    """Return the strides that decide; that of a dimension of one means nothing."""
    return tuple(s if n > 1 else 0 for n, s in zip(array.shape, array.strides, strict=True))


def _dense(array: Array) -> tuple[int, ...] | None:
    """Return the axes from the slowest to the fastest, if the elements lie without gaps."""
    axes = sorted(range(len(array.shape)), key=lambda i: -array.strides[i])
    axes.sort(key=lambda i: array.shape[i] == 1)
    step = 1
    for i in reversed(axes):
        if array.shape[i] != 1 and array.strides[i] != step:
            return None
        step *= array.shape[i]
    return tuple(axes)


def _same_bytes(a: Array, b: Array) -> bool:
    if a.dtype != b.dtype or _layout(a) != _layout(b):
        return False
    wide = a.dtype.itemsize
    size = _span(a) * wide  # of a view with gaps, the gaps too: they may only make it unequal
    return all(
        _bytes(a, a.offset * wide + at, n) == _bytes(b, b.offset * wide + at, n)
        for at in range(0, size, PIECE)
        for n in [min(PIECE, size - at)]
    )


def _bytes(array: Array, at: int, count: int) -> bytes:
    if array.blob is None:
        raise ValueError("an array has no numbers")
    return array.blob.read(at, count)


def _chunks(a: Array, b: Array) -> Iterator[tuple[Any, Any]]:
    if _layout(a) != _layout(b) or _dense(a) is None:
        yield _whole(a).reshape(-1), _whole(b).reshape(-1)
        return
    step = max(1, PIECE // max(a.dtype.itemsize, b.dtype.itemsize, 8))
    for start in range(0, a.size, step):
        n = min(step, a.size - start)
        yield _taken(a, a.offset + start, n), _taken(b, b.offset + start, n)


def _taken(array: Array, at: int, count: int) -> Any:
    import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

    wide = array.dtype.itemsize
    return np.frombuffer(_bytes(array, at * wide, count * wide), array.dtype)


def _whole(array: Array) -> Any:
    import numpy as np  # noqa: PLC0415  see _taken

    wide = array.dtype.itemsize
    span = _span(array)
    if max(span, array.size) * wide > _WHOLE:
        raise ComparisonError("arrays in two memory orders are compared up to 64 MiB only")
    strides = tuple(s * wide for s in array.strides)
    return np.lib.stride_tricks.as_strided(
        _taken(array, array.offset, span), array.shape, strides, writeable=False
    )


def _span(array: Array) -> int:
    """Return how many elements of its blob an array reaches over."""
    return 1 + sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True))


def _fields(a: Any, b: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if a.dtype.names:
        for name in a.dtype.names:
            yield from _fields(a[name], b[name], f"{path}.{name}")
    else:
        yield path, a.reshape(-1), b.reshape(-1)


def _raw(a: Any) -> Any:
    """Return truths and dates as their numbers: a truth that is neither 0 nor 1 is no truth."""
    import numpy as np  # noqa: PLC0415  see _taken

    if a.dtype.kind == "b":
        return a.view(np.uint8) if a.flags.c_contiguous else a.copy().view(np.uint8)
    return a
