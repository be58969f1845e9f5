"""Locks of environments: made beside a training, completed by `mlrepro lock`, shared by git."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from mlrepro.commands import exportlock, listing, locker, sharing
from mlrepro.commands import lock as locking
from mlrepro.commands.run import run
from mlrepro.errors import LockError
from mlrepro.locks import Requirement
from mlrepro.present import text
from mlrepro.stores import git, ledger, ledgerlocks
from tests.cleanroom import wheels
from tests.stores.index import digest, served

BASE = Path(os.path.realpath(sys.executable))
TRAIN = "import alpha\nopen('model.txt', 'w').write(alpha.V)\n"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory) -> tuple[Path, Path]:
    """Wheels, and an environment with alpha and beta."""
    top = tmp_path_factory.mktemp("shelf")
    for name in ("alpha", "beta"):
        wheels.wheel(top / "wheels", name, "1.0", {f"{name}.py": "V = '1.0'\n"})
    made = wheels.made(top / "ann", "alpha", "beta", links=top / "wheels", python=BASE)
    return top / "wheels", made


@pytest.fixture
def training(project, shelf, monkeypatch):
    """A project whose runs make locks, however slow the machine is."""
    monkeypatch.setenv("MLREPRO_LOCK", "on")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setattr(locker, "_PATIENCE", 60.0)
    project.write("train.py", TRAIN)
    project.commit("training")
    return project


@pytest.fixture
def index(shelf, monkeypatch):
    with served(shelf[0]) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.address)
        yield index


def train(project, prefix: Path):
    """Record a training; return its record and the lock of its environment."""
    result = run([str(prefix / "bin/python"), "train.py"], start=project.root)
    record = result.recorded.manifest
    assert not result.troubles
    return record, found(project, record)


def said(command, *arguments, **options) -> str:
    """Return what a command shows at a terminal."""
    return text.render(command(*arguments, **options))


def found(project, record):
    return ledgerlocks.get(git.open_repository(project.root), record.environment.fingerprint)


def with_beta_off_the_index(shelf, tmp_path) -> Path:
    """Return a folder of wheels that has alpha alone."""
    folder = tmp_path / "less"
    folder.mkdir()
    (folder / "alpha-1.0-py3-none-any.whl").symlink_to(shelf[0] / "alpha-1.0-py3-none-any.whl")
    return folder


def test_a_run_leaves_the_lock_of_its_environment_with_all_hashes(training, index, shelf):
    record, lock = train(training, shelf[1])

    assert [(one.pin, one.hashes) for one in lock.requirements] == [
        (f"{name}==1.0", (digest(shelf[0] / f"{name}-1.0-py3-none-any.whl"),))
        for name in ("alpha", "beta")
    ]
    assert lock.python == record.environment.python
    assert listing.shown("last").lock == "all 2 packages hashed"


def test_the_environment_is_restored_from_the_lock_alone(training, index, shelf, tmp_path):
    _, lock = train(training, shelf[1])
    (tmp_path / "lock.txt").write_text(lock.to_text())
    other = wheels.made(tmp_path / "other", links=shelf[0], python=BASE)

    subprocess.run(
        ["uv", "pip", "install", "-q", "--require-hashes", "--python", other / "bin/python",
         "-r", tmp_path / "lock.txt"],
        check=True,
    )  # fmt: skip

    assert (wheels.packages_of(other) / "alpha.py").exists()


def test_a_package_that_the_index_lacks_leaves_the_others_hashed(
    training, shelf, tmp_path, monkeypatch
):
    with served(with_beta_off_the_index(shelf, tmp_path)) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.address)
        _, lock = train(training, shelf[1])
        shown = said(locking.lock, "last")

    assert [(one.name, one.unhashed) for one in lock.unhashed] == [("beta", "not on the index")]
    assert lock.hashed == 1
    assert "1 of 2 packages hashed" in shown
    assert "beta  1.0  unhashed  not on the index" in shown


def test_a_package_that_the_index_has_later_is_added_by_mlrepro_lock(
    training, shelf, tmp_path, monkeypatch
):
    with served(with_beta_off_the_index(shelf, tmp_path)) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.address)
        record, _ = train(training, shelf[1])
    with served(shelf[0]) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.address)
        first = training.mlrepro("lock", "--json")
        second = locking.lock("last")

    assert first.returncode == 0
    assert (json.loads(first.stdout)["hashed"], json.loads(first.stdout)["changed"]) == (2, True)
    assert (second.hashed, second.changed) == (2, False)
    assert found(training, record).hashed == 2
    assert len(ledger.entries(git.open_repository(training.root))) == 1


def test_without_an_index_a_run_is_recorded_without_a_word(training, shelf, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")

    record, lock = train(training, shelf[1])

    assert lock is None
    assert f"none yet; `mlrepro lock {record.short}`" in said(listing.shown, "last")
    with pytest.raises(LockError, match="no index was reached"):
        locking.lock("last")


def test_an_index_that_was_not_reached_is_not_asked_at_the_next_run(training, shelf, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    train(training, shelf[1])
    with served(shelf[0]) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.address)
        _, lock = train(training, shelf[1])

        assert not index.asked
        assert lock is None


def test_an_index_that_does_not_answer_holds_up_no_run(training, shelf, monkeypatch):
    ever = threading.Event()
    with served(shelf[0], until=ever) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.address)
        monkeypatch.setattr(locker, "_PATIENCE", 0.3)
        _, lock = train(training, shelf[1])
        ever.set()
    with served(shelf[0]) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.address)
        monkeypatch.setattr(locker, "_PATIENCE", 60.0)
        _, later = train(training, shelf[1])

    assert lock is None
    assert later.hashed == 2


def test_without_uv_a_run_is_recorded_without_a_word(training, index, shelf, monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    for name in ("git", "nice"):
        (tmp_path / "bin" / name).symlink_to(
            subprocess.check_output(["which", name], text=True).strip()
        )
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setitem(sys.modules, "uv", None)

    _, lock = train(training, shelf[1])

    assert lock is None
    assert not index.asked


def test_two_runs_of_one_environment_share_one_lock(training, index, shelf):
    first, _ = train(training, shelf[1])
    asked = len(index.asked)
    second, lock = train(training, shelf[1])

    log = training.git("for-each-ref", "--format=%(refname)", "refs/mlrepro/log")
    paths = training.git("ls-tree", "-r", "--name-only", log).splitlines()
    assert first.environment.fingerprint == second.environment.fingerprint == lock.fingerprint
    assert len([path for path in paths if path.startswith("environments/")]) == 1
    assert len(index.asked) == asked


def test_credentials_of_the_index_are_nowhere_in_the_repository(training, shelf, monkeypatch):
    with served(shelf[0], user="ann:t0psecret") as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.address)
        _, lock = train(training, shelf[1])
        shown = said(locking.lock, "last")

    assert lock.hashed == 2
    assert lock.indexes == (f"http://127.0.0.1:{index.port}/simple",)
    assert f"asked beside the usual index: http://127.0.0.1:{index.port}/simple" in shown
    for name in training.git(
        "cat-file", "--batch-all-objects", "--batch-check=%(objectname)"
    ).split():
        assert "t0psecret" not in training.git("cat-file", "-p", name, errors="replace")
    assert "t0psecret" not in "".join(
        path.read_text(errors="replace") for path in training.root.rglob("*.y*ml")
    )


@pytest.mark.parametrize("how", ["variable", "setting"])
def test_who_wants_no_locks_gets_none(training, index, shelf, monkeypatch, how):
    if how == "variable":
        monkeypatch.setenv("MLREPRO_LOCK", "off")
    else:
        monkeypatch.delenv("MLREPRO_LOCK")
        training.write("pyproject.toml", "[tool.mlrepro]\nlock = false\n")

    _, lock = train(training, shelf[1])

    assert lock is None
    assert not index.asked


def test_what_is_editable_in_the_project_travels_with_its_code(training, index, shelf, tmp_path):
    own = wheels.made(tmp_path / "own", "alpha", links=shelf[0], python=BASE)
    training.write("src/mine.py", "V = 1\n")
    wheels.develop(own, "mine", "0.1", training.root / "src", {})
    training.commit("a package of its own")

    _, lock = train(training, own)

    assert {one.name: one.source for one in lock.requirements} == {"alpha": "", "mine": "project:."}
    assert lock.hashed == 2


def test_the_lock_travels_between_two_clones(training, index, shelf, tmp_path):
    training.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    training.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    training.write(
        ".dvc/config", f"[core]\nremote = store\n['remote \"store\"']\nurl = {tmp_path}/objects\n"
    )
    training.commit("a place for objects")
    training.git("push", "-q", "origin", "main")
    record, lock = train(training, shelf[1])
    sharing.push(confirm=lambda _files: True)
    training.git("clone", "-q", str(tmp_path / "remote.git"), str(tmp_path / "bob"))

    sharing.pull(start=tmp_path / "bob")

    bob = git.open_repository(tmp_path / "bob")
    assert ledgerlocks.get(bob, record.environment.fingerprint) == lock
    assert lock.hashed == 2


def test_a_push_makes_the_locks_that_its_runs_lack(training, index, shelf, tmp_path, monkeypatch):
    monkeypatch.setenv("MLREPRO_LOCK", "off")
    record, before = train(training, shelf[1])
    training.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    training.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    training.write(
        ".dvc/config", f"[core]\nremote = store\n['remote \"store\"']\nurl = {tmp_path}/objects\n"
    )

    monkeypatch.setenv("MLREPRO_LOCK", "on")
    told = []
    sharing.push(confirm=lambda _files: True, notify=told.append)

    assert before is None
    assert "asking the index for the hashes of 2 packages" in told
    assert found(training, record).hashed == 2
    tip = training.git("ls-remote", "origin", "refs/mlrepro/log/*").split()[0]
    assert "environments/" in training.git("ls-tree", "--name-only", "-r", tip)


def test_a_lock_can_be_completed_where_the_run_came_from_elsewhere(training, index, shelf):
    record, lock = train(training, shelf[1])
    repo = git.open_repository(training.root)
    strangers = "refs/mlrepro/remotes/origin/log/stranger"
    training.git(
        "update-ref",
        strangers,
        training.git("for-each-ref", "--format=%(objectname)", "refs/mlrepro/log"),
    )
    for ref in training.git("for-each-ref", "--format=%(refname)", "refs/mlrepro/log").split():
        training.git("update-ref", "-d", ref)

    assert ledgerlocks.get(repo, record.environment.fingerprint) == lock
    ledgerlocks.put(repo, lock.without("beta"))
    assert ledgerlocks.get(repo, record.environment.fingerprint) == lock.without("beta")


def test_a_lock_of_other_packages_than_the_run_had_is_made_anew(training, index, shelf):
    record, honest = train(training, shelf[1])
    repo = git.open_repository(training.root)
    evil = Requirement("evil", "1.0", ("sha256:" + "0" * 64,))
    ledgerlocks.put(repo, replace(honest, requirements=(evil,)))

    locking.lock("last", start=training.root)

    found = ledgerlocks.get(repo, record.environment.fingerprint)
    assert [one.pin for one in found.requirements] == [one.pin for one in honest.requirements]


def test_a_hostile_lock_of_the_ledger_is_none(training, index, shelf):
    record, _ = train(training, shelf[1])
    path = ledgerlocks.place(record.environment.fingerprint)
    blob = training.call(
        "git", "hash-object", "-w", "--stdin", input="--index-url x\n"
    ).stdout.strip()
    ref = training.git("for-each-ref", "--format=%(refname)", "refs/mlrepro/log")
    training.git("read-tree", ref, env={"GIT_INDEX_FILE": "index"})
    training.git(
        "update-index", "--cacheinfo", f"100644,{blob},{path}", env={"GIT_INDEX_FILE": "index"}
    )
    tree = training.git("write-tree", env={"GIT_INDEX_FILE": "index"})
    training.git("update-ref", ref, training.git("commit-tree", "-p", ref, "-m", "x", tree))

    assert found(training, record) is None
    assert "none yet" in said(listing.shown, "last")


def test_a_lock_is_exported_with_addresses_of_the_index_at_hand(training, index, shelf):
    train(training, shelf[1])

    exported = exportlock.pylock(None, "last")

    assert 'name = "alpha"' in exported
    assert f"http://127.0.0.1:{index.port}/files/alpha-1.0-py3-none-any.whl" in exported


def test_files_that_the_lock_does_not_know_are_not_exported(
    training, index, shelf, tmp_path, monkeypatch
):
    train(training, shelf[1])
    for name in ("alpha", "beta"):
        wheels.wheel(tmp_path / "other", name, "1.0", {f"{name}.py": "V = 'other'\n"})
    with served(tmp_path / "other") as other:
        monkeypatch.setenv("UV_DEFAULT_INDEX", other.address)
        with pytest.raises(LockError, match="files of alpha that the lock does not know"):
            exportlock.pylock(None, "last")


def test_a_run_without_python_has_no_environment_to_lock(training):
    run(["sh", "-c", "echo 1 > model.txt"], start=training.root)

    done = training.mlrepro("lock")

    assert done.returncode == 1
    assert "recorded no environment" in done.stderr
