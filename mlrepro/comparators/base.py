"""Base: what a comparator is, and the small verbs that all of them use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlrepro.drift import Difference, Tolerance

HEAD = 4096
"""How many leading bytes of a file a comparator may look at to know its kind."""


@dataclass(frozen=True)
class Comparator:
    """One kind of file, and how two of them are measured; a row of the table `COMPARATORS`.

    Attributes
    ----------
    name : str
        The kind, as reports show it: ``lightgbm``, ``csv``.
    recognises : callable
        ``(path, head) -> bool``: whether a file is of this kind, by its name and its first `HEAD`
        bytes (``b""`` for a folder). Both files of a pair must be recognised.
    compare : callable
        ``(recorded, rebuilt, tolerance) -> Difference``. Called only where the bytes differ.
        Raises `ComparisonError` for a file that is damaged; never returns a pass for one.
    named : callable or None
        ``(recorded, rebuilt, tolerance, name) -> Difference``, called in place of `compare` where
        the artifact's recorded name says what lies inside: ``model.txt.gz``.
    """

    name: str
    recognises: Callable[[Path, bytes], bool]
    compare: Callable[[Path, Path, Tolerance], Difference]
    named: Callable[[Path, Path, Tolerance, str], Difference] | None = None
