"""Objects: the inert nodes that a serialised model is read into; nothing of it is ever called.

None, truth, numbers, short text and short bytes stay plain Python. What would be an object is a
node that knows the name of its class, its arguments and its state, and can be looked at only.
"""

from __future__ import annotations

from typing import Any

from mlrepro.comparators.blobs import Blob

__all__ = [
    "PLAIN",
    "Array",
    "Blob",
    "Mapping",
    "Name",
    "Object",
    "Persistent",
    "Scalar",
    "Sequence",
]

PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes})
"""Types of the leaves that are compared by their value."""

# One thing that has had two addresses: Python 2's, and numpy's before 2.0.
_MOVED_MODULES = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "numpy.core": "numpy._core",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "numpy.core.numeric": "numpy._core.numeric",
    "cPickle": "pickle",
    "_pickle": "pickle",
}
_MOVED = {
    ("builtins", "xrange"): ("builtins", "range"),
    ("builtins", "unicode"): ("builtins", "str"),
    ("builtins", "long"): ("builtins", "int"),
}


class Name:
    """A class or function, by its address."""

    __slots__ = ("module", "name", "spelled")

    def __init__(self, module: str, name: str) -> None:
        self.spelled = f"{module}.{name}"
        module = _MOVED_MODULES.get(module, module)
        if module.startswith("numpy.core."):
            module = f"numpy._core.{module[11:]}"
        self.module, self.name = _MOVED.get((module, name), (module, name))

    @property
    def full(self) -> str:
        """The address, in today's spelling."""
        return f"{self.module}.{self.name}"

    @property
    def short(self) -> str:
        """The last word of it, as a report shows it."""
        return self.name.rpartition(".")[2]


class Sequence:
    """A list, tuple, set or frozenset."""

    __slots__ = ("items", "kind")

    def __init__(self, kind: str, items: list[Any]) -> None:
        self.kind = kind
        self.items = items


class Mapping:
    """A dict, as the pairs in their order."""

    __slots__ = ("pairs",)

    def __init__(self) -> None:
        self.pairs: list[tuple[Any, Any]] = []


class Persistent:
    """What a pickle names and keeps elsewhere."""

    __slots__ = ("id",)

    def __init__(self, id: Any) -> None:  # noqa: A002  as pickle calls it
        self.id = id


class Array:
    """An array whose numbers lie in a blob; or objects, which lie in `items`.

    Attributes
    ----------
    dtype : numpy.dtype
        Of the elements; bfloat16 and the like as the unsigned integers of their bits.
    shape, strides : tuple of int
        Both in elements; `offset` is where the first element lies in the blob, in elements.
    kind : str
        What else must be equal: ``numpy.ndarray``, ``torch.FloatStorage``.
    special : str
        ``bfloat16`` where the integers are such; else empty.
    notes : dict
        What means nothing: ``layout``, ``device``.
    """

    __slots__ = ("blob", "dtype", "items", "kind", "notes", "offset", "shape", "special", "strides")

    def __init__(
        self,
        dtype: Any,
        shape: tuple[int, ...],
        blob: Blob | None,
        *,
        strides: tuple[int, ...] | None = None,
        offset: int = 0,
        kind: str = "numpy.ndarray",
        fortran: bool = False,
    ) -> None:
        self.dtype = dtype
        self.shape = shape
        self.blob = blob
        self.strides = strides if strides is not None else contiguous(shape, fortran=fortran)
        self.offset = offset
        self.kind = kind
        self.special = ""
        self.items: list[Any] | None = None
        self.notes: dict[str, str] = {}

    @property
    def size(self) -> int:
        """How many elements it has."""
        size = 1
        for n in self.shape:
            size *= n
        return size


class Scalar:
    """A number of a numpy type; its bytes where Python has no such number."""

    __slots__ = ("dtype", "value")

    def __init__(self, dtype: Any, value: Any) -> None:
        self.dtype = dtype
        self.value = value


class Object:
    """What a call would have made.

    Attributes
    ----------
    maker : Name or node
        What was to be called.
    args : list
        Its arguments; `kwargs` the named ones.
    new : bool
        Whether `__new__` alone was to be called.
    states : list
        What `__setstate__` would have been given.
    items, pairs : list
        What was to be appended, and set.
    value : Any
        What the node is known to be, such as an `Array`; `self` where that is nothing else.
    """

    __slots__ = ("args", "items", "kwargs", "maker", "new", "pairs", "states", "value")

    def __init__(
        self, maker: Any, args: list[Any], kwargs: Mapping | None = None, *, new: bool = False
    ) -> None:
        self.maker = maker
        self.args = args
        self.kwargs = kwargs
        self.new = new
        self.states: list[Any] = []
        self.items: list[Any] = []
        self.pairs: list[tuple[Any, Any]] = []
        self.value: Any = self

    @property
    def made_by(self) -> str:
        """The address of what was to be called; empty where it has none."""
        return self.maker.full if type(self.maker) is Name else ""

    @property
    def shown(self) -> str:
        """The class's last word, as a report shows it."""
        return self.maker.short if type(self.maker) is Name else "object"


def contiguous(shape: tuple[int, ...], *, fortran: bool = False) -> tuple[int, ...]:
    """Return the strides, in elements, of an array without gaps."""
    strides, step = [], 1
    for n in shape if fortran else reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(strides if fortran else reversed(strides))
