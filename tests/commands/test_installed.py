"""What is recorded of installed packages: nothing secret, and what a colleague cannot get."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.capture.installing import edit, install
from tests.cleanroom import wheels

SECRET = "s3cr3t-t0k3n"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
BASE = Path(os.path.realpath(sys.executable))


def listed(project, *, cwd: Path | None = None) -> dict[str, dict]:
    """The recorded list of distributions, as it lies in the ledger."""
    refs = project.git("for-each-ref", "--format=%(refname)", "refs/mlrepro/log", cwd=cwd)
    tree = project.git("ls-tree", "-r", "--name-only", refs.split()[0], cwd=cwd)
    path = next(line for line in tree.splitlines() if line.endswith("distributions.json"))
    data = json.loads(project.git("show", f"{refs.split()[0]}:{path}", cwd=cwd))
    return {one["name"]: one for one in data}


def everything(project, *folders: Path) -> bytes:
    """All that mlrepro left: git's objects, its own folder, DVC's cache, the user's cache."""
    objects = project.call(
        "git", "cat-file", "--batch-all-objects", "--batch", "--buffer", encoding="latin-1"
    ).stdout.encode("latin-1")
    files = (path for top in folders for path in top.rglob("*") if path.is_file())
    return objects + b"".join(path.read_bytes() for path in files)


def test_credentials_of_addresses_and_settings_reach_no_record(project, home, tmp_path):
    prefix = wheels.made(tmp_path / "env", links=tmp_path, python=BASE)
    site = wheels.packages_of(prefix)
    url = f"https://ann:{SECRET}@127.0.0.1:9"
    vcs = {"vcs": "git", "commit_id": COMMIT, "requested_revision": "main"}
    archive = {"hash": "sha256=" + "ab" * 32}
    install(site, "of_git", direct={"url": f"{url}/lib.git", "vcs_info": vcs})
    install(site, "of_page", direct={"url": f"{url}/a.whl?t={SECRET}", "archive_info": archive})
    for path, text in {
        ".config/pip/pip.conf": f"[global]\nindex-url = {url}/simple\n",
        ".config/uv/uv.toml": f'[[index]]\nname = "own"\nurl = "{url}/simple"\n',
    }.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)
    project.write("train.py", "import of_git, of_page\nopen('model.txt', 'w').write('1')\n")
    project.commit()

    variables = {"MLREPRO_LOCK": "on", "PIP_EXTRA_INDEX_URL": url, "UV_EXTRA_INDEX_URL": url,
                 "UV_HTTP_TIMEOUT": "1", "UV_HTTP_RETRIES": "0"}  # fmt: skip
    done = project.mlrepro("run", f"{prefix}/bin/python", "train.py", env=variables, check=True)

    found = listed(project)
    assert found["of-git"]["direct"] == f"git:https://127.0.0.1:9/lib.git@{COMMIT}"
    assert found["of-page"]["direct"].startswith("archive:https://127.0.0.1:9/a.whl#sha256=ab")
    assert SECRET not in done.stderr
    left = everything(project, project.root / ".mlrepro", project.root / ".dvc")
    assert SECRET.encode() not in left
    manifest = project.root / "model.txt.mlrepro.yaml"
    assert not manifest.exists() or SECRET not in manifest.read_text()


@pytest.fixture
def ann(project, tmp_path) -> Path:
    """A project whose training needs a package that was installed from a wheel's path."""
    built = wheels.numlib(tmp_path / "wheels", "1.0")
    prefix = wheels.made(tmp_path / "ann", links=tmp_path, python=BASE)
    wheels.install(prefix, str(built), links=tmp_path)
    project.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    project.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    project.dvc("remote", "add", "-q", "-d", "storage", str(tmp_path / "storage"))
    project.write(
        "train.py", "import numlib\nopen('model.txt', 'w').write(str(numlib.weight(3)))\n"
    )
    project.commit("training")
    project.mlrepro("run", f"{prefix}/bin/python", "train.py", check=True)
    project.commit("model")
    project.git("push", "-q", "-u", "origin", "HEAD")
    return built


def test_a_wheel_that_was_installed_from_a_file_is_kept_and_travels(project, ann, tmp_path):
    kept = listed(project)["numlib"]["kept"].removeprefix("md5:")
    asked = project.mlrepro("push")
    project.mlrepro("push", "--yes", check=True)
    bob = tmp_path / "bob"
    project.git("clone", "-q", str(tmp_path / "remote.git"), str(bob))
    data = ann.read_bytes()
    shutil.rmtree(ann.parent)
    shutil.rmtree(project.root / ".dvc" / "cache")
    project.mlrepro("pull", "model.txt", cwd=bob, check=True)

    assert asked.returncode != 0
    assert "the wheel of numlib 1.0" in asked.stderr
    (found,) = [path for path in (bob / ".dvc/cache").rglob(kept[2:]) if path.is_file()]
    assert found.read_bytes() == data


def active_in(prefix: Path) -> dict[str, str]:
    path = os.environ["PATH"].split(os.pathsep, 1)[1]  # without the tests' own interpreter
    return {"VIRTUAL_ENV": str(prefix), "PATH": f"{prefix}/bin:{path}"}


@pytest.fixture
def offline(tmp_path, monkeypatch) -> Path:
    """A folder of wheels in the place of an index."""
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "links"))
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    (tmp_path / "links").mkdir()
    return tmp_path / "links"


@pytest.mark.parametrize("file", ["there", "another", "gone"])
def test_a_rebuild_installs_the_wheel_that_was_kept(project, offline, ann, tmp_path, file):
    if file == "another":
        code = "def weight(n):\n    return 7\n"
        wheels.wheel(ann.parent, "numlib", "1.0", {"numlib.py": code})
    elif file == "gone":  # or it was a folder, a source archive, an address
        ann.unlink()
    if file != "there":
        shutil.rmtree(project.root / ".dvc/cache/mlrepro")
        project.mlrepro("run", f"{tmp_path}/ann/bin/python", "train.py", check=True)
    bare = wheels.made(tmp_path / "bob", links=offline, python=BASE)
    project.mlrepro("lock", "last", check=True)
    shutil.rmtree(ann.parent)
    shutil.rmtree(tmp_path / "ann")

    done = project.mlrepro("rebuild", "--json", "last", env=active_in(bare))

    report = json.loads(done.stdout)
    assert (done.returncode, report["verdict"], report["environment"]) == (0, "identical", [])


def test_a_rebuild_names_what_was_edited_in_the_recorded_environment(project, offline, tmp_path):
    wheels.numlib(offline, "1.0")
    prefix = wheels.made(tmp_path / "ann", "numlib", links=offline, python=BASE)
    module = wheels.packages_of(prefix) / "numlib.py"
    text = module.read_text().replace("n * 1.0", "n * 1.5")
    module.unlink()  # uv's cache has the same file
    edit(module, text)
    project.write(
        "train.py", "import json, numlib\njson.dump([numlib.weight(3)], open('model.json', 'w'))\n"
    )
    project.commit()
    run = project.mlrepro("run", "python", "train.py", env=active_in(prefix), check=True)
    project.mlrepro("lock", "last")  # by name and version: a folder's wheels have no hashes

    as_it_is = project.mlrepro("rebuild", "--json", "last", env=active_in(prefix))
    edit(module, text.replace("1.5", "1.0"))
    expected = project.mlrepro("rebuild", "--dry-run", "last", env=active_in(prefix))
    done = project.mlrepro("rebuild", "--json", "last", env=active_in(prefix))

    assert "installed: numlib.py; no lock brings that back" in " ".join(expected.stdout.split())
    assert "numlib 1.0 was changed after it was installed: numlib.py" in run.stderr
    assert json.loads(as_it_is.stdout)["verdict"] == "identical"
    (change,) = json.loads(done.stdout)["environment"]
    assert change["what"] == "files of numlib 1.0"
    assert change["current"] == "numlib.py as installed"
    assert json.loads(done.stdout)["verdict"] == "drifted"


def test_a_package_from_a_folder_outside_the_project_is_named(project, offline, tmp_path):
    prefix = wheels.made(tmp_path / "ann", links=offline, python=BASE)
    source = tmp_path / "mylib" / "src"
    source.mkdir(parents=True)
    (source / "mylib.py").write_text("W = 3\n")
    wheels.develop(prefix, "mylib", "0.1", source, {})
    project.write("train.py", "import mylib\nopen('model.txt', 'w').write(str(mylib.W))\n")
    project.commit()

    run = project.mlrepro("run", "python", "train.py", env=active_in(prefix), check=True)
    done = project.mlrepro("rebuild", "--env", "current", "model.txt", env=active_in(prefix))

    sentence = "`mylib` is installed from a folder outside the project: a colleague has to have it"
    assert sentence in run.stderr
    assert done.returncode == 0
    assert "writes there too" not in done.stdout + done.stderr
