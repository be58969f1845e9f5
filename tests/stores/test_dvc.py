"""The adapter of DVC: settings, pointers, its lock, its pipelines, and `dvc gc`."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import threading

import pytest

from mlrepro.errors import DvcError, LockTimeoutError, ManifestError
from mlrepro.manifest import Digest
from mlrepro.stores import dvc, dvclock, objects

MD5 = "acbd18db4cc2f85cedef654fccc4a4d8"
POINTER = f"outs:\n- md5: {MD5}\n  size: 3\n  hash: md5\n  path: model.txt\n"


def quiet(_: str) -> None:
    """Take a notice and do nothing."""


def keep(project, *names: str, notify=quiet):
    stores = dvc.stores(project.root)
    outputs = {project.root / n: stores.add(project.root / n, into_dvc=True) for n in names}
    return dvc.keep(project.root, outputs, notify=notify)


# -- settings


def test_settings_come_from_dvcs_four_files_in_its_order(project, home):
    project.dvc("remote", "add", "-d", "near", "../remote")
    project.dvc("remote", "add", "--global", "far place", "s3://bucket/x")
    project.dvc("config", "--global", "core.remote", "far place")
    project.dvc("config", "--local", "core.autostage", "true")

    assert dvc.setting(project.root, "core.remote") == "near"
    assert dvc.setting(project.root, "core.autostage") == "true"
    assert dvc.setting(project.root, "remote.near.url") == str(project.root.parent / "remote")
    assert dvc.setting(project.root, "remote.far place.url") == "s3://bucket/x"
    assert dvc.setting(project.root, "core.check_update") is None


@pytest.mark.parametrize("level", ["--local", "--global", "--project"])
def test_the_cache_is_where_dvc_has_it(project, level, tmp_path):
    project.dvc("cache", "dir", level, str(tmp_path / "shared cache"))
    said = project.dvc("cache", "dir").stdout.strip()

    assert dvc.cache_dir(project.root) == tmp_path / "shared cache"
    assert str(dvc.cache_dir(project.root)) == said


def test_the_cache_is_in_dvc_or_without_dvc_in_mlrepros_own_folder(project, tmp_path):
    assert dvc.cache_dir(project.root) == project.root / ".dvc" / "cache"
    assert dvc.cache_dir(tmp_path) == tmp_path / ".mlrepro" / "cache"


def test_a_linked_worktree_has_its_own_dvc(project, tmp_path):
    project.git("worktree", "add", "-q", str(tmp_path / "tree"))
    (tmp_path / "tree" / "model.txt").write_text("x")
    stored = dvc.stores(tmp_path / "tree").add(tmp_path / "tree" / "model.txt", into_dvc=True)

    dvc.keep(tmp_path / "tree", {tmp_path / "tree" / "model.txt": stored}, notify=quiet)

    assert "up to date" in project.dvc("status", cwd=tmp_path / "tree").stdout


def test_init_does_what_dvc_init_does(home, tmp_path):
    for name, with_git in (("git", True), ("plain", False)):
        root = tmp_path / name
        root.mkdir()
        if with_git:
            subprocess.run(["git", "init", "-q"], cwd=root, check=True)

        dvc.init(root)

        assert dvc.is_initialised(root)
        assert (dvc.setting(root, "core.no_scm") is None) == with_git
    with pytest.raises(DvcError, match="could not be initialised"):
        dvc.init(tmp_path / "git")


# -- pointers


def test_a_pointer_is_read_with_its_working_directory(project):
    project.write("a.dvc", f"wdir: sub\nouts:\n- md5: {MD5}.dir\n  nfiles: 2\n  path: data\n")

    pointer = dvc.read_pointer(project.root / "a.dvc")

    assert pointer == dvc.Pointer("sub/data", Digest("md5", f"{MD5}.dir"), None, 2)


HOSTILE = {
    "damaged": "outs: [",
    "no outs": "foo: 1\n",
    "two": f"outs:\n- md5: {MD5}\n  path: a\n- md5: {MD5}\n  path: b\n",
    "climbs": f"outs:\n- md5: {MD5}\n  path: ../x\n",
    "climbs by wdir": f"wdir: ..\nouts:\n- md5: {MD5}\n  path: x\n",
    "absolute": f"outs:\n- md5: {MD5}\n  path: /etc/passwd\n",
    "no digest": "outs:\n- path: x\n",
    "object": "outs: !!python/object/apply:os.system ['true']\n",
    "digest leaves": "outs:\n- md5: ../../../../etc/passwd\n  path: x\n",
    "empty": "",
    "list": "- 1\n",
    "path is a list": f"outs:\n- md5: {MD5}\n  path: [x]\n  size: -1\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_damaged_or_hostile_pointer_is_refused(project, text):
    path = project.write("x.dvc", text)

    with pytest.raises(ManifestError):
        dvc.read_pointer(path)


def test_an_absent_pointer_is_an_error(project):
    with pytest.raises(ManifestError):
        dvc.read_pointer(project.root / "absent.dvc")


# -- keep


def test_keep_says_what_git_add_should_take(project):
    project.write("model.txt", "x")
    project.write("deep/model.txt", "x")

    changed = keep(project, "model.txt", "deep/model.txt")

    names = sorted(str(path.relative_to(project.root)) for path in changed)
    assert names == [".gitignore", "deep/.gitignore", "deep/model.txt.dvc", "model.txt.dvc"]
    assert not (project.root / "model.txt").stat().st_nlink > 1
    project.git("add", *names)
    assert project.git("status", "--porcelain", "--untracked-files=all").count("\n") == 3


def test_keep_writes_all_or_nothing(project):
    project.write("model.txt", "x")
    project.write("other.txt", "x")
    project.write("other.txt.dvc", "outs: [")

    with pytest.raises(DvcError, match=r"other\.txt\.dvc"):
        keep(project, "model.txt", "other.txt")

    assert not (project.root / "model.txt.dvc").exists()
    assert not (project.root / ".gitignore").exists()


def test_a_write_that_fails_puts_everything_back(project, monkeypatch):
    for name in ("a", "b"):
        project.write(name, "x")
    project.write(".gitignore", "mine\n")
    real, count = os.replace, iter(range(10))

    def third_fails(source, target):
        if next(count) == 2:
            raise OSError(28, "No space left on device", str(target))
        real(source, target)

    monkeypatch.setattr("mlrepro.paths.os.replace", third_fails)

    with pytest.raises(DvcError, match="No space left"):
        keep(project, "a", "b")

    assert (project.root / ".gitignore").read_text() == "mine\n"
    assert sorted(p.name for p in project.root.iterdir() if p.is_file()) == [
        ".dvcignore",
        ".gitignore",
        "a",
        "b",
    ]


def test_without_git_there_is_no_gitignore(home, tmp_path):
    root = tmp_path / "plain"
    root.mkdir()
    dvc.init(root)
    (root / "m").write_text("x")
    stored = dvc.stores(root).add(root / "m", into_dvc=True)

    changed = dvc.keep(root, {root / "m": stored}, notify=quiet)

    assert changed == [root / "m.dvc"]


# -- DVC's lock


def hold(project) -> subprocess.Popen:
    """Let DVC itself take its lock in another process, and keep it until told."""
    code = (
        "import sys\nfrom dvc.repo import Repo\nrepo = Repo()\n"
        "with repo.lock:\n    print('held', flush=True)\n    sys.stdin.read(1)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=project.root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.parametrize("hardlink", ["false", "true"])
def test_we_wait_for_dvcs_lock_with_one_message(project, hardlink):
    project.dvc("config", "core.hardlink_lock", hardlink)
    project.write("m", "x")
    notices = []
    process = hold(project)

    def notify(sentence: str) -> None:
        notices.append((sentence, (project.root / "m.dvc").exists()))
        process.communicate("x")

    keep(project, "m", notify=notify)

    assert [(sentence[:7], there) for sentence, there in notices] == [("waiting", False)]
    assert (project.root / "m.dvc").exists()


@pytest.mark.parametrize("hardlink", ["false", "true"])
@pytest.mark.filterwarnings("ignore")
def test_dvc_is_kept_out_while_we_hold_its_lock(project, hardlink, monkeypatch):
    from dvc.lock import LockError
    from dvc.repo import Repo

    monkeypatch.setattr("dvc.lock.DEFAULT_TIMEOUT", 0.1)
    project.dvc("config", "core.hardlink_lock", hardlink)
    project.write("m", "x")
    with Repo() as repo:
        with dvclock.locked(project.root, notify=quiet), pytest.raises(LockError):
            repo.add(["m"])
        assert not (project.root / "m.dvc").exists()
        repo.add(["m"])

    assert (project.root / "m.dvc").exists()


@pytest.mark.parametrize("hardlink", ["false", "true"])
def test_we_give_up_on_a_lock_that_nobody_lets_go(project, hardlink):
    project.dvc("config", "core.hardlink_lock", hardlink)
    process = hold(project)
    try:
        with (
            pytest.raises(LockTimeoutError),
            dvclock.locked(project.root, notify=quiet, patience=0.1),
        ):
            raise AssertionError("the lock was taken twice")
    finally:
        process.communicate("x")
    assert not list((project.root / ".dvc" / "tmp").glob("mlrepro-*"))


def test_two_of_us_do_not_hold_the_lock_at_once(project):
    inside = []

    def enter(number: int) -> None:
        with dvclock.locked(project.root, notify=quiet):
            inside.append(number)
            with (
                (project.root / ".dvc/tmp/lock").open() as file,
                pytest.raises(BlockingIOError),
            ):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            inside.append(number)

    threads = [threading.Thread(target=enter, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert inside[::2] == inside[1::2]


# -- pipelines

PIPELINE = """\
vars:
- names: [x, y]
- where: {out: models}
stages:
  plain:
    cmd: train
    outs:
    - model.txt
    - cached.txt: {cache: false}
    metrics:
    - metrics.json:
        cache: false
    plots:
    - roc.csv: {x: fpr}
  placed:
    wdir: sub
    cmd: train
    outs: [../up.txt, down/]
  template:
    cmd: train
    outs: ["${where.out}/${lr}.txt", "${names[1]}.bin"]
  each:
    foreach: ${names}
    do:
      cmd: train ${item}
      outs: ["each-${item}.pkl"]
  keyed:
    foreach: {a: {n: 1}, b: {n: 2}}
    do: {cmd: x, outs: ["${key}-${item.n}.pkl"]}
  grid:
    matrix: {m: [r, s], n: [1, 2]}
    cmd: x
    outs: ["grid-${item.m}${item.n}"]
  unclear:
    cmd: x
    outs: ["out/${unknown.thing}.pkl"]
"""


def test_outputs_of_stages_are_owned(project):
    project.write("dvc.yaml", PIPELINE)
    project.write("params.yaml", "lr: 0.1\n")

    owned = dvc.owned(project.root)

    for path in (
        *("model.txt", "cached.txt", "metrics.json", "roc.csv", "up.txt", "sub/down/deep/file"),
        *("models/0.1.txt", "y.bin", "each-x.pkl", "each-y.pkl", "a-1.pkl", "b-2.pkl"),
        *("grid-r1", "grid-s2", "out/anything.pkl"),
    ):
        assert path in owned, path
    for path in ("other.txt", "sub/up.txt", "each-z.pkl", "models", "out/x.txt", "x.bin"):
        assert path not in owned, path
    assert owned.unsure == {"out/*.pkl"}


def test_dvc_agrees_about_what_is_owned(project):
    project.write("dvc.yaml", PIPELINE.split("  unclear:", maxsplit=1)[0])
    project.write("params.yaml", "lr: 0.1\n")
    code = (
        "from dvc.repo import Repo\nimport os\n"
        "print(*sorted(os.path.relpath(o.fs_path) for s in Repo().index.stages for o in s.outs))"
    )

    theirs = project.call(sys.executable, "-c", code).stdout.split()

    assert sorted(dvc.owned(project.root)) == theirs


def test_a_pipeline_below_the_root_and_its_lock_count_too(project):
    project.write("deep/dvc.yaml", "stages:\n  s@1: {}\n  t: {cmd: x, wdir: w, outs: [o]}\n")
    lock = "schema: '2.0'\nstages:\n  t:\n    cmd: x\n    outs:\n    - path: locked\n      md5: x\n"
    project.write("deep/dvc.lock", lock)
    project.git("add", "-A")

    assert sorted(dvc.owned(project.root)) == ["deep/w/locked", "deep/w/o"]


@pytest.mark.parametrize(
    "text", ["", "stages: [", "stages: 3", "- x", "stages: {a: {outs: [1, {}]}}"]
)
def test_a_damaged_pipeline_owns_nothing(project, text):
    project.write("dvc.yaml", text)

    assert not dvc.owned(project.root)


# -- dvc gc

MODES = [["-w"], ["-a", "-T"], ["-A"], ["--all-experiments"], ["-w", "-c"]]


@pytest.mark.parametrize("mode", MODES, ids=" ".join)
def test_dvc_gc_loses_no_recorded_run(project, tmp_path, mode):
    project.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "remote"))
    stores = dvc.stores(project.root)
    project.write("model/a", "first")
    first = stores.add(project.root / "model", into_dvc=True)
    keep(project, "model")
    dvc.push(project.root, [first.digest])
    dvc.push(project.root, [first.digest], nested=False)
    project.write("model/a", "second")
    keep(project, "model")
    project.commit("the second model")

    project.dvc("gc", "-f", "-q", *mode)

    assert not stores.dvc.path(first.digest).exists()
    assert stores.missing([first.digest]) == []
    assert dvc.verify_remote(project.root, [first.digest]) == []
    if "-c" in mode:
        assert dvc.verify_remote(project.root, [first.digest], nested=False) != []


def test_the_hot_path_imports_nothing_slow(tmp_path):
    code = (
        "import sys\nfrom mlrepro.stores import dvc, objects\n"
        "slow = {'dvc', 'ruamel', 'pathspec', 'sqlite3', 'concurrent.futures', 'platformdirs'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_subfolder_with_its_own_dvc_is_a_root_of_its_own(project):
    below = project.root / "below"
    below.mkdir()
    shutil.copytree(project.root / ".dvc", below / ".dvc")
    (below / "m").write_text("x")

    stored = dvc.stores(below).add(below / "m", into_dvc=True)
    changed = dvc.keep(below, {below / "m": stored}, notify=quiet)

    assert [path.relative_to(below).as_posix() for path in changed] == [".gitignore", "m.dvc"]
    assert "lies in another DVC repository" in dvc.obstacle(project.root, below / "m")
    assert isinstance(stored, objects.Stored)
