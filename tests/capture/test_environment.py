"""The environment's fingerprint over real and made-up distributions."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mlrepro.capture import environment
from mlrepro.capture.observation import Interpreter
from mlrepro.drift import Change
from mlrepro.errors import UsageError
from mlrepro.facts import Environment, Package

RECORD = "demo/__init__.py,sha256=abc,12\ndemo-1.0.dist-info/METADATA,sha256=def,40\n"


def install(folder: Path, name: str = "demo", version: str = "1.0", record: str = RECORD) -> Path:
    """A distribution as an installer leaves it."""
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    (info / "WHEEL").write_text("Wheel-Version: 1.0\nTag: py3-none-any\n")
    (info / "RECORD").write_text(record)
    return info


def python_with(*folders: Path) -> Interpreter:
    return Interpreter(
        pid=1,
        argv=("python",),
        executable="python",
        prefix="prefix",
        base_prefix="prefix",
        version="3.11.7",
        implementation="cpython",
        path=tuple(map(str, folders)),
        build="3.11.7 (main) [GCC]",
    )


def names(*folders: Path) -> dict[str, str]:
    return {p.name: p.version for p in environment.fingerprint(python_with(*folders))[1]}


def test_the_running_environment_is_what_importlib_metadata_says():
    found, packages = environment.fingerprint(environment.interpreter(sys.executable))

    expected = {
        d.metadata["Name"].lower().replace("_", "-").replace(".", "-"): d.version
        for d in importlib.metadata.distributions()
        if d.metadata["Name"]
    }
    ours = {p.name: p.version for p in packages}
    assert ours["pytest"] == expected["pytest"]
    assert ours.items() <= expected.items()
    assert found.count == len(packages)
    assert found.python == ".".join(map(str, sys.version_info[:3]))
    assert found.packages["numpy"] == expected["numpy"]


def test_names_are_in_normal_form_and_the_first_on_the_path_wins(tmp_path):
    install(tmp_path / "a", "Some_Thing.x", "1.0")
    install(tmp_path / "b", "some-thing-x".replace("-", "_"), "2.0")

    assert names(tmp_path / "a", tmp_path / "b") == {"some-thing-x": "1.0"}


def test_eggs_and_development_installs_are_distributions(tmp_path):
    (tmp_path / "old-0.5-py3.8.egg-info").mkdir()
    (tmp_path / "mine.egg-info").mkdir()
    (tmp_path / "mine.egg-info" / "PKG-INFO").write_text("Name: mine\nVersion: 3.1\n")

    assert names(tmp_path) == {"old": "0.5", "mine": "3.1"}


def test_the_fingerprint_names_versions_and_content(tmp_path):
    install(tmp_path / "a")
    install(tmp_path / "same")
    install(tmp_path / "version", version="1.1")
    install(tmp_path / "content", record=RECORD.replace("abc", "xyz"))

    prints = {
        name: environment.fingerprint(python_with(tmp_path / name))[0].fingerprint
        for name in ("a", "same", "version", "content")
    }

    assert prints["a"] == prints["same"]
    assert len(set(prints.values())) == 3


def test_where_and_by_what_it_was_installed_does_not_change_the_fingerprint(tmp_path):
    install(tmp_path / "pip", record=RECORD + "../../../bin/demo,sha256=abc,1\n"
            "demo/__pycache__/__init__.cpython-311.pyc,,\ndemo-1.0.dist-info/INSTALLER,sha256=p,4\n"
            "demo-1.0.dist-info/RECORD,,\n")  # fmt: skip
    install(tmp_path / "uv", record="demo-1.0.dist-info/INSTALLER,sha256=u,2\r\n"
            + RECORD + "../../../bin/demo,sha256=zzz,9\ndemo-1.0.dist-info/RECORD,,\n")  # fmt: skip

    pip, uv = (environment.fingerprint(python_with(tmp_path / n)) for n in ("pip", "uv"))

    assert pip[0].fingerprint == uv[0].fingerprint
    assert environment.changes(*pip, *uv) == ()


def test_an_editable_install_is_known_by_its_folder_and_equal_elsewhere(tmp_path):
    for name, place in (("ann", "/home/ann/project"), ("bob", "/srv/bob")):
        info = install(tmp_path / name, record=f"__editable__.demo.pth,sha256={name},9\n")
        data = {"url": f"file://{place}", "dir_info": {"editable": True}}
        (info / "direct_url.json").write_text(json.dumps(data))

    ann, bob = (environment.fingerprint(python_with(tmp_path / n)) for n in ("ann", "bob"))

    assert ann[1][0].editable == "/home/ann/project"
    assert environment.changes(*ann, *bob) == ()
    assert ann[0].fingerprint == bob[0].fingerprint


def test_every_difference_is_named_in_order(tmp_path):
    for folder, packages in {
        "a": (("gone", "1"), ("moved", "1"), ("same", "1"), ("rebuilt", "1")),
        "b": (("came", "2"), ("moved", "2"), ("same", "1"), ("rebuilt", "1")),
    }.items():
        for name, version in packages:
            record = f"x,sha256={folder},1\n" if name == "rebuilt" else RECORD
            install(tmp_path / folder, name, version, record)
    before = environment.fingerprint(python_with(tmp_path / "a"))
    now = environment.fingerprint(
        dataclasses.replace(python_with(tmp_path / "b"), version="3.12.1")
    )

    found = environment.changes(*before, *now)

    assert found[:3] == (
        Change("python", "3.11.7", "3.12.1"),
        Change("package came", "not installed", "2"),
        Change("package gone", "1", "not installed"),
    )
    assert [change.what for change in found[3:]] == ["package moved", "content of rebuilt 1"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 5}', '{"dir_info": []}', '"x"'])
def test_a_damaged_direct_url_is_no_editable_install(tmp_path, text):
    (install(tmp_path) / "direct_url.json").write_text(text)

    assert environment.fingerprint(python_with(tmp_path))[1][0].editable == ""


def test_another_interpreter_is_asked_for_its_facts(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)

    found = environment.interpreter(str(tmp_path / "venv" / "bin" / "python"))

    assert found.prefix == str(tmp_path / "venv")
    assert environment.fingerprint(found)[0].count == 0


@pytest.mark.parametrize("command", ["/nonexistent/python", "true", "false"])
def test_what_is_no_python_is_refused(command):
    with pytest.raises(UsageError, match="does not answer as a Python does"):
        environment.interpreter(command)


def package(record: str = "aa", **facts) -> Package:
    return Package("demo", "1.0", record, **{"tag": "py3-none-any", **facts})


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        # Where the content is the same, it does not matter where it came from.
        (package(direct="git:https://host/demo@aaa"), package(), None),
        (package(direct="file:demo.whl", kept="md5:" + "0" * 32), package(), None),
        (package(owner="system"), package(), None),
        (package("", owner="system"), package(), None),
        (
            package(direct="git:https://host/demo@aaa"),
            package("bb", direct="git:https://host/demo@bbb"),
            ("source of demo 1.0", "git:https://host/demo@aaa", "git:https://host/demo@bbb"),
        ),
        (
            package(),
            package("bb", direct="file:/srv/demo.whl"),
            ("source of demo 1.0", "an index", "file:/srv/demo.whl"),
        ),
        (
            package(owner="conda"),
            package("bb", tag="cp311-cp311-linux_x86_64"),
            ("package demo", "1.0 (of conda)", "1.0"),
        ),
        (
            package("", editable="/a", direct="worktree:" + "a" * 40),
            package("", editable="/b", direct="worktree:" + "b" * 40 + "+changed"),
            ("source of demo 1.0", "commit aaaaaaaaaaaa", "commit bbbbbbbbbbbb, with changes"),
        ),
        (package("", editable="/a", direct="worktree:"), package("", editable="/b"), None),
        (package("", editable="."), package("", editable="/room"), None),
        (
            package(changed={"demo/a.py": "11", "demo/b.py": "22"}),
            package(changed={"demo/a.py": "11", "demo/c.py": "33"}),
            (
                "files of demo 1.0",
                "demo/b.py 22, demo/c.py as installed",
                "demo/b.py as installed, demo/c.py 33",
            ),
        ),
    ],
)
def test_what_differs_is_named_by_what_is_known_of_it(before, now, expected):
    found = environment.changes(Environment(), [before], Environment(), [now])

    assert found == ((Change(*expected),) if expected else ())
