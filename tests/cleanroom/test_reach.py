"""Reach: how a recorded command comes to the environment that was chosen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlrepro.capture.observation import Interpreter
from mlrepro.cleanroom import interpreter, reach
from mlrepro.manifest import Environment, Manifest, Run, Status


@pytest.fixture(scope="module")
def active(tmp_path_factory) -> Path:
    """A virtual environment without pip, which takes a moment."""
    folder = tmp_path_factory.mktemp("active") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


@pytest.fixture
def chosen(active) -> interpreter.Chosen:
    return interpreter.choose({"VIRTUAL_ENV": str(active), "PATH": os.defpath})


def recorded(*command: str, prefix: str = "/home/ann/env", root: str = "/home/ann/p") -> Manifest:
    run = Run(command=command, started="", status=Status.COMPLETED, root=root)
    env = Environment(prefix=prefix, executable=f"{prefix}/bin/python3")
    return Manifest(run=run, environment=env)


class Room:
    def __init__(self, root: Path) -> None:
        self.root = root


@pytest.mark.parametrize(
    ("word", "mapped"),
    [
        ("/home/ann/env/bin/python3", "bin/python"),
        ("/home/ann/env/bin/python", "bin/python"),
        ("/home/ann/env/bin/python3.99", "bin/python"),
    ],
)
def test_the_recorded_interpreter_becomes_the_chosen_one(tmp_path, active, chosen, word, mapped):
    command = reach.command(recorded(word, "train.py"), chosen, Room(tmp_path))

    assert command == [str(active / mapped), "train.py"]


@pytest.mark.parametrize(
    ("word", "prefix"),
    [("/bin/sh", "/"), ("/home/ann/env/bin/no-such-tool", "/home/ann/env")],
)
def test_a_tool_that_the_environment_lacks_never_becomes_python(tmp_path, chosen, word, prefix):
    record = recorded(word, "-c", "train", prefix=prefix)

    assert reach.command(record, chosen, Room(tmp_path)) == [word, "-c", "train"]


def test_words_that_name_no_path_stay(tmp_path, chosen):
    command = reach.command(recorded("python", "/home/ann/env/x"), chosen, Room(tmp_path))

    assert command == ["python", "/home/ann/env/x"]


def test_an_environment_inside_the_project_becomes_a_link(tmp_path, active, chosen):
    record = recorded(".venv/bin/python", "train.py", prefix="/home/ann/p/.venv")

    command = reach.command(record, chosen, Room(tmp_path))

    assert command[0] == ".venv/bin/python"
    assert (tmp_path / ".venv").resolve() == active.resolve()


def test_an_environment_never_becomes_a_link_outside_the_room(tmp_path, chosen):
    room = tmp_path / "room"
    room.mkdir()
    record = recorded("python", prefix="/home/ann/p/../../x")

    reach.command(record, chosen, Room(room))

    assert sorted(p.name for p in tmp_path.iterdir()) == ["room"]


def test_python_on_the_path_is_the_chosen_one(active, chosen):
    assert reach.search_path(chosen, "/usr/bin").split(":")[0] == str(active / "bin")
    unchanged = f"/nowhere:{active}/bin:/usr/bin"
    assert reach.search_path(chosen, unchanged) == unchanged


def test_a_child_outside_the_environment_is_named_and_one_in_it_is_not(tmp_path, active, chosen):
    def child(prefix: Path | str) -> Interpreter:
        return Interpreter(
            1, (), f"{prefix}/bin/python", str(prefix), "/usr", "3.9.1", "cpython", ()
        )

    link = tmp_path / "link"
    link.symlink_to(active)
    shown = {"/home/ann/env": active}

    notes = reach.strangers(
        [child(active), child(link), child("/home/ann/env"), child("/opt/other")], chosen, shown
    )

    assert len(notes) == 1
    assert "/opt/other/bin/python (Python 3.9.1)" in notes[0]
    assert "ann" not in notes[0]
