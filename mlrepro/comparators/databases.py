"""Databases: SQLite files compared table by table, row by row in the order of their keys.

No content, and so metadata: what the file format keeps for itself (page size, free pages, counters,
the order of pages, row numbers that are no key), the statistics of ANALYZE, and the encoding of
texts. Indexes, views and triggers are compared as they are written, and none is ever run.

A file may come from a stranger: it is opened as one that nobody changes, so that nothing is locked
and nothing written beside it; no extension is loaded, no virtual table opened, no generated column
worked out. What a `-wal` file beside it holds has not reached the database, and is not seen.
"""

from __future__ import annotations

import hashlib
import itertools
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from mlrepro.comparators import tables
from mlrepro.comparators.base import Comparator
from mlrepro.comparators.columns import Column
from mlrepro.comparators.values import Findings, is_clock_name, show, worst
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_MAGIC = b"SQLite format 3\0"
_SUFFIXES = (".sqlite", ".sqlite3")
_BLOCK = 4096
_NOISE = ("page_size", "encoding")
_DECIDES = ("application_id", "user_version")
_ASKED = frozenset({*_NOISE, *_DECIDES, "table_xinfo", "integrity_check"})
# Innocent by sqlite's own account, and still able to fill the memory.
_DENIED = frozenset({"load_extension", "randomblob", "zeroblob", "printf", "format", "char"})


def _recognises(path: Path, head: bytes) -> bool:
    return head.startswith(_MAGIC) or (bool(head) and path.suffix.lower() in _SUFFIXES)


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    try:
        with _opened(recorded) as a, _opened(rebuilt) as b:
            return _databases(recorded.name, _Database.read(a), _Database.read(b), tolerance)
    except (sqlite3.Error, OverflowError, MemoryError) as error:
        raise ComparisonError(f"`{recorded.name}` is no sound database: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    address = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
    connection = sqlite3.connect(address, uri=True)
    try:
        connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON"):
            connection.execute(f"PRAGMA {pragma}")
        connection.set_authorizer(_authorise)
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != ("ok",):
            raise sqlite3.DatabaseError(show(found[0] if found else "it is damaged"))
        yield connection
    finally:
        connection.close()


def _authorise(action: int, first: str | None, second: str | None, *_: object) -> int:
    allowed = (
        action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ)
        or (action == sqlite3.SQLITE_PRAGMA and first in _ASKED)
        or (action == sqlite3.SQLITE_FUNCTION and second not in _DENIED)
    )
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


@dataclass(frozen=True)
class _Database:
    """What a database says of itself."""

    connection: sqlite3.Connection
    schema: dict[str, str]
    tables: tuple[str, ...]
    virtual: tuple[str, ...]

    @classmethod
    def read(cls, connection: sqlite3.Connection) -> _Database:
        asked = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name"
        rows = [tuple(map(str, row)) for row in connection.execute(asked)]
        schema: dict[str, str] = {}
        plain: list[str] = []
        virtual: list[str] = []
        for kind, name, table, sql in rows:
            if name.startswith("sqlite_stat"):
                continue
            schema[f"{kind} {name}"] = sql if kind == "table" else f"on {table}: {sql}"
            if kind == "table":
                unreal = sql.split(None, 2)[:2] == ["CREATE", "VIRTUAL"]
                (virtual if unreal else plain).append(name)
        return cls(connection, schema, tuple(plain), tuple(virtual))

    def asked(self, pragma: str) -> str:
        return str(self.connection.execute(f"PRAGMA {pragma}").fetchone()[0])

    def columns(self, table: str) -> tuple[list[str], list[str]]:
        """Return the columns that are stored, and those of the key, in its order."""
        rows = self.connection.execute(f"PRAGMA table_xinfo({_quoted(table)})").fetchall()
        stored = [(row[1], row[5]) for row in rows if not row[6]]
        key = sorted((place, name) for name, place in stored if place)
        return [name for name, _ in stored], [name for _, name in key]

    def rows(self, table: str, columns: Sequence[str], key: Sequence[str]) -> Iterator[list[str]]:
        """Yield the rows as text, in the order of their numbers, or else of their key."""
        taken = {name.lower() for name in columns}
        number = next((n for n in ("rowid", "_rowid_", "oid") if n not in taken), "")
        # A table `WITHOUT ROWID` has a key, and no number.
        orders = [number] if number else []
        for order in (*orders, ", ".join(map(_quoted, key))):
            asked = f"SELECT {', '.join(map(_quoted, columns))} FROM {_quoted(table)}"  # noqa: S608
            try:
                found = self.connection.execute(f"{asked} ORDER BY {order}" if order else asked)
            except sqlite3.OperationalError as error:
                if "no such column" not in str(error):
                    raise
                continue
            return ([_cell(value) for value in row] for row in found)
        raise ComparisonError(f"the rows of the table `{table:.80}` have no order")


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def _cell(value: object) -> str:
    """Return a value as text that no value of another type has."""
    if value is None:
        return ""
    if isinstance(value, bytes):
        return f"{len(value)} bytes, sha256 {hashlib.sha256(value).hexdigest()[:16]}"
    if isinstance(value, str) and _looks_typed(value):
        return f"'{value}'"
    return value if isinstance(value, str) else repr(value)


def _looks_typed(text: str) -> bool:
    bare = text.strip().lower()
    try:
        float(bare)
    except ValueError:
        return not bare or bare[0] in "'<n-" or " bytes, sha256 " in bare  # `null`, `na`, `-nan`
    return True


def _databases(name: str, a: _Database, b: _Database, tolerance: Tolerance) -> Difference:
    found = Findings("parts of the schema")
    for key in (*_DECIDES, *_NOISE):
        x, y = a.asked(key), b.asked(key)
        if x != y and key in _DECIDES:
            found.break_structure(f"{key}: {x} → {y}")
        elif x != y:
            found.metadata.append(f"{key}: {x} → {y}")
    for key in {**a.schema, **b.schema}:
        left, right = (side.schema.get(key, "absent") for side in (a, b))
        found.compared += left == right
        if left != right:
            found.break_structure(f"{key}: {_parted(left, right)}")
    both = [table for table in a.tables if table in b.tables]
    skipped = [f"table {t}: virtual, not opened" for t in a.virtual if t in b.virtual]
    children = [_table(table, a, b, tolerance) for table in both]
    return _whole(name, found, children, skipped)


def _parted(a: str, b: str) -> str:
    """Return where two definitions part, both cut to what can be read."""
    same = len([1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a, b))])  # noqa: B905
    start = max(same - 20, 0) if "absent" not in (a, b) else 0
    return f"{show(a[start:])} → {show(b[start:])}"


def _table(table: str, a: _Database, b: _Database, tolerance: Tolerance) -> Difference:
    found = Findings("cells")
    (left, left_key), (right, right_key) = a.columns(table), b.columns(table)
    for names, others, side in ((left, right, "recorded"), (right, left, "rebuilt")):
        for name in names:
            if name not in others:
                found.break_structure(f"column {name}: only {side}")
    common = [
        (i, right.index(name), Column(name, tolerance, timed=is_clock_name(name)))
        for i, name in enumerate(left)
        if name in right
    ]
    rows = tables.Rows(common, (len(left), len(right)))
    pairs = itertools.zip_longest(a.rows(table, left, left_key), b.rows(table, right, right_key))
    while block := list(itertools.islice(pairs, _BLOCK)):
        rows.add(block)
    tables.finish(found, rows)
    if not rows.rows[0] and not found.structural:
        found.compared += 1  # no rows on both sides, and the columns are the same
    return found.difference(f"table {table}")


def _whole(
    name: str, found: Findings, children: Sequence[Difference], skipped: Sequence[str]
) -> Difference:
    own = found.difference(name)
    told = [*children, *([own] if own.compared or own.verdict > Verdict.EQUIVALENT else [])]
    verdict = worst(told)
    unequal = [child for child in children if child.verdict > Verdict.EQUIVALENT]
    telling = next((child for child in unequal if child.verdict is verdict), None)
    parts = [own.summary] if found.structural else []
    if unequal:
        parts.append(f"{len(unequal)} of {len(children)} tables differ")
    first = own.first or (f"{telling.path}: {telling.first or telling.summary}" if telling else "")
    noise = (
        () if unequal or own.first else ("sqlite: the layout of the file differs, not the content",)
    )
    return replace(
        own,
        verdict=max(verdict, Verdict.EQUIVALENT),
        summary="; ".join(parts),
        first=first,
        metadata=(*own.metadata, *skipped, *noise),
        children=tuple(c for c in children if c.verdict > Verdict.EQUIVALENT or c.metadata),
        compared=own.compared + sum(child.compared for child in children),
    )


COMPARATOR = Comparator("sqlite", _recognises, _compare)
