"""Flips: every byte of a small file is changed, and no verdict may say more than is true."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlrepro.comparators.base import Comparator
from mlrepro.drift import Tolerance, Verdict
from mlrepro.errors import ComparisonError

ALTERNATELY = ((0x01,), (0xFF,))
"""One way each, for files of which a checksum covers most."""


def flipped(
    folder: Path,
    comparator: Comparator,
    data: bytes,
    *,
    content: Callable[[bytes], Any],
    near: Callable[[Any, Any], bool] = lambda a, b: False,
    masks: Sequence[tuple[int, ...]] = ((0x01, 0xFF),),
) -> Counter[str]:
    """Compare `data` with each flip of it; return how often each verdict came.

    `content` reads the file by other means than the comparator, and raises where it cannot. A flip
    that is *equivalent* must have the same content, and one that is *close* a near one. Byte `i` is
    flipped in the ways of ``masks[i % len(masks)]``.
    """
    verdicts: Counter[str] = Counter()
    told = content(data)
    (folder / "a").write_bytes(data)
    for at in range(len(data)):
        for mask in masks[at % len(masks)]:
            other = bytearray(data)
            other[at] ^= mask
            (folder / "b").write_bytes(other)
            try:
                verdict = comparator.compare(folder / "a", folder / "b", Tolerance()).verdict
            except ComparisonError:
                verdicts["error"] += 1
                continue
            verdicts[str(verdict)] += 1
            assert verdict is not Verdict.IDENTICAL, (at, mask)
            if verdict is Verdict.EQUIVALENT:
                assert content(bytes(other)) == told, (at, mask)
            elif verdict is Verdict.CLOSE:
                assert near(told, content(bytes(other))), (at, mask)
    return verdicts
