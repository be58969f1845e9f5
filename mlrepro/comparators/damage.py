"""Damage: what reading a damaged file raises, turned into one clear error."""

from __future__ import annotations

import struct
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from mlrepro.comparators import unpacked
from mlrepro.errors import ComparisonError

DAMAGE = (
    ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, MemoryError,
    RecursionError, struct.error, SyntaxError, zipfile.BadZipFile, NotImplementedError,
    RuntimeError, tokenize.TokenError, *unpacked.DAMAGE,
)  # fmt: skip
"""What the machine, numpy, zipfile and the unpackers raise, tried by fuzzing."""


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Turn what damage raises into one clear error."""
    try:
        yield
    except DAMAGE as error:
        what = " ".join(str(error).split())[:120] or type(error).__name__
        raise ComparisonError(f"`{name}` is damaged: {what}") from error
