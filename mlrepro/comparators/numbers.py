"""Numbers: JSON and YAML compared value by value; structure apart from values, times set aside."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlrepro import documents
from mlrepro.comparators.base import HEAD, Comparator
from mlrepro.comparators.pairing import tells_no_result
from mlrepro.comparators.values import (
    LISTED,
    Findings,
    is_moment_name,
    is_score_name,
    is_time_name,
    relative,
    scalars_close,
    show,
    spans_below,
)
from mlrepro.drift import Difference, Measure, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_LARGEST = 512 * 2**20
"""A document is held in memory whole, at about ten times its size."""

_IDENTIFIER = re.compile(r"[^\[\].\s]+")


def _recognises(path: Path, head: bytes) -> bool:
    if not head or path.suffix.lower() in _READERS:
        return bool(head)
    return _is_json(head)


def _is_json(head: bytes) -> bool:
    """Say whether a file of any other name is JSON as far as its head tells: whole, and short."""
    if len(head) >= HEAD or not head.lstrip().startswith((b"{", b"[")):
        return False
    try:
        return isinstance(json.loads(head), (dict, list))
    except (ValueError, RecursionError):
        return False


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    a, b = _read(recorded), _read(rebuilt)
    walk = _Walk(tolerance)
    try:
        walk.values(a, b, "")
    except RecursionError as error:
        raise ComparisonError(f"`{recorded.name}` is nested too deeply to be compared") from error
    return walk.finish(recorded.name)


@dataclass
class _Walk:
    """One walk down two documents at once."""

    tolerance: Tolerance
    found: Findings = field(default_factory=Findings)
    largest: tuple[float, str] = (0.0, "")
    met: set[tuple[int, int]] = field(default_factory=set)
    unlisted: int = 0

    def values(self, a: Any, b: Any, path: str, *, timed: bool = False) -> None:
        """Compare two values of any type."""
        if isinstance(a, dict) and isinstance(b, dict):
            if self._is_new(a, b):
                self._mappings(a, b, path, timed)
        elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
            if self._is_new(a, b):
                self._lists(a, b, path, timed)
        else:
            self._leaves(a, b, path, timed)

    def _is_new(self, a: Any, b: Any) -> bool:
        """Say whether two containers are met first; YAML's aliases make rings and bombs."""
        new = (id(a), id(b)) not in self.met
        self.met.add((id(a), id(b)))
        return new

    def _mappings(self, a: dict[Any, Any], b: dict[Any, Any], path: str, timed: bool) -> None:
        for key, value in a.items():
            name, times = _join(path, key), _is_timed(key, value, timed)
            if key in b:
                self.values(value, b[key], name, timed=times)
            else:
                self._one_sided(name, "only recorded", times)
        for key, value in b.items():
            if key not in a:
                self._one_sided(_join(path, key), "only rebuilt", _is_timed(key, value, timed))

    def _one_sided(self, name: str, side: str, timed: bool) -> None:
        if timed:
            self.found.put_aside(f"{name}: {side} (a time, set aside)")
        else:
            self._broken(name, side)

    def _lists(self, a: Sequence[Any], b: Sequence[Any], path: str, timed: bool) -> None:
        if len(a) != len(b):
            self._one_sided(path or "the list", f"{len(a)} → {len(b)} values", timed)
        if timed or not a or not all(map(_is_number, itertools.chain(a, b))):
            for i, (x, y) in enumerate(zip(a, b, strict=False)):
                self.values(x, y, f"{path}[{i}]", timed=timed)
        else:
            self._history(a, b, path)

    def _history(self, a: Sequence[Any], b: Sequence[Any], path: str) -> None:
        """Compare two lists of numbers, as one child of the report."""
        own = Findings()
        largest = (0.0, "")
        for i, (x, y) in enumerate(zip(a, b, strict=False)):
            own.compared += 1
            if not (x == y or (x != x and y != y)):
                where = f"{path}[{i}]: {show(x)} → {show(y)}"
                own.differ(where, close=scalars_close(x, y, self.tolerance))
                largest = max(largest, (relative(x, y), f"[{i}]"))
        self.found.compared += own.compared
        if own.differing:
            own.measures.append(
                Measure("|a−b| / max(|a|,|b|), largest", largest[0], where=largest[1])
            )
            self._child(own.difference(path or "the list"))
            self.found.differ(own.first, close=not own.beyond)
            self.found.differing += own.differing - 1
            self.found.beyond += max(own.beyond - 1, 0)
            self.largest = max(self.largest, (largest[0], path + largest[1]))

    def _leaves(self, a: Any, b: Any, path: str, timed: bool) -> None:
        if timed:
            self._timed(a, b, path)
        elif _is_number(a) and _is_number(b):
            self._numbers(a, b, path)
        elif isinstance(a, str) and isinstance(b, str) and tells_no_result(a, b):
            self.found.put_aside(f"{path}: {show(a)} → {show(b)} (a date or a path, set aside)")
        elif type(a) is type(b) and a == b:
            self.found.compared += 1
        elif type(a) is type(b):
            self.found.compared += 1
            self._value(a, b, path, close=False)
        else:
            self._broken(path, f"{_kind(a)} → {_kind(b)}")

    def _numbers(self, a: Any, b: Any, path: str) -> None:
        self.found.compared += 1
        if not (a == b or (a != a and b != b)):
            self.largest = max(self.largest, (relative(a, b), path))
            self._value(a, b, path, close=scalars_close(a, b, self.tolerance))

    def _timed(self, a: Any, b: Any, path: str) -> None:
        if a != b and (a == a or b == b):
            self.found.put_aside(f"{path}: {show(a)} → {show(b)} (a time, set aside)")
        else:
            self.found.set_aside += 1
            self.unlisted += 1

    def _value(self, a: Any, b: Any, path: str, *, close: bool) -> None:
        change = f"{show(a)} → {show(b)}"
        where = f"{path}: {change}" if path else change
        self.found.differ(where, close=close)
        verdict = Verdict.CLOSE if close else Verdict.DRIFTED
        self._child(Difference(path, verdict, summary=change, first=where, compared=1))

    def _broken(self, path: str, what: str) -> None:
        self.found.break_structure(f"{path}: {what}" if path else what)
        self._child(
            Difference(path, Verdict.DRIFTED, summary=what, first=f"{path}: {what}", compared=1)
        )

    def _child(self, child: Difference) -> None:
        if len(self.found.children) < LISTED:
            self.found.children.append(child)

    def finish(self, name: str) -> Difference:
        """Return the node of the whole document."""
        if self.largest[1]:
            self.found.measures.append(
                Measure("|a−b| / max(|a|,|b|), largest", self.largest[0], where=self.largest[1])
            )
        # Equal times were set aside too, but there is nothing to list of them.
        if not self.found.compared and self.unlisted and self.unlisted == self.found.set_aside:
            self.found.metadata.append("only times, all of them equal")
        self.found.set_aside -= self.unlisted
        return self.found.difference(name)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else show(_json_word(value))


def _json_word(value: Any) -> Any:
    """Spell a value as JSON does."""
    return (
        json.dumps(value, ensure_ascii=False)
        if value is None or isinstance(value, (bool, str))
        else value
    )


def _is_timed(key: object, value: object, timed: bool) -> bool:
    """Say whether a value is a time, by its own name or by that of what it lies in."""
    name = str(key)
    own = spans_below(name) if isinstance(value, dict) else is_time_name(name)
    own = own or (isinstance(value, str) and is_moment_name(name))
    return own or (timed and not is_score_name(name))


def _join(path: str, key: Any) -> str:
    text = str(key)
    step = text if _IDENTIFIER.fullmatch(text) else json.dumps(text, ensure_ascii=False)
    return f"{path}.{step}" if path else step


def _read(path: Path) -> Any:
    if path.stat().st_size > _LARGEST:
        raise ComparisonError(
            f"`{path.name}` is larger than {_LARGEST >> 20} MiB, too large to be read at once"
        )
    try:
        # The suffix is gone where the file is an object of the store; YAML 1.2 reads JSON too, but
        # not every JSON (a tab, a lone surrogate), and slowly: so JSON first.
        return _read_any(path.read_bytes(), path.suffix.lower())
    except (ValueError, RecursionError) as error:
        raise ComparisonError(
            f"`{path.name}` is damaged: {' '.join(str(error).split())[:120]}"
        ) from error


def _read_any(data: bytes, suffix: str) -> Any:
    text = data.decode("utf-8-sig")
    if suffix in _READERS:
        return _READERS[suffix](text)
    try:
        return _read_json(text)
    except json.JSONDecodeError:
        if text.lstrip().startswith(("{", "[")):
            return _read_lines(text)
        return documents.read_yaml(text)


def _read_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_unique)


def _read_lines(text: str) -> list[Any]:
    return [_read_json(line) for line in text.splitlines() if line.strip()]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        repeated = next(k for i, (k, _) in enumerate(pairs) if k in dict(pairs[:i]))
        raise ValueError(f"key {repeated!r:.60} is repeated, so its value is anybody's guess")
    return mapping


_READERS: dict[str, Callable[[str], Any]] = {
    ".json": _read_json,
    ".yaml": documents.read_yaml,
    ".yml": documents.read_yaml,
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
}

COMPARATOR = Comparator("numbers", _recognises, _compare)
