"""Deciding: which artifacts of a run its verdict rests on."""

from __future__ import annotations

from collections.abc import Iterable

from mlrepro.manifest import Artifact, Role, is_in_tree

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
