"""Compiled: the kernel in C, which says what numpy's passes say and takes a third of their time.

It is built where there is a compiler (``setup.py``); where there is none, numpy does the work.
"""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

from mlrepro.comparators.formats import FORMATS
from mlrepro.comparators.kernel import CHUNK, Found, kernel, kinds
from mlrepro.comparators.moments import Moments

NAME = "_kernel.so"

_KINDS = {"float64": (0, "d"), "float32": (1, "f"), "float16": (2, "He"), "bfloat16": (3, "H")}
"""As ``kernel.c`` numbers them, and as which types of numpy they come."""

_NARROW = ("float16", "bfloat16")


class _Moments(ctypes.Structure):
    _fields_ = [(name, ctypes.c_double) for name in ("mean", "squares", "largest")]


class _Found(ctypes.Structure):
    _fields_ = [
        *((n, ctypes.c_int64) for n in ("differing", "signed_zeros", "first", "where", "steps")),
        *((n, ctypes.c_double) for n in ("largest", "squares")),
        *((n, _Moments) for n in ("a", "b")),
    ]


@functools.cache
def library() -> Any:
    """Return the function of the library, or None where it was not built or is not of here."""
    try:
        measure = ctypes.CDLL(str(Path(__file__).with_name(NAME))).mlrepro_measure
    except (OSError, AttributeError):
        return None
    integer, address, number, long = (
        ctypes.c_int, ctypes.c_void_p, ctypes.c_double, ctypes.c_int64
    )  # fmt: skip
    measure.argtypes = [
        integer, address, address, long, number, number, integer, integer, address, address
    ]  # fmt: skip
    measure.restype = integer
    return measure


def measured(np: Any, name: str, a: Any, b: Any, *, sampled: bool) -> Found | None:
    """Measure two chunks of a stored type: in C where that is there, else by numpy.

    Parameters
    ----------
    np : module
        numpy.
    name : str
        ``float64``, ``float32``, or a type of `FORMATS` that comes as integers.
    a, b : numpy.ndarray
        At most `CHUNK` numbers each, contiguous.
    sampled : bool
        Whether the distribution may be counted on a part.

    Returns
    -------
    Found or None
        None where a number is not finite or leaves the range in which the passes are exact.
    """
    function = library()
    if function is not None and _fits(name, a, b):
        return _compiled(np, function, name, a, b, sampled=sampled)
    x, y = _widened(np, a, b, name)
    if function is not None and _fits(x.dtype.name, x, y):
        return _compiled(np, function, x.dtype.name, x, y, sampled=sampled)
    return kernel(np, x.dtype.name).measure(x, y, FORMATS[name].bound, sampled=sampled)


def _fits(name: str, a: Any, b: Any) -> bool:
    # C believes what it is told: a wrong length or type would be read past its end.
    return (
        name in _KINDS
        and all(
            x.dtype.char in _KINDS[name][1] and x.dtype.isnative and x.flags.c_contiguous
            for x in (a, b)
        )
        and a.shape == b.shape
    )


def _widened(np: Any, a: Any, b: Any, name: str) -> tuple[Any, Any]:
    form = FORMATS[name]
    if form.exact is None:
        return a, b
    if form.widen is None:
        return form.exact(a), form.exact(b)
    x, y = np.empty(len(a), np.float32), np.empty(len(b), np.float32)
    form.widen(a, x)
    form.widen(b, y)
    return x, y


def _compiled(
    np: Any, function: Any, name: str, a: Any, b: Any, *, sampled: bool, plainly: bool = False
) -> Found | None:
    kind = kinds(np)["float32" if name in _NARROW else name]
    count, out = len(a), _Found()
    steps = np.empty(kind.most_steps, np.int64)
    most = min(FORMATS[name].bound, kind.most)
    ok = function(
        _KINDS[name][0], a.ctypes.data, b.ctypes.data, count, kind.least, most,
        sampled and count == CHUNK, plainly, steps.ctypes.data, ctypes.addressof(out),
    )  # fmt: skip
    if not ok:
        return None
    sides = (Moments(count, s.mean, max(s.squares, 0.0), s.largest) for s in (out.a, out.b))
    found = Found(out.differing, out.signed_zeros, out.first, a=next(sides), b=next(sides))
    if not found.differing:
        return found
    found.where, found.largest, found.squares = out.where, out.largest, out.squares
    found.steps, found.origin = steps[: out.steps], kind.origin
    found.distance = lambda: _distance(np, *_widened(np, a, b, name))
    return found if kind.least < found.largest < kind.most else None


def _distance(np: Any, x: Any, y: Any) -> Any:
    return np.abs(x - y)
