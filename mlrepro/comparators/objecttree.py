"""Object tree: two trees of inert nodes, walked side by side, and what was met as one report.

The walk keeps its own stack, so that depth costs no recursion, and meets each pair of nodes once,
so that cycles end and shared parts are not compared again. What means nothing: `aside.METADATA`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from mlrepro.comparators import arraypairs, aside, embedded
from mlrepro.comparators.blobs import Blob, held
from mlrepro.comparators.known import Type
from mlrepro.comparators.objects import (
    PLAIN,
    Array,
    Mapping,
    Name,
    Object,
    Persistent,
    Scalar,
    Sequence,
)
from mlrepro.comparators.tally import Tally
from mlrepro.comparators.treekeys import keyed
from mlrepro.comparators.treewords import Step, short, told
from mlrepro.comparators.values import scalars_close
from mlrepro.drift import Tolerance
from mlrepro.errors import ComparisonError

_MOST_PAIRS = 20_000_000
_ABSENT = object()
_FLOATS = {"f": 1e-5, "e": 1e-3}  # float32, float16
_Pair = tuple[Any, Any, Step]


@dataclass
class Walk:
    """Two trees side by side.

    Attributes
    ----------
    tolerance : Tolerance
        How far two numbers may be apart.
    tally : Tally
        What was met so far.
    """

    tolerance: Tolerance
    tally: Tally = field(default_factory=Tally)
    _seen: set[tuple[int, int]] = field(default_factory=set)

    def compare(self, a: Any, b: Any, root: str = "") -> None:
        """Walk two roots."""
        name = root or _root(a)
        stack: list[Iterator[_Pair]] = [iter([(a, b, Step(None, name, ""))])]
        while stack:
            pair = next(stack[-1], None)
            if pair is None:
                stack.pop()
            elif (below := self._visit(*pair)) is not None:
                stack.append(below)

    def _visit(self, a: Any, b: Any, where: Step) -> Iterator[_Pair] | None:
        if type(a) is Object:
            a = a.value
        if type(b) is Object:
            b = b.value
        kind = type(a)
        if kind in PLAIN and type(b) is kind:
            if a != b or kind in (float, complex):
                self._leaf(a, b, where)
            else:
                self.tally.equal()
            return None
        if (id(a), id(b)) in self._seen:
            return None
        if len(self._seen) > _MOST_PAIRS:
            raise ComparisonError("its parts refer to each other more often than is followed here")
        self._seen.add((id(a), id(b)))
        return self._nodes(a, b, where)

    def _nodes(self, a: Any, b: Any, where: Step) -> Iterator[_Pair] | None:
        if _texts(a, b):
            self._bytes(a, b, where)
            return None
        if type(a) is not type(b) or type(a) in PLAIN:
            self.tally.broken(where, f"{short(a)} → {short(b)}")
            return None
        below: Iterator[_Pair] | None = _VISITS[type(a)](self, a, b, where)
        return below

    # Each of these measures one kind of node, and yields what lies below.

    def _sequence(self, a: Sequence, b: Sequence, where: Step) -> Iterator[_Pair] | None:
        if a.kind != b.kind:
            self.tally.broken(where, f"{a.kind} → {b.kind}")
            return None
        self.tally.equal()
        if "set" in a.kind:
            return self._set(a, b, where)
        if len(a.items) != len(b.items):
            self.tally.broken(where, f"{len(a.items)} → {len(b.items)} items")
        return _positions(a.items, b.items, where)

    def _set(self, a: Sequence, b: Sequence, where: Step) -> Iterator[_Pair] | None:
        left, right = keyed([(x, x) for x in a.items]), keyed([(x, x) for x in b.items])
        only = [k for k in left.keys() ^ right.keys() if k[0] != "at"]
        if only or len(a.items) != len(b.items):
            self.tally.broken(where, f"{len(only)} members of a set on one side only")
            return None
        unkeyed = [k for k in left if k[0] == "at" and k in right]
        self.tally.equal(len(left))
        return ((left[k][1], right[k][1], Step(where, k[1], "[")) for k in unkeyed)

    def _mapping(self, a: Mapping, b: Mapping, where: Step) -> Iterator[_Pair]:
        return self._pairs(a.pairs, b.pairs, where)

    def _pairs(
        self, a: list[tuple[Any, Any]], b: list[tuple[Any, Any]], where: Step
    ) -> Iterator[_Pair]:
        self.tally.equal()
        left, right = keyed(a), keyed(b)
        if left.keys() == right.keys() and list(left) != list(right):
            self.tally.orders += 1
            if self.tally.orders == 1:
                self.tally.aside(f"{where}: the keys are in another order")
        return self._members(left, right, where)

    def _members(self, left: dict[Any, Any], right: dict[Any, Any], where: Step) -> Iterator[_Pair]:
        form = "." if str(where) else ""
        for key in dict.fromkeys((*left, *right)):
            name, x = left.get(key, (None, _ABSENT))
            other, y = right.get(key, (None, _ABSENT))
            step = Step(where, other if x is _ABSENT else name, form)
            if x is _ABSENT or y is _ABSENT:
                self._one_sided(x, y, step)
            elif not self._set_aside(x, y, step):
                if key[0] == "at":  # keys that are no plain values are compared themselves
                    yield name, other, Step(step, "key")
                yield x, y, step

    def _one_sided(self, x: Any, y: Any, step: Step) -> None:
        side = "only rebuilt" if x is _ABSENT else "only recorded"
        if aside.only(step, y if x is _ABSENT else x):
            self.tally.aside(f"{step}: {side}")
        else:
            self.tally.broken(step, side)

    def _set_aside(self, x: Any, y: Any, step: Step) -> bool:
        found = aside.both(step, x, y)
        if found and told(x) != told(y):
            self.tally.aside(f"{step}: {told(x)} → {told(y)}")
        return found

    def _object(self, a: Object, b: Object, where: Step) -> Iterator[_Pair] | None:
        if (a.made_by, a.new) != (b.made_by, b.new):
            self.tally.broken(where, f"{short(a)} → {short(b)}")
            return None
        self.tally.equal()
        return self._parts(a, b, where)

    def _parts(self, a: Object, b: Object, where: Step) -> Iterator[_Pair]:
        if type(a.maker) is not Name or type(b.maker) is not Name:
            yield a.maker, b.maker, Step(where, "class")
        for what in ("args", "items", "states"):
            x, y = getattr(a, what), getattr(b, what)
            if len(x) != len(y):
                self.tally.broken(where, f"{len(x)} → {len(y)} {what}")
        yield from _positions(a.args, b.args, Step(where, "args"))
        if a.kwargs is not None or b.kwargs is not None:
            yield a.kwargs or Mapping(), b.kwargs or Mapping(), Step(where, "args")
        yield from _positions(a.items, b.items, where)
        if a.pairs or b.pairs:
            yield from self._pairs(a.pairs, b.pairs, where)
        for x, y in zip(a.states, b.states, strict=False):
            yield from self._state(x, y, where)

    def _state(self, x: Any, y: Any, where: Step) -> Iterator[_Pair]:
        """Attributes stand below the object itself; a pair of dicts is attributes and slots."""
        if type(x) is Mapping and type(y) is Mapping:
            yield from self._pairs(x.pairs, y.pairs, where)
        elif _slots(x) and _slots(y):
            for p, q in zip(x.items, y.items, strict=True):
                yield from self._state(p, q, where)
        else:
            yield x, y, Step(where, "state")

    def _name(self, a: Name, b: Name, where: Step) -> None:
        self.tally.equal()
        if a.full != b.full:
            self.tally.broken(where, f"{a.full} → {b.full}")
        elif a.spelled != b.spelled:
            self._spelled(a, b)

    def _spelled(self, a: Name, b: Name) -> None:
        note = f"{a.spelled} → {b.spelled}"
        if note not in self.tally.found.metadata:
            self.tally.aside(note)

    def _type(self, a: Type, b: Type, where: Step) -> None:
        self.tally.equal()
        if a.dtype.newbyteorder("=") != b.dtype.newbyteorder("="):
            self.tally.broken(where, f"{a.dtype} → {b.dtype}")
        elif a.dtype.str != b.dtype.str:
            self.tally.aside(f"{where}: {a.dtype.str} → {b.dtype.str}")

    def _persistent(self, a: Persistent, b: Persistent, where: Step) -> Iterator[_Pair]:
        yield a.id, b.id, Step(where, "id")

    def _scalar(self, a: Scalar, b: Scalar, where: Step) -> None:
        same = a.dtype is b.dtype or a.dtype.newbyteorder("=") == b.dtype.newbyteorder("=")
        if not same and a.dtype.kind not in "US":
            self.tally.broken(where, f"{a.dtype} → {b.dtype}")
            return
        tolerance = self.tolerance
        if a.dtype.char in _FLOATS and tolerance.rtol is None:
            tolerance = replace(tolerance, rtol=_FLOATS[a.dtype.char])
        self._leaf(a.value, b.value, where, tolerance)

    def _array(self, a: Array, b: Array, where: Step) -> Iterator[_Pair] | None:
        self.tally.arrays += 1
        if a.items is not None and b.items is not None:
            return self._objects(a, b, where)
        if (a.items is None) != (b.items is None):
            self.tally.broken(where, f"dtype: {a.dtype} → {b.dtype}")
            return None
        self.tally.array(arraypairs.compare(str(where) or "array", a, b, self.tolerance))
        return None

    def _objects(self, a: Array, b: Array, where: Step) -> Iterator[_Pair] | None:
        if (a.shape, a.kind, a.dtype) != (b.shape, b.kind, b.dtype):
            self.tally.broken(where, f"shape or dtype: {a.shape} → {b.shape}")
            return None
        if a.strides != b.strides and len(a.shape) > 1:
            self.tally.broken(where, "memory order of an array of objects")
            return None
        self.tally.equal()
        return _positions(a.items or [], b.items or [], where)

    def _bytes(self, a: Any, b: Any, where: Step) -> None:
        x, y = _blob(a), _blob(b)
        self.tally.equal()
        at = x.first_difference(y)
        if x.kind != y.kind:
            self.tally.broken(where, f"{x.kind} → {y.kind}")
        elif at is not None:
            model = embedded.compare(str(where), x, y, self.tolerance)
            if model is None:
                self.tally.broken(where, f"{x.kind} differ from offset {at}")
            else:
                self.tally.node(model)

    def _leaf(self, a: Any, b: Any, where: Step, tolerance: Tolerance | None = None) -> None:
        """Compare two plain values of one type."""
        if type(a) in (str, bytes) and embedded.is_model(a) and embedded.is_model(b):
            self._bytes(a, b, where)
        elif a == b or (a != a and b != b):
            self.tally.equal()
            if _signs(a) != _signs(b):
                self.tally.aside(f"{where}: {a!r} → {b!r}")
        else:
            if type(a) is type(b) and type(a) in (int, float):
                self.tally.number(a, b, where)
            close = _close(a, b, tolerance or self.tolerance)
            self.tally.moved(where, lambda: f"{short(a)} → {short(b)}", close=close)


def _root(node: Any) -> str:
    """Return the class of an estimator or a module; a container has no name in its paths."""
    if type(node) is not Object or node.value is not node or type(node.maker) is not Name:
        return ""
    return "" if node.maker.module in ("collections", "builtins") else node.shown


def _positions(a: list[Any], b: list[Any], where: Step) -> Iterator[_Pair]:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        yield x, y, Step(where, i, "[")


def _slots(value: Any) -> bool:
    """Say whether a state is attributes and slots, as `object.__reduce_ex__` writes both."""
    return (
        type(value) is Sequence
        and value.kind == "tuple"
        and len(value.items) == 2
        and all(v is None or type(v) is Mapping for v in value.items)
    )


def _texts(a: Any, b: Any) -> bool:
    """Say whether two nodes are bytes or text, of which at least one lies in a blob."""
    return Blob in (type(a), type(b)) and all(type(v) in (Blob, str, bytes) for v in (a, b))


def _blob(value: Any) -> Blob:
    if type(value) is Blob:
        return value
    if type(value) is str:
        return held(value.encode("utf-8", "surrogatepass"), "text")
    return held(value)


def _signs(value: Any) -> Any:
    if type(value) is complex:
        return (_signs(value.real), _signs(value.imag))
    return value == 0 and str(value).startswith("-") if type(value) is float else False


def _close(a: Any, b: Any, tolerance: Tolerance) -> bool:
    if type(a) is complex and type(b) is complex:
        return tolerance.scalar(a.real, b.real) and tolerance.scalar(a.imag, b.imag)
    numbers = type(a) is type(b) and type(a) in (int, float)
    return numbers and scalars_close(a, b, tolerance)


_VISITS: dict[type, Any] = {
    Sequence: Walk._sequence,
    Mapping: Walk._mapping,
    Object: Walk._object,
    Name: Walk._name,
    Type: Walk._type,
    Persistent: Walk._persistent,
    Scalar: Walk._scalar,
    Array: Walk._array,
}
