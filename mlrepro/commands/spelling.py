"""Spelling: file names and words that are no UTF-8, which no manifest can hold as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

from mlrepro import plain
from mlrepro.errors import ManifestError
from mlrepro.manifest import Manifest


class _Named(Protocol):
    @property
    def path(self) -> str: ...


N = TypeVar("N", bound=_Named)


def named(found: Sequence[N], verb: str) -> tuple[tuple[N, ...], list[str]]:
    """Leave out the files that a record cannot name; say so in a sentence."""
    odd = [spelled(one.path) for one in found if not is_text(one.path)]
    if not odd:
        return tuple(found), []
    more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
    sentence = f"{verb}, but not recorded, since the name is no UTF-8: {', '.join(odd[:5])}{more}"
    return tuple(one for one in found if is_text(one.path)), [sentence]


def legible(record: Manifest) -> Manifest:
    """Return a record without lone surrogates, for instance of an argument that is no UTF-8."""
    try:
        record.id  # noqa: B018  refuses what canonical JSON cannot hold
    except ManifestError:
        data = _spelled(plain.dump(record))
        spots = data.setdefault("blind_spots", [])
        spots.append("some words of this record are no UTF-8; their bytes are written as \\xNN")
        return plain.load(Manifest, data)
    return record


def is_text(text: str) -> bool:
    """Say whether a text is valid Unicode."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def spelled(text: str) -> str:
    r"""Return a text with the bytes that are no UTF-8 written as ``\xe8``."""
    if is_text(text):
        return text
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _spelled(data: Any) -> Any:
    if isinstance(data, str):
        return spelled(data)
    if isinstance(data, dict):
        return {spelled(key): _spelled(value) for key, value in data.items()}
    return [_spelled(value) for value in data] if isinstance(data, list) else data
