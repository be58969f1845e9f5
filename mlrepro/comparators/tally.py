"""Tally: what a walk over two object trees has met, and the report that becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from mlrepro.comparators.treewords import Step
from mlrepro.comparators.values import Findings, relative
from mlrepro.drift import Difference, Distribution, Measure, Verdict

_LISTED = 200
"""So many parts that differ are listed, the worst first; the rest are counted."""

_RANKED = ("rms / std", "largest |a−b|", "median of the differing")


@dataclass
class Tally:
    """Counts, the worst of each measure, and the parts that differ."""

    found: Findings = field(default_factory=lambda: Findings("values"))
    arrays: int = 0
    unequal: int = 0
    orders: int = 0
    parts: list[Difference] = field(default_factory=list)
    unlisted: int = 0
    worst_parts: int = 0
    farthest: tuple[float, Step | None] = (0.0, None)
    worst: dict[str, Measure] = field(default_factory=dict)
    distribution: Distribution | None = None

    def equal(self, count: int = 1) -> None:
        """Note values that are equal."""
        self.found.compared += count

    def aside(self, note: str) -> None:
        """Note something that differs and means nothing."""
        self.found.put_aside(note.removeprefix(": "))

    def broken(self, where: Step, first: str) -> None:
        """Note something that is of another kind, or on one side only."""
        self.found.break_structure(f"{where}: {first}".removeprefix(": "))
        self._list(Difference(str(where), Verdict.DRIFTED, first=first, compared=1))

    def moved(self, where: Step, first: Callable[[], str], *, close: bool) -> None:
        """Note a plain value that differs; its words are made only where they are listed."""
        self.found.compared += 1
        if self.worst_parts >= _LISTED or (close and len(self.parts) >= _LISTED):
            self.found.differing += 1
            self.found.beyond += not close
            self.unlisted += 1
            return
        words, verdict = first(), Verdict.CLOSE if close else Verdict.DRIFTED
        self.found.differ(f"{where}: {words}".removeprefix(": "), close=close)
        self._list(Difference(str(where), verdict, first=words, compared=1))

    def number(self, a: float, b: float, where: Step) -> None:
        """Note how far two numbers are apart."""
        apart = relative(a, b)
        if apart > self.farthest[0]:
            self.farthest = apart, where

    def node(self, node: Difference) -> None:
        """Take in what another comparator found of a part; its words name the part."""
        self.found.compared += node.compared
        for note in node.metadata:
            self.aside(f"{node.path}: {note}")
        if node.verdict > Verdict.EQUIVALENT:
            self.found.differ(node.first, close=node.verdict <= Verdict.CLOSE)
            self._list(node)

    def array(self, node: Difference) -> None:
        """Take in an array."""
        self.node(node)
        if node.verdict <= Verdict.EQUIVALENT:
            return
        self.unequal += 1
        self.found.differing += max(0, _count(node) - 1)
        if node.verdict > Verdict.CLOSE:
            self.found.beyond += max(0, _count(node) - 1)
        floats = node.measures if node.distribution else ()
        for measure in (m for m in floats if m.name in _RANKED):
            known = self.worst.get(measure.name)
            if known is None or measure.value > known.value:
                self.worst[measure.name] = replace(measure, where=measure.where or node.path)
        self.distribution = _joined(self.distribution, node.distribution)

    def _list(self, node: Difference) -> None:
        """Keep a part for the report; of more than fit, the worst stay."""
        self.parts.append(node)
        self.worst_parts += node.verdict >= Verdict.DRIFTED
        if len(self.parts) >= 2 * _LISTED:
            self._drop()

    def _drop(self) -> None:
        self.parts.sort(key=lambda c: -c.verdict)
        self.unlisted += len(self.parts[_LISTED:])
        del self.parts[_LISTED:]

    def difference(self, path: str) -> Difference:
        """Return the node of the whole file."""
        self._drop()
        self.found.children = self.parts
        self.found.measures = list(self._measures())
        if self.orders > 1:
            self.aside(f"{self.orders - 1} more dicts have their keys in another order")
        node = self.found.difference(path)
        words = [f"{self.unequal} of {self.arrays} arrays differ"] if self.unequal else []
        words += [node.summary] if node.summary else []
        words += [f"{self.unlisted} more parts that differ are not listed"] if self.unlisted else []
        return replace(node, summary="; ".join(words), distribution=self.distribution)

    def _measures(self) -> Iterator[Measure]:
        if self.unequal:
            yield Measure("arrays that differ", self.unequal, f"of {self.arrays}")
        yield from (self.worst[name] for name in _RANKED if name in self.worst)
        apart, where = self.farthest
        if where is not None:
            yield Measure("numbers, largest |a−b| / max", apart, where=str(where))


def _count(node: Difference) -> int:
    """Return how many elements of an array differ."""
    told = node.distribution
    counts = [sum(told.decades.values()) + told.broken] if told else []
    counts += [int(m.value) for m in node.measures if m.name == "differing"]
    counts += [_count(child) for child in node.children]
    return max(counts, default=1)


def _joined(a: Distribution | None, b: Distribution | None) -> Distribution | None:
    """Return the distributions of two arrays as one."""
    if a is None or b is None:
        return a or b
    decades = dict(a.decades)
    for exponent, count in b.decades.items():
        decades[exponent] = decades.get(exponent, 0) + count
    return Distribution(
        a.unit if a.unit == b.unit else "of each array's standard deviation",
        equal=a.equal + b.equal,
        decades=dict(sorted(decades.items())),
        broken=a.broken + b.broken,
    )
