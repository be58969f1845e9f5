"""`mlrepro rebuild --env`: the environment travels, however the training reaches its Python."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlrepro.cleanroom import mounts
from mlrepro.locks import Requirement
from mlrepro.stores import git, ledgerlocks, uv
from tests.cleanroom import wheels

TRAIN = "import json, numlib\njson.dump([numlib.weight(n) for n in range(9)], open('model.json', 'w'))\n"
OWN = """
import importlib.metadata, json, numlib, own

def main():
    version = importlib.metadata.version("own")
    json.dump([numlib.weight(own.FACTOR), version], open("model.json", "w"))
"""
WITHOUT_UV = """
import mlrepro.errors, mlrepro.stores.uv
def find():
    raise mlrepro.errors.UvMissingError("uv is not installed")
mlrepro.stores.uv.find = find
from mlrepro.cli import entry
entry()
"""
BASE = Path(os.path.realpath(sys.executable))
namespaces = pytest.mark.skipif(not mounts.available(), reason="no user namespaces here")


@dataclass(frozen=True)
class Machine:
    """Ann's machine, and what her colleague has active."""

    project: object
    links: Path
    ann: Path
    other: Path

    def run(self, *command: str, env: Path | None = None) -> None:
        """Record a training in Ann's environment, with a mlrepro installed elsewhere."""
        self.project.commit("training")
        active = active_in(env or self.ann)
        self.project.mlrepro("run", *command, check=True, env=active)

    def lock(self, *more: Requirement, prefix: Path | None = None) -> None:
        """Keep the lock of Ann's environment, as the end of a run does."""
        repo = git.open_repository(self.project.root)
        ledgerlocks.put(repo, wheels.lock_of(prefix or self.ann, self.links, *more))

    def rebuild(self, *arguments: str, ref: str = "last"):
        """Rebuild in the other's environment; return the exit code, and the report or why not."""
        done = self.project.mlrepro("rebuild", "--json", *arguments, ref, env=active_in(self.other))
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def active_in(prefix: Path) -> dict[str, str]:
    path = os.environ["PATH"].split(os.pathsep, 1)[1]  # without the tests' own interpreter
    return {"VIRTUAL_ENV": str(prefix), "PATH": f"{prefix}/bin:{path}"}


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Wheels of numlib 1.0 and 2.0, an environment with the one, and one with the other."""
    top = tmp_path_factory.mktemp("shelf")
    for version in ("1.0", "2.0"):
        wheels.numlib(top / "wheels", version)
    made = [wheels.made(top / name, f"numlib=={version}", links=top / "wheels", python=BASE)
            for name, version in (("ann", "1.0"), ("other", "2.0"))]  # fmt: skip
    return top / "wheels", *made


@pytest.fixture
def machine(project, shelf, monkeypatch) -> Machine:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(shelf[0]))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    project.write("train.py", TRAIN)
    return Machine(project, *shelf)


def test_a_rebuild_trains_in_the_recorded_environment_whatever_is_active(machine):
    machine.run("python", "train.py")
    machine.lock()

    code, report = machine.rebuild()

    assert (code, report["verdict"]) == (0, "identical"), report
    assert report["environment"] == []
    assert "made from its lock" in report["environment_used"]

    again = machine.project.mlrepro("rebuild", "last", env=active_in(machine.other))
    assert "making the recorded environment" not in again.stderr
    assert "\nenvironment: the recorded one, made from its lock (Python" in again.stdout


def test_the_active_environment_is_used_if_asked_for_and_its_packages_are_named(machine):
    machine.run("python", "train.py")
    machine.lock()

    code, report = machine.rebuild("--env", "current")

    assert (code, report["verdict"]) == (1, "drifted")
    assert {"what": "package numlib", "recorded": "1.0", "current": "2.0"} in report["environment"]
    assert "the active one" in report["environment_used"]


def identical(machine: Machine, **options) -> dict:
    code, report = machine.rebuild(**options)
    assert code == 0, report
    assert report["verdict"] == "identical"
    assert "made from its lock" in report["environment_used"], report["notes"]
    assert not [note for note in report["notes"] if "not the recorded environment" in note]
    return report


def test_a_python_named_by_its_path_is_the_recorded_one(machine):
    machine.run(str(machine.ann / "bin/python3"), "train.py", env=machine.other)
    machine.lock()

    identical(machine)


def test_a_python_beside_the_project_is_the_recorded_one(machine):
    relative = os.path.relpath(machine.ann / "bin/python", machine.project.root)
    machine.run(relative, "train.py", env=machine.other)
    machine.lock()

    identical(machine)


def test_a_console_script_of_a_package_is_the_recorded_one(machine):
    machine.run("train-it")
    machine.lock()

    identical(machine)


def test_a_package_of_the_project_is_imported_from_the_room_and_not_from_the_working_tree(machine):
    project = machine.project
    project.write("pyproject.toml", '[project]\nname = "own"\nversion = "0.3"\n'
                  '[project.scripts]\ntrain-own = "own.train:main"\n')  # fmt: skip
    project.write("src/own/__init__.py", "FACTOR = 2\n")
    project.write("src/own/train.py", OWN)
    project.write("Makefile", "all:\n\ttrain-own\n\tmv model.json a.json\n\t.venv/bin/train-own\n")
    project.write(".gitignore", ".venv\n")
    own = wheels.made(project.root / ".venv", "numlib==1.0", links=machine.links, python=BASE)
    wheels.develop(own, "own", "0.3", project.root / "src", {"train-own": "own.train:main"})
    machine.run("make", env=own)
    machine.lock(Requirement("own", "0.3", source="project:."), prefix=own)
    project.write("src/own/__init__.py", "FACTOR = 3\n")

    report = identical(machine)

    assert report["environment"] == []


def test_where_it_cannot_be_made_the_active_environment_is_used_and_that_is_said(
    machine, monkeypatch
):
    monkeypatch.setenv("MLREPRO_LOCK", "off")
    machine.run("python", "train.py")

    code, report = machine.rebuild()
    assert (code, report["verdict"]) == (1, "drifted")
    assert "its lock is not in the ledger" in report["notes"][0]
    assert "the active one" in report["environment_used"]

    machine.lock(Requirement("numlib", "1.0", hashes=("sha256:" + "0" * 64,)))
    code, report = machine.rebuild()
    assert code == 1
    assert "numlib 1.0 is not to be had here" in report["notes"][0]

    machine.lock()
    here = active_in(machine.other)
    command = (sys.executable, "-c", WITHOUT_UV, "rebuild", "last")
    done = machine.project.call(*command, env=here, check=False)
    assert done.returncode == 1
    assert "not trained in the recorded environment" in done.stdout
    assert "uv is not installed" in done.stdout


@pytest.mark.parametrize(
    "offered",
    [
        Requirement("numlib", "2.0"),
        Requirement("evil", "1.0"),
        Requirement("numlib", "1.0", source="object:md5:" + "0" * 32),
        Requirement("numlib", "1.0", source=f"git:https://example.org/evil@{'0' * 40}"),
    ],
    ids=["version", "package", "wheel", "commit"],
)
def test_a_lock_that_names_what_the_run_did_not_have_is_not_used(machine, monkeypatch, offered):
    monkeypatch.setenv("MLREPRO_LOCK", "off")
    machine.run("python", "train.py")
    machine.lock(offered)

    code, report = machine.rebuild()

    assert code == 1
    assert f"names what the run did not have: {offered.pin}" in report["notes"][0]
    assert "the active one" in report["environment_used"]


def test_a_mlrepro_inside_the_recorded_environment_brings_none_of_its_packages(machine):
    root = machine.project.root
    own = wheels.made(root / ".venv", "numlib==1.0", links=machine.links, python=BASE)
    start = wheels.with_mlrepro(own)
    machine.project.write(".gitignore", ".venv\n")
    machine.project.write("Makefile", "all:\n\t@.venv/bin/python train.py\n")
    machine.project.commit("training")
    machine.project.call(own / "bin/python", "-c", start, "run", "make", env=active_in(own))
    machine.lock(prefix=own)
    wheels.install(own, "numlib==2.0", links=machine.links)

    again = ("rebuild", "last")
    done = machine.project.call(own / "bin/python", "-c", start, *again, env=active_in(own))

    assert "verdict: identical" in done.stdout
    assert "made from its lock" in done.stdout
    assert "native" in machine.project.mlrepro("show", "last").stdout


@namespaces
def test_a_makefile_that_names_the_environment_by_its_path_reaches_the_recorded_one(
    machine, tmp_path
):
    ann = wheels.made(tmp_path / "ann", "numlib==1.0", links=machine.links, python=BASE)
    machine.project.write("Makefile", f"all:\n\t@{ann}/bin/python train.py\n")
    machine.run("make", env=ann)
    machine.lock(prefix=ann)
    wheels.install(ann, "numlib==2.0", links=machine.links)

    identical(machine)


def test_an_environment_inside_the_project_becomes_the_recorded_one(machine):
    root = machine.project.root
    own = wheels.made(root / ".venv", "numlib==1.0", links=machine.links, python=BASE)
    machine.project.write(".gitignore", ".venv\n")
    machine.run(".venv/bin/python", "train.py")
    machine.lock(prefix=own)
    wheels.install(own, "numlib==2.0", links=machine.links)

    identical(machine)


def test_runners_of_commands_reach_the_recorded_environment(machine, tmp_path):
    for name, skipped in (("conda", 4), ("uv", 1)):
        tool = tmp_path / "tools" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f'#!/bin/sh\nshift {skipped}\nPATH={machine.ann}/bin:$PATH exec "$@"\n')
        tool.chmod(0o755)
    lines = ("conda run -n ml --no-capture-output python train.py", "mv model.json first.json",
             "uv run python train.py")  # fmt: skip
    machine.project.write("run.sh", "\n".join(["#!/bin/sh -e", *lines]) + "\n").chmod(0o755)
    path = f"{tool.parent}:{machine.ann}/bin:{os.environ['PATH']}"
    machine.project.commit("training")
    machine.project.mlrepro("run", "./run.sh", check=True, env={"PATH": path})
    machine.lock()

    report = identical(machine)

    assert {"first.json", "model.json"} <= {one["path"] for one in report["artifacts"]}


def test_a_training_of_another_python_is_rebuilt_with_that_python(machine, tmp_path):
    known = uv.installed(uv.find())
    found = next((path for path, version in known if (3, 8) <= minor(version) < (3, 11)), None)
    if found is None:
        pytest.skip("this machine has no older Python")
    machine.project.write("train.py", TRAIN + "open('v.txt', 'w').write(__import__('sys').version)")
    ann = wheels.made(tmp_path / "ann", "numlib==1.0", links=machine.links, python=found)
    machine.run("python", "train.py", env=ann)
    machine.lock(prefix=ann)

    report = identical(machine)

    assert report["environment"] == []


def minor(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")[:2]))


def test_the_recorded_environment_is_used_as_it_is_until_somebody_edits_a_package(
    machine, tmp_path
):
    ann = wheels.made(tmp_path / "ann", "numlib==1.0", links=machine.links, python=BASE)
    machine.run("python", "train.py", env=ann)
    machine.lock(prefix=ann)

    done = machine.project.mlrepro("rebuild", "last", env=active_in(ann))
    assert "environment: the active one, which is the recorded one" in done.stdout

    module = wheels.packages_of(ann) / "numlib.py"
    text = module.read_text().replace("n * 1.0", "n * 1.5")
    module.unlink()  # uv's cache has it, too
    module.write_text(text)
    done = machine.project.mlrepro("rebuild", "last", env=active_in(ann))
    assert "environment: the recorded one, made from its lock" in done.stdout
    assert "verdict: identical" in done.stdout
