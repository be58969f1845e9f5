"""What a run did to its own inputs, through `mlrepro run` and `mlrepro rebuild`."""

from __future__ import annotations

import hashlib
import json
import sqlite3

import pytest

from mlrepro import probe
from mlrepro.manifest import Grade, Source

from .test_run import last

natively = pytest.mark.skipif(probe.library() is None, reason="the library was not built")


def run(project, script: str, ignored: str, *options: str):
    """Record a script that reads what git ignores; return the record."""
    project.write("train.py", script)
    project.write(".gitignore", ignored)
    project.commit()
    project.mlrepro("run", *options, "python", "train.py", check=True)
    return last(project)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


@pytest.mark.parametrize("observer", ["audit", pytest.param("auto", marks=natively)])
def test_an_input_that_is_deleted_after_reading_is_kept(project, observer):
    project.write("part.csv", "1\n2\n")

    record = run(
        project,
        "import os, json\nrows = open('part.csv').readlines()\nos.remove('part.csv')\n"
        "json.dump({'rows': len(rows)}, open('metrics.json', 'w'))\n",
        "part.csv\n",
        "--observer",
        observer,
    )

    (one,) = record.inputs
    assert (one.path, one.source, one.grade) == ("part.csv", Source.STORED, Grade.BEFORE_WRITE)
    assert one.digest.value == md5(b"1\n2\n")
    assert "verdict: identical" in project.mlrepro("rebuild", "last", check=True).stdout


@pytest.mark.parametrize("observer", ["audit", pytest.param("auto", marks=natively)])
def test_a_temporary_that_is_moved_over_the_input_is_an_output_and_the_input_is_kept(
    project, observer
):
    project.write("state.csv", "1\n")

    record = run(
        project,
        "import os\nold = open('state.csv').read()\nopen('state.tmp', 'w').write(old + '2\\n')\n"
        "os.replace('state.tmp', 'state.csv')\nopen('model.txt', 'w').write(old)\n",
        "state.*\n",
        "--observer",
        observer,
    )

    (one,) = record.inputs
    assert (one.path, one.grade) == ("state.csv", Grade.BEFORE_WRITE)
    assert {"state.csv", "model.txt"} == {a.path for a in record.artifacts if a.path[0] != "<"}
    project.write("state.csv", "edited since")
    assert "verdict: identical" in project.mlrepro("rebuild", "last", check=True).stdout


@natively
def test_a_database_that_is_read_and_written_is_rebuilt_from_what_it_held(project):
    with sqlite3.connect(project.root / "runs.db") as connection:
        connection.execute("create table scores (value real)")
        connection.execute("insert into scores values (0.5)")
    connection.close()
    before = (project.root / "runs.db").read_bytes()

    record = run(
        project,
        "import json, sqlite3\ncon = sqlite3.connect('runs.db')\n"
        "con.execute('insert into scores values (0.25)')\ncon.commit()\n"
        "found = [v for v, in con.execute('select value from scores')]\n"
        "json.dump({'values': found}, open('metrics.json', 'w'))\n",
        "runs.db*\n",
    )

    (one,) = record.inputs
    assert (one.path, one.grade) == ("runs.db", Grade.BEFORE_WRITE)
    assert one.digest.value == md5(before)
    rebuilt = project.mlrepro("rebuild", "last", check=True).stdout
    assert "metrics.json  identical" in rebuilt


@natively
def test_in_a_room_of_a_natively_observed_run_lies_what_it_read_and_no_other_data(project):
    for name in ("used.csv", "other.csv"):
        project.write(f"data/{name}", name)
        project.dvc("add", "-q", f"data/{name}")

    run(project, "import os\nopen('data/used.csv').read()\nopen('m.txt', 'w').write('1')\n", "")
    project.call("git", "rm", "-q", "--cached", "data/.gitignore", check=False)
    done = project.mlrepro("rebuild", "--keep-room", "last", check=True).stdout
    room = done.partition("the clean room is kept: ")[2].splitlines()[0]

    names = project.call("find", room, "-name", "*.csv").stdout.split()
    assert [name.rpartition("/")[2] for name in names] == ["used.csv"]


@natively
def test_a_program_of_the_projects_own_is_an_input_and_starts_in_the_room(project):
    project.write("prepare", "#!/bin/sh\nsort data.csv > sorted.csv\n").chmod(0o755)
    project.write("data.csv", "2\n1\n")

    record = run(
        project,
        "import subprocess\nsubprocess.run(['./prepare'], check=True)\n"
        "open('m.txt', 'w').write(open('sorted.csv').read())\n",
        "prepare\n*.csv\n",
    )

    assert {i.path: i.seen for i in record.inputs} == {"data.csv": "native", "prepare": "program"}
    assert record.blind_spots == ()
    assert "verdict: identical" in project.mlrepro("rebuild", "last", check=True).stdout


@natively
def test_a_manifest_lists_only_variables_that_the_program_asked_for(project):
    record = run(
        project,
        "import os, subprocess\nos.environ.get('EPOCHS')\nsubprocess.run(['sort', '/dev/null'])\n"
        "open('m.txt', 'w').write('1')\n",
        "",
    )

    assert record.variables.unset == ("EPOCHS",)
    assert "PYTHONHASHSEED" in record.variables.restored


def test_what_another_process_of_the_run_overwrites_has_the_right_digest_or_none(project):
    project.write("data.csv", "1\n")

    record = run(
        project,
        "import os, subprocess, sys\nopen('data.csv').read()\n"
        'code = \'import os; s = os.stat("data.csv"); open("data.csv", "w").write("2\\\\n");\'\n'
        "code += 'os.utime(\"data.csv\", ns=(s.st_atime_ns, s.st_mtime_ns))'\n"
        "subprocess.run([sys.executable, '-c', code], check=True)\nopen('m.txt', 'w').write('1')\n",
        "data.csv\n",
    )

    (one,) = record.inputs
    assert one.digest is None or one.digest.value == md5(b"1\n")
    if probe.library():
        assert one.grade is Grade.BEFORE_WRITE


@natively
def test_the_list_of_inputs_says_how_each_was_seen(project):
    project.write("data.csv", "1\n")
    run(
        project,
        "import subprocess\nsubprocess.run(['sort', 'data.csv'], env={})\nopen('m.txt', 'w')\n",
        "data.csv\n",
    )

    found = json.loads(project.mlrepro("show", "--inputs", "--json", check=True).stdout)

    assert [(one["path"], one["seen"]) for one in found["inputs"]] == [("data.csv", "argument")]
    assert "was not watched" in found["blind_spots"][0]
