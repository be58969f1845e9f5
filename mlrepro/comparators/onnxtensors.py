"""ONNX tensors: their elements, whichever of the schema's fields or files they are stored in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from mlrepro.comparators.elements import Elements, place
from mlrepro.comparators.formats import FORMATS
from mlrepro.comparators.onnxfile import Message, Place, Source
from mlrepro.comparators.pieces import Stored, measured
from mlrepro.comparators.values import show
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

# Code of a data type → type of numpy it is stored as, and the field that holds it when not raw.
_TYPES = {
    1: ("<f4", "float_data"), 2: ("u1", "int32_data"), 3: ("i1", "int32_data"),
    4: ("<u2", "int32_data"), 5: ("<i2", "int32_data"), 6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"), 9: ("u1", "int32_data"), 10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"), 12: ("<u4", "uint64_data"), 13: ("<u8", "uint64_data"),
    14: ("<c8", "float_data"), 15: ("<c16", "double_data"), 16: ("<u2", "int32_data"),
    17: ("u1", "int32_data"), 18: ("u1", "int32_data"), 19: ("u1", "int32_data"),
    20: ("u1", "int32_data"), 21: ("u1", "int32_data"), 22: ("u1", "int32_data"),
    23: ("u1", "int32_data"), 24: ("u1", "int32_data"),
}  # fmt: skip
_FORMS = {
    16: "bfloat16", 17: "float8_e4m3", 18: "float8_e4m3fnuz", 19: "float8_e5m2",
    20: "float8_e5m2fnuz", 24: "float8_e8m0",
}  # fmt: skip
_HALVES = (21, 22, 23)
"""Two elements in a byte; compared byte by byte."""

_TEXT = 8
_DATA = (
    "raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data",
    "string_data",
)  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """One tensor of one file."""

    source: Source
    message: Message

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""
        import numpy as np  # noqa: PLC0415  0.1 s: paid where models are compared

        dims = [int(n) for part in self.message.all("dims") for n in np.atleast_1d(part)]
        if any(n < 0 for n in dims) or len(dims) > 100:
            raise ValueError("a tensor has a negative dimension, or too many")
        return tuple(dims)

    @property
    def type(self) -> int:
        """The code of its data type."""
        return int(self.message.one("data_type", 0))

    @property
    def stored(self) -> int:
        """How many numbers of the stored type it has."""
        count = math.prod(self.shape)
        return (count + 1) // 2 if self.type in _HALVES else count

    def _misfit(self) -> ValueError:
        return ValueError(
            f"tensor {show(self.message.one('name', ''))} has another size than its shape"
        )

    def check_fields(self, used: str) -> None:
        """Check that its elements are stored once, where its type has them."""
        full = {name for name in _DATA if self.message.all(name)}
        external = self.message.one("data_location", 0)
        if external not in (0, 1) or full - ({"raw_data", used} if not external else set()):
            raise self._misfit()
        if len(full) > 1:
            raise self._misfit()

    def elements(self, dtype: Any, field: str) -> Stored | Any:
        """Return the place of its elements, or the elements."""
        self.check_fields(field)
        size = self.stored * dtype.itemsize
        if self.message.one("data_location", 0) == 1:
            return self._external(size)
        if self.message.all("raw_data"):
            return self._at(self.message.all("raw_data"), size)
        if field in ("float_data", "double_data"):
            return self._at(self.message.all(field), size)
        return self._numbers(dtype, field)

    def _at(self, places: list[Place], size: int) -> Stored | Any:
        if sum(p.end - p.begin for p in places) != size:
            raise self._misfit()
        if len(places) == 1:
            return Stored(self.source.path, places[0].begin)
        import numpy as np  # noqa: PLC0415  see shape

        data = b"".join(self.source.data[p.begin : p.end] for p in places)
        return np.frombuffer(data, np.uint8)

    def _numbers(self, dtype: Any, field: str) -> Any:
        import numpy as np  # noqa: PLC0415  see shape

        parts = [np.atleast_1d(part) for part in self.message.all(field)]
        whole = np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)
        if len(whole) != self.stored:
            raise self._misfit()
        width = f"u{dtype.itemsize}"
        narrow = whole.astype(width)
        lost = (narrow.astype(np.int64) != whole) & (
            narrow.view(f"i{dtype.itemsize}").astype(np.int64) != whole
        )
        if dtype.itemsize < 8 and lost.any():
            raise ValueError("a number of a tensor does not fit its type")
        return narrow.view(np.uint8)

    def _external(self, size: int) -> Stored:
        told = {e.one("key", ""): e.one("value", "") for e in self.message.all("external_data")}
        location = told.get("location", "")
        path = _inside(self.source.path.parent, location)
        offset, length = int(told.get("offset") or 0), int(told.get("length") or size)
        if path is None or not path.is_file():
            raise ComparisonError(
                f"its tensors lie in {show(location)}, which is not beside it here"
            )
        if offset < 0 or length != size or offset + size > path.stat().st_size:
            raise ValueError(f"{show(location)} does not hold what it is said to hold")
        return Stored(path, offset)


def _inside(folder: Path, location: str) -> Path | None:
    """Return the path of a file beside the model; None where the name leads out of its folder."""
    named = PurePosixPath(location)
    if not location or "\0" in location or named.is_absolute() or ".." in named.parts:
        return None
    path = folder / named
    return path if path.resolve().is_relative_to(folder.resolve()) else None


def compare(name: str, a: Tensor, b: Tensor, tolerance: Tolerance) -> Difference:
    """Measure how far two tensors are apart; `name` stands in the report."""
    if a.shape != b.shape or a.type != b.type:
        words = (
            f"type {a.type} → {b.type}"
            if a.type != b.type
            else f"shape {list(a.shape)} → {list(b.shape)}"
        )
        return Difference(name, Verdict.DRIFTED, first=f"{name}: {words}", compared=1)
    if a.message.unknown != b.message.unknown:
        return Difference(name, Verdict.DRIFTED, first=f"{name}: an unknown field", compared=1)
    if a.type == _TEXT:
        return _texts(name, a, b)
    if a.type not in _TYPES:
        raise ValueError(f"tensor {show(name)} has the unknown type {a.type}")
    elements = _elements(a, b, tolerance)
    if not elements.compared:
        return Difference(name, Verdict.EQUIVALENT, compared=1)
    shape = (a.stored,) if a.type in _HALVES else a.shape
    return elements.difference(name, lambda at: name + place(at, shape))


def _elements(a: Tensor, b: Tensor, tolerance: Tolerance) -> Elements:
    import numpy as np  # noqa: PLC0415  see Tensor.shape

    dtype, field = np.dtype(_TYPES[a.type][0]), _TYPES[a.type][1]
    form = _FORMS.get(a.type)
    found = Elements.stored(FORMATS[form], tolerance) if form else Elements.of(dtype, tolerance)
    x, y = a.elements(dtype, field), b.elements(dtype, field)
    if isinstance(x, Stored) and isinstance(y, Stored):
        for _, part in measured([found.stream(x, y, dtype, a.stored)]):
            found.merge(part)
    elif a.stored:
        found.add(*(_held(np, v, dtype, a.stored) for v in (x, y)))
    return found


def _held(np: Any, value: Any, dtype: Any, count: int) -> Any:
    if isinstance(value, Stored):
        return np.fromfile(value.path, dtype, count, offset=value.offset)
    return value.view(dtype)


def _texts(name: str, a: Tensor, b: Tensor) -> Difference:
    a.check_fields("string_data")
    b.check_fields("string_data")
    x, y = a.message.all("string_data"), b.message.all("string_data")
    if len(x) != a.stored or len(y) != a.stored:
        raise ValueError(f"tensor {show(name)} has another size than its shape")
    unequal = [i for i, (s, t) in enumerate(zip(x, y, strict=True)) if s != t]
    if not unequal:
        return Difference(name, Verdict.EQUIVALENT, compared=max(1, len(x)))
    at = unequal[0]
    return Difference(
        name,
        Verdict.DRIFTED,
        summary=f"{len(unequal)} of {len(x)} elements differ",
        first=f"{name}{place(at, a.shape)}: {show(x[at])} → {show(y[at])}",
        compared=len(x),
    )
