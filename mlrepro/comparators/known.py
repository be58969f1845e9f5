"""Known: calls in a pickle whose result is known without calling: sets, bytes, numpy's arrays.

Whatever is not known, or not in the one form that its library writes, stays an `Object`, whose
name, arguments and state are compared as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from mlrepro.comparators.blobs import Blob, held
from mlrepro.comparators.objects import Array, Mapping, Name, Object, Scalar, Sequence

_CODE = re.compile(r"[biufcSUVOMm][0-9]{1,9}")
_UNIT = re.compile(rb"generic|[YMWDhms]|ms|us|ns|ps|fs|as")
_ALIGNMENTS = (-1, 1, 2, 4, 8, 16)
_DEEPEST = 16
_NARROWED = 256 * 2**20
_WIDEST = 2**31
_RECONSTRUCT = "numpy._core.multiarray._reconstruct"
_LATIN = ("latin1", "latin-1")


def called(maker: Any, args: list[Any]) -> Any:
    """Return the node of a call: what it is known to make, else an `Object`."""
    known = _CALLS.get(maker.full) if type(maker) is Name else None
    found = known(args) if known else None
    return Object(maker, args) if found is None else found


def settled(node: Object) -> None:
    """Look at an object that has got its state: an array or a dtype is known from then on."""
    if node.made_by == _RECONSTRUCT and len(node.states) == 1:
        found = _array(node.args, node.states[0])
        node.value = node if found is None else found
    elif node.made_by == "numpy.dtype":
        node.value = Type(dtype_of(node))


class Type:
    """A dtype; two of them are compared by what they are and not by how they were pickled."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype


def raw(value: Any) -> bytes | None:
    """Return the bytes of a node that is bytes; None if it is none."""
    if type(value) is bytes:
        return value
    return value.all() if type(value) is Blob and value.kind != "text" else None


def items(value: Any, kind: str = "tuple") -> list[Any]:
    """Return what a tuple or list holds."""
    if type(value) is not Sequence or value.kind != kind:
        raise ValueError(f"a {kind} is expected and is not there")
    return value.items


def shape_of(value: Any) -> tuple[int, ...]:
    """Return a shape; a single number is one of one dimension."""
    found = [value] if type(value) is int else items(value)
    if not all(type(n) is int and 0 <= n < 2**62 for n in found) or len(found) > 64:
        raise ValueError("an array has no shape")
    return tuple(found)


def dtype_of(node: Any, depth: int = 0) -> Any:
    """Return the numpy dtype that a pickled one is.

    Raises
    ------
    ValueError
        If its parts do not fit together.
    """
    if type(node) is not Object or node.made_by != "numpy.dtype" or depth > _DEEPEST:
        raise ValueError("an array has no dtype")
    if type(node.value) is Type:
        return node.value.dtype
    code, *copied = node.args or [None]
    if type(code) is not str or not _CODE.fullmatch(code) or int(code[1:]) > _WIDEST:
        raise ValueError("a dtype has no code")
    if copied not in ([], [False, True], [0, 1]):
        raise ValueError("a dtype is made in a way that numpy never wrote")
    if not node.states:
        return _plain_dtype(code)
    return _dtype(code, items(node.states[-1]), depth)


def _plain_dtype(code: str) -> Any:
    import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

    return np.dtype(code)


def _dtype(code: str, state: list[Any], depth: int) -> Any:
    import numpy as np  # noqa: PLC0415  see _plain_dtype

    version, order, sub, names, fields, size, alignment, flags, *more = state
    if version not in (3, 4) or order not in ("<", ">", "|") or len(more) > 1:
        raise ValueError("a dtype is of a form that is not known")
    if not all(type(n) is int for n in (size, alignment, flags)) or not 0 <= flags < 256:
        raise ValueError("a dtype holds no numbers")
    if alignment not in _ALIGNMENTS or (alignment == -1) != (size == -1):
        raise ValueError("a dtype is aligned in a way that numpy never wrote")
    if names is not None:
        dtype = _record(items(names), fields, size, depth)
    elif sub is not None:
        base, shape = items(sub)
        dtype = np.dtype((dtype_of(base, depth + 1), shape_of(shape)))
    elif code[0] in "Mm":
        dtype = np.dtype(order + code + _unit(more[0]) if more else order + code)
    else:
        dtype = np.dtype(code).newbyteorder(order)
    described = names is not None or sub is not None or code[0] in "SUV"
    _check_size(dtype, code, size if described else size == -1 and dtype.itemsize, flags)
    return dtype


def _check_size(dtype: Any, code: str, size: int, flags: int) -> None:
    if size != dtype.itemsize or (flags & 1 and not dtype.hasobject):
        raise ValueError("a dtype does not fit its size")
    if code[0] == "V" and int(code[1:]) != dtype.itemsize:
        raise ValueError("a dtype does not fit its code")


def _record(names: list[Any], fields: Any, size: int, depth: int) -> Any:
    import numpy as np  # noqa: PLC0415  see _plain_dtype

    if type(fields) is not Mapping or len(fields.pairs) < len(names):
        raise ValueError("a dtype lacks its fields")
    known = {key: items(value) for key, value in fields.pairs if type(key) is str}
    parts = [known[name] for name in names]
    offsets = [part[1] for part in parts]
    if not all(type(at) is int and at >= 0 for at in offsets):
        raise ValueError("a dtype's field lies nowhere")
    formats = [dtype_of(part[0], depth + 1) for part in parts]
    form: Any = {"names": names, "formats": formats, "offsets": offsets, "itemsize": size}
    return np.dtype(form)


def _unit(metadata: Any) -> str:
    unit, *numbers = items(items(metadata)[1])
    if type(unit) is not bytes or not _UNIT.fullmatch(unit) or type(numbers[0]) is not int:
        raise ValueError("a date has no unit")
    if numbers[1:] != [1, 1] or not 0 < numbers[0] < 2**31:
        raise ValueError("a date has no unit")
    return "" if unit == b"generic" else f"[{numbers[0]}{unit.decode()}]"


def _array(args: list[Any], state: Any) -> Array | None:
    """Return the array that numpy's `_reconstruct` makes; None for an unusual form."""
    usual = len(args) == 3 and type(args[0]) is Name and raw(args[2]) == b"b"
    if not usual or items(args[1]) != [0] or len(parts := items(state)) != 5 or parts[0] != 1:
        return None
    _, shape, dtype, fortran, data = parts
    if type(fortran) not in (bool, int) or fortran not in (0, 1):
        return None
    return array_of(dtype_of(dtype), shape_of(shape), data, args[0].full, fortran=bool(fortran))


def array_of(
    dtype: Any, shape: tuple[int, ...], data: Any, kind: str, *, fortran: bool = False
) -> Array:
    """Return an array of bytes or, where the dtype holds objects, of a list.

    Raises
    ------
    ValueError
        If there are not as many as the shape says.
    """
    array = Array(dtype, shape, None, kind=kind, fortran=fortran)
    if dtype.hasobject:
        array.items = items(data, "list")
        if len(array.items) != array.size:
            raise ValueError("an array does not fit its shape")
        return array
    if type(data) is str:  # Python 2's bytes
        data = data.encode("latin-1")
    array.blob = data if type(data) is Blob else held(data)
    if array.blob.kind == "text" or array.blob.size != array.size * dtype.itemsize:
        raise ValueError("an array does not fit its shape")
    return array


def _from_buffer(args: list[Any]) -> Any:
    data, dtype, shape, order = args
    if order not in ("C", "F"):
        return None
    fortran = order == "F"
    return array_of(dtype_of(dtype), shape_of(shape), data, "numpy.ndarray", fortran=fortran)


def _scalar(args: list[Any]) -> Any:
    import numpy as np  # noqa: PLC0415  see _plain_dtype

    if len(args) != 2 or (data := raw(args[1])) is None:
        return None
    dtype = dtype_of(args[0])
    if dtype.hasobject or len(data) != dtype.itemsize:
        raise ValueError("a number does not fit its dtype")
    simple = dtype.kind in "biu" or (dtype.kind in "fc" and dtype.char not in "gG")
    value = np.frombuffer(data, dtype)[0].item() if simple else data
    return Scalar(dtype, value if type(value) in (bool, int, float, complex) else data)


def _encoded(args: list[Any]) -> Any:
    """Bytes as protocols 0 to 2 write them: text of their code points."""
    if len(args) != 2 or args[1] not in _LATIN:
        return None
    if type(args[0]) is str:
        return args[0].encode("latin-1")
    return _narrowed(args[0]) if type(args[0]) is Blob and args[0].kind == "text" else None


def _narrowed(text: Blob) -> Blob:
    if text.size > _NARROWED:
        raise ValueError("an array of more than 256 MiB in protocol 0, 1 or 2 is not read here")
    return held(text.all().decode("utf-8").encode("latin-1"))


def _bytearray(args: list[Any]) -> Any:
    if not args:
        return held(b"", "bytearray")
    if len(args) == 1 and (data := raw(args[0])) is not None:
        return held(data, "bytearray")
    data = _encoded(args)
    return held(data, "bytearray") if type(data) is bytes else None


def _collection(kind: str) -> Callable[[list[Any]], Any]:
    def made(args: list[Any]) -> Any:
        if len(args) == 1 and type(args[0]) is Sequence and args[0].kind in ("list", "tuple"):
            return Sequence(kind, list(args[0].items))
        return None if args else Sequence(kind, [])

    return made


def _complex(args: list[Any]) -> Any:
    return complex(*args) if [type(a) for a in args] == [float, float] else None


def _reconstructed(args: list[Any]) -> Any:
    """``copyreg._reconstructor``, which protocols 0 and 1 write where later ones have an opcode."""
    if len(args) != 3 or type(args[1]) is not Name:
        return None
    maker, base, state = args
    if base.full == "builtins.object":
        return Object(maker, [], new=True) if state is None else None
    node = Object(maker, [], new=True)
    if base.full == "builtins.list" and type(state) is Sequence:
        node.items += state.items
    elif base.full == "builtins.dict" and type(state) is Mapping:
        node.pairs += state.pairs
    else:
        node.args.append(state)
    return node


def _made_new(args: list[Any]) -> Any:
    return Object(args[0], args[1:], new=True) if args else None


def _made_new_ex(args: list[Any]) -> Any:
    maker, args, kwargs = args
    if type(kwargs) is not Mapping:
        return None
    return Object(maker, items(args), kwargs if kwargs.pairs else None, new=True)


def _attribute(args: list[Any]) -> Any:
    """Return a nested class, as protocols before 4 name it."""
    if len(args) == 2 and type(args[0]) is Name and type(args[1]) is str:
        return Name(args[0].module, f"{args[0].name}.{args[1]}")
    return None


_CALLS: dict[str, Callable[[list[Any]], Any]] = {
    "_codecs.encode": _encoded,
    "builtins.bytes": lambda args: None if args else b"",
    "builtins.bytearray": _bytearray,
    "builtins.set": _collection("set"),
    "builtins.frozenset": _collection("frozenset"),
    "builtins.complex": _complex,
    "builtins.getattr": _attribute,
    "copyreg._reconstructor": _reconstructed,
    "copyreg.__newobj__": _made_new,
    "copyreg.__newobj_ex__": _made_new_ex,
    "numpy._core.multiarray.scalar": _scalar,
    "numpy._core.numeric._frombuffer": _from_buffer,
}
