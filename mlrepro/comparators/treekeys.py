"""Tree keys: the members of dicts and sets by what they are, so that their order means nothing."""

from __future__ import annotations

from typing import Any

from mlrepro.comparators.objects import PLAIN, Name, Object, Scalar, Sequence

_DEEPEST_KEY = 8


def keyed(pairs: list[tuple[Any, Any]]) -> dict[Any, tuple[Any, Any]]:
    """Return the pairs by what their keys are; one whose key says nothing goes by its place."""
    found: dict[Any, tuple[Any, Any]] = {}
    for i, (key, value) in enumerate(pairs):
        found[_key(key, 0) or ("at", i)] = (key, value)  # a later one replaces, as in Python
    return found


def _key(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is float and value != value:
        return None
    if kind in PLAIN:
        return (kind.__name__, value)
    if kind is Name:
        return ("name", value.full)
    if kind is Scalar:
        return (value.dtype.str, value.value)
    if kind is Sequence and value.kind in ("tuple", "frozenset") and depth < _DEEPEST_KEY:
        return _joined(value.kind, value.items, depth)
    if kind is Object and not value.states and type(value.maker) is Name and depth < _DEEPEST_KEY:
        return _joined(value.maker.full, value.args, depth)
    return None


def _joined(kind: str, items: list[Any], depth: int) -> Any:
    parts = [_key(item, depth + 1) for item in items]
    if not all(parts):
        return None
    return (kind, frozenset(parts) if kind == "frozenset" else tuple(parts))
