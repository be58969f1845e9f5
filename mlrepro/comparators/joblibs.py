"""Joblib: a pickle in which each array's bytes follow the node that describes it."""

from __future__ import annotations

from typing import Any

from mlrepro.comparators.known import array_of, dtype_of, shape_of
from mlrepro.comparators.objects import Array, Mapping, Name, Object
from mlrepro.comparators.opcodes import Machine

_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
_OLD = (
    "joblib.numpy_pickle_compat.NDArrayWrapper",
    "joblib.numpy_pickle_compat.ZNDArrayWrapper",
    "joblib.numpy_pickle.NDArrayWrapper",
    "joblib.numpy_pickle.ZNDArrayWrapper",
)
_DEEPEST = 8
_ALIGNMENTS = (1, 2, 4, 8, 16, 32, 64, 128)
_NEEDED = {"dtype", "shape", "subclass", "order"}
_KNOWN = {*_NEEDED, "allow_mmap", "numpy_array_alignment_bytes"}


class JoblibMachine(Machine):
    """A machine that knows joblib's wrapper; on a plain pickle it is the plain machine."""

    depth = 0

    def build(self, target: Any, state: Any) -> None:
        """Give a node its state; the bytes of a wrapped array follow it."""
        super().build(target, state)
        if target.made_by.removeprefix("sklearn.externals.") == _WRAPPER:
            if self.frame is not None and self.frame != self.at:
                raise ValueError(f"byte {self.at}: an array begins within a frame")
            self.frame = None
            target.value = self._array(_attributes(target))
        elif target.made_by.removeprefix("sklearn.externals.") in _OLD:
            raise ValueError("joblib before 0.10 kept its arrays in other files")

    def _array(self, told: dict[str, Any]) -> Array:
        dtype, shape = dtype_of(told["dtype"]), shape_of(told["shape"])
        kind, order = told["subclass"], told["order"]
        if type(kind) is not Name or order not in ("C", "F"):
            raise ValueError("an array is of no known order or class")
        if dtype.hasobject:
            return self._objects(kind.full, shape)
        if (wide := told.get("numpy_array_alignment_bytes")) is not None:
            if wide not in _ALIGNMENTS:
                raise ValueError("an array is aligned in a way that joblib never wrote")
            self._skip_padding()
        count = 1
        for n in shape:
            count *= n
        data = self.blob(count * dtype.itemsize)
        return array_of(dtype, shape, data, kind.full, fortran=order == "F")

    def _skip_padding(self) -> None:
        size = self.take(1)[0]
        if self.take(size) != b"\xff" * size:
            raise ValueError(f"byte {self.at}: what stands before an array is no padding")

    def _objects(self, kind: str, shape: tuple[int, ...]) -> Array:
        """Return an array of objects, which is a pickle of its own."""
        if self.depth >= _DEEPEST:
            raise ValueError("arrays of objects lie in each other too deep")
        inner = type(self)(self.source, self.at, most=self.left)
        inner.depth = self.depth + 1
        found = inner.run()
        self.seek(inner.at)
        self.left = inner.left
        array = found.value if type(found) is Object else None
        if type(array) is not Array or array.shape != shape or array.kind != kind:
            raise ValueError("an array of objects does not fit its description")
        return array


def _attributes(node: Object) -> dict[str, Any]:
    state = node.states[-1]
    if type(state) is not Mapping:
        raise ValueError("an array's description is no dict")
    found = {key: value for key, value in state.pairs if type(key) is str}
    if not _NEEDED <= found.keys() <= _KNOWN or len(found) != len(state.pairs):
        raise ValueError("an array's description has other entries than joblib writes")
    if type(found.get("allow_mmap", True)) is not bool:
        raise ValueError("an array's description is damaged")
    return found
