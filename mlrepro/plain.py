"""Plain: frozen dataclasses to plain data (dict, list, str, number) and back, strictly."""

from __future__ import annotations

import dataclasses
import enum
import functools
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from mlrepro.errors import ManifestError

T = TypeVar("T")


def dump(value: Any) -> Any:
    """Turn a value into plain data: dataclasses to dicts, enums to their values, tuples to lists.

    Fields that hold their default are left out (words of an enum never are), so that a record
    shows only what it knows. A float that JSON cannot hold becomes ``"nan"``, ``"inf"`` or
    ``"-inf"``; an int of 2**53 and more becomes its decimal string, as RFC 8785 advises.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if hasattr(value, "__plain__"):
            return value.__plain__()
        return {
            f.name: dump(v)
            for f in dataclasses.fields(value)
            if f.metadata.get("plain", True) and not _is_default(f, v := getattr(value, f.name))
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): dump(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [dump(v) for v in value]
    return _dump_leaf(value)


def _dump_leaf(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        return str(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def load(kind: type[T], data: Any, *, where: str = "") -> T:
    """Build a dataclass from plain data that nobody vouches for.

    Unknown fields are ignored (fields are only ever added), missing ones take their default.

    Raises
    ------
    ManifestError
        If a required field is absent or a value is of another type.
    """
    result: T = _load(kind, data, where or kind.__name__.lower())
    return result


def _is_default(f: dataclasses.Field[Any], value: Any) -> bool:
    if isinstance(value, enum.Enum):
        return False
    if f.default is not dataclasses.MISSING:
        return bool(value == f.default)
    return f.default_factory is not dataclasses.MISSING and not dump(value)


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _load(kind: Any, data: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if kind is Any:
        return data
    if origin in (types.UnionType, typing.Union):
        if data is None:
            return None
        return _load(next(a for a in typing.get_args(kind) if a is not type(None)), data, where)
    if origin is tuple:
        _expect(data, list, "a list", where)
        return tuple(
            _load(typing.get_args(kind)[0], v, f"{where}[{i}]") for i, v in enumerate(data)
        )
    if origin is not None:
        _expect(data, dict, "a mapping", where)
        key, value = typing.get_args(kind)
        return {_key(key, k, where): _load(value, v, f"{where}.{k}") for k, v in data.items()}
    if dataclasses.is_dataclass(kind):
        return _load_record(kind, data, where)
    return _load_leaf(kind, data, where)


def _key(kind: Any, data: Any, where: str) -> Any:
    if kind is not int:
        return str(data)
    try:
        return int(data)
    except ValueError as error:
        raise ManifestError(f"{where} has a key that is no whole number: {data!r:.60}") from error


def _load_record(kind: Any, data: Any, where: str) -> Any:
    if hasattr(kind, "__from_plain__"):
        return kind.__from_plain__(data, where)
    _expect(data, dict, "a mapping", where)
    values = {}
    for f in dataclasses.fields(kind):
        if f.name in data and f.metadata.get("plain", True):
            values[f.name] = _load(_hints(kind)[f.name], data[f.name], f"{where}.{f.name}")
    try:
        return kind(**values)
    except TypeError as error:
        missing = [f.name for f in dataclasses.fields(kind) if _required(f) and f.name not in data]
        raise ManifestError(f"{where} lacks {', '.join(missing)}") from error


def _required(f: dataclasses.Field[Any]) -> bool:
    return f.init and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


def _load_leaf(kind: Any, data: Any, where: str) -> Any:
    if issubclass(kind, enum.Enum):
        try:
            return kind(data)
        except ValueError as error:
            raise ManifestError(f"{where} is none of the known words: {data!r:.60}") from error
    if kind is float and isinstance(data, (int, float)) and not isinstance(data, bool):
        return float(data)
    if kind is int and isinstance(data, bool):
        raise ManifestError(f"{where} must be a whole number, not {data}")
    _expect(
        data,
        kind,
        {str: "text", int: "a whole number", bool: "true or false"}.get(kind, kind.__name__),
        where,
    )
    return data


def _expect(data: Any, kind: Any, words: str, where: str) -> None:
    if not isinstance(data, kind):
        raise ManifestError(f"{where} must be {words}, not {type(data).__name__}")
