"""What is installed and where it came from, over layouts made by hand and real installations."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from mlrepro.capture import distributions, environment
from mlrepro.facts import Package
from tests.capture.installing import install, python_with
from tests.cleanroom import wheels
from tests.probe.watching import interpreters

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHA = "ab" * 32
SECRET = "s3cr3t-t0k3n"


def package(site: Path, root: Path | None = None, used=()) -> Package:
    (one,) = distributions.found(python_with(site), root=root, used=used)
    return one.package


@pytest.mark.parametrize(
    ("direct", "expected"),
    [
        (
            {"url": "https://host/a/b.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            f"git:https://host/a/b.git@{COMMIT}",
        ),
        (
            {"url": f"https://ann:{SECRET}@host/b.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            f"git:https://host/b.git@{COMMIT}",
        ),
        (
            {"url": f"https://ann:a@{SECRET}@host/b", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            f"git:https://host/b@{COMMIT}",
        ),
        (
            {"url": "ssh://git@host/b.git", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
            f"git:ssh://git@host/b.git@{COMMIT}",
        ),
        (
            {"url": "https://host/b", "vcs_info": {"vcs": "hg", "commit_id": "ff"}, "subdirectory": "p/q"},
            "hg:https://host/b@ff#subdirectory=p/q",
        ),
        (
            {"url": f"https://{SECRET}@host/d-1.whl?signature={SECRET}#{SECRET}",
             "archive_info": {"hash": f"sha256={SHA}"}},
            f"archive:https://host/d-1.whl#sha256={SHA}",
        ),
        (
            {"url": "https://host/d-1.zip", "archive_info": {"hashes": {"sha256": SHA}}},
            f"archive:https://host/d-1.zip#sha256={SHA}",
        ),
        ({"url": "https://host/d-1.zip", "archive_info": {}}, "archive:https://host/d-1.zip"),
        (
            {"url": "file:///srv/with%20space/d-1.whl", "archive_info": {"hash": "md5=5"}},
            "file:/srv/with space/d-1.whl",
        ),
        ({"url": "file:///srv/folder", "dir_info": {}}, "file:/srv/folder"),
    ],
)  # fmt: skip
def test_where_a_package_came_from_is_told_without_credentials(tmp_path, direct, expected):
    install(tmp_path, direct=direct)

    found = package(tmp_path)

    assert (found.direct, found.editable) == (expected, "")
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"url": 5}',
        '{"url": "x", "dir_info": []}',
        '{"url": "x", "vcs_info": 1}',
        '"x"',
    ],
)
def test_a_damaged_direct_url_says_nothing(tmp_path, text):
    install(tmp_path, direct=text)

    assert package(tmp_path) == Package("demo", "1.0", package(tmp_path).record, "py3-none-any")


def test_an_editable_install_in_the_project_is_told_relative_to_it(tmp_path):
    root = tmp_path / "project"
    (root / "libs" / "demo").mkdir(parents=True)
    for number, place in enumerate((root, root / "libs" / "demo")):
        direct = {"url": f"file://{place}", "dir_info": {"editable": True}}
        install(tmp_path / str(number), direct=direct)

    found = [package(tmp_path / str(number), root) for number in (0, 1)]

    assert [one.editable for one in found] == [".", "libs/demo"]
    assert [one.direct for one in found] == ["", ""]


def test_a_wheel_in_the_project_is_told_relative_to_it(tmp_path):
    direct = {"url": f"file://{tmp_path}/vendor/d.whl", "archive_info": {"hash": f"sha256={SHA}"}}
    install(tmp_path / "site", direct=direct)

    assert package(tmp_path / "site", tmp_path).direct == f"file:vendor/d.whl#sha256={SHA}"


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.usefixtures("home")
def test_an_editable_install_outside_is_told_by_its_commit_if_it_was_used(tmp_path):
    root, folder, site = tmp_path / "project", tmp_path / "mylib", tmp_path / "site"
    root.mkdir()
    folder.mkdir()
    (folder / "mylib.py").write_text("x = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "a")
    commit = git(folder, "rev-parse", "HEAD")
    install(site, "mylib", direct={"url": f"file://{folder}", "dir_info": {"editable": True}})

    unused = package(site, root)
    clean = package(site, root, [str(folder / "mylib.py")])
    (folder / "mylib.py").write_text("x = 2\n")
    dirty = package(site, root, [str(folder / "mylib.py")])

    assert (unused.editable, unused.direct) == (str(folder), "")
    assert clean.direct == f"worktree:{commit}"
    assert dirty.direct == f"worktree:{commit}+changed"
    assert environment.troubles([unused]) == ()
    assert environment.troubles([dirty]) == (
        f"`mylib` is installed from a folder outside the project (commit {commit[:12]}, "
        "with changes): a colleague has to have it",
    )


def test_an_editable_install_that_no_git_knows_is_named_too(tmp_path):
    (tmp_path / "project").mkdir()
    folder = tmp_path / "mylib"
    folder.mkdir()
    direct = {"url": f"file://{folder}", "dir_info": {"editable": True}}
    install(tmp_path / "site", "mylib", direct=direct)

    found = package(tmp_path / "site", tmp_path / "project", [f"{folder}/mylib.py"])

    assert found.direct == "worktree:"
    assert "from a folder outside the project: a colleague" in environment.troubles([found])[0]
    assert environment.troubles([replace(found, name="mlrepro")]) == ()


# --- other managers than pip


def conda_environment(prefix: Path) -> Path:
    meta = prefix / "conda-meta"
    meta.mkdir(parents=True)
    for name in ("openssl-3.0.13-h7f8727e_0", "scikit-learn-1.4.2-py311ha02d727_1", "odd"):
        (meta / f"{name}.json").write_text("{}")
    (meta / "history").write_text("")
    return prefix / "lib" / "python3.11" / "site-packages"


def test_a_conda_environment_is_told_by_its_builds_and_its_broken_addresses_are_repaired(tmp_path):
    site = conda_environment(tmp_path / "env")
    built = "file:///home/conda/feedstock_root/build_artifacts/scikit-learn_1/work"
    install(site, "scikit_learn", "1.4.2", direct={"url": built, "dir_info": {}})
    install(site, "numpy", "1.26.4", installer="conda", direct={"url": "file:///croot/n/numpy.whl"})
    install(site, "mine", "0.1", direct={"url": f"file://{tmp_path}", "dir_info": {}})

    found = environment.fingerprint(python_with(site, prefix=tmp_path / "env"))[1]

    by_name = {one.name: one for one in found}
    assert [by_name[n].owner for n in ("scikit-learn", "numpy", "mine")] == ["conda", "conda", ""]
    assert [by_name[n].direct for n in ("scikit-learn", "numpy")] == ["", ""]
    assert by_name["mine"].direct == f"file:{tmp_path}"
    assert environment.beside(found) == {
        "conda openssl": "3.0.13 h7f8727e_0",
        "conda scikit-learn": "1.4.2 py311ha02d727_1",
    }
    assert [one.of_python for one in found] == ["conda:" not in one.name for one in found]


def test_another_build_of_conda_is_named(tmp_path):
    sites = [conda_environment(tmp_path / name) for name in "ab"]
    meta = tmp_path / "b" / "conda-meta"
    (meta / "openssl-3.0.13-h7f8727e_0.json").rename(meta / "openssl-3.0.13-h7f8727e_9.json")

    before, now = (
        environment.fingerprint(python_with(site, prefix=tmp_path / name))
        for name, site in zip("ab", sites, strict=True)
    )

    (change,) = environment.changes(*before, *now)
    assert (change.what, change.recorded) == ("conda openssl", "3.0.13 h7f8727e_0")
    assert change.current == "3.0.13 h7f8727e_9"
    assert before[0].fingerprint != now[0].fingerprint


def test_packages_of_the_system_are_marked(tmp_path):
    debian = tmp_path / "usr" / "lib" / "python3" / "dist-packages"
    info = install(debian, "numpy", "1.24.2", installer="debian")
    (info / "RECORD").unlink()
    (debian / "PyYAML-6.0.egg-info").write_text("Name: PyYAML\nVersion: 6.0\n")
    base = tmp_path / "base" / "lib" / "python3.8" / "site-packages"
    install(base, "below")
    own = tmp_path / "venv" / "lib" / "python3.8" / "site-packages"
    install(own, "own")
    python = python_with(own, base, debian, prefix=tmp_path / "venv", base=tmp_path / "base")

    found = {one.package.name: one.package.owner for one in distributions.found(python)}

    assert found == {"own": "", "below": "system", "numpy": "system", "pyyaml": "system"}


# --- damaged and odd ones


def test_a_record_of_other_bytes_than_utf8_counts(tmp_path):
    for name, data in (
        ("a", b"demo/caf\xe9.py,sha256=x,1\n"),
        ("b", b"demo/caf\xe8.py,sha256=x,1\n"),
    ):
        (install(tmp_path / name) / "RECORD").write_bytes(data)

    first, second = (package(tmp_path / name) for name in "ab")

    assert first.record
    assert first.record != second.record


def test_a_record_that_cannot_be_read_is_none(tmp_path):
    record = install(tmp_path) / "RECORD"
    record.unlink()
    record.mkdir()

    assert package(tmp_path).record == ""


def test_what_was_read_once_is_remembered_until_an_installer_touches_it(tmp_path):
    cache = tmp_path / "cache.json"
    python = python_with(tmp_path)
    info = install(tmp_path, direct={"url": "file:///srv/x", "dir_info": {}})
    first = environment.fingerprint(python, cache=cache)

    again = environment.fingerprint(python, cache=cache)
    (info / "direct_url.json").write_text(json.dumps({"url": "file:///srv/other", "dir_info": {}}))
    changed = environment.fingerprint(python, cache=cache)[1]

    assert again == first
    assert changed[0].direct == "file:/srv/other"


@pytest.mark.parametrize("text", ["", "[]", '{"a": 5}', "\0", '{"x|": [1, 2]}'])
def test_a_damaged_memory_is_forgotten(tmp_path, text):
    install(tmp_path / "site")
    cache = tmp_path / "cache.json"
    cache.write_text(text)
    python = python_with(tmp_path / "site")

    assert environment.fingerprint(python, cache=cache) == environment.fingerprint(python)


# --- real installations


def older_python() -> Path:
    """Another Python of this machine, or else the tests' own."""
    return Path(interpreters()[:2][-1])


def test_a_wheel_that_was_really_installed_has_the_record_of_its_file(tmp_path, home):
    built = wheels.numlib(tmp_path / "wheels", "1.0")
    prefix = wheels.made(tmp_path / "env", links=built.parent, python=older_python())
    wheels.install(prefix, str(built), links=built.parent)
    wheel = next(built.parent.glob("*.whl"))

    python = environment.interpreter(str(prefix / "bin" / "python"))
    found = {one.name: one for one in environment.fingerprint(python)[1]}

    assert found["numlib"].direct == f"file:{wheel}"
    assert found["numlib"].record == distributions.record_in(wheel)
    assert found["numlib"].changed == {}


def test_a_file_that_is_no_wheel_has_no_record(tmp_path):
    (tmp_path / "x.whl").write_text("x")

    with pytest.raises(OSError, match="is no wheel"):
        distributions.record_in(tmp_path / "x.whl")


def test_an_environment_inside_an_editable_folder_is_no_use_of_it(tmp_path):
    folder, root = tmp_path / "mylib", tmp_path / "project"
    root.mkdir()
    site = folder / ".venv" / "lib" / "python3.11" / "site-packages"
    install(site, "mylib", direct={"url": f"file://{folder}", "dir_info": {"editable": True}})
    python = python_with(site, prefix=folder / ".venv")

    (one,) = distributions.found(python, root=root, used=[f"{site}/numpy/__init__.py"])

    assert (one.package.editable, one.package.direct) == (str(folder), "")
