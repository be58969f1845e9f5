"""Cases: all ways to read and write that observers are measured on."""

from __future__ import annotations

from tests.coverage import (
    boosters,
    ends,
    names,
    not_python,
    overwritten,
    processes,
    tables,
    writes,
)

FAMILIES = {
    "tables and arrays": tables.CASES,
    "boosters": boosters.CASES,
    "processes": processes.CASES,
    "ends": ends.CASES,
    "names and places": names.CASES,
    "writes that hide": writes.CASES,
    "not Python": not_python.CASES,
    "overwritten during the run": overwritten.CASES,
}
CASES = tuple(case for family in FAMILIES.values() for case in family)
