"""Layers: the project's own packages are found in the room, wherever the project keeps them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mlrepro.cleanroom import layers
from mlrepro.cleanroom.room import Room
from mlrepro.errors import ManifestError
from mlrepro.locks import Lock, Requirement
from mlrepro.manifest import Digest

TOLD = """
import importlib.metadata, sys
def main():
    print(sys.prefix, __file__, importlib.metadata.version("my-own"))
"""


@pytest.fixture
def room(tmp_path) -> Room:
    made = Room(tmp_path, tmp_path / "at/p", tmp_path / "work", tmp_path / "tmp", "")
    made.root.mkdir(parents=True)
    made.work.mkdir()
    return made


@pytest.fixture
def prefix(tmp_path) -> Path:
    made = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(made)], check=True)
    return made


def put(room: Room, prefix: Path, path: str = ".") -> layers.Layer:
    own = Requirement("my-own", "0.1", source=f"project:{path}")
    lock = Lock(Digest("sha256", "0" * 64), "3.11.7", "cpython", (own,))
    return layers.put(lock, room, prefix=prefix)


def write(room: Room, **files: str) -> None:
    for name, text in files.items():
        path = room.root / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"own_py": ""}, "."),
        ({"src__own_py": ""}, "src"),
        ({"lib__own_py": "", "pyproject_toml": '[tool.setuptools]\npackage-dir = {"" = "lib"}'},
         "lib"),
        ({"py__own_py": "", "pyproject_toml": '[tool.setuptools.packages.find]\nwhere = ["py"]'},
         "py"),
        ({"a__own_py": "", "pyproject_toml": '[[tool.poetry.packages]]\ninclude="own"\nfrom="a"'},
         "a"),
        ({"b__own__x_py": "",
          "pyproject_toml": '[tool.hatch.build.targets.wheel]\npackages = ["b/own"]'}, "b"),
        ({"c__own_py": "", "setup_cfg": "[options]\npackage_dir =\n    = c\n"}, "c"),
        ({"own_py": "", "pyproject_toml": "damaged ["}, "."),
    ],
)  # fmt: skip
def test_the_folder_of_the_packages_is_found(room, prefix, files, found):
    write(room, **files)

    assert put(room, prefix).modules == (found,)


def test_a_package_in_a_folder_of_the_project_is_found_there(room, prefix):
    write(room, libs__own__src__own_py="")

    assert put(room, prefix, "libs/own").modules == ("libs/own/src",)


def test_a_declared_folder_never_leads_out_of_the_room(room, prefix):
    write(room, pyproject_toml='[tool.setuptools.packages.find]\nwhere = ["../.."]')

    with pytest.raises(ManifestError):
        put(room, prefix)


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject_toml": '[project.scripts]\ngo = "own:main"'},
        {"pyproject_toml": '[tool.poetry.scripts]\ngo = "own:main"'},
        {"setup_cfg": "[options.entry_points]\nconsole_scripts =\n    go = own:main\n"},
        {"setup_py": "setup(entry_points={'console_scripts': ['go = own:main']})"},
    ],
)
def test_a_console_script_runs_the_rooms_code_in_the_environment(room, prefix, files):
    write(room, own_py=TOLD, **files)
    layer = put(room, prefix)
    search = f"{room.root}:{layer.metadata}"

    for folder, seen in ((layer.programs, prefix), (layer.prefix / "bin", prefix)):
        done = subprocess.run(
            [folder / "go"], env={"PYTHONPATH": search}, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == [str(seen), str(room.root / "own.py"), "0.1"]


def test_a_view_of_the_environment_is_an_environment(room, prefix):
    write(room, own_py="", pyproject_toml='[project.scripts]\ngo = "own:main"')
    layer = put(room, prefix)

    asked = [layer.prefix / "bin/python", "-c", "import sys; print(sys.prefix, sys.path[-1])"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, env={})

    seen, packages = done.stdout.split()
    assert seen == str(layer.prefix)
    assert Path(packages).samefile(next(prefix.glob("lib/python3*/site-packages")))
