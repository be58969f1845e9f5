"""Arrays: npy and npz compared element by element, a chunk at a time; nothing is unpickled."""

from __future__ import annotations

import io
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from mlrepro.comparators.base import Comparator
from mlrepro.comparators.elements import Elements, place
from mlrepro.comparators.pieces import Stored, measured
from mlrepro.comparators.raw_bytes import first_difference
from mlrepro.comparators.values import worst
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_CHUNK = 2**20
"""Bytes that are read at once from each side of what is packed."""

_REORDERED = 64 * 2**20
"""Arrays in two memory orders are read whole, up to so many bytes."""

# What numpy and zipfile raise for damaged files, tried by fuzzing.
_DAMAGE = (
    ValueError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError,
    SyntaxError, tokenize.TokenError, TypeError, KeyError, OverflowError, MemoryError,
    AttributeError, OSError,
)  # fmt: skip


def _recognises(path: Path, head: bytes) -> bool:
    if path.suffix in (".npy", ".npz"):
        return bool(head)
    return head.startswith(b"\x93NUMPY") or (head.startswith(b"PK\3\4") and b".npy" in head[:300])


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        what = " ".join(str(error).split())[:120] or type(error).__name__
        raise ComparisonError(f"`{name}` is damaged: {what}") from error


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    with _translated(recorded.name):
        if zipfile.is_zipfile(recorded) or zipfile.is_zipfile(rebuilt):
            with zipfile.ZipFile(recorded) as a, zipfile.ZipFile(rebuilt) as b:
                return _archives(recorded.name, a, b, tolerance)
        with recorded.open("rb") as left, rebuilt.open("rb") as right:
            found = _arrays(recorded.name, left, right, tolerance)
            if found.verdict == Verdict.EQUIVALENT and not found.metadata:
                note = "npy: the header or the order of bytes differs, not the elements"
                found = replace(found, metadata=(note,))
            return found


def _archives(
    name: str, a: zipfile.ZipFile, b: zipfile.ZipFile, tolerance: Tolerance
) -> Difference:
    names = [*a.namelist(), *(n for n in b.namelist() if n not in set(a.namelist()))]
    children = tuple(_member(n, a, b, tolerance) for n in dict.fromkeys(names))
    verdict = max(worst(children), Verdict.EQUIVALENT) if children else Verdict.DRIFTED
    unequal = [c for c in children if c.verdict > Verdict.EQUIVALENT]
    telling = next((c for c in unequal if c.verdict == verdict), None)
    return Difference(
        name,
        verdict,
        summary=f"{len(unequal)} of {len(children)} arrays differ" if unequal else "",
        first=f"{telling.path}: {telling.first or telling.summary}" if telling else "",
        metadata=() if unequal else ("npz: the archive's own times or compression differ",),
        children=children,
        compared=sum(c.compared for c in children),
    )


def _member(name: str, a: zipfile.ZipFile, b: zipfile.ZipFile, tolerance: Tolerance) -> Difference:
    short = name.removesuffix(".npy")
    if not (name in a.namelist() and name in b.namelist()):
        side = "recorded" if name in a.namelist() else "rebuilt"
        return Difference(short, Verdict.MISSING, summary=f"only {side}", compared=1)
    with _translated(name), a.open(name) as left, b.open(name) as right:
        if name.endswith(".npy"):
            return _arrays(short, left, right, tolerance)
        offset = first_difference(left, right)
    if offset is None:
        return Difference(short, Verdict.EQUIVALENT, compared=1)
    return Difference(short, Verdict.DRIFTED, first=f"offset {offset}", compared=1)


@dataclass(frozen=True)
class _Header:
    """What an npy file says of itself."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: Any

    @property
    def count(self) -> int:
        count = 1
        for n in self.shape:
            count *= n
        return count

    def place(self, at: int) -> str:
        """Return the index of the element that is stored at position `at`."""
        return place(at, self.shape, fortran=self.fortran)


def _header(file: IO[bytes], name: str) -> _Header:
    from numpy.lib import format as npy  # noqa: PLC0415  0.1 s: paid where arrays are compared

    version = npy.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ComparisonError(
            f"`{name}` has npy version {version[0]}.{version[1]}, which is not read here"
        )
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ComparisonError(f"`{name}` holds pickled objects, which are never unpickled here")
    if not dtype.itemsize or any(n < 0 for n in shape):
        raise ComparisonError(f"`{name}` holds values of no size")
    return _Header(shape, fortran and len(shape) > 1, dtype)


def _arrays(name: str, a: IO[bytes], b: IO[bytes], tolerance: Tolerance) -> Difference:
    left, right = _header(a, name), _header(b, name)
    change = _structure(left, right)
    if change:
        return Difference(name, Verdict.DRIFTED, summary=change, first=change, compared=1)
    notes = []
    if left.dtype.byteorder != right.dtype.byteorder:
        notes.append(f"dtype: {left.dtype.str} → {right.dtype.str}")
    if left.fortran != right.fortran:
        notes.append("memory order: C ↔ Fortran")
    total = _Total(name, left, tolerance)
    stored = _stored(a, left), _stored(b, right)
    if left == right and stored[0] and stored[1]:
        total.files(stored[0], stored[1])
    else:
        for x, y in (
            _reordered(a, b, left, right)
            if left.fortran != right.fortran
            else _pairs(a, b, left, right)
        ):
            total.add(x, y)
        if a.read(1) or b.read(1):
            raise ComparisonError(f"`{name}` holds bytes behind its array")
    found = total.difference()
    return replace(found, metadata=(*notes, *found.metadata))


def _stored(file: IO[bytes], header: _Header) -> Stored | None:
    """Return where the elements of a plain array lie, if that is a file of its own and whole."""
    path = getattr(file, "name", None)
    if not isinstance(file, io.BufferedReader) or header.dtype.names or not header.count:
        return None
    whole = file.tell() + header.count * header.dtype.itemsize == os.fstat(file.fileno()).st_size
    return Stored(Path(str(path)), file.tell()) if whole else None


def _structure(left: _Header, right: _Header) -> str:
    if left.shape != right.shape:
        return f"shape: {left.shape} → {right.shape}"
    # Text is as wide as its longest word, so its width is a value and no structure.
    same = left.dtype.newbyteorder("=") == right.dtype.newbyteorder("=")
    if not same and not (left.dtype.kind == right.dtype.kind and left.dtype.kind in "US"):
        return f"dtype: {left.dtype} → {right.dtype}"
    return ""


def _pairs(a: IO[bytes], b: IO[bytes], left: _Header, right: _Header) -> Iterator[tuple[Any, Any]]:
    step = max(1, _CHUNK // max(left.dtype.itemsize, right.dtype.itemsize, 8))
    for start in range(0, left.count, step):
        n = min(step, left.count - start)
        yield _take(a, left.dtype, n), _take(b, right.dtype, n)


def _take(file: IO[bytes], dtype: Any, count: int) -> Any:
    import numpy as np  # noqa: PLC0415  see _header

    wanted = dtype.itemsize * count
    data = file.read(wanted)
    if len(data) != wanted:
        raise EOFError("it ends before its last element")
    return np.frombuffer(data, dtype)


def _reordered(
    a: IO[bytes], b: IO[bytes], left: _Header, right: _Header
) -> Iterator[tuple[Any, Any]]:
    if left.count * left.dtype.itemsize > _REORDERED:
        raise ComparisonError("arrays in two memory orders are compared up to 64 MiB only")
    for x, y in [(_take(a, left.dtype, left.count), _take(b, right.dtype, right.count))]:
        orders = ("C", "F") if right.fortran else ("F", "C")
        # The recorded order counts the places.
        shaped = [v.reshape(left.shape, order=o) for v, o in zip((x, y), orders, strict=True)]
        yield x, shaped[1].ravel(order=orders[0])


class _Total:
    """The sum of all chunks of one array; a structured one has a column for each field."""

    def __init__(self, name: str, header: _Header, tolerance: Tolerance) -> None:
        self.name = name
        self.header = header
        self.tolerance = tolerance
        self.columns: dict[str, Elements] = {}

    def add(self, a: Any, b: Any) -> None:
        for path, x, y in _fields(a, b, ""):
            if path not in self.columns:
                self.columns[path] = Elements.of(x.dtype, self.tolerance)
            self.columns[path].add(x, y)

    def files(self, a: Stored, b: Stored) -> None:
        """Take in two files of one plain type and one order, by several threads."""
        column = self.columns[""] = Elements.of(self.header.dtype, self.tolerance)
        stream = column.stream(a, b, self.header.dtype, self.header.count)
        for _, part in measured([stream]):
            column.merge(part)

    def difference(self) -> Difference:
        """Return the node of the array."""
        parts = [
            c.difference(p or self.name, self.header.place, c.compared // self.header.count)
            for p, c in self.columns.items()
            if c.compared
        ]
        if len(parts) == 1:
            return replace(parts[0], path=self.name)
        if not parts:  # no element at all: shape and dtype are equal, and that is all there is
            return Difference(self.name, Verdict.EQUIVALENT, compared=1)
        return Difference(
            self.name,
            worst(parts),
            first=next((f"{p.path}: {p.first}" for p in parts if p.first), ""),
            children=tuple(parts),
            compared=sum(p.compared for p in parts),
        )


def _fields(a: Any, b: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    if a.dtype.names:
        for name in a.dtype.names:
            yield from _fields(a[name], b[name], f"{path}.{name}" if path else name)
    else:
        yield path, a.reshape(-1), b.reshape(-1)


COMPARATOR = Comparator("arrays", _recognises, _compare)
