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
from mlrepro.stores import git, ledgerlocks
from tests.cleanroom import wheels

TRAIN = "import json, numlib\njson.dump([numlib.weight(n) for n in range(9)], open('model.json', 'w'))\n"
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
        done = self.project.mlrepro(
            "rebuild", "--json", *arguments, ref, env=active_in(self.other)
        )
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
    monkeypatch.setenv("UV_NO_INDEX", "1")
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


def test_the_active_environment_is_used_if_asked_for_and_its_packages_are_named(machine):
    machine.run("python", "train.py")
    machine.lock()

    code, report = machine.rebuild("--env", "current")

    assert (code, report["verdict"]) == (1, "drifted")
    assert {"what": "package numlib", "recorded": "1.0", "current": "2.0"} in report["environment"]
    assert "the active one" in report["environment_used"]
