"""Op table: what each opcode of a pickle does to the machine that follows it."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mlrepro.comparators.objects import Mapping, Name, Object, Sequence

if TYPE_CHECKING:
    from mlrepro.comparators.opcodes import Machine

_LONG_BYTES = 256
_LONG_TEXT = 4096
"""Longer ones stay in the file."""

_LONG_INTEGER = 1000
MARK = object()

_Handler = Callable[["Machine"], None]
HANDLERS: list[_Handler | None] = [None] * 256


def _op(code: bytes) -> Callable[[_Handler], _Handler]:
    def note(handler: _Handler) -> _Handler:
        HANDLERS[code[0]] = handler
        return handler

    return note


def _number(form: str, size: int) -> Callable[[Machine], Any]:
    unpack = struct.Struct(form).unpack

    def read(machine: Machine) -> Any:
        return unpack(machine.take(size))[0]

    return read


_u1, _u2, _i4 = _number("<B", 1), _number("<H", 2), _number("<i", 4)
_u4, _u8, _f8 = _number("<I", 4), _number("<Q", 8), _number(">d", 8)


def _pushing(code: bytes, read: Callable[[Machine], Any]) -> None:
    def handler(machine: Machine) -> None:
        machine.stack.append(read(machine))

    HANDLERS[code[0]] = handler


def _whole(machine: Machine, size: int) -> int:
    if not 0 <= size <= _LONG_INTEGER:
        raise ValueError(f"a whole number of {size} bytes is not read here")
    return int.from_bytes(machine.take(size), "little", signed=True)


def _int_line(machine: Machine) -> int:
    line = machine.line()
    if line in (b"00", b"01"):
        return line == b"01"
    return _decimal(line)


def _decimal(line: bytes) -> int:
    if len(line) > _LONG_INTEGER or b"_" in line:
        raise ValueError("a whole number is not read here")
    return int(line)


def _float_line(machine: Machine) -> float:
    line = machine.line()
    if b"_" in line:
        raise ValueError("a number holds an underscore")
    return float(line)


def _quoted(machine: Machine) -> str:
    line = machine.line()
    if len(line) < 2 or line[0] != line[-1] or line[:1] not in (b"'", b'"'):
        raise ValueError("a string is not quoted")
    if b"\\" not in line:
        return line[1:-1].decode("latin-1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unknown escape stays as it is, as in Python
        return line[1:-1].decode("unicode_escape")


def _text(read: Callable[[Machine], int], coding: str = "utf-8") -> Callable[[Machine], Any]:
    def text(machine: Machine) -> Any:
        size = read(machine)
        if size > _LONG_TEXT and coding == "utf-8":
            return machine.blob(size, "text")
        if size < 0:
            raise ValueError("a length is negative")
        return machine.take(size).decode(coding, "surrogatepass" if coding == "utf-8" else "strict")

    return text


def _bytes(read: Callable[[Machine], int]) -> Callable[[Machine], Any]:
    def data(machine: Machine) -> Any:
        size = read(machine)
        return machine.blob(size) if size > _LONG_BYTES else machine.take(size)

    return data


_pushing(b"N", lambda m: None)  # noqa: ARG005
_pushing(b"\x88", lambda m: True)  # noqa: ARG005
_pushing(b"\x89", lambda m: False)  # noqa: ARG005
_pushing(b"I", _int_line)
_pushing(b"J", _i4)
_pushing(b"K", _u1)
_pushing(b"M", _u2)
_pushing(b"L", lambda m: _decimal(m.line().removesuffix(b"L")))
_pushing(b"\x8a", lambda m: _whole(m, _u1(m)))
_pushing(b"\x8b", lambda m: _whole(m, _i4(m)))
_pushing(b"F", _float_line)
_pushing(b"G", _f8)
_pushing(b"S", _quoted)
_pushing(b"T", _text(_i4, "latin-1"))
_pushing(b"U", _text(_u1, "latin-1"))
_pushing(b"V", lambda m: m.line().decode("raw-unicode-escape"))
_pushing(b"X", _text(_u4))
_pushing(b"\x8c", _text(_u1))
_pushing(b"\x8d", _text(_u8))
_pushing(b"B", _bytes(_u4))
_pushing(b"C", _bytes(_u1))
_pushing(b"\x8e", _bytes(_u8))
_pushing(b"\x96", lambda m: m.blob(_u8(m), "bytearray"))
_pushing(b"(", lambda m: MARK)  # noqa: ARG005
_pushing(b")", lambda m: Sequence("tuple", []))  # noqa: ARG005
_pushing(b"]", lambda m: Sequence("list", []))  # noqa: ARG005
_pushing(b"}", lambda m: Mapping())  # noqa: ARG005
_pushing(b"\x8f", lambda m: Sequence("set", []))  # noqa: ARG005
_pushing(b"l", lambda m: Sequence("list", m.marked()))
_pushing(b"t", lambda m: Sequence("tuple", m.marked()))
_pushing(b"\x91", lambda m: Sequence("frozenset", m.marked()))
_pushing(b"\x85", lambda m: Sequence("tuple", [m.pop()]))
_pushing(b"\x86", lambda m: Sequence("tuple", [m.pop(), m.pop()][::-1]))
_pushing(b"\x87", lambda m: Sequence("tuple", [m.pop(), m.pop(), m.pop()][::-1]))
_pushing(b"2", lambda m: m.top())
_pushing(b"Q", lambda m: m.persistent(m.pop()))
_pushing(b"P", lambda m: m.persistent(m.line().decode("ascii")))
_pushing(b"\x82", lambda m: Name("copyreg extension", str(_u1(m))))
_pushing(b"\x83", lambda m: Name("copyreg extension", str(_u2(m))))
_pushing(b"\x84", lambda m: Name("copyreg extension", str(_i4(m))))
HANDLERS[ord("g")] = lambda m: m.get(_decimal(m.line()))
HANDLERS[ord("h")] = lambda m: m.get(_u1(m))
HANDLERS[ord("j")] = lambda m: m.get(_u4(m))
HANDLERS[ord("p")] = lambda m: m.put(_decimal(m.line()))
HANDLERS[ord("q")] = lambda m: m.put(_u1(m))
HANDLERS[ord("r")] = lambda m: m.put(_u4(m))
HANDLERS[0x94] = lambda m: m.put(len(m.memo))


@_op(b"\x80")
def _protocol(machine: Machine) -> None:
    machine.protocol = _u1(machine)
    if machine.protocol > 5:
        raise ValueError(f"protocol {machine.protocol} is not known")


@_op(b"\x95")
def _frame(machine: Machine) -> None:
    size = _u8(machine)
    if machine.frame is not None:
        raise ValueError("a frame begins within another")
    if not 0 < size <= machine.source.size - machine.at:
        raise ValueError("a frame is longer than the file")
    machine.frame = machine.at + size


@_op(b"0")
def _pop(machine: Machine) -> None:
    machine.stack.pop()


@_op(b"1")
def _pop_mark(machine: Machine) -> None:
    machine.marked()


@_op(b"d")
def _dict(machine: Machine) -> None:
    values = machine.marked()
    machine.push(Mapping())
    _update(machine, _paired(values))


def _paired(values: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(values[::2], values[1::2], strict=True))


@_op(b"a")
def _append(machine: Machine) -> None:
    _extend(machine, [machine.pop()], "list")


@_op(b"e")
def _appends(machine: Machine) -> None:
    _extend(machine, machine.marked(), "list")


@_op(b"\x90")
def _add_items(machine: Machine) -> None:
    _extend(machine, machine.marked(), "set")


def _extend(machine: Machine, values: list[Any], kind: str) -> None:
    target = machine.top()
    if type(target) is Object or (type(target) is Sequence and target.kind == kind):
        target.items += values
    else:
        raise ValueError(f"byte {machine.at - 1}: items are appended to what takes none")


@_op(b"s")
def _set_item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    _update(machine, [(key, value)])


@_op(b"u")
def _set_items(machine: Machine) -> None:
    _update(machine, _paired(machine.marked()))


def _update(machine: Machine, pairs: list[tuple[Any, Any]]) -> None:
    target = machine.top()
    if type(target) is not Object and type(target) is not Mapping:
        raise ValueError(f"byte {machine.at - 1}: items are set in what takes none")
    for key, _ in pairs:
        if type(key) is Mapping or (type(key) is Sequence and key.kind in ("list", "set")):
            raise ValueError(f"byte {machine.at - 1}: a key of a dict is a {type(key).__name__}")
    target.pairs += pairs


@_op(b"c")
def _global(machine: Machine) -> None:
    module, name = machine.line().decode(), machine.line().decode()
    machine.push(Name(module, name))


@_op(b"\x93")
def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if type(name) is not str or type(module) is not str:
        raise ValueError("a class has no name")
    machine.push(Name(module, name))


@_op(b"R")
def _reduce(machine: Machine) -> None:
    args, maker = machine.pop(), machine.pop()
    machine.push(machine.call(maker, _tuple(args)))


@_op(b"\x81")
def _new(machine: Machine) -> None:
    args, maker = machine.pop(), machine.pop()
    machine.push(Object(maker, _tuple(args), new=True))


@_op(b"\x92")
def _new_ex(machine: Machine) -> None:
    kwargs, args, maker = machine.pop(), machine.pop(), machine.pop()
    if type(kwargs) is not Mapping:
        raise ValueError("named arguments are no dict")
    machine.push(Object(maker, _tuple(args), kwargs if kwargs.pairs else None, new=True))


def _tuple(args: Any) -> list[Any]:
    if type(args) is not Sequence or args.kind != "tuple":
        raise ValueError("arguments are no tuple")
    return args.items


@_op(b"i")
def _inst(machine: Machine) -> None:
    module, name = machine.line().decode(), machine.line().decode()
    machine.push(Object(Name(module, name), machine.marked()))


@_op(b"o")
def _obj(machine: Machine) -> None:
    maker, *args = machine.marked()
    machine.push(Object(maker, args))


@_op(b"b")
def _build(machine: Machine) -> None:
    state = machine.pop()
    machine.build(machine.top(), state)


@_op(b"\x97")
def _next_buffer(machine: Machine) -> None:  # noqa: ARG001  of the table
    raise ValueError("its arrays lie in buffers outside the file")


HANDLERS[0x98] = _next_buffer
