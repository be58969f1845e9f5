"""Marks: texts that draw, a path of an SVG or a page of a PDF: words equal, numbers close."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mlrepro.comparators.values import Findings, relative, scalars_close, show
from mlrepro.drift import Difference, Measure, Tolerance

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass
class Marks:
    """What was met while two drawings are walked along."""

    tolerance: Tolerance
    found: Findings = field(default_factory=lambda: Findings("marks"))
    largest: tuple[float, str] = (0.0, "")

    def texts(self, a: str, b: str, where: str) -> None:
        """Compare two texts; numbers that stand between the same words are compared as numbers."""
        x, y = _NUMBER.findall(a), _NUMBER.findall(b)
        self.found.compared += max(len(x), 1)
        if a == b:
            return
        if _NUMBER.split(a) != _NUMBER.split(b):
            self.found.break_structure(f"{where}: {_parted(a, b)}")
            return
        for s, t in zip(x, y, strict=True):
            if s != t and float(s) != float(t):
                close = scalars_close(float(s), float(t), self.tolerance)
                self.found.differ(f"{where}: {s} → {t}", close=close)
                self.largest = max(self.largest, (relative(float(s), float(t)), where))

    def bytes(self, a: bytes, b: bytes, where: str) -> None:
        """Compare two pieces of which nothing is known."""
        self.found.compared += 1
        if a != b:
            self.found.break_structure(f"{where}: {len(a)} → {len(b)} bytes, not the same")

    def finish(self, name: str, noise: str) -> Difference:
        """Return the node of the drawing; `noise` says what differs where nothing else does."""
        if self.largest[1]:
            where, value = self.largest[1], self.largest[0]
            self.found.measures.append(Measure("|a−b| / max(|a|,|b|), largest", value, where=where))
        if not self.found.metadata and not self.found.first:
            self.found.metadata.append(noise)
        return self.found.difference(name)


def _parted(a: str, b: str) -> str:
    """Return where two texts part, both cut to what can be read."""
    pairs = zip(a, b, strict=False)
    same = next((i for i, (s, t) in enumerate(pairs) if s != t), min(len(a), len(b)))
    start = max(same - 15, 0)
    return f"{show(a[start : start + 60])} → {show(b[start : start + 60])}"
