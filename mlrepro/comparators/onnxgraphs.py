"""ONNX graphs: two graphs walked node by node; values inside of them are told by their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mlrepro.comparators import onnxtensors
from mlrepro.comparators.elements import Elements
from mlrepro.comparators.onnxfile import Message, Source
from mlrepro.comparators.onnxtensors import Tensor
from mlrepro.comparators.values import LISTED, scalars_close, show
from mlrepro.drift import Difference, Measure, Tolerance, Verdict


@dataclass
class _Names:
    """Which name of the recorded graph is which of the rebuilt one; graphs inside see all."""

    there: dict[str, str] = field(default_factory=dict)
    back: dict[str, str] = field(default_factory=dict)

    def same(self, a: str, b: str) -> bool:
        """Say whether two names are of one value; two that are new become it."""
        if a not in self.there and b not in self.back:
            self.there[a], self.back[b] = b, a
        return self.there.get(a) == b and self.back.get(b) == a

    def inner(self) -> _Names:
        return _Names(dict(self.there), dict(self.back))


@dataclass
class Walk:
    """One walk down two models at once."""

    a: Source
    b: Source
    tolerance: Tolerance
    parts: list[Difference] = field(default_factory=list)
    structure: list[Difference] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    compared: int = 0
    _depth: int = 0

    def broken(self, where: str) -> None:
        """Note that the two differ otherwise than by a number."""
        self.compared += 1
        if len(self.structure) < LISTED:
            self.structure.append(
                Difference(
                    where.split(":", maxsplit=1)[0], Verdict.DRIFTED, first=where, compared=1
                )
            )

    def unknown(self, where: str, a: Message, b: Message) -> None:
        """Compare what the schema does not name."""
        if sorted(a.unknown) != sorted(b.unknown):
            self.broken(f"{where}: a field that is not known here differs")

    def graphs(self, a: Message, b: Message, within: _Names | None = None, at: str = "") -> None:
        """Compare two graphs; `within` are the names of the graphs around them."""
        names = within.inner() if within else _Names()
        for kind in ("input", "output"):
            self._interface(a.all(kind), b.all(kind), names, f"{at}{kind}", nested=bool(within))
        self.unknown(f"{at}graph", a, b)
        before = len(self.structure)
        nodes = a.all("node"), b.all("node")
        if len(nodes[0]) != len(nodes[1]):
            self.broken(f"{at}nodes: {len(nodes[0])} → {len(nodes[1])}")
        for number, (x, y) in enumerate(zip(*nodes, strict=False)):
            self._node(x, y, names, f"{at}node {number}")
        if len(self.structure) == before:
            self._initializers(a, b, names, at)
            self._annotations(a.all("value_info"), b.all("value_info"), names, at)
            self._asides(a, b, names, at)

    def _interface(
        self, a: list[Message], b: list[Message], names: _Names, where: str, *, nested: bool
    ) -> None:
        if len(a) != len(b):
            self.broken(f"{where}s: {len(a)} → {len(b)}")
        for number, (x, y) in enumerate(zip(a, b, strict=False)):
            self.compared += 1
            old, new = x.one("name", ""), y.one("name", "")
            # A graph inside of another is called by place, the outermost one by name.
            if (old != new and not nested) or not names.same(old, new):
                self.broken(f"{where} {number}: {show(old)} → {show(new)}")
            elif x.all("type") != y.all("type"):
                self.broken(f"{where} {show(old)}: its type differs")
            self.unknown(where, x, y)

    def _node(self, a: Message, b: Message, names: _Names, where: str) -> None:
        kinds = [f"{m.one('domain', '')}.{m.one('op_type', '')}".lstrip(".") for m in (a, b)]
        self.compared += 1
        if kinds[0] != kinds[1] or a.one("overload", "") != b.one("overload", ""):
            self.broken(f"{where}: {show(kinds[0])} → {show(kinds[1])}")
            return
        where = f"{where} {show(kinds[0])}"
        for kind in ("input", "output"):
            x, y = a.all(kind), b.all(kind)
            if len(x) != len(y):
                self.broken(f"{where}, {kind}s: {len(x)} → {len(y)}")
            for number, (s, t) in enumerate(zip(x, y, strict=False)):
                if bool(s) != bool(t) or (s and not names.same(s, t)):
                    self.broken(f"{where}, {kind} {number}: {show(s)} → {show(t)}")
        self.unknown(where, a, b)
        self._attributes(a, b, names, where)

    def _attributes(self, a: Message, b: Message, names: _Names, where: str) -> None:
        x, y = ({m.one("name", ""): m for m in side.all("attribute")} for side in (a, b))
        if (len(x), len(y)) != (len(a.all("attribute")), len(b.all("attribute"))):
            raise ValueError(f"{where} has two attributes of one name")
        for name in {**x, **y}:
            self.compared += 1
            if name not in x or name not in y:
                side = "recorded" if name in x else "rebuilt"
                self.broken(f"{where}, {show(name)}: only {side}")
            else:
                self._attribute(x[name], y[name], names, f"{where}, {show(name)}")

    def _attribute(self, a: Message, b: Message, names: _Names, where: str) -> None:
        self.unknown(where, a, b)
        for kind in ("type", "i", "s", "ref_attr_name", "strings"):
            if not _same(a, b, kind):
                x, y = a.all(kind), b.all(kind)
                self.broken(f"{where}: {show(_first(x, y, 0))} → {show(_first(x, y, 1))}")
        self._number(a, b, where)
        for kind, dtype in (("floats", "<f4"), ("ints", "<i8")):
            self._list(a.all(kind), b.all(kind), dtype, where)
        for kind in ("t", "tensors"):
            self._tensors(a.all(kind), b.all(kind), where)
        for kind in ("g", "graphs"):
            x, y = a.all(kind), b.all(kind)
            if len(x) != len(y):
                self.broken(f"{where}: {len(x)} → {len(y)} graphs")
            for s, t in zip(x, y, strict=False):
                self.graphs(s, t, names, f"{where}, ")

    def _number(self, a: Message, b: Message, where: str) -> None:
        x, y = a.one("f", 0.0), b.one("f", 0.0)
        if x != y and not (x != x and y != y):
            close = scalars_close(x, y, self.tolerance)
            verdict = Verdict.CLOSE if close else Verdict.DRIFTED
            distance = Measure("|a−b|", abs(x - y), where=where)
            self.parts.append(
                Difference(
                    where, verdict, measures=(distance,), first=f"{where}: {x} → {y}", compared=1
                )
            )

    def _list(self, a: list[Any], b: list[Any], dtype: str, where: str) -> None:
        import numpy as np  # noqa: PLC0415  0.1 s: paid where models are compared

        if not a and not b:
            return
        x, y = (_array(np, side, dtype) for side in (a, b))
        if len(x) != len(y):
            self.broken(f"{where}: {len(x)} → {len(y)} numbers")
            return
        elements = Elements.of(np.dtype(dtype), self.tolerance)
        elements.add(x, y)
        if elements.compared:
            self.parts.append(elements.difference(where, lambda at: f"{where}[{at}]"))

    def _tensors(self, a: Sequence[Message], b: Sequence[Message], where: str) -> None:
        if len(a) != len(b):
            self.broken(f"{where}: {len(a)} → {len(b)} tensors")
        for number, (x, y) in enumerate(zip(a, b, strict=False)):
            name = f"{where} {number}" if len(a) > 1 else where
            self._tensor(name, x, y)

    def _tensor(self, name: str, a: Message, b: Message) -> None:
        left, right = Tensor(self.a, a), Tensor(self.b, b)
        self.parts.append(onnxtensors.compare(name, left, right, self.tolerance))

    def _initializers(self, a: Message, b: Message, names: _Names, at: str) -> None:
        x, y = ({m.one("name", ""): m for m in side.all("initializer")} for side in (a, b))
        if (len(x), len(y)) != (len(a.all("initializer")), len(b.all("initializer"))):
            raise ValueError("two initializers have one name")
        for name, message in x.items():
            other = names.there.get(name, name)
            if other in y:
                self._tensor(f"{at}{name}", message, y[other])
            else:
                self.broken(f"{at}initializer {show(name)}: only recorded")
        for name in y:
            if names.back.get(name, name) not in x:
                self.broken(f"{at}initializer {show(name)}: only rebuilt")

    def _annotations(self, a: list[Message], b: list[Message], names: _Names, at: str) -> None:
        x, y = ({m.one("name", ""): m for m in side} for side in (a, b))
        for name, message in x.items():
            other = y.get(names.there.get(name, name))
            if other is not None and message.all("type") != other.all("type"):
                self.broken(f"{at}value {show(name)}: its type differs")
            elif other is not None:
                self.unknown(f"{at}value {show(name)}", message, other)
        lost = [n for n in x if names.there.get(n, n) not in y]
        added = [n for n in y if names.back.get(n, n) not in x]
        for name in (
            *(n for n in lost if n not in names.there),
            *(n for n in added if n not in names.back),
        ):
            self.broken(f"{at}value {show(name)}: it is annotated, and stands nowhere")
        if lost or added:
            self.metadata.append(
                f"{at}{len(lost) + len(added)} values are annotated on one side only"
            )

    def _asides(self, a: Message, b: Message, names: _Names, at: str) -> None:
        renamed = sum(old != new for old, new in names.there.items())
        if renamed:
            self.metadata.append(f"{at}{renamed} values have other names")
        pairs = list(zip(a.all("node"), b.all("node"), strict=False))
        named = sum(x.one("name", "") != y.one("name", "") for x, y in pairs)
        if named:
            self.metadata.append(f"{at}{named} nodes have other names")
        if a.one("name", "") != b.one("name", ""):
            change = f"{show(a.one('name', ''))} → {show(b.one('name', ''))}"
            self.metadata.append(f"{at}name of the graph: {change}")


def _same(a: Message, b: Message, kind: str) -> bool:
    """Say whether two fields are equal; one that is not stored is 0 or empty."""
    x, y = a.all(kind), b.all(kind)
    if kind == "strings":
        return x == y
    default: int | str = 0 if kind in ("type", "i") else ""
    return bool(a.one(kind, default) == b.one(kind, default))


def _first(a: list[Any], b: list[Any], side: int) -> Any:
    """Return the first value of one side that the other has not in its place."""
    at = next(
        (n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )
    own = (a, b)[side]
    return own[at] if at < len(own) else "–"


def _array(np: Any, parts: list[Any], dtype: str) -> Any:
    if dtype == "<f4":
        data = b"".join(parts)
        if len(data) % 4:
            raise ValueError("a list of floats has half a number")
        return np.frombuffer(data, dtype)
    return np.concatenate([np.zeros(0, np.int64), *(np.atleast_1d(p) for p in parts)]).astype(dtype)
