"""Tree words: a place in a tree of nodes, and a node, in the words of a report."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mlrepro.comparators.blobs import Blob
from mlrepro.comparators.known import Type
from mlrepro.comparators.objects import PLAIN, Array, Mapping, Name, Object, Scalar, Sequence
from mlrepro.comparators.values import show

_LONGEST = 60
_WORD = re.compile(r"[\w.\-/]+")


@dataclass(frozen=True)
class Step:
    """A place in the tree; its words are put together only where something differs."""

    above: Step | None
    word: Any
    form: str = "."

    def __str__(self) -> str:
        words: list[str] = []
        step = self
        while len(words) < _LONGEST:
            words.append(step._shown())
            if step.above is None:
                return "".join(reversed(words)).removeprefix(".")
            step = step.above
        return "…" + "".join(reversed(words))

    def _shown(self) -> str:
        if not self.form and type(self.word) is str:
            return self.word
        if self.form == "[" or not (type(self.word) is str and _WORD.fullmatch(self.word)):
            return f"[{self.word if type(self.word) in (int, str) else short(self.word)}]"
        return f".{self.word}"

    @property
    def name(self) -> str:
        """The attribute or key; empty for a position."""
        return self.word if type(self.word) is str else ""


def told(value: Any) -> str:
    """Return a value that was set aside; of an array, how many numbers and a checksum."""
    if type(value) is Object:
        value = value.value
    if type(value) is Array and value.blob is not None:
        return f"{value.size} numbers, crc {value.blob.crc():08x}"
    return short(value)


def short(value: Any) -> str:
    """Return a node in few characters."""
    if type(value) is Object:
        return (value.made_by or "object") if value.value is value else short(value.value)
    if type(value) in PLAIN:
        return show(repr(value[:80])) if type(value) in (str, bytes) else show(value)
    words = _WORDS.get(type(value))
    return words(value) if words else type(value).__name__.lower()


_WORDS: dict[type, Callable[[Any], str]] = {
    Array: lambda node: f"array {node.shape} {node.special or node.dtype}",
    Blob: lambda node: f"{node.size} bytes of {node.kind}",
    Mapping: lambda node: f"dict of {len(node.pairs)}",
    Name: lambda node: str(node.full),
    Scalar: lambda node: short(node.value),
    Sequence: lambda node: f"{node.kind} of {len(node.items)}",
    Type: lambda node: str(node.dtype),
}
