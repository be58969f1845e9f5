"""Our bytes against those of the real `dvc add`, in two copies of one repository."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from mlrepro.errors import StoreError
from mlrepro.stores import dvc

# DVC's own dependencies warn; what they say is not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore")

LONG = "word " * 30 + "end"


@pytest.fixture(scope="module")
def real():
    """`dvc add` in this process: the same code as the command, without 0.7 s for each start."""
    from dvc.repo import Repo

    def add(project, *names: str) -> None:
        with Repo(str(project.root)) as repo:
            repo.add([str(project.root / name) for name in names])

    return add


@pytest.fixture
def twins(project, tmp_path):
    """Two copies of a repository: ours, and the one where DVC itself acts."""

    def make():
        theirs = tmp_path / "theirs"
        shutil.copytree(project.root, theirs, symlinks=True)
        return project, type(project)(theirs)

    return make


def ours(project, *names: str) -> list[Path]:
    stores = dvc.stores(project.root)
    ignore = dvc.ignore_rules(project.root)
    outputs = {
        project.root / name: stores.add(project.root / name, into_dvc=True, ignore=ignore)
        for name in names
    }
    return dvc.keep(project.root, outputs, notify=lambda _: None)


def everything(project) -> dict[str, tuple[int, bytes]]:
    """Every file that DVC writes: mode and bytes of objects, pointers and .gitignore files."""
    found = {}
    cache = project.root / ".dvc" / "cache"
    for path in sorted(project.root.rglob("*")):
        name = path.relative_to(project.root).as_posix()
        is_object = path.is_relative_to(cache / "files")
        if path.name == ".gitignore" or path.suffix == ".dvc" or is_object:
            content = b"" if path.is_dir() else path.read_bytes()
            found[name] = (stat.S_IMODE(path.stat().st_mode), content)
    return found


NAMES = [
    "model.txt",
    "true",
    "12",
    "1e5",
    ".5",
    "~",
    "a: b",
    "#h",
    "!x",
    "- x",
    "st*r[1]?",
    " lead",
    "trail ",
    "back\\slash",
    "ünï 𝄞",
    "quote\"x'y",
    "new\nline",
    "tab\tx",
    "caf\u00e9",
    "cafe\u0301",
    "{a}",
    "null",
    LONG,
]


def test_files_of_any_name_are_kept_as_dvc_add_keeps_them(twins, real, project):
    for number, name in enumerate(NAMES):
        project.write(name, f"{number % 3}")
    project.write(".gitignore", "*.pyc")
    mine, theirs = twins()

    ours(mine, *NAMES)
    real(theirs, *NAMES)

    assert everything(mine) == everything(theirs)
    assert len(list(mine.root.glob("*.dvc"))) == len(NAMES) + 1  # and .dvc itself


def test_empty_large_executable_and_linked_files_are_kept_as_dvc_add_keeps_them(
    twins, real, project
):
    project.write("empty", b"")
    project.write("large", os.urandom(9 * 2**20 + 1))
    project.write("tool", "#!/bin/sh").chmod(0o755)
    project.write("private", "x").chmod(0o600)
    project.write("sub/deep/model.bin", "m")
    project.write("target", "linked to")
    (project.root / "link").symlink_to("target")
    names = ["empty", "large", "tool", "private", "sub/deep/model.bin", "link"]
    mine, theirs = twins()

    ours(mine, *names)
    real(theirs, *names)

    assert everything(mine) == everything(theirs)
    assert (mine.root / "link").is_symlink()
    assert mine.dvc("status").stdout.strip() == "Data and pipelines are up to date."


def test_folders_are_kept_as_dvc_add_keeps_them(twins, real, project):
    for name in ("b", "a", "sub/ü b", "sub/B", "sub.x", "z/y/x"):
        project.write(f"data/{name}", name)
    (project.root / "data" / "nothing" / "here").mkdir(parents=True)
    (project.root / "data" / "to-file").symlink_to("a")
    (project.root / "data" / "to-folder").symlink_to("sub")
    (project.root / "data" / "a").chmod(0o700)
    (project.root / "hollow").mkdir()
    mine, theirs = twins()

    ours(mine, "data", "hollow")
    real(theirs, "data", "hollow")

    assert everything(mine) == everything(theirs)
    assert mine.dvc("status").stdout.strip() == "Data and pipelines are up to date."


DVCIGNORE = [
    "*.tmp\n/data/top\n!keep.tmp\n",
    "logs/\n",
    "data/**/x\n# no\n\n a\\ b \n",
    "**/deep/*\n",
]


@pytest.mark.parametrize("rules", DVCIGNORE)
def test_dvcignore_rules_hold_inside_folders(twins, real, project, rules):
    for name in ("a", "x", "top", "b.tmp", "keep.tmp", "logs/l", "sub/logs", "sub/x", "deep/o/p"):
        project.write(f"data/{name}", name)
    for name in (".git/config", ".hg/y", "nested/.dvc/config", "nested/file"):
        project.write(f"data/inner/{name}", name)
    project.write(".dvcignore", rules)
    mine, theirs = twins()

    ours(mine, "data")
    real(theirs, "data")

    assert everything(mine) == everything(theirs)


def test_dvcignore_files_of_folders_in_between_hold_for_what_lies_below(twins, real, project):
    for name in ("a.tmp", "b", "c/b", "c/d.tmp", "anchored", "c/anchored", "e/f", "g/e/f"):
        project.write(f"x/y/data/{name}", name)
    project.write(".dvcignore", "*.tmp\n")
    project.write("x/.dvcignore", "!a.tmp\n/y/data/anchored\ny/data/e/\n")
    project.write("x/y/.dvcignore", "b\n!c/b\n")
    mine, theirs = twins()

    ours(mine, "x/y/data")
    real(theirs, "x/y/data")

    assert everything(mine) == everything(theirs)


MD5 = "acbd18db4cc2f85cedef654fccc4a4d8"
OLD = {
    "our own": f"outs:\n- md5: {MD5}\n  size: 3\n  hash: md5\n  path: m\n",
    "of DVC 2": f"outs:\n- md5: {MD5}\n  size: 3\n  path: m\n",
    "other order": f"outs:\n- path: m\n  hash: md5\n  md5: {MD5}\n",
    "more fields": f"""\
# my model
desc: the best
meta:
  owner: Ann   # she
  list: [1, 2]
outs:
- md5: {MD5}
  size: 3
  hash: md5
  path: m
  desc: weights
  type: model
  labels:
  - x
  remote: far
  persist: true
frozen: true
""",
    "was a folder": f"outs:\n- md5: {MD5}.dir\n  size: 3\n  nfiles: 1\n  hash: md5\n  path: m\n",
    "was a tool": f"outs:\n  - md5: {MD5}\n    isexec: true\n    path: m\n    push: false\n",
}


@pytest.mark.parametrize("old", OLD.values(), ids=OLD)
def test_a_pointer_that_is_there_keeps_what_else_it_says(twins, real, project, old):
    project.write("m", "new content")
    project.write("m.dvc", old)
    project.write(".gitignore", "/m\n")
    mine, theirs = twins()

    ours(mine, "m")
    real(theirs, "m")

    assert everything(mine) == everything(theirs)


IGNORES = [
    "",
    "foo",
    "foo\n",
    "/m\n",
    "m\n",
    "/data",
    "*.x\r\n",
    "\n",
    "/M\n",
    "!m\n",
    "data/\n",
    "data/*\n",
]


@pytest.mark.parametrize("text", IGNORES)
def test_gitignore_gets_the_lines_that_dvc_writes(twins, real, project, text):
    project.write("m", "x")
    project.write("data/f", "x")
    project.write(".gitignore", text)
    mine, theirs = twins()

    ours(mine, "m", "data")
    real(theirs, "m", "data")

    assert everything(mine) == everything(theirs)


REFUSED = {
    "ignored": lambda p: p.write(".gitignore", "*.dvc\n"),
    "tracked": lambda p: p.git("add", "m"),
    "inside": lambda p: p.write(
        "sub.dvc", "outs:\n- md5: acbd18db4cc2f85cedef654fccc4a4d8.dir\n  path: sub\n"
    ),
    "holds": lambda p: p.write("data/.dvcignore", "x"),
    "not text": lambda p: p.write(os.fsdecode(b"data/no-utf8-\xff"), "x"),
    "damaged": lambda p: p.write("m.dvc", "outs: ["),
}
TARGET = {"inside": "sub/x", "holds": "data", "not text": "data"}


@pytest.mark.parametrize("why", REFUSED)
def test_what_dvc_add_refuses_is_refused_and_nothing_is_written(twins, real, project, why):
    for name in ("m", "sub/x", "data/f"):
        project.write(name, "x")
    REFUSED[why](project)
    mine, theirs = twins()
    name = TARGET.get(why, "m")
    before = everything(mine)

    with pytest.raises(StoreError):
        ours(mine, name)

    if why != "inside":  # there DVC updates the folder's own pointer instead
        with pytest.raises(Exception):  # noqa: B017, PT011  DVC's own, of any kind
            real(theirs, name)
    after = everything(mine)
    assert {n: c for n, c in after.items() if ".dvc/cache" not in n} == before


def test_dvc_push_and_pull_work_on_what_we_kept(project, tmp_path):
    project.write("model.txt", "weights")
    project.write("data/a/b", "b")
    project.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "remote"))

    ours(project, "model.txt", "data")
    project.dvc("push", "-q")
    shutil.rmtree(project.root / ".dvc" / "cache")
    shutil.rmtree(project.root / "data")
    (project.root / "model.txt").unlink()
    project.dvc("pull", "-q")

    assert (project.root / "model.txt").read_text() == "weights"
    assert (project.root / "data" / "a" / "b").read_text() == "b"
    assert "up to date" in project.dvc("status").stdout
