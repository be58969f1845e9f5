"""Pairing: two lists of paths matched, with dates, process ids and uuids in them masked."""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Sequence

_YEAR = r"(?:19|20)\d{2}"
_DAY = r"(?:0[1-9]|[12]\d|3[01])"
_MONTH = r"(?:0[1-9]|1[0-2])"
_HOURS = r"(?:[01]\d|2[0-3])"
_SIXTY = r"[0-5]\d"

DATE = (
    "(?:"
    + "|".join(f"{_YEAR}{dash}{_MONTH}{dash}{_DAY}" for dash in ("-", "/", r"\.", "_", ""))
    + ")"
)
CLOCK = rf"(?:{_HOURS}[:.\-_h]{_SIXTY}(?:[:.\-_m]{_SIXTY}s?)?|{_HOURS}{_SIXTY}(?:{_SIXTY})?)"
ZONE = r"(?:[.,]\d{1,9}|[-_]\d{6})?(?:Z|[ ]?[+-]\d{2}:?\d{2})?"
STAMP = rf"(?:{DATE}(?:[T _\-]{{1,2}}{CLOCK}{ZONE})?)"
UUID = r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}"

# A run of digits is bounded by anything but digits, so that `fold_3` and `model_10` keep theirs.
_MASKS = (
    (
        re.compile(
            rf"(?<![0-9a-fA-F]){UUID}(?![0-9a-fA-F])|(?<![0-9a-fA-F])[0-9a-f]{{32}}(?![0-9a-fA-F])"
        ),
        "<uuid>",
    ),
    (re.compile(rf"(?<!\d){STAMP}(?!\d)"), "<date>"),
    (re.compile(rf"(?<![\d:.]){_HOURS}[:\-_]{_SIXTY}[:\-_]{_SIXTY}(?![\d:])"), "<time>"),
    (re.compile(r"(?i)(?<![a-z])(pid[-_=]?)\d+"), r"\1<pid>"),
    # TensorBoard names its files by second, host, process id and a count.
    (re.compile(r"(?<=tfevents\.)\d+\.[^/]+"), "<event>"),
    # Seconds, milliseconds or nanoseconds since 1970, from 2001 on.
    (re.compile(r"(?<!\d)(?<!\d\.)1\d{9}(?:\.\d+|\d{3}|\d{6}|\d{9})?(?!\d)"), "<epoch>"),
)


def mask(path: str) -> str:
    """Return a name without what only tells when, or in which process, it was made.

    ``outputs/2026-11-21_04-12-33/model_10.txt`` becomes ``outputs/<date>/model_10.txt``.
    """
    for pattern, word in _MASKS:
        path = pattern.sub(word, path)
    return path


def tells_no_result(a: str, b: str) -> bool:
    """Say whether two unequal texts differ only by a date or a uuid in a name, or by their folder.

    A text that is a date, and nothing else, is a value like any other, and so is one hash.
    """
    if a == b:
        return False
    if a.startswith("/") and b.startswith("/"):
        a, b = a.rsplit("/", 1)[-1], b.rsplit("/", 1)[-1]
        return mask(a) == mask(b)
    return mask(a) == mask(b) and not (_is_moment(a) or _HASH.fullmatch(a))


def _is_moment(text: str) -> bool:
    bare, count = _MOMENT.subn("", mask(text))
    return count > 0 and not any(map(str.isalnum, bare))


_MOMENT = re.compile("<(?:date|time|epoch)>")
_HASH = re.compile("[0-9a-f]{32}")


def pair(recorded: Sequence[str], rebuilt: Sequence[str]) -> list[tuple[str | None, str | None]]:
    """Match two lists of paths: equal names first, then equal masks, in their order.

    Returns
    -------
    list of tuple
        ``(recorded, rebuilt)`` in the recorded order, with None where there is no partner; what
        was only rebuilt comes last.
    """
    exact = set(recorded) & set(rebuilt)
    waiting: dict[str, deque[str]] = defaultdict(deque)
    for name in rebuilt:
        if name not in exact:
            waiting[mask(name)].append(name)
    pairs: list[tuple[str | None, str | None]] = [
        (name, name if name in exact else _next(waiting.get(mask(name)))) for name in recorded
    ]
    taken = {partner for _, partner in pairs}
    return pairs + [(None, name) for name in rebuilt if name not in taken]


def _next(names: deque[str] | None) -> str | None:
    return names.popleft() if names else None
