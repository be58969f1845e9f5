"""Diffvalues: parameters and metrics of two runs, and how many lines of their code differ."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlrepro.comparators import pairing
from mlrepro.drift import Change
from mlrepro.manifest import Manifest
from mlrepro.stores import git

_LARGE = "20m"
"""Text beyond this size is not compared line by line: 1 s."""


@dataclass(frozen=True)
class LineCount:
    """How many lines of a code file came and went; None where it is no text, or too long."""

    path: str
    added: int | None
    removed: int | None


def lines(repo: git.Repository, a: str, b: str, changed: Sequence[Change]) -> tuple[LineCount, ...]:
    """Count the lines in which the changed files of two trees differ."""
    paths = {change.what for change in changed}
    if not paths or not (git.has(repo, a) and git.has(repo, b)):
        return ()
    told = git.call(
        repo, "-c", f"core.bigFileThreshold={_LARGE}", "diff-tree", "-r", "-z", "--numstat",
        "--no-renames", "--no-ext-diff", "--no-textconv", a, b,
    )  # fmt: skip
    rows = (os.fsdecode(row).split("\t", 2) for row in told.split(b"\0") if row.count(b"\t") >= 2)
    found = {path: LineCount(path, _number(plus), _number(minus)) for plus, minus, path in rows}
    return tuple(found[change.what] for change in changed if change.what in found)


def _number(word: str) -> int | None:
    return int(word) if word.isdecimal() else None


def params(a: Manifest, b: Manifest) -> tuple[Change, ...]:
    """Name the parameters that differ, and command lines: not every argument has a name."""
    found = _values(a.params, _renamed(a.params, b.params))
    left, right = (shlex.join(one.run.command) for one in (a, b))
    return found if left == right else (Change("command", left, right), *found)


def metrics(a: Manifest, b: Manifest, equal: Collection[str]) -> tuple[Change, ...]:
    """Name the metrics that differ, but for those of files whose comparator found no difference.

    Parameters
    ----------
    equal : collection of str
        Such files, by their names in `a`: all that differs in them is a time, say.
    """
    left, right = (
        {path: values for path, values in side.items() if path not in equal}
        for side in (a.metrics, _renamed(a.metrics, b.metrics))
    )
    return _values(left, right)


def _renamed(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of files by the names of their partners: a dated folder moves."""
    partners = {right: left for left, right in pairing.pair([*a], [*b]) if left and right}
    return {partners.get(path, path): values for path, values in b.items()}


def _values(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[Change, ...]:
    left, right = dict(_flat("", a)), dict(_flat("", b))
    names = dict.fromkeys([*left, *right])
    return tuple(
        Change(n, str(left.get(n, "absent")), str(right.get(n, "absent")))
        for n in names
        if left.get(n) != right.get(n)
    )


def _flat(prefix: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, below in value.items():
            yield from _flat(
                f"{prefix}: {key}"
                if prefix and ":" not in prefix
                else f"{prefix}.{key}"
                if prefix
                else key,
                below,
            )
    else:
        yield prefix, value
