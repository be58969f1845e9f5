"""Wheels packed again from what is installed, and installed anew."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mlrepro.capture import distributions, environment, repack
from mlrepro.errors import StoreError
from tests.capture.installing import edit, install
from tests.cleanroom import wheels

BASE = Path(os.path.realpath(sys.executable))
FILES = {"demo/__init__.py": "x = 1\n", "demo/a,b.txt": "text\n", "Demo.data": "1\n"}


@pytest.mark.parametrize("installer", ["uv", "pip"])
def test_a_wheel_that_was_packed_again_installs_as_the_first(tmp_path, home, installer):
    built = wheels.numlib(tmp_path / "links", "1.0")
    prefix = wheels.made(tmp_path / "env", links=tmp_path, python=BASE)
    if installer == "uv":
        wheels.install(prefix, str(built), links=tmp_path)
    else:
        command = [sys.executable, "-m", "pip", "--python", prefix / "bin/python", "install", "-q",
                   "--no-index", "--disable-pip-version-check", built]  # fmt: skip
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no pip beside the tests")
    before = environment.fingerprint(environment.interpreter(str(prefix / "bin/python")))
    (info,) = wheels.packages_of(prefix).glob("numlib*.dist-info")

    packed = tmp_path / built.name
    repack.wheel(str(info), packed)
    again = wheels.made(tmp_path / "again", links=tmp_path, python=BASE)
    wheels.install(again, str(packed), links=tmp_path)

    after = environment.fingerprint(environment.interpreter(str(again / "bin/python")))
    assert environment.changes(*before, *after) == ()
    assert before[0].fingerprint == after[0].fingerprint
    assert (again / "bin" / "train-it").exists()
    with zipfile.ZipFile(built) as old, zipfile.ZipFile(packed) as new:
        assert sorted(old.namelist()) == sorted(new.namelist())


def test_equal_contents_are_equal_bytes(tmp_path):
    for name in "ab":
        info = install(tmp_path / name, files=FILES, installer=name)
        complete(info)
        repack.wheel(str(info), tmp_path / f"{name}.whl")

    first, second = ((tmp_path / f"{name}.whl").read_bytes() for name in "ab")
    assert first == second
    assert distributions.record_in(tmp_path / "a.whl")


def complete(info: Path, *lines: str) -> None:
    """Let the record name the metadata, too, as it does in a wheel."""
    from tests.capture.installing import row

    rows = [
        row(f"{info.name}/{name}", (info / name).read_bytes()) for name in ("METADATA", "WHEEL")
    ]
    record = info / "RECORD"
    record.write_text("\n".join([*rows, *lines, record.read_text()]))


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("../../../share/demo.txt,sha256=x,1", "only its installer can lay out"),
        ("../../../bin/demo,sha256=x,1", "only its installer can lay out"),
        ("/etc/demo.conf,sha256=x,1", "only its installer can lay out"),
        ("demo/model.bin,sha256=x,99999999", "larger than 10 MB"),
        ("demo/__init__.py,,", "was changed"),
    ],
)
def test_what_cannot_be_packed_as_it_was_is_refused(tmp_path, line, sentence):
    info = install(tmp_path / "site", files={"demo/other.py": "x = 1\n"})
    (tmp_path / "site" / "demo" / "__init__.py").write_text("")
    complete(info, line)

    with pytest.raises(StoreError, match=sentence):
        repack.wheel(str(info), tmp_path / "x.whl")


def test_what_was_edited_is_refused(tmp_path):
    info = install(tmp_path / "site", files=FILES)
    complete(info)
    edit(tmp_path / "site" / "demo" / "__init__.py", "x = 2\n")

    with pytest.raises(StoreError, match="changed after it was installed"):
        repack.wheel(str(info), tmp_path / "x.whl")


def test_what_came_from_no_wheel_is_refused(tmp_path):
    info = install(tmp_path / "site", files=FILES)
    (info / "RECORD").unlink()

    with pytest.raises(StoreError, match="not installed from a wheel"):
        repack.wheel(str(info), tmp_path / "x.whl")


def test_a_file_that_is_gone_is_an_error(tmp_path):
    info = install(tmp_path / "site", files=FILES)
    (tmp_path / "site" / "demo" / "__init__.py").unlink()

    with pytest.raises(OSError, match="No such file"):
        repack.wheel(str(info), tmp_path / "x.whl")
