"""Compressed: gzip, bzip2 and xz files compared by what they hold, by the comparator of that.

No content, and so metadata: the time, the name and the system in the header, how hard it was
compressed. Everything that can be unpacked is held against the checksum of its format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mlrepro.comparators import nested, unpacked
from mlrepro.comparators.base import Comparator
from mlrepro.comparators.damage import translated
from mlrepro.drift import Difference, Tolerance, Verdict

_MAGIC = {"gzip": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\0"}
_SUFFIXES = {
    ".gz": "gzip",
    ".bz2": "bz2",
    ".xz": "xz",
    ".tgz": "gzip",
    ".tbz2": "bz2",
    ".txz": "xz",
}
_TARS = (".tgz", ".tbz2", ".txz")


def comparator(compare: Callable[..., Difference]) -> Comparator:
    """Return the row of compressed files; `compare` is what measures what they hold."""

    def named(recorded: Path, rebuilt: Path, tolerance: Tolerance, name: str) -> Difference:
        inner = _inner(name)
        with nested.folder(name) as folder:
            sides = folder / "recorded", folder / "rebuilt"
            for packed, side in zip((recorded, rebuilt), sides, strict=True):
                with translated(name):
                    nested.write(unpacked.pieces(packed, _form(name, packed)), side, name)
            return _as_packed(compare(*sides, name=inner, tolerance=tolerance))

    def by_path(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
        return named(recorded, rebuilt, tolerance, recorded.name)

    return Comparator("gzip", _recognises, by_path, named)


def _recognises(path: Path, head: bytes) -> bool:
    return bool(head) and (head.startswith(tuple(_MAGIC.values())) or _suffix(path.name) != "")


def _suffix(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return suffix if suffix in _SUFFIXES else ""


def _form(name: str, packed: Path) -> str:
    """Return how a file is compressed: by its bytes, and if they do not tell, by its name."""
    with packed.open("rb") as file:
        head = file.read(6)
    told = (form for form, magic in _MAGIC.items() if head.startswith(magic))
    return next(told, "") or _SUFFIXES.get(_suffix(name), "gzip")


def _inner(name: str) -> str:
    """Return the name of what a compressed file holds: ``model.txt`` of ``model.txt.gz``."""
    suffix = _suffix(name)
    bare = name[: len(name) - len(suffix)]
    return f"{bare}.tar" if suffix in _TARS else bare or name


def _as_packed(found: Difference) -> Difference:
    """Return the finding as that of the packed file, whose own bytes differ."""
    note = "compressed: the header or the compression differs too"
    if found.verdict is Verdict.IDENTICAL:
        note = "compressed: the header or the compression differs, not the content"
        found = replace(found, verdict=Verdict.EQUIVALENT, comparator="gzip")
    return replace(found, metadata=(*found.metadata, note))
