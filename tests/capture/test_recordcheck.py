"""Installed files that a run used, against what their installer wrote down."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from mlrepro.capture import distributions, environment, recordcheck
from tests.capture.installing import edit, install, python_with, row
from tests.cleanroom import wheels
from tests.probe.watching import interpreters

FILES = {"demo/__init__.py": "x = 1\n", "demo/basic.py": "y = 1\n", "demo/data.csv": "1,2\n"}


def changed(site: Path, *used: str, known: dict | None = None, prefix: str = "") -> dict:
    listed = distributions.found(python_with(site))
    paths = [str(site / name) for name in used]
    return recordcheck.changed(listed, paths, prefix=prefix, known=known)


def short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_nothing_is_told_of_an_installation_that_nobody_touched(tmp_path):
    install(tmp_path, files=FILES)

    assert changed(tmp_path, *FILES) == {}


def test_an_edited_file_is_told_with_what_it_holds(tmp_path):
    install(tmp_path, files=FILES)
    edit(tmp_path / "demo/basic.py", "y = 22\n")

    assert changed(tmp_path, *FILES) == {"demo": {"demo/basic.py": short("y = 22\n")}}


def test_an_edit_that_keeps_the_size_is_told(tmp_path):
    install(tmp_path, files=FILES)
    edit(tmp_path / "demo/basic.py", "y = 2\n")

    assert changed(tmp_path, *FILES) == {"demo": {"demo/basic.py": short("y = 2\n")}}


def test_a_file_that_was_only_touched_is_as_installed(tmp_path):
    install(tmp_path, files=FILES)
    edit(tmp_path / "demo/basic.py", "y = 1\n")

    assert changed(tmp_path, *FILES) == {}


def test_only_what_the_run_used_is_told(tmp_path):
    install(tmp_path, files=FILES)
    edit(tmp_path / "demo/basic.py", "y = 2\n")

    assert changed(tmp_path, "demo/__init__.py") == {}


def test_a_module_that_nobody_installed_is_told(tmp_path):
    install(tmp_path, files=FILES)
    (tmp_path / "demo/hack.py").write_text("z = 1\n")
    (tmp_path / "alone.py").write_text("in no distribution\n")

    found = changed(tmp_path, *FILES, "demo/hack.py", "alone.py")

    assert found == {"demo": {"demo/hack.py": short("z = 1\n")}}


def test_a_folder_of_several_distributions_is_told_by_owner(tmp_path):
    install(tmp_path, "one", files={"shared/one.py": "x = 1\n"})
    install(tmp_path, "two", files={"shared/two.py": "x = 2\n"})
    edit(tmp_path / "shared/two.py", "x = 3\n")
    (tmp_path / "shared/three.py").write_text("whose?\n")

    found = changed(tmp_path, "shared/one.py", "shared/two.py", "shared/three.py")

    assert found == {"two": {"shared/two.py": short("x = 3\n")}}


def test_a_module_without_a_folder_is_checked(tmp_path):
    install(tmp_path, "six", files={"six.py": "x = 1\n"})
    edit(tmp_path / "six.py", "x = 2\n")

    assert changed(tmp_path, "six.py") == {"six": {"six.py": short("x = 2\n")}}


@pytest.mark.parametrize("name", ["de mo/a.py", "demo/a,b.py", "demo/ä€.py", "demo/a=b.so"])
def test_odd_names_are_found_in_the_record(tmp_path, name):
    install(tmp_path, files={name: "x = 1\n"})
    before = changed(tmp_path, name)
    edit(tmp_path / name, "x = 2\n")

    assert before == {}
    assert changed(tmp_path, name) == {"demo": {name: short("x = 2\n")}}


@pytest.mark.parametrize(
    "line",
    ["", "demo/basic.py", "demo/basic.py,,", "demo/basic.py,md5=abc,", "demo/basic.py,sha256=!,x",
     '"demo/basic.py', "demo/basic.py,sha256=,9999999999999999999999999999999", "\0,\0,\0"],
)  # fmt: skip
def test_a_line_that_says_nothing_accuses_nobody(tmp_path, line):
    info = install(tmp_path, files=FILES)
    (info / "RECORD").write_text(f"{row('demo/__init__.py', b'x = 1')[:-1]}6\n{line}\n")
    edit(tmp_path / "demo/data.csv", "3,4\n")

    found = changed(tmp_path, "demo/data.csv")

    assert found == {}


def test_a_record_of_other_bytes_than_utf8_is_read(tmp_path):
    info = install(tmp_path, files=FILES)
    record = info / "RECORD"
    record.write_bytes(b"demo/caf\xe9.py,sha256=x,1\n" + record.read_bytes())
    os.utime(record, ns=(1, 1))
    edit(tmp_path / "demo/basic.py", "y = 2\n")

    assert list(changed(tmp_path, *FILES)) == ["demo"]


@pytest.mark.parametrize("kind", ["absent", "folder", "empty"])
def test_a_record_that_says_nothing_accuses_nobody(tmp_path, kind):
    record = install(tmp_path, files=FILES) / "RECORD"
    record.unlink()
    if kind == "folder":
        record.mkdir()
    elif kind == "empty":
        record.write_text("")
    edit(tmp_path / "demo/basic.py", "y = 2\n")

    assert changed(tmp_path, *FILES) == {}


def test_a_file_that_is_gone_or_named_wrongly_is_passed_over(tmp_path):
    install(tmp_path, files=FILES)

    assert changed(tmp_path, "demo/gone.py", "demo/\udcff.py", "demo/\0.py", "../x.py", "") == {}


def test_a_huge_record_is_checked(tmp_path):
    files = {f"demo/m{number}.py": "x = 1\n" for number in range(3)}
    info = install(tmp_path, files=files)
    lines = "".join(f"demo/n{number}.py,sha256=abc,{number}\n" for number in range(100_000))
    (info / "RECORD").write_text(lines + (info / "RECORD").read_text())
    edit(tmp_path / "demo/m1.py", "x = 2\n")

    assert changed(tmp_path, *files) == {"demo": {"demo/m1.py": short("x = 2\n")}}


def test_many_changed_files_are_told_in_short(tmp_path):
    files = {f"demo/m{number:02}.py": "x = 1\n" for number in range(30)}
    install(tmp_path, files=files)
    for name in files:
        edit(tmp_path / name, "x = 2\n")
    first = changed(tmp_path, *files)["demo"]
    edit(tmp_path / "demo/m29.py", "x = 3\n")
    second = changed(tmp_path, *files)["demo"]

    assert len(first) == recordcheck.MOST + 1
    assert list(first)[-1] == "and 10 more"
    assert first["and 10 more"] != second["and 10 more"]


def test_what_is_remembered_holds_until_a_file_changes(tmp_path):
    install(tmp_path, files=FILES)
    known: dict = {}
    changed(tmp_path, *FILES, known=known)
    size = len(known)

    again = changed(tmp_path, *FILES, known=known)
    same = len(known)
    edit(tmp_path / "demo/basic.py", "y = 2\n")

    assert (again, same) == ({}, size)
    assert list(changed(tmp_path, *FILES, known=known)) == ["demo"]
    assert list(changed(tmp_path, *FILES, known=known)) == ["demo"]


def test_what_conda_wrote_into_a_file_is_no_edit(tmp_path):
    (tmp_path / "conda-meta").mkdir()
    install(tmp_path, files={"demo/config.py": "prefix = '/placeholder/placeholder'\n"})
    edit(tmp_path / "demo/config.py", f"prefix = '{tmp_path}'\n")

    assert changed(tmp_path, "demo/config.py", prefix=str(tmp_path)) == {}


def test_what_the_systems_own_manager_did_to_a_library_is_no_edit(tmp_path):
    debian = tmp_path / "usr" / "lib" / "python3" / "dist-packages"
    conda = tmp_path / "env" / "lib" / "python3.11" / "site-packages"
    files = {"demo/lib.so": "stripped later\n", "demo/basic.py": "y = 1\n"}
    found = []
    for site, installer in ((debian, "debian"), (conda, "conda")):
        install(site, files=files, installer=installer)
        edit(site / "demo/lib.so", "stripped\n")
        found.append(changed(site, *files))
    edit(conda / "demo/basic.py", "y = 2\n")

    assert found == [{}, {}]
    assert changed(conda, *files) == {"demo": {"demo/basic.py": short("y = 2\n")}}


def test_a_folder_of_packages_that_is_a_link_is_followed(tmp_path):
    install(tmp_path / "lib" / "site-packages", files=FILES)
    (tmp_path / "lib64").symlink_to("lib")
    edit(tmp_path / "lib/site-packages/demo/basic.py", "y = 2\n")
    listed = distributions.found(python_with(tmp_path / "lib64" / "site-packages"))

    found = recordcheck.changed(listed, [str(tmp_path / "lib/site-packages/demo/basic.py")])

    assert list(found) == ["demo"]


def test_an_edited_environment_is_another_one_and_the_difference_is_named(tmp_path):
    for name in "ab":
        install(tmp_path / name, files=FILES)
    edit(tmp_path / "b/demo/basic.py", "y = 2\n")
    before, now = (environment.fingerprint(python_with(tmp_path / name)) for name in "ab")

    (change,) = environment.changes(*before, *now)

    assert before[0].fingerprint != now[0].fingerprint
    assert change.what == "files of demo 1.0"
    assert change.recorded == "demo/basic.py as installed"
    assert change.current == f"demo/basic.py {short('y = 2' + chr(10))}"
    assert environment.troubles(now[1]) == (
        "demo 1.0 was changed after it was installed: basic.py",
    )
    assert environment.changes(*now, *now) == ()


# --- through `mlrepro run`


def older_python() -> Path:
    """Another Python of this machine, or else the tests' own."""
    return Path(interpreters()[:2][-1])


@pytest.fixture(scope="module")
def trained_in(tmp_path_factory) -> Path:
    """An environment of an older Python with a package of two files."""
    top = tmp_path_factory.mktemp("env")
    files = {"numpkg/__init__.py": "from .basic import W\n", "numpkg/basic.py": "W = 1\n"}
    wheels.wheel(top / "wheels", "numpkg", "4.7.0", {**files, "numpkg/unused.py": "x = 1\n"})
    return wheels.made(top / "env", "numpkg", links=top / "wheels", python=older_python())


def recorded(project, python: Path, *more: str):
    project.write("train.py", "import numpkg\nopen('model.txt', 'w').write(str(numpkg.W))\n")
    project.commit()
    return project.mlrepro("run", *more, str(python), "train.py", check=True)


@pytest.mark.parametrize("observer", ["auto", "audit"])
def test_a_run_names_a_package_that_was_edited(project, trained_in, observer):
    site = wheels.packages_of(trained_in)
    python = trained_in / "bin" / "python"
    original = (site / "numpkg/basic.py").read_text()
    clean = recorded(project, python, "--observer", observer)
    (site / "numpkg/basic.py").unlink()  # uv's cache has the same file
    edit(site / "numpkg/basic.py", "W = 2\n")
    try:
        edited = recorded(project, python, "--observer", observer)
        shown = project.mlrepro("show", "last", check=True).stdout
    finally:
        (site / "numpkg/basic.py").write_text(original)

    sentence = "numpkg 4.7.0 was changed after it was installed: basic.py"
    assert sentence not in clean.stderr
    assert sentence in edited.stderr
    assert sentence in shown
