"""Bisection: the smallest part of some changes that is enough, by as few trials as can be."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

T = TypeVar("T")

Asking = Generator[tuple[T, ...], bool, tuple[T, ...]]
"""Yields parts, is sent whether each is enough, and returns the smallest."""


def smallest(whole: Sequence[T]) -> Asking[T]:
    """Find a smallest part that is enough, where the whole is.

    One that is enough by itself is found by halving: of n, in log2(n) + 1 trials. Where several
    are needed together, by delta debugging (Zeller and Hildebrandt, 2002); no part of what is
    returned then is enough without any one of its members.
    """
    items = tuple(whole)
    known: dict[tuple[T, ...], bool] = {items: True}
    guess = items
    while len(guess) > 1:
        half, other = guess[: len(guess) // 2], guess[len(guess) // 2 :]
        # Where one half is not enough the other is taken to be, which is tried at the end.
        guess = half if (yield from _asked(half, known)) else other
    if (yield from _asked(guess, known)):
        return guess
    return (yield from _reduced(items, known))


def _asked(
    part: tuple[T, ...], known: dict[tuple[T, ...], bool]
) -> Generator[tuple[T, ...], bool, bool]:
    if part not in known:
        known[part] = yield part
    return known[part]


def _reduced(items: tuple[T, ...], known: dict[tuple[T, ...], bool]) -> Asking[T]:
    parts = 2
    while len(items) > 1:
        size = -(-len(items) // parts)
        pieces = [items[at : at + size] for at in range(0, len(items), size)]
        without = [tuple(x for x in items if x not in piece) for piece in pieces]
        found = None
        for part in (*pieces, *without):
            if part and len(part) < len(items) and (yield from _asked(part, known)):
                found = part
                break
        if found is not None:
            parts = 2 if found in pieces else max(parts - 1, 2)
            items = found
        elif parts >= len(items):
            break
        else:
            parts = min(2 * parts, len(items))
    return items
