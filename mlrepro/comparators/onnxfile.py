"""ONNX file: a model read by its schema into plain values; tensors stay where they lie.

Only what the comparison needs of onnx.proto is named here. A field that is not named is kept as
its bytes, so that what a later schema adds is still compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlrepro.comparators import protobuf
from mlrepro.comparators.protobuf import BYTES, FIXED32, FIXED64, VARINT, Field

_DEPTH = 40
"""Graphs lie in attributes of nodes of graphs; deeper than this no exporter goes."""

# Message → number of a field → (its name, its kind); a kind that is a message's name is nested.
_SCHEMA: dict[str, dict[int, tuple[str, str]]] = {
    "model": {
        1: ("ir_version", "int"), 2: ("producer_name", "text"), 3: ("producer_version", "text"),
        4: ("domain", "text"), 5: ("model_version", "int"), 6: ("doc_string", "text"),
        7: ("graph", "graph"), 8: ("opset_import", "opset"), 14: ("metadata_props", "entry"),
    },
    "graph": {
        1: ("node", "node"), 2: ("name", "text"), 5: ("initializer", "tensor"),
        10: ("doc_string", "text"), 11: ("input", "value"), 12: ("output", "value"),
        13: ("value_info", "value"), 16: ("metadata_props", "entry"),
    },
    "node": {
        1: ("input", "text"), 2: ("output", "text"), 3: ("name", "text"), 4: ("op_type", "text"),
        5: ("attribute", "attribute"), 6: ("doc_string", "text"), 7: ("domain", "text"),
        8: ("overload", "text"), 9: ("metadata_props", "entry"),
    },
    "attribute": {
        1: ("name", "text"), 2: ("f", "float"), 3: ("i", "int"), 4: ("s", "text"),
        5: ("t", "tensor"), 6: ("g", "graph"), 7: ("floats", "floats"), 8: ("ints", "ints"),
        9: ("strings", "text"), 10: ("tensors", "tensor"), 11: ("graphs", "graph"),
        13: ("doc_string", "text"), 20: ("type", "int"), 21: ("ref_attr_name", "text"),
    },
    "tensor": {
        1: ("dims", "ints"), 2: ("data_type", "int"), 4: ("float_data", "packed"),
        5: ("int32_data", "ints"), 6: ("string_data", "text"), 7: ("int64_data", "ints"),
        8: ("name", "text"), 9: ("raw_data", "place"), 10: ("double_data", "packed"),
        11: ("uint64_data", "ints"), 12: ("doc_string", "text"),
        13: ("external_data", "entry"), 14: ("data_location", "int"),
        16: ("metadata_props", "entry"),
    },
    "value": {
        1: ("name", "text"), 2: ("type", "bytes"), 3: ("doc_string", "text"),
        4: ("metadata_props", "entry"),
    },
    "opset": {1: ("domain", "text"), 2: ("version", "int")},
    "entry": {1: ("key", "text"), 2: ("value", "text")},
}  # fmt: skip

_WIRES = {
    "int": VARINT, "float": FIXED32, "text": BYTES, "bytes": BYTES, "place": BYTES,
}  # fmt: skip
# Lists that are not packed, by the tag of each of their numbers.
_RUNS: dict[str, dict[int, Callable[[Any, int, int, int], tuple[Any, int]]]] = {
    "attribute": {7 << 3 | FIXED32: protobuf.run_of_floats, 8 << 3: protobuf.run_of_ints},
    "tensor": {1 << 3: protobuf.run_of_ints},
}


@dataclass
class Message:
    """One message: name of a field → its values in order, and what the schema does not name."""

    kind: str
    values: dict[str, list[Any]] = field(default_factory=dict)
    unknown: list[tuple[int, bytes]] = field(default_factory=list)

    def all(self, name: str) -> list[Any]:
        """Return all values of a repeated field."""
        return self.values.get(name, [])

    def one(self, name: str, default: Any) -> Any:
        """Return the value of a field that stands once; the last one counts, as in protobuf."""
        return self.values.get(name, [default])[-1]


@dataclass(frozen=True)
class Place:
    """Bytes that stay in the file."""

    begin: int
    end: int


@dataclass(frozen=True)
class Source:
    """A file whose bytes are at hand."""

    path: Path
    data: Any


def read(source: Source) -> Message:
    """Return the model of a file.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    model = _message(source.data, "model", 0, len(source.data), 0)
    if len(model.all("graph")) != 1:
        raise ValueError(f"it holds {len(model.all('graph'))} graphs, and not one")
    return model


def _message(data: Any, kind: str, begin: int, end: int, depth: int) -> Message:
    if depth > _DEPTH:
        raise ValueError("its graphs are nested too deeply")
    found, schema, at = Message(kind), _SCHEMA[kind], begin
    while at < end:
        item = protobuf.field_at(data, at, end)
        tag, run = data[at], _RUNS.get(kind, {}).get(data[at])
        if run:
            value, at = run(data, at, end, tag)
            found.values.setdefault(schema[tag >> 3][0], []).append(value)
            continue
        at = item.end
        if item.number not in schema:
            found.unknown.append(_unknown(data, item))
            continue
        name, of = schema[item.number]
        if of in _SCHEMA:
            _expect(item, BYTES)
            value = _message(data, of, item.begin, item.end, depth + 1)
        else:
            value = _value(data, item, of)
        found.values.setdefault(name, []).append(value)
    return found


def _unknown(data: Any, item: Field) -> tuple[int, bytes]:
    content = data[item.begin : item.end]
    if item.wire == VARINT:
        content = item.value.to_bytes(8, "little")
    return item.number << 3 | item.wire, bytes(content)


def _value(data: Any, item: Field, of: str) -> Any:
    if of in _WIRES:
        _expect(item, _WIRES[of])
    return _READERS[of](data, item)


def _expect(item: Field, wire: int) -> None:
    if item.wire != wire:
        raise ValueError(f"field {item.number} has the wire type {item.wire}")


def _text(data: Any, item: Field) -> str:
    return bytes(data[item.begin : item.end]).decode("utf-8", "surrogateescape")


def _ints(data: Any, item: Field) -> Any:
    if item.wire == VARINT:
        return protobuf.signed(item.value)
    _expect(item, BYTES)
    return protobuf.varints(data[item.begin : item.end])


def _packed(data: Any, item: Field) -> Any:  # noqa: ARG001  of the table
    # One field of packed numbers, or one number: both are their bytes.
    if item.wire not in (BYTES, FIXED32, FIXED64):
        raise ValueError(f"field {item.number} has the wire type {item.wire}")
    return Place(item.begin, item.end)


def _floats(data: Any, item: Field) -> bytes:
    if item.wire not in (BYTES, FIXED32):
        raise ValueError(f"field {item.number} has the wire type {item.wire}")
    return bytes(data[item.begin : item.end])


_READERS: dict[str, Callable[[Any, Field], Any]] = {
    "int": lambda data, item: protobuf.signed(item.value),  # noqa: ARG005  of the table
    "float": protobuf.float32,
    "text": _text,
    "bytes": lambda data, item: bytes(data[item.begin : item.end]),
    "place": lambda data, item: Place(item.begin, item.end),  # noqa: ARG005  of the table
    "ints": _ints,
    "packed": _packed,
    "floats": _floats,
}
