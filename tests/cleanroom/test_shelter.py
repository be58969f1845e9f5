"""The shelter: no training of a rebuild reaches the user's own folder, or there is no verdict."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from mlrepro.cleanroom import mounts, shelter
from mlrepro.commands.rebuild import rebuild
from mlrepro.drift import Verdict
from mlrepro.errors import InconclusiveError

USES_LIB = "import lib, json; json.dump({'v': lib.V}, open('metrics.json', 'w'))"

namespaces = pytest.mark.skipif(not mounts.available(), reason="no namespaces on this machine")


@pytest.fixture
def packaged(project, monkeypatch):
    """A project whose code lies in src/, found by PYTHONPATH, and has changed since its run."""
    monkeypatch.setenv("PYTHONPATH", _with(project.root / "src"))
    project.write("src/lib.py", "V = 1")
    project.write("train.py", USES_LIB)
    project.commit("training")
    project.mlrepro("run", "python", "train.py", check=True)
    project.write("src/lib.py", "V = 2")
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture
def environment(project, tmp_path, monkeypatch):
    """An environment with an editable install of the project."""
    folder = tmp_path / "env"
    project.call(sys.executable, "-m", "venv", "--without-pip", str(folder))
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "project.pth").write_text(f"{project.root}/src\n")
    monkeypatch.setenv("VIRTUAL_ENV", str(folder))
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    monkeypatch.chdir(project.root)
    return folder


def _with(folder: Path) -> str:
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH", "")]))


def without_namespaces(monkeypatch) -> None:
    monkeypatch.setattr(mounts, "available", lambda: False)


@pytest.mark.parametrize("allowed", [pytest.param(True, marks=namespaces), False])
def test_code_found_by_pythonpath_is_the_recorded_one(packaged, monkeypatch, allowed):
    if not allowed:
        without_namespaces(monkeypatch)

    report = rebuild("last")

    assert report.verdict is Verdict.IDENTICAL
    assert not any("reached out" in note for note in report.notes)


def editable(project) -> None:
    project.write("src/lib.py", "V = 1")
    project.write("train.py", USES_LIB)
    project.commit("training")
    project.mlrepro("run", "python", "train.py", check=True)
    project.write("src/lib.py", "V = 2")


@namespaces
@pytest.mark.usefixtures("environment")
def test_code_of_an_editable_install_is_the_recorded_one(project):
    editable(project)

    assert rebuild("last").verdict is Verdict.IDENTICAL


@pytest.mark.usefixtures("environment")
def test_without_namespaces_code_of_the_working_tree_is_no_verdict(project, monkeypatch):
    editable(project)
    without_namespaces(monkeypatch)

    with pytest.raises(InconclusiveError, match=r"loaded code outside its clean room: .*lib\.py"):
        rebuild("last")


HOME_SCRIPT = """
import json, pathlib
path = pathlib.Path.home() / "proj" / "metrics.json"
before = json.loads(path.read_text())["n"] if path.exists() else 0
path.write_text(json.dumps({"n": before + 1}))
"""


@pytest.fixture
def homely(project, home):
    """A project in one's home, which its script finds by `~`."""
    root = home / "proj"
    project.root.rename(root)
    moved = type(project)(root, project.variables)
    moved.write("train.py", HOME_SCRIPT)
    moved.commit("training")
    moved.mlrepro("run", "python", "train.py", check=True)
    moved.write("metrics.json", '{"n": 41}')
    return moved


@namespaces
def test_a_script_that_writes_below_home_writes_to_the_room(homely, monkeypatch):
    monkeypatch.chdir(homely.root)

    report = rebuild("last")

    assert (homely.root / "metrics.json").read_text() == '{"n": 41}'
    assert report.verdict is Verdict.IDENTICAL


def test_without_namespaces_a_write_to_the_working_tree_is_no_verdict(homely, monkeypatch):
    monkeypatch.chdir(homely.root)
    without_namespaces(monkeypatch)

    with pytest.raises(InconclusiveError, match="wrote outside its clean room"):
        rebuild("last")


@namespaces
def test_an_environment_inside_the_project_stays_to_be_seen(project, monkeypatch):
    project.call(sys.executable, "-m", "venv", "--without-pip", str(project.root / ".venv"))
    monkeypatch.setenv("VIRTUAL_ENV", str(project.root / ".venv"))
    monkeypatch.setenv("PATH", f"{project.root}/.venv/bin:{os.environ['PATH']}")
    monkeypatch.chdir(project.root)
    project.write(".gitignore", ".venv\n")
    project.write("train.py", "open('model.pkl', 'w').write('weights')")
    project.write("train.sh", ".venv/bin/python train.py\n")
    project.commit("training")
    for number, command in enumerate((["python", "train.py"], ["sh", "train.sh"])):
        project.mlrepro("run", "-n", f"run{number}", *command, check=True)

    reports = [rebuild("run0"), rebuild("run1")]

    assert [report.verdict for report in reports] == [Verdict.IDENTICAL] * 2
    assert not any("not the recorded environment" in str(report.notes) for report in reports)
    assert (project.root / ".venv/bin/python").exists()


@namespaces
def test_git_answers_in_the_room_as_in_the_project(project, monkeypatch):
    script = "import subprocess, json; c = subprocess.check_output(['git', 'rev-parse', 'HEAD^{tree}'], text=True); json.dump({'tree': c, 'auc': 1}, open('metrics.json', 'w'))"
    project.write("train.py", script)
    project.commit("training")
    project.mlrepro("run", "python", "train.py", check=True)
    monkeypatch.chdir(project.root)

    assert rebuild("last").verdict is Verdict.IDENTICAL
    assert len(json.loads((project.root / "metrics.json").read_text())["tree"]) > 40


def test_entries_of_pythonpath_lead_into_the_room_where_it_has_them(tmp_path):
    class Room:
        root = tmp_path

    (tmp_path / "src").mkdir()
    entries = "/p/src:/p/gone:/p:/project/src:rel"

    found = shelter.search_path(entries, ["/p"], Room, "/room")

    assert found == "/room/src:/room:/project/src:rel"


def ignored(project) -> None:
    project.write(".gitignore", "src/\n")
    editable(project)


@namespaces
@pytest.mark.usefixtures("environment")
def test_ignored_code_is_the_recorded_one(project):
    ignored(project)

    assert rebuild("last").verdict is Verdict.IDENTICAL


@pytest.mark.usefixtures("environment")
def test_without_namespaces_ignored_code_of_the_working_tree_is_no_verdict(project, monkeypatch):
    ignored(project)
    without_namespaces(monkeypatch)

    with pytest.raises(InconclusiveError, match=r"lib\.py"):
        rebuild("last")


@namespaces
def test_a_python_linked_into_ones_own_bin_excuses_nothing(homely, home, monkeypatch):
    (home / "bin").mkdir()
    (home / "bin/python").symlink_to(sys.executable)
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.setenv("PATH", f"{home}/bin:{os.environ['PATH']}")
    monkeypatch.chdir(homely.root)

    rebuild("last")

    assert (homely.root / "metrics.json").read_text() == '{"n": 41}'
