"""Data: every value that a command returns, as JSON or CSV."""

from __future__ import annotations

import csv
import dataclasses
import enum
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mlrepro.commands.listing import Shown
from mlrepro.manifest import LATER, Digest, Manifest


def to_json(value: Any) -> str:
    """Return a value as indented JSON; a manifest with its id, enums as their words."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False)


def to_csv(rows: Sequence[Any]) -> str:
    """Return dataclasses of one type as CSV with a header line."""
    text = io.StringIO()
    if rows:
        names = [f.name for f in dataclasses.fields(rows[0])]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_cell(getattr(row, name)) for name in names] for row in rows)
    return text.getvalue().rstrip("\n")


def _cell(value: Any) -> Any:
    plain = _plain(value)
    return " ".join(map(str, plain)) if isinstance(plain, list) else plain


def _plain(value: Any) -> Any:
    if isinstance(value, (Digest, enum.IntEnum)):
        return str(value)
    if isinstance(value, Manifest):
        return {"id": value.id, **value.to_dict()}
    if isinstance(value, Shown):
        later = {name: _plain(getattr(value, name)) for name in LATER}
        return {**_plain(value.record), **later}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)} | _extra(
            value
        )
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    not_json = isinstance(value, float) and not math.isfinite(value)
    return str(value) if not_json else value


def _extra(value: Any) -> dict[str, Any]:
    return {"ok": value.ok} if hasattr(type(value), "ok") else {}
