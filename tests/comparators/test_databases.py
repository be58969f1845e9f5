"""Databases: real SQLite files, made by SQL, and damaged byte by byte."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from mlrepro.comparators import compare
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

SCHEMA = """
CREATE TABLE trial (id INTEGER PRIMARY KEY, state TEXT, score REAL, started_at TEXT, note BLOB);
CREATE TABLE best (name TEXT, size INTEGER, PRIMARY KEY (name)) WITHOUT ROWID;
CREATE INDEX by_score ON trial (score);
"""
ROWS = """
INSERT INTO trial VALUES (1, 'done', 0.5, '2026-11-21 10:00', x'00ff'), (2, 'done', 0.25, NULL, NULL);
INSERT INTO best VALUES ('b', 2), ('a', 1);
"""


@pytest.fixture
def made(tmp_path) -> Callable[..., Path]:
    def made(*scripts: str, name: str = "a", page: int = 512) -> Path:
        (tmp_path / name).unlink(missing_ok=True)
        connection = sqlite3.connect(tmp_path / name)
        connection.execute(f"PRAGMA page_size = {page}")
        for script in scripts:
            connection.executescript(script)
        connection.commit()
        connection.close()
        return tmp_path / name

    return made


def measure(a: Path, b: Path) -> Difference:
    return compare(a, b, name="study.db", tolerance=Tolerance())


def test_how_the_file_is_laid_out_means_nothing(made):
    a = made(SCHEMA, ROWS)
    b = made(
        SCHEMA,
        ROWS,
        "CREATE TABLE gone (x); DROP TABLE gone; ANALYZE;",
        "VACUUM;",
        name="b",
        page=1024,
    )

    found = measure(a, b)

    assert (found.verdict, found.comparator) == (Verdict.EQUIVALENT, "sqlite")
    assert "page_size: 512 → 1024" in found.metadata
    assert found.compared >= 14


def test_a_value_that_differs_is_named_by_table_row_and_column(made):
    a = made(SCHEMA, ROWS)
    b = made(
        SCHEMA, ROWS, "UPDATE trial SET score = 0.75, started_at = 'later' WHERE id = 2;", name="b"
    )

    found = measure(a, b)

    assert found.verdict is Verdict.DRIFTED
    assert found.summary == "1 of 2 tables differ"
    assert found.first == "table trial: row 2, column score: 0.25 → 0.75"
    (table,) = found.children
    assert [c.path for c in table.children] == ["score"]
    assert any("column started_at" in line for line in table.metadata)


def test_numbers_within_the_tolerance_are_close(made):
    b = made(SCHEMA, ROWS, "UPDATE trial SET score = score * (1 + 1e-9);", name="b")

    assert measure(made(SCHEMA, ROWS), b).verdict is Verdict.CLOSE


@pytest.mark.parametrize(
    ("script", "first"),
    [
        ("DELETE FROM trial WHERE id = 2;", "table trial: 2 → 1 rows"),
        ("ALTER TABLE best ADD more TEXT;", "table best: "),
        ("DROP INDEX by_score;", "index by_score: "),
        ("CREATE TABLE late (x);", "table late: "),
        ("PRAGMA user_version = 3;", "user_version: 0 → 3"),
        (
            "UPDATE trial SET note = '00ff' WHERE id = 1;",
            "table trial: row 1, column note: 2 bytes",
        ),
        ("UPDATE trial SET score = '' WHERE id = 1;", "table trial: row 1, column score: 0.5 → "),
        ("UPDATE trial SET note = '' WHERE id = 2;", "table trial: row 2, column note: "),
    ],
)
def test_structure_and_types_decide(made, script, first):
    found = measure(made(SCHEMA, ROWS), made(SCHEMA, ROWS, script, name="b"))

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith(first)


def test_nothing_is_written_beside_a_file_and_nothing_in_it_runs(made, tmp_path):
    hostile = """
    CREATE VIRTUAL TABLE words USING fts5(text);
    CREATE TABLE made (x, y GENERATED ALWAYS AS (zeroblob(1000000000)) VIRTUAL);
    INSERT INTO made (x) VALUES (1);
    CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
        SELECT * FROM n;
    PRAGMA journal_mode = WAL;
    """
    a, b = made(hostile), made(hostile, "INSERT INTO made (x) VALUES (2);", name="b")
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}

    found = measure(a, b)

    assert found.first == "table made: 1 → 2 rows"
    assert "table words: virtual, not opened" in found.metadata
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_every_flipped_byte_is_an_error_a_difference_or_noise(made, tmp_path):
    sound = made(SCHEMA, ROWS)
    data = sound.read_bytes()
    for at in range(len(data)):
        if not data[at] and at % 8:
            continue  # free space, mostly
        damaged = tmp_path / "b"
        damaged.write_bytes(data[:at] + bytes([data[at] ^ 0x01]) + data[at + 1 :])
        try:
            found = measure(sound, damaged)
        except ComparisonError:
            continue
        assert found.compared
        if found.verdict < Verdict.CLOSE:
            assert _dump(sound) == _dump(damaged), at


def _dump(path: Path) -> list[tuple]:
    connection = sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)
    try:
        asked = "SELECT id, state, score, typeof(score), hex(note) FROM trial ORDER BY id"
        rows = connection.execute(asked).fetchall()
        return rows + connection.execute("SELECT * FROM best ORDER BY name").fetchall()
    finally:
        connection.close()
