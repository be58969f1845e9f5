"""Curves: the histories that a training wrote into a table or a metrics file by itself.

A table counts as one where a column is named for steps, so that its rows are in their order; a
JSON file where lists of numbers stand under names, as in Keras' and XGBoost's histories.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlrepro.comparators.values import is_clock_name, is_time_name

_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".ndjson")
_STEPS = frozenset(
    ("step", "steps", "epoch", "epochs", "iteration", "iterations", "iter", "round", "rounds",
     "global_step", "batch", "trainer/global_step", "_step")
)  # fmt: skip
_LARGEST = 20 * 2**20
_MOST = 200_000
_DEEPEST = 3


def may_hold(path: str) -> bool:
    """Say by its name whether a file may hold a history."""
    return path.lower().endswith(_SUFFIXES)


def read(path: Path) -> dict[str, list[float]]:
    """Return name → values of each history in a file; none where it holds none.

    Parameters
    ----------
    path : Path
        CSV, TSV, JSON, or JSON by lines; nothing in it is trusted.
    """
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        text = path.read_text(encoding="utf-8-sig")
        return _of_text(path.name.lower(), text)
    except (OSError, ValueError, RecursionError, csv.Error):
        return {}


def _of_text(name: str, text: str) -> dict[str, list[float]]:
    if name.endswith((".csv", ".tsv")):
        dialect = "excel-tab" if name.endswith(".tsv") else "excel"
        return _of_rows(list(csv.DictReader(text.splitlines(), dialect=dialect)))
    if name.endswith((".jsonl", ".ndjson")):
        return _of_rows([json.loads(line) for line in text.splitlines() if line.strip()])
    data = json.loads(text)
    if isinstance(data, list):
        return _of_rows(data)
    return dict(_lists("", data, _DEEPEST))


def _of_rows(rows: Sequence[Any]) -> dict[str, list[float]]:
    """Return the columns of rows that count steps."""
    table = [row for row in rows[:_MOST] if isinstance(row, dict)]
    names = dict.fromkeys(str(name) for row in table for name in row if isinstance(name, str))
    if not any(name.strip().lower() in _STEPS for name in names):
        return {}
    told = [n for n in names if n.strip().lower() not in _STEPS and not is_clock_name(n)]
    # Loggers leave a cell empty where a score was not taken.
    columns = {
        name: [row[name] for row in table if row.get(name) not in (None, "")] for name in told
    }
    found = {name.strip(): numbers(values) for name, values in columns.items()}
    return {name: values for name, values in found.items() if values}


def _lists(start: str, data: Any, depth: int) -> Iterator[tuple[str, list[float]]]:
    """Yield the lists of numbers below a mapping."""
    if not isinstance(data, Mapping):
        return
    for key, value in data.items():
        name = f"{start}.{key}" if start else str(key)
        if isinstance(value, list) and len(value) > 1 and not is_time_name(str(key)):
            found = numbers(value)
            if found:
                yield name, found
        elif depth:
            yield from _lists(name, value, depth - 1)


def numbers(values: Any) -> list[float]:
    """Return a list of numbers, or their texts, as floats; an empty one where one is none."""
    if not isinstance(values, list):
        return []
    try:
        return [_number(one) for one in values[:_MOST]]
    except (ValueError, TypeError, OverflowError):
        return []


def _number(value: Any) -> float:
    if isinstance(value, (list, dict)):
        raise TypeError
    return float(value)
