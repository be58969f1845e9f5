"""`mlrepro show --inputs`: what a run read, as a user sees it."""

from __future__ import annotations

import json

import pytest

TRAIN = """
import os, sys
open("data/a.csv").read()
open("tracked.csv").read()
os.listdir("data")
for name in sys.argv[1:]:
    open(name).read()
open("model.txt", "w").write("1")
"""


@pytest.fixture
def ran(project):
    project.write("train.py", TRAIN)
    project.write("tracked.csv", "1\n")
    project.write(".gitignore", "data/\n")
    project.commit()
    project.write("data/a.csv", "1,2\n")
    project.call("mlrepro", "run", "python", "train.py")
    return project


def test_each_input_is_a_row_with_how_it_was_seen_and_how_far_it_is_known(ran):
    shown = ran.mlrepro("show", "--inputs", "last", check=True).stdout.splitlines()

    rows = {line.split()[0]: line for line in shown[2:]}
    assert "2 inputs" in shown[0]
    assert all(word in rows["data/a.csv"] for word in ("stored", "4 B", "verified", "opened"))
    assert all(word in rows["tracked.csv"] for word in ("git", "2 B", "verified"))
    assert any(line.startswith("listed: ") and "data/" in line for line in shown)


def test_a_narrow_terminal_still_has_path_and_grade(ran):
    from mlrepro.commands.inputlist import inputs
    from mlrepro.present import text

    for width in (30, 60, 80, 120):
        lines = text.render(inputs("last", start=ran.root), width=width).splitlines()
        assert max(map(len, lines)) <= width
        assert any("data/a.csv" in line for line in lines)
        assert any("verified" in line for line in lines)


def test_the_list_is_to_be_had_as_json_and_whole_where_the_manifest_shows_a_part(ran):
    names = [f"data/part-{number}.csv" for number in range(45)]
    for name in names:
        ran.write(name, name)
    ran.call("mlrepro", "run", "python", "train.py", *names)

    found = json.loads(ran.mlrepro("show", "--inputs", "--json", check=True).stdout)

    assert {one["path"] for one in found["inputs"]} >= set(names)
    assert found["inputs"][0]["grade"] == "verified"


def test_what_was_not_seen_is_one_line_at_the_end_and_whole_in_the_list(project):
    project.write("train.py", "import socket\nsocket.socket().connect_ex(('127.0.0.1', 9))\n")
    project.commit()

    said = project.call("mlrepro", "run", "python", "train.py").stderr.splitlines()
    shown = project.mlrepro("show", "--inputs").stdout

    assert sum("blind spot" in line for line in said) == 1
    assert "a service on this machine was used" in shown
