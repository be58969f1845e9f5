"""Directory: two folders compared member by member; the worst member is the folder's verdict."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from mlrepro.comparators.base import Comparator
from mlrepro.comparators.pairing import pair
from mlrepro.comparators.values import LISTED, worst
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError


def comparator(compare: Callable[..., Difference]) -> Comparator:
    """Return the row of folders; `compare` is what measures two of their members."""

    def members(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
        pairs = pair(sorted(_files(recorded)), sorted(_files(rebuilt)))
        children = tuple(_member(recorded, rebuilt, a, b, tolerance, compare) for a, b in pairs)
        renamed = tuple(f"{a} → {b} (paired)" for a, b in pairs if a and b and a != b)
        return whole(recorded.name, children, renamed)

    return Comparator("directory", _recognises, members)


def _recognises(path: Path, head: bytes) -> bool:
    return not head and path.is_dir()


def _files(folder: Path) -> Iterator[str]:
    """Yield the relative paths of all files and symlinks below; an empty folder ends in a slash."""

    def refuse(error: OSError) -> None:
        raise ComparisonError(f"`{folder.name}` cannot be listed: {error.strerror}") from error

    for root, folders, files in os.walk(folder, onerror=refuse):
        relative = Path(root).relative_to(folder)
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        yield from ((relative / name).as_posix() for name in (*files, *links))
        if not folders and not files and root != str(folder):
            yield f"{relative.as_posix()}/"


def _member(
    recorded: Path,
    rebuilt: Path,
    a: str | None,
    b: str | None,
    tolerance: Tolerance,
    compare: Callable[..., Difference],
) -> Difference:
    if a is None or b is None:
        side = "rebuilt" if a is None else "recorded"
        return Difference(a or b or "", Verdict.MISSING, summary=f"only {side}", compared=1)
    left, right = recorded / a, rebuilt / b
    if a.endswith("/"):
        return Difference(a, Verdict.IDENTICAL, compared=1)
    if left.is_symlink() or right.is_symlink():
        return _links(left, right, a)
    return compare(left, right, name=a, tolerance=tolerance)


def _links(left: Path, right: Path, name: str) -> Difference:
    targets = [os.readlink(p) if p.is_symlink() else "a file" for p in (left, right)]
    if targets[0] == targets[1]:
        return Difference(name, Verdict.IDENTICAL, comparator="symlink", compared=1)
    first = f"{targets[0]} → {targets[1]}"
    return Difference(name, Verdict.DRIFTED, first=first, comparator="symlink", compared=1)


def whole(name: str, children: tuple[Difference, ...], renamed: tuple[str, ...]) -> Difference:
    """Return the node of what has members: of a folder, of an archive."""
    if not children:
        return Difference(name, Verdict.IDENTICAL, summary="both are empty", compared=0)
    verdict = max(worst(children), Verdict.EQUIVALENT if renamed else Verdict.IDENTICAL)
    unequal = [c for c in children if c.verdict > Verdict.IDENTICAL]
    telling = (c for c in unequal if c.verdict == verdict and (c.compared or c.first))
    worst_child = next(telling, None)
    return Difference(
        name,
        verdict,
        summary=f"{len(unequal)} of {len(children)} members differ" if unequal else "",
        first=_first(worst_child) if worst_child else "",
        metadata=renamed[:LISTED],
        children=tuple(unequal),
        compared=sum(c.compared for c in children),
    )


def _first(child: Difference) -> str:
    return f"{child.path}: {child.first or child.summary or child.verdict}"
