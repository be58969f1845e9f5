"""Treewise: which trees of two models part, one by one, and how far their leaves moved."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mlrepro.comparators.ensembles import IN_PART, Pair, Part, Rule
from mlrepro.drift import Difference, Distribution, Measure, Verdict

if TYPE_CHECKING:
    from mlrepro.comparators.ensembles import Array

_LISTED = 50
"""So many trees that differ are listed, from the first on; the rest are counted."""

_SPREAD = {"leaf value": "of the leaf spread", "weight": "of the spread of the weights"}


class Treewise:
    """What is known of each tree, and of the leaves of all.

    Parameters
    ----------
    same : ndarray of bool
        Which of the trees that both models have are equal in structure.
    """

    def __init__(self, same: Array) -> None:
        self.same = same
        self.beyond = ~same
        self.moved = self.beyond.copy()
        self.leaves: Pair | None = None
        self.distribution: Distribution | None = None
        self._firsts: tuple[dict[int, str], dict[int, str]] = ({}, {})  # beyond the limit; moved

    def take(self, pair: Pair) -> None:
        """Take in one field."""
        if pair.a.name in _SPREAD and pair.x.size:
            self.distribution = distribution(pair)
        if pair.a.starts is None or pair.a.rule in (Rule.STRUCTURE, Rule.NOTE):
            return
        self.moved[pair.trees[pair.moved]] = True
        if self.moved.any():
            self.beyond[pair.trees[pair.beyond]] = True
            for firsts, which in zip(self._firsts, (pair.beyond, pair.moved), strict=True):
                self._note(pair, which, firsts)
        if pair.a.name == "leaf value":
            self.leaves = pair

    def _note(self, pair: Pair, which: Array, firsts: dict[int, str]) -> None:
        import numpy as np  # noqa: PLC0415  as above

        places = np.flatnonzero(which)
        # A tree that is listed stands among the first of every field that moved in it.
        trees, begin = np.unique(pair.trees[places], return_index=True)
        for tree, at in zip(trees[:_LISTED].tolist(), places[begin[:_LISTED]], strict=True):
            if tree not in firsts:
                firsts[tree] = pair.shown(int(at))[1].partition(", ")[2]

    def parts(self, parted: Callable[[int], str]) -> Iterator[Part]:
        """Yield a node of all trees that differ; `parted` says where a tree's structure parts."""
        import numpy as np  # noqa: PLC0415  0.1 s, paid when a model is compared

        found = np.flatnonzero(self.moved).tolist()
        if not found:
            return
        children = tuple(self._child(tree, parted) for tree in found[:_LISTED])
        verdict = Verdict.DRIFTED if self.beyond.any() else Verdict.CLOSE
        summary = f"{len(found)} of {len(self.moved)} trees differ, the first is tree {found[0]}"
        if len(found) > _LISTED:
            summary += f"; {_LISTED} are listed"
        node = Difference(
            "tree by tree",
            verdict,
            summary,
            children=children,
            compared=len(found),
            runs=tuple(self._runs()),
        )
        yield Part(node, sys.maxsize)  # the fields have told the first divergence

    def _runs(self) -> Iterator[tuple[int, Verdict]]:
        """Yield the verdicts of all trees in order, each with how many follow each other."""
        words = {(False, False): Verdict.EQUIVALENT, (True, False): Verdict.CLOSE}
        pairs = zip(self.moved.tolist(), self.beyond.tolist(), strict=True)
        for pair, group in itertools.groupby(pairs):
            yield sum(1 for _ in group), words.get(pair, Verdict.DRIFTED)

    def _child(self, tree: int, parted: Callable[[int], str]) -> Difference:
        path = f"tree {tree}"
        if not self.same[tree]:
            return Difference(path, Verdict.DRIFTED, "other structure", first=parted(tree))
        verdict = Verdict.DRIFTED if self.beyond[tree] else Verdict.CLOSE
        moved, measures = self._leaves(tree)
        summary = (
            "same structure, other leaves" if moved else "same structure and leaves, other numbers"
        )
        first = self._firsts[0].get(tree) or self._firsts[1].get(tree, "")
        return Difference(path, verdict, summary, measures, first)

    def _leaves(self, tree: int) -> tuple[int, tuple[Measure, ...]]:
        """Return how many leaves of a tree moved, and how far."""
        import numpy as np  # noqa: PLC0415  as above

        pair = self.leaves
        if pair is None:
            return 0, ()
        here = slice(*np.searchsorted(pair.trees, [tree, tree + 1]).tolist())
        moved = pair.moved[here]
        if not moved.any():
            return 0, ()
        size = np.where(moved, pair.distances[here], 0.0) / (pair.spread or 1.0)
        odd = moved & ~np.isfinite(size)
        at = int(odd.argmax() if odd.any() else size.argmax())
        where = pair.a.place(int(pair.at[here][at]))[1].partition(", ")[2]
        count = Measure("leaves that differ", int(moved.sum()))
        return int(moved.sum()), (
            count,
            Measure("leaf values, largest / std", float(size[at]), where=where),
        )


def distribution(pair: Pair) -> Distribution:
    """Return how large the differences of the leaves are, by powers of ten of their spread."""
    import numpy as np  # noqa: PLC0415  as above

    moved = pair.moved
    odd = moved & ~pair.finite()
    size = pair.distances[moved & ~odd] / (pair.spread or 1.0)
    # What underflowed to 0 or overflowed has no logarithm, and the largest is as good.
    bounds = np.finfo(np.float64)
    size = np.clip(size, bounds.smallest_subnormal, bounds.max)
    exponents, counts = np.unique(np.floor(np.log10(size)).astype(int), return_counts=True)
    return Distribution(
        _SPREAD[pair.a.name],
        equal=int((~moved).sum()),
        decades=dict(zip(exponents.tolist(), counts.tolist(), strict=True)),
        broken=int(odd.sum()),
        scope=IN_PART if pair.is_part else "",
    )
