"""Globs: the files that `--input` and `--output` name, from where the user stands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath


def files(start: Path, patterns: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Return the files that patterns name, those of a folder among them; and what named none.

    Parameters
    ----------
    start : Path
        What relative patterns are relative to.
    patterns : sequence of str
        Names or globs, as ``data/**/*.csv`` or ``/mnt/big.bin``.
    """
    found: set[Path] = set()
    idle = []
    for pattern in patterns:
        one = set(_files(_matching(start, pattern)))
        found |= one
        if not one:
            idle.append(pattern)
    return sorted(found), idle


def _matching(start: Path, pattern: str) -> list[Path]:
    if not pattern:
        return []
    if (start / pattern).exists():  # a name with a bracket in it is no glob
        return [start / pattern]
    pure = PurePath(pattern)
    base = Path(pure.anchor) if pure.anchor else start
    try:
        return list(base.glob(str(pure.relative_to(pure.anchor))))
    except (ValueError, OSError, NotImplementedError):  # `**x`, not readable
        return []


def _files(found: Iterable[Path]) -> Iterable[Path]:
    for path in found:
        if path.is_dir():
            # By its own name, that a link to it does not count twice.
            yield from (member for member in path.resolve().rglob("*") if member.is_file())
        elif path.is_file():
            yield path
