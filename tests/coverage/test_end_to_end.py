"""End to end: the manifest of `mlrepro run` names what a program read and wrote, and its bytes."""

from __future__ import annotations

import fnmatch
import json
import subprocess
import sys

import pytest

from mlrepro.manifest import Manifest
from tests.coverage import boosters, not_python, overwritten, tables
from tests.coverage.case import Case
from tests.coverage.running import execute, lay_out, observer_of

CHOSEN = (
    "pyarrow dataset of a folder",
    "polars scan_csv to parquet",
    "duckdb copy (select) to",
    "lightgbm pulls in rank.train.query by itself",
    'xgboost.DMatrix("agaricus.txt.train?format=libsvm")',
    "C, fopen",
    "C, linked statically",
    "overwritten, time set back, by the script",
    "overwritten by another Python of the run",
    "overwritten from outside of the run",
)
CASES = [
    case
    for case in (*tables.CASES, *boosters.CASES, *not_python.CASES, *overwritten.CASES)
    if case.name in CHOSEN
]

assert len(CASES) == len(CHOSEN)


def last(project) -> Manifest:
    shown = project.mlrepro("show", "last", "--json", check=True).stdout
    return Manifest.from_dict(json.loads(shown))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_manifest_names_what_a_program_reads_and_writes(case: Case, workshop, project):
    digests = lay_out(case, project.root, workshop)
    command = workshop.command(case, project.root)

    execute(case, [sys.executable, "-m", "mlrepro", "run", "--", *command], project.root)

    record = last(project)
    observer = observer_of(record.observer)
    inputs = {one.path: one for one in record.inputs if one.seen != "program"}
    missed = case.missed.get(observer, "")
    if "R" not in missed:
        assert inputs.keys() >= set(case.reads)
    for name in case.refused.get(observer, ()):
        assert inputs.pop(name).digest is None
    assert {name: one.digest.value for name, one in inputs.items()}.items() <= digests.items()
    made = [one.path for one in record.artifacts]
    assert all(fnmatch.filter(made, pattern) for pattern in case.writes)
    if missed and case.named.get(observer):
        assert case.named[observer] in "\n".join(record.blind_spots)


def test_a_file_that_the_caller_opens_as_standard_input_is_an_input(project):
    project.write("data.txt", "1\n")
    project.write("train.py", "print(input())")

    with (project.root / "data.txt").open() as stdin:
        subprocess.run(
            [sys.executable, "-m", "mlrepro", "run", sys.executable, "train.py"],
            stdin=stdin,
            check=True,
            capture_output=True,
        )

    record = last(project)
    assert [one.path for one in record.inputs] == ["data.txt"]
