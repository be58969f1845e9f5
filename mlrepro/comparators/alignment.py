"""Alignment: two lists of lines matched in order, fast however long they are."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

_EXACT = 250_000
"""Below this product of lengths a gap is aligned by the longest common subsequence."""

Pair = tuple[int | None, int | None]


def align(a: Sequence[str], b: Sequence[str]) -> Iterator[Pair]:
    """Yield pairs of equal lines by their places, in order; None where there is no partner.

    Equal ends are matched first, then lines that are unique on both sides (patience), then, in
    each gap, the longest common subsequence if the gap is small, and the next equal line if not.
    So 200,000 lines take about as long as sorting them.
    """
    yield from _aligned(a, b, range(len(a)), range(len(b)))


def _aligned(a: Sequence[str], b: Sequence[str], x: range, y: range) -> Iterator[Pair]:
    head = _common(a, b, x, y)
    yield from zip(x[:head], y[:head], strict=True)
    x, y = x[head:], y[head:]
    tail = _common(a, b, x[::-1], y[::-1])
    middle_x, middle_y = x[: len(x) - tail], y[: len(y) - tail]
    yield from _middle(a, b, middle_x, middle_y)
    yield from zip(x[len(x) - tail :], y[len(y) - tail :], strict=True)


def _common(a: Sequence[str], b: Sequence[str], x: range, y: range) -> int:
    count = 0
    for i, j in zip(x, y, strict=False):
        if a[i] != b[j]:
            break
        count += 1
    return count


def _middle(a: Sequence[str], b: Sequence[str], x: range, y: range) -> Iterator[Pair]:
    if not x or not y:
        yield from ((i, None) for i in x)
        yield from ((None, j) for j in y)
        return
    anchors = _anchors(a, b, x, y)
    if anchors:
        last_x, last_y = x.start, y.start
        for i, j in [*anchors, (x.stop, y.stop)]:
            yield from _gap(a, b, range(last_x, i), range(last_y, j))
            if i < x.stop:
                yield i, j
            last_x, last_y = i + 1, j + 1
    else:
        yield from _gap(a, b, x, y)


def _anchors(a: Sequence[str], b: Sequence[str], x: range, y: range) -> list[tuple[int, int]]:
    """Return the longest rising series of lines that stand once on each side."""
    once_a = {line for line, n in Counter(a[i] for i in x).items() if n == 1}
    once_b = {line for line, n in Counter(b[j] for j in y).items() if n == 1}
    place = {b[j]: j for j in y if b[j] in once_b}
    pairs = [(i, place[a[i]]) for i in x if a[i] in once_a and a[i] in place]
    return _rising(pairs)


def _rising(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest subsequence whose second members rise."""
    ends: list[int] = []
    tops: list[int] = []
    before: list[int] = []
    for at, (_, j) in enumerate(pairs):
        k = bisect.bisect_left(ends, j)
        before.append(tops[k - 1] if k else -1)
        ends[k : k + 1] = [j]
        tops[k : k + 1] = [at]
    series = []
    at = tops[-1] if tops else -1
    while at >= 0:
        series.append(pairs[at])
        at = before[at]
    return series[::-1]


def _gap(a: Sequence[str], b: Sequence[str], x: range, y: range) -> Iterator[Pair]:
    matched = _longest(a, b, x, y) if len(x) * len(y) <= _EXACT else _next_equal(a, b, x, y)
    last_x, last_y = x.start, y.start
    for i, j in [*matched, (x.stop, y.stop)]:
        yield from ((k, None) for k in range(last_x, i))
        yield from ((None, k) for k in range(last_y, j))
        if i < x.stop:
            yield i, j
        last_x, last_y = i + 1, j + 1


def _longest(a: Sequence[str], b: Sequence[str], x: range, y: range) -> list[tuple[int, int]]:
    rows = [[0] * (len(y) + 1)]
    for i in reversed(x):
        below, row = rows[-1], [0] * (len(y) + 1)
        for k in range(len(y) - 1, -1, -1):
            row[k] = below[k + 1] + 1 if a[i] == b[y[k]] else max(below[k], row[k + 1])
        rows.append(row)
    rows.reverse()
    pairs, i, j = [], 0, 0
    while i < len(x) and j < len(y):
        if a[x[i]] == b[y[j]]:
            pairs.append((x[i], y[j]))
            i, j = i + 1, j + 1
        elif rows[i + 1][j] >= rows[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def _next_equal(a: Sequence[str], b: Sequence[str], x: range, y: range) -> list[tuple[int, int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for j in y:
        places[b[j]].append(j)
    pairs, at = [], y.start
    # A line that returns much later would swallow all between; so no leap beyond a window.
    window = max(1000, abs(len(x) - len(y)))
    for i in x:
        found = places.get(a[i], [])
        k = bisect.bisect_left(found, at)
        if k < len(found) and found[k] - at <= window:
            pairs.append((i, found[k]))
            at = found[k] + 1
    return pairs
