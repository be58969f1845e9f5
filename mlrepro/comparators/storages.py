"""Storages: PyTorch's tensors as arrays over the bytes of their storages; torch is not needed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlrepro.comparators.blobs import Blob
from mlrepro.comparators.known import items, shape_of
from mlrepro.comparators.objects import Array, Mapping, Name, Object
from mlrepro.comparators.opcodes import Machine

# torch's class of a storage, or its dtype → numpy's type, and the name of a type numpy lacks.
_TYPES = {
    "FloatStorage": ("f4", ""),
    "DoubleStorage": ("f8", ""),
    "HalfStorage": ("f2", ""),
    "BFloat16Storage": ("u2", "bfloat16"),
    "ComplexFloatStorage": ("c8", ""),
    "ComplexDoubleStorage": ("c16", ""),
    "LongStorage": ("i8", ""),
    "IntStorage": ("i4", ""),
    "ShortStorage": ("i2", ""),
    "CharStorage": ("i1", ""),
    "ByteStorage": ("u1", ""),
    "BoolStorage": ("?", ""),
    "QInt8Storage": ("i1", "qint8"),
    "QUInt8Storage": ("u1", "quint8"),
    "QInt32Storage": ("i4", "qint32"),
    "UntypedStorage": ("u1", ""),
    "float32": ("f4", ""),
    "float64": ("f8", ""),
    "float16": ("f2", ""),
    "bfloat16": ("u2", "bfloat16"),
    "complex64": ("c8", ""),
    "complex128": ("c16", ""),
    "complex32": ("u4", "complex32"),
    "int64": ("i8", ""),
    "int32": ("i4", ""),
    "int16": ("i2", ""),
    "int8": ("i1", ""),
    "uint8": ("u1", ""),
    "uint16": ("u2", ""),
    "uint32": ("u4", ""),
    "uint64": ("u8", ""),
    "bool": ("?", ""),
    "float8_e4m3fn": ("u1", "float8_e4m3"),
    "float8_e5m2": ("u1", "float8_e5m2"),
    "float8_e4m3fnuz": ("u1", "float8_e4m3fnuz"),
    "float8_e5m2fnuz": ("u1", "float8_e5m2fnuz"),
    "float8_e8m0fnu": ("u1", "float8_e8m0"),
}
_REBUILD = {
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",
    "torch._utils._rebuild_qtensor",
}
_PARAMETER = "torch._utils._rebuild_parameter"


@dataclass(frozen=True, eq=False)
class Storage:
    """One storage: a flat run of elements.

    Attributes
    ----------
    type : str
        Its class's last word.
    blob : Blob
        Its bytes.
    device : str
        Where it lay.
    order : str
        ``<`` or ``>``, the order of the bytes of an element.
    """

    type: str
    blob: Blob
    device: str
    order: str

    def array(
        self,
        type: str,  # noqa: A002  as torch calls it
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        offset: int,
    ) -> Array:
        """Return a view of it.

        Raises
        ------
        ValueError
            If the view reaches beyond it.
        """
        import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

        code, special = _TYPES[type]
        dtype = np.dtype(f"{self.order}{code}")
        size = self.blob.size // dtype.itemsize
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if 0 not in shape and not (0 <= offset <= last < size):
            raise ValueError("a tensor reaches beyond its storage")
        array = Array(dtype, shape, self.blob, strides=strides, offset=offset, kind="torch.Tensor")
        array.special = special
        array.notes["device"] = self.device
        return array

    def whole(self) -> Array:
        """Return all of it."""
        wide = width(self.type)
        if self.blob.size % wide:
            raise ValueError("a storage ends within an element")
        return self.array(self.type, (self.blob.size // wide,), (1,), 0)


class TorchMachine(Machine):
    """A machine that knows torch's tensors; `find` gives the storage of a persistent id."""

    find: Callable[[list[Any]], Storage]

    def persistent(self, id: Any) -> Any:  # noqa: A002  as pickle calls it
        """Return an object whose value is the whole storage."""
        node = Object(Name("torch.storage", "Storage"), [])
        storage = self.find(items(id))
        node.states.append(storage)
        node.value = storage.whole()
        return node

    def call(self, maker: Any, args: list[Any]) -> Any:
        """Return the node of a call; that of a tensor knows its array."""
        node = super().call(maker, args)
        made_by = node.made_by if type(node) is Object else ""
        if made_by in _REBUILD:
            return _tensor(node)
        return _parameter(node) if made_by == _PARAMETER else node


def _tensor(node: Object) -> Object:
    """Return the node with the array for its storage; what else it was given stays beside it."""
    storage, offset, shape, strides, *rest = node.args
    if type(storage) is not Object or len(storage.states) != 1:
        raise ValueError("a tensor has no storage")
    found: Storage = storage.states[0]
    extent, steps = shape_of(shape), shape_of(strides)
    if type(offset) is not int or len(extent) != len(steps):
        raise ValueError("a tensor does not fit its storage")
    kind = found.type
    if node.made_by.endswith("_v3"):  # it names its type apart, after the hooks
        kind = storage_type(rest.pop(2))
    array = found.array(kind, extent, steps, offset)
    if node.made_by.endswith("_qtensor") or not _is_plain(rest):
        return Object(node.maker, [array, *rest])
    array.kind = f"torch.Tensor{' with gradient' if rest and rest[0] else ''}"
    node.value = array
    return node


def _parameter(node: Object) -> Object:
    """Return a parameter as the array that it is, where it is nothing more."""
    data, *rest = node.args
    array = data.value if type(data) is Object else None
    if type(array) is Array and len(rest) == 2 and _is_plain(rest):
        kind = f"torch.nn.Parameter{' with gradient' if rest[0] else ''}"
        found = Array(
            array.dtype,
            array.shape,
            array.blob,
            strides=array.strides,
            offset=array.offset,
            kind=kind,
        )
        found.special, found.notes = array.special, array.notes
        node.value = found
    return node


def _is_plain(rest: list[Any]) -> bool:
    """Say whether a tensor has no more than a flag for its gradient: no hooks, no metadata."""
    flags = [type(v) is bool for v in rest[:1]]
    hooks = [type(v) is Object and _is_empty(v) for v in rest[1:2]]
    more = [v is None or (type(v) is Mapping and not v.pairs) for v in rest[2:]]
    return all((*flags, *hooks, *more))


def _is_empty(node: Object) -> bool:
    filled = node.args or node.items or node.pairs or node.states
    return node.made_by == "collections.OrderedDict" and not filled


def storage_type(name: Any) -> str:
    """Return the name of a storage's class, or of a dtype."""
    if type(name) is not Name or name.name not in _TYPES or not name.module.startswith("torch"):
        raise ValueError("a tensor is of no known type")
    return name.name


def width(type: str) -> int:  # noqa: A002  as torch calls it
    """Return how many bytes an element has."""
    import numpy as np  # noqa: PLC0415  see Storage.array

    return int(np.dtype(_TYPES[type][0]).itemsize)
