"""Parquet: tables compared column by column, batch by batch; Arrow and Feather files too.

pyarrow reads them; it is an extra, imported where such a file is compared. What counts are the
columns (names and types), the rows, and every cell. Metadata, which never moves the verdict: the
writer, the file's key-value metadata (pandas keeps its index there), compression, encodings,
statistics, the cut into row groups and batches, the order of columns, whether a column may be
null, and whether text is stored as a dictionary or with long offsets. Columns that are a clock's,
and paths and dates inside of texts, are set aside as in a CSV table.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mlrepro import plain as plain_data
from mlrepro.comparators.arrowcolumns import Aside, Column, column, plain, plain_type
from mlrepro.comparators.arrowrows import digest
from mlrepro.comparators.base import Comparator
from mlrepro.comparators.elements import whole
from mlrepro.comparators.values import LISTED, show
from mlrepro.drift import Difference, Measure, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_ROWS = 1 << 16
"""Rows that are held at once from each side."""

_CELLS = 1 << 20
"""Cells: of a table of a thousand columns there are fewer rows."""

_BUFFER = 1 << 20
"""Bytes that are read at once of each column."""

_SUFFIXES = (".parquet", ".pq", ".feather", ".arrow", ".ipc")
_CHILD = f"from {__name__} import answer; answer()"
_MAGIC = (b"PAR1", b"ARROW1")


def _recognises(path: Path, head: bytes) -> bool:
    return bool(head) and (head.startswith(_MAGIC) or path.suffix.lower() in _SUFFIXES)


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    _library()
    told = json.dumps(plain_data.dump(tolerance))
    command = [sys.executable, "-I", "-c", _CHILD, str(recorded), str(rebuilt), told]
    # A process of its own: what aborts pyarrow must not end the whole rebuild.
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False)
    try:
        found = json.loads(done.stdout)
        if "error" in found:
            raise ComparisonError(found["error"])
        return plain_data.load(Difference, found)
    except (ValueError, TypeError) as error:
        why = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise ComparisonError(
            f"`{recorded.name}` is damaged: pyarrow could not read it ({why[0][:160]})"
        ) from error


def measure(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    """Compare two files in this process, which damaged ones may end."""
    with _translated(recorded.name, _library()), _opened(recorded) as a, _opened(rebuilt) as b:
        return _tables(recorded.name, a, b, tolerance)


def answer() -> None:
    """Write what `_compare` reads from its child."""
    recorded, rebuilt, tolerance = sys.argv[1:]
    try:
        wanted = plain_data.load(Tolerance, json.loads(tolerance))
        found = plain_data.dump(measure(Path(recorded), Path(rebuilt), wanted))
    except ComparisonError as error:
        found = {"error": str(error)}
    sys.stdout.buffer.write(json.dumps(found).encode())


def _library() -> Any:
    try:
        import pyarrow  # noqa: ICN001, PLC0415  an extra, and 0.3 s: paid where such a file is compared
    except ImportError as error:
        raise ComparisonError(
            "a table of Parquet or Arrow needs pyarrow to be compared",
            hint="Install it with `uv tool install 'mlrepro[parquet]'`.",
        ) from error
    return pyarrow


@contextmanager
def _translated(name: str, pa: Any) -> Iterator[None]:
    # What pyarrow raises for damaged files, tried by fuzzing.
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError, TypeError,
            OverflowError, IndexError, NotImplementedError) as error:  # fmt: skip
        what = " ".join(str(error).split())[:160] or type(error).__name__
        raise ComparisonError(f"`{name}` is damaged: {what}") from error


@dataclass(frozen=True)
class _Table:
    """One file: what it says of itself, and how its rows are read."""

    file: Any
    schema: Any
    rows: int
    facts: dict[str, str]

    def batches(self) -> Iterator[Any]:
        """Yield its rows, each batch checked: pyarrow trusts the offsets of what it reads."""
        seen = 0
        for batch in self._unchecked():
            batch.validate(full=True)
            seen += batch.num_rows
            yield batch
        if seen != self.rows:
            raise ValueError(f"it says that it has {self.rows} rows, and has {seen}")

    def _unchecked(self) -> Iterator[Any]:
        if hasattr(self.file, "iter_batches"):
            rows = max(1, min(_ROWS, _CELLS // max(1, len(self.schema))))
            yield from self.file.iter_batches(rows)
        else:
            for number in range(self.file.num_record_batches):
                yield self.file.get_batch(number)


@contextmanager
def _opened(path: Path) -> Iterator[_Table]:
    import pyarrow as pa  # noqa: PLC0415  see _library

    with pa.OSFile(str(path)) as source:
        if source.read(4) == b"PAR1":
            source.seek(0)
            yield _parquet(source)
        else:
            source.seek(0)
            yield _arrow(source)


def _parquet(source: Any) -> _Table:
    import pyarrow.parquet as pq  # noqa: PLC0415  see _library

    file = pq.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER)
    told = file.metadata
    # No look at a column's codec: pyarrow aborts the process where it is damaged.
    facts = {"writer": str(told.created_by), "row groups": str(told.num_row_groups)}
    return _Table(file, file.schema_arrow, told.num_rows, facts | _entries(told.metadata))


def _arrow(source: Any) -> _Table:
    import pyarrow as pa  # noqa: PLC0415  see _library

    file = pa.ipc.open_file(source)
    count = file.num_record_batches
    rows = sum(file.get_batch(n).num_rows for n in range(count))
    return _Table(file, file.schema, rows, {"batches": str(count)} | _entries(file.schema.metadata))


def _entries(metadata: Any) -> dict[str, str]:
    # The schema itself is compared, and not how Arrow spells it.
    return {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
        for key, value in (metadata or {}).items()
        if key != b"ARROW:schema"
    }


def _tables(name: str, a: _Table, b: _Table, tolerance: Tolerance) -> Difference:
    names, broken, notes = _structure(a.schema, b.schema)
    columns = {n: column(plain_type(_storage(a.schema.field(n).type)), n, tolerance) for n in names}
    _cells(a, b, columns)
    nodes = [*broken, *_rows(a, b), *(c.finish() for c in columns.values())]
    found = whole(name, nodes, "columns")
    if not a.rows and not b.rows:  # no row: the columns are equal, and that is all there is
        verdict = Verdict.EQUIVALENT if names and not broken else Verdict.DRIFTED
        found = replace(found, verdict=verdict, compared=len(names))
    elif not found.compared:
        found = replace(found, verdict=Verdict.DRIFTED, summary="nothing was compared")
    first = (
        min((c.first_row, n) for n, c in columns.items() if c.first_row)
        if any(c.first_row for c in columns.values()) and not broken
        else None
    )
    if first and a.rows == b.rows:
        found = replace(found, first=next(n.first for n in nodes if n.path == first[1]))
    if found.verdict == Verdict.DRIFTED and _reordered(a, b, columns, broken):
        found = replace(found, summary=f"the same {a.rows} rows in another order")
    metadata = [*notes, *_facts(a, b), *found.metadata]
    if found.verdict == Verdict.EQUIVALENT and not metadata:
        metadata = ["compression, encoding or statistics differ, not the cells"]
    return replace(found, metadata=tuple(metadata[: 2 * LISTED]))


def _storage(kind: Any) -> Any:
    return getattr(kind, "storage_type", kind)


def _structure(a: Any, b: Any) -> tuple[list[str], list[Difference], list[str]]:
    """Return the columns that both have, what differs of the rest, and what means nothing."""
    for schema in (a, b):
        if len(set(schema.names)) != len(schema.names):
            raise ValueError("two columns have one name")
    broken, notes, names = [], [], []
    for name in dict.fromkeys([*a.names, *b.names]):
        if name not in a.names or name not in b.names:
            side = "recorded" if name in a.names else "rebuilt"
            broken.append(_broken(name, f"only {side}"))
            continue
        x, y = a.field(name), b.field(name)
        if plain_type(_storage(x.type)) != plain_type(_storage(y.type)):
            broken.append(_broken(name, f"{x.type} → {y.type}"))
            continue
        names.append(name)
        if x.type != y.type or x.nullable != y.nullable:
            notes.append(f"column {name}: {_kind(x)} → {_kind(y)}")
    if sorted(a.names) == sorted(b.names) and a.names != b.names:
        notes.append(f"column order: {', '.join(a.names)} → {', '.join(b.names)}"[:200])
    return names, broken, notes


def _broken(name: str, what: str) -> Difference:
    return Difference(name, Verdict.DRIFTED, first=f"column {name}: {what}", compared=1)


def _kind(field: Any) -> str:
    return f"{field.type}{'' if field.nullable else ' not null'}"


def _rows(a: _Table, b: _Table) -> list[Difference]:
    if a.rows == b.rows:
        return []
    gap = Measure("rows, rebuilt − recorded", float(b.rows - a.rows), "rows")
    words = f"rows: {a.rows} → {b.rows}"
    return [Difference("rows", Verdict.DRIFTED, measures=(gap,), first=words, compared=1)]


def _cells(a: _Table, b: _Table, columns: dict[str, Column]) -> None:
    start = 0
    for x, y in _aligned(a.batches(), b.batches()):
        for name, own in columns.items():
            left, right = (plain(v.column(v.schema.get_field_index(name))) for v in (x, y))
            own.add(left, right, start, _places(start, name))
        start += x.num_rows


def _places(start: int, name: str) -> Any:
    return lambda at: f"row {start + at + 1}, column {name}"


def _aligned(a: Iterator[Any], b: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield batches of equal lengths; the longer table is read to its end all the same."""
    x = y = None
    while True:
        x, y = _next(x, a), _next(y, b)
        if x is None or y is None:
            break
        count = min(x.num_rows, y.num_rows)
        yield x.slice(0, count), y.slice(0, count)
        x, y = x.slice(count), y.slice(count)
    for rest in (a, b):
        for _ in rest:
            pass


def _next(batch: Any, batches: Iterator[Any]) -> Any:
    while batch is None or not batch.num_rows:
        batch = next(batches, None)
        if batch is None:
            return None
    return batch


def _reordered(a: _Table, b: _Table, columns: dict[str, Column], broken: list[Difference]) -> bool:
    names = [n for n, c in columns.items() if not isinstance(c, Aside)]
    if broken or a.rows != b.rows or not names:
        return False
    return digest(a.batches(), names) == digest(b.batches(), names)


def _facts(a: _Table, b: _Table) -> list[str]:
    return [
        f"{key}: {show(a.facts.get(key, '–'))} → {show(b.facts.get(key, '–'))}"
        for key in {**a.facts, **b.facts}
        if a.facts.get(key) != b.facts.get(key)
    ]


COMPARATOR = Comparator("parquet", _recognises, _compare)
