"""Deciding: which artifacts of a run its verdict rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mlrepro.manifest import Artifact, Digest, Role, is_in_tree

DECIDING = frozenset({Role.WEIGHTS, Role.METRICS})


def decides(path: str, role: Role, artifacts: Iterable[Artifact]) -> bool:
    """Say whether an artifact counts among those of its run: weights and metrics do.

    A model that was trained and not saved counts only where no other was saved: it may be one of
    the folds on the way to the one that was.
    """
    if is_unsaved(path, role):
        return not any(a.role is Role.WEIGHTS and is_in_tree(a.path) for a in artifacts)
    return role in DECIDING


def is_unsaved(path: str, role: Role) -> bool:
    """Say whether an artifact is a model that the program trained and did not save."""
    return role is Role.WEIGHTS and not is_in_tree(path)


def partners(
    a: Mapping[str, Digest], b: Mapping[str, Digest]
) -> list[tuple[str | None, str | None]]:
    """Pair the unsaved models of two runs: equal ones first, the others in their order.

    The number of a model is its place among those that a run trained, and workers, or one more
    fit before it, change that.
    """
    waiting: dict[Digest, list[str]] = {}
    for name, digest in b.items():
        waiting.setdefault(digest, []).append(name)
    found: dict[str, str | None] = {}
    for name, digest in a.items():
        same = waiting.get(digest, [])
        if same:
            found[name] = same.pop(same.index(name) if name in same else 0)
    rest = [name for name in b if name not in found.values()]
    for name in a:
        if name not in found:
            found[name] = rest.pop(0) if rest else None
    return [*((name, found[name]) for name in a), *((None, name) for name in rest)]
