"""`mlrepro doctor`: each check, on a machine and repository that lack something."""

import json
import os
import stat
import time
from pathlib import Path

import pytest

from mlrepro import probe
from mlrepro.cleanroom import mounts
from mlrepro.commands import doctor, hookscripts
from mlrepro.commands.health import Check, Health, State
from mlrepro.errors import UvMissingError
from mlrepro.present import text
from mlrepro.stores import dvc, uv, writers
from mlrepro.stores.place import strict
from tests.commands.test_run import TRAIN


def found(about: str, start: Path | None = None) -> list[Check]:
    """What one check says here."""
    patient = doctor._Patient((start or Path.cwd()).resolve())
    look = dict(doctor.CHECKS)[about]
    return doctor._checked(about, look, patient)


def states(checks) -> list[str]:
    return [check.state.value for check in checks]


def recorded(project):
    project.write("train.py", TRAIN)
    project.write("data.csv", "1\n2\n3\n")
    project.commit("training")
    project.mlrepro("run", "python", "train.py", check=True)


def test_a_repository_in_order_passes_and_each_line_has_a_sentence(project):
    recorded(project)
    project.mlrepro("hook", "install", check=True)

    done = project.mlrepro("doctor", "--json")
    data = json.loads(done.stdout)

    assert done.returncode == 0, done.stdout
    assert data["ok"]
    assert {c["about"] for c in data["checks"]} == {name for name, _ in doctor.CHECKS}
    assert all(c["sentence"] for c in data["checks"])
    assert all(c["hint"] for c in data["checks"] if c["state"] != "ok")
    assert [c["state"] for c in data["checks"] if c["about"] in ("ledger", "hook", "git")] == [
        "ok", "ok", "ok",
    ]  # fmt: skip


def test_outside_a_repository_the_machine_is_looked_at(tmp_path, home, monkeypatch):
    monkeypatch.chdir(tmp_path)

    health = doctor.doctor()

    assert health.ok
    assert [c.state for c in health.checks if c.about == "repository"] == [State.WARN]
    assert {"git", "uv", "observer", "namespaces", "disk"} <= {c.about for c in health.checks}


def test_a_failure_exits_1_and_what_it_prints_fits_the_terminal(project):
    project.git("remote", "add", "origin", "../nowhere")

    done = project.mlrepro("doctor")
    failed = found("repository")[-1]
    health = Health((failed, Check("uv", State.WARN, "no \x1b[2K uv " * 9, "Install it."),
                     Check("git", State.OK, "git 2.39", "never shown")))  # fmt: skip
    narrow, wide = (text.render(health, width=width).splitlines() for width in (60, 120))
    piped = text.render(health).splitlines()

    assert done.returncode == 1
    assert "`origin` does not answer" in done.stdout
    assert max(map(len, narrow)) <= 60
    assert max(map(len, wide)) <= 120
    assert len(piped) == 6
    assert "\x1b" not in "".join(piped)
    assert piped[-1] == "1 warning, 1 failure"
    assert "never shown" not in "".join(piped)


def test_remotes_are_asked(project, tmp_path):
    project.call("git", "init", "-q", "--bare", str(tmp_path / "origin"))
    alone = found("repository")
    project.git("remote", "add", "origin", "../origin")
    none = found("DVC")
    config = f"[core]\n    remote = a\n['remote \"a\"']\n    url = {tmp_path}/store\n"
    project.write(".dvc/config", config + "['remote \"b\"']\n    url = ssh://127.0.0.1:1/x\n")

    answering, remotes = found("repository"), found("DVC")
    (tmp_path / "store").mkdir()
    there = found("DVC")
    project.write(".dvc/config", config.replace(f"{tmp_path}/store", "nosuch://x"))
    broken = found("DVC")

    assert states(alone) == ["ok", "warn"]
    assert states(answering) == ["ok", "ok"]
    assert states(none) == ["warn"]
    assert states(remotes) == ["warn", "warn"]
    assert "does not exist yet" in remotes[0].sentence
    assert "`b`" in remotes[1].sentence
    assert states(broken) == ["fail"]
    assert there[0].sentence == "the default DVC remote `a` answers"


def test_git_without_an_identity_is_a_warning_and_an_old_git_a_failure(project, home, monkeypatch):
    (home / ".gitconfig").write_text("[user]\n\tuseConfigOnly = true\n")
    nameless = found("git")
    bin_ = home / "bin"
    bin_.mkdir()
    (bin_ / "git").write_text("#!/bin/sh\necho git version 2.20.1\n")
    (bin_ / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_}:{os.environ['PATH']}")

    old = found("git")

    assert states(nameless) == ["ok", "warn"]
    assert "user.name" in nameless[1].hint
    assert (old[0].state, "2.20.1" in old[0].sentence) == (State.FAIL, True)


def test_a_missing_uv_is_a_sentence_and_a_hint(project, monkeypatch):
    def missing():
        raise UvMissingError("uv is not installed")

    monkeypatch.setattr(uv, "find", missing)

    check = found("uv")[0]

    assert check.state is State.WARN
    assert "not installed" in check.sentence
    assert check.hint


def test_what_a_machine_cannot_do_is_a_warning(project, monkeypatch):
    monkeypatch.setattr(probe, "library", lambda: None)
    monkeypatch.setattr(probe, "why_not", lambda: "the preload library was not built")
    monkeypatch.setattr(mounts, "available", lambda: False)

    observer, namespaces = found("observer")[0], found("namespaces")[0]

    assert (observer.state, namespaces.state) == (State.WARN, State.WARN)
    assert observer.sentence == "the preload library was not built"
    assert namespaces.hint


@pytest.mark.skipif(probe.library() is None, reason="no native observer here")
def test_an_observer_that_does_not_load_is_a_failure(project, tmp_path, monkeypatch):
    broken = tmp_path / "broken.so"
    broken.write_bytes(b"no library")

    good = found("observer")[0]
    monkeypatch.setattr(probe, "library", lambda: broken)
    bad = found("observer")[0]

    assert good.state is State.OK
    assert bad.state is State.FAIL
    assert "--observer audit" in bad.hint


def test_a_damaged_ledger_is_a_failure(project):
    recorded(project)
    whole = found("ledger")[0]
    log = project.git("for-each-ref", "--format=%(refname)", "refs/mlrepro/log")
    blobs = project.git("ls-tree", "-r", log).splitlines()
    name = next(line.split()[2] for line in blobs if line.endswith("manifest.json"))
    loose = project.root / ".git/objects" / name[:2] / name[2:]
    (project.root / ".mlrepro/index.json").unlink()
    loose.chmod(stat.S_IRUSR | stat.S_IWUSR)
    loose.unlink()

    broken = found("ledger")

    assert (whole.state, "1 run of 1 clone" in whole.sentence) == (State.OK, True)
    assert set(states(broken)) == {"fail"}


def test_the_hook_is_told_apart_from_anothers(project):
    absent = found("hook")[0]
    hookscripts.install(project.root)
    ours = found("hook")[0]
    hook = project.root / ".git/hooks/pre-commit"
    hook.write_text(hook.read_text() + "# edited\n")
    edited = found("hook")[0]
    hook.write_text("#!/bin/sh\n")
    replaced = found("hook")[0]

    assert states([absent, ours, edited, replaced]) == ["warn", "ok", "warn", "warn"]
    assert "edited: pre-commit" in edited.sentence
    assert "not installed: pre-commit" in replaced.sentence


def test_a_killed_run_and_a_left_room_are_named(project, home):
    folder = project.root / ".mlrepro/running/" / ("a" * 32)
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    (home / ".cache/mlrepro/rooms/12345678").mkdir(parents=True)

    remains = found("remains")

    assert states(remains) == ["warn", "warn"]
    assert "killed" in remains[0].sentence
    assert "1 clean room" in remains[1].sentence


def test_little_space_is_a_warning_and_none_a_failure(project, monkeypatch):
    for free, state in ((10**12, "ok"), (10**9, "warn"), (10**6, "fail")):
        usage = lambda _path, free=free: type("usage", (), {"free": free})  # noqa: E731
        monkeypatch.setattr(doctor.shutil, "disk_usage", usage)

        assert states(found("disk"))[0] == state


def test_a_clock_that_is_wrong_is_a_warning(project, monkeypatch):
    recorded(project)
    right = found("clock")[0]
    monkeypatch.setattr(doctor.time, "time", lambda: time.time_ns() / 1e9 + 3600)

    wrong = found("clock")[0]

    assert (right.state, wrong.state) == (State.OK, State.WARN)
    assert "3600 s" in wrong.sentence


def test_the_writer_of_this_clone_is_named(project):
    before = found("writer")[0]
    name = writers.own(strict(project.root).repository)

    assert "recorded nothing yet" in before.sentence
    assert name in found("writer")[0].sentence


def test_a_check_that_breaks_is_a_failure_and_the_others_go_on(project, monkeypatch):
    def broken(_path):
        raise PermissionError(13, "Permission denied", "/cache")

    monkeypatch.setattr(dvc, "cache_dir", broken)

    health = doctor.doctor()

    assert not health.ok
    assert [c.sentence for c in health.checks if c.about == "reflinks"] == [
        "Permission denied `/cache`"
    ]
    assert any(c.about == "clock" for c in health.checks)
