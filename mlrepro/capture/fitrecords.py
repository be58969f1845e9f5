"""Fitrecords: what the probe wrote of one fit, which nobody vouches for, as facts of a manifest.

A program can write into its own log whatever it likes, and libraries hold values of any size and
kind: everything is bounded here, and secrets are masked as in a command line.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

from mlrepro.capture import params
from mlrepro.manifest import Fit, Rounds

_LONGEST = 300
_MOST_PARAMS = 60
_MOST_RESOLVED = 1_000
_MOST_POINTS = 2_000
_MOST_WORDS = 40
_DEEPEST = 4
_LARGEST_INT = 10**40
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ARROW = " → "
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def fit(record: Mapping[str, Any], *, model: str = "") -> Fit:
    """Return a fit as the manifest shows it.

    Parameters
    ----------
    record : mapping
        What the probe wrote; absent, unknown and malformed fields are taken for unknown.
    model : str
        Path of the artifact that holds its model; empty where the program saved it.
    """
    return Fit(
        call=text(record.get("call")) or "fit",
        params=values(record.get("params"), most=_MOST_PARAMS),
        ignored=_words(record.get("ignored")),
        aliased=_texts(record.get("aliased")),
        overridden=_texts(record.get("overridden")),
        rounds=_rounds(record.get("rounds")),
        scores=_scores(record.get("scores")),
        threads=_whole(record.get("threads")),
        data=_words(record.get("data")),
        inside=_counts(record.get("inside")),
        budget=text(record.get("budget")),
        random=_random(record),
        model=model,
        seconds=_number(record.get("seconds")) or 0.0,
        failed=text(record.get("failed")),
    )


def details(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what only the ledger's list has: all parameters, and the history of the scores."""
    resolved = values(record.get("resolved"), most=_MOST_RESOLVED)
    history = values(record.get("history"), most=_MOST_WORDS)
    left_out = text(record.get("text_left_out"))
    found = {"resolved": resolved, "history": history, "model left out": left_out}
    return {name: value for name, value in found.items() if value}


def row(fit: Fit, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fit with its details for the ledger's list; `plain.dump` takes five times as long.

    A search has thousands of them.
    """
    told = {name: value for name, value in vars(fit).items() if value}
    if fit.rounds:
        told["rounds"] = {k: v for k, v in vars(fit.rounds).items() if v not in (None, "")}
    return {**told, **details(record)}


def moved(fit: Fit) -> list[str]:
    """Name the global generators that the fit drew from."""
    return [name for name, states in fit.random.items() if _ARROW in states]


def text(value: Any) -> str:
    """Return a short text that JSON, UTF-8 and a terminal can hold; empty where it is none."""
    if not isinstance(value, str):
        return ""
    cut = value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
    legible = cut
    if not cut.isprintable():
        legible = _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", cut)
        legible = legible.encode(errors="backslashreplace").decode()
    return _CREDENTIALS.sub(f"{params.MASK}@", legible) if "://" in legible else legible


def values(data: Any, *, most: int) -> dict[str, Any]:
    """Return a mapping of plain values of bounded number, size and depth, secrets masked."""
    return _mapping(data, most, _DEEPEST) if isinstance(data, dict) else {}


def _mapping(data: dict[Any, Any], most: int, depth: int) -> dict[str, Any]:
    found = {}
    for key, value in itertools.islice(data.items(), most):
        name = text(str(key))
        secret = isinstance(value, str) and value and _is_secret(name)
        found[name] = params.MASK if secret else _bounded(value, depth - 1)
    return found


def _bounded(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return _mapping(value, _MOST_POINTS, depth) if depth else "…"
    if isinstance(value, (list, tuple)):
        return [_bounded(v, depth - 1) for v in value[:_MOST_POINTS]] if depth else "…"
    if isinstance(value, str):
        return text(value)
    return _leaf(value)


def _leaf(value: Any) -> Any:
    """Return a value as `plain.dump` would: JSON holds neither NaN nor integers of any size."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else text(_digits(value))
    return text(repr(type(value)))


def _digits(value: int) -> str:
    return str(value) if abs(value) < _LARGEST_INT else hex(value)


@functools.lru_cache(4096)
def _is_secret(name: str) -> bool:
    return params.is_secret(name)


def _texts(data: Any) -> dict[str, str]:
    if not isinstance(data, dict):
        return {}
    pairs = itertools.islice(data.items(), _MOST_WORDS)
    return {text(str(k)): text(v) for k, v in pairs if isinstance(v, str)}


def _words(data: Any) -> tuple[str, ...]:
    listed = data if isinstance(data, (list, tuple)) else ()
    return tuple(filter(None, map(text, listed[:_MOST_WORDS])))


def _whole(value: Any) -> int | None:
    usable = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**53
    return value if usable else None


def _number(value: Any) -> float | None:
    """Return a finite number: nothing else is a number in JSON."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _rounds(data: Any) -> Rounds | None:
    if not isinstance(data, dict):
        return None
    asked, trained, kept = (_whole(data.get(name)) for name in ("asked", "trained", "kept"))
    found = Rounds(asked, trained, kept, text(data.get("stopped_by")))
    return found if found != Rounds() else None


def _scores(data: Any) -> dict[str, float]:
    if not isinstance(data, dict):
        return {}
    pairs = ((text(str(k)), _number(v)) for k, v in list(data.items())[:_MOST_WORDS])
    return {name: value for name, value in pairs if value is not None}


def _counts(data: Any) -> dict[str, int]:
    if not isinstance(data, dict):
        return {}
    pairs = ((text(str(k)), _whole(v)) for k, v in list(data.items())[:_MOST_WORDS])
    return {name: count for name, count in pairs if count is not None}


def _random(record: Mapping[str, Any]) -> dict[str, str]:
    entry, after = _texts(record.get("entry")), _texts(record.get("exit"))
    return {
        name: state if after.get(name, state) == state else f"{state}{_ARROW}{after[name]}"
        for name, state in entry.items()
    }
