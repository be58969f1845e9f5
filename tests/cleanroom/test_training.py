"""The training in its room: what it is given, and how its end is judged."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from mlrepro.cleanroom import interpreter, mounts, room, training
from mlrepro.errors import RestoreError, TrainingFailedError
from mlrepro.manifest import CodeState, Input, Manifest, Run, Source, Status, ThreadPool, Variables
from mlrepro.stores import place

SHOW = "env >env.txt; pwd >pwd.txt"


@pytest.fixture
def here(project) -> place.Place:
    project.write("train.sh", SHOW)
    project.commit("training")
    return place.strict(project.root)


def recorded(here: place.Place, *command: str, **changes) -> Manifest:
    run = {key: changes.pop(key) for key in list(changes) if key in Run.__dataclass_fields__}
    run = {"status": Status.COMPLETED, "root": "/mlrepro-nobody/ann/p", "exit_code": 0, **run}
    tree = os.fsdecode(_git(here, "rev-parse", "HEAD^{tree}"))
    return Manifest(
        run=Run(command or ("sh", "train.sh"), "", **run),
        code=CodeState(tree, os.fsdecode(_git(here, "rev-parse", "HEAD"))),
        **changes,
    )


def _git(here: place.Place, *words: str) -> bytes:
    from mlrepro.stores import git

    return git.call(here.repository, *words).strip()


def train(here: place.Place, record: Manifest, *, threads: bool = True, **binds):
    """Train; return what was made of it, and the text files of the room."""
    with room.opened(here, record) as opened:
        chosen = interpreter.choose(os.environ)
        plan = training.plan(here, record, chosen, opened, binds)
        trained = training.train(record, plan, opened, threads=threads)
        return trained, {p.name: p.read_text() for p in opened.root.glob("*.txt")}


def variables_of(texts: dict[str, str]) -> dict[str, str]:
    return dict(line.split("=", 1) for line in texts["env.txt"].splitlines() if "=" in line)


def test_no_recorded_variable_changes_what_is_started(here):
    hostile = {
        "LD_PRELOAD": "/x.so", "PATH": "/evil", "PYTHONPATH": "/evil", "PYTHONSTARTUP": "x.py",
        "BASH_ENV": "x.sh", "ENV": "x.sh", "GIT_DIR": "x", "HOME": "/evil", "GLIBC_TUNABLES": "a/b=1",
        "RATE": "0.5",
    }  # fmt: skip

    _, texts = train(here, recorded(here, variables=Variables(restored=hostile)))

    seen = variables_of(texts)
    assert seen["RATE"] == "0.5"
    assert "/evil" not in seen["PATH"].split(":")
    assert "/evil" not in seen.get("PYTHONPATH", "").split(":")
    assert seen["HOME"] == os.environ["HOME"]
    assert not {"BASH_ENV", "GIT_DIR", "PYTHONSTARTUP"} & set(seen)
    assert "/x.so" not in seen.get("LD_PRELOAD", "")


@pytest.mark.parametrize(("threads", "number"), [(True, "3"), (False, "7")])
def test_threads_are_the_recorded_or_the_current_ones(here, monkeypatch, threads, number):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    record = recorded(here, threads=(ThreadPool("openmp", "libgomp", 3),))

    _, texts = train(here, record, threads=threads)

    assert variables_of(texts)["OMP_NUM_THREADS"] == number


def test_current_threads_win_over_a_recorded_variable(here, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    record = recorded(here, variables=Variables(restored={"OMP_NUM_THREADS": "3"}))

    _, texts = train(here, record, threads=False)

    assert "OMP_NUM_THREADS" not in variables_of(texts)


def test_tmpdir_is_short_enough_for_a_socket(here):
    _, texts = train(here, recorded(here))

    folder = variables_of(texts)["TMPDIR"]
    assert len(folder) <= 70
    assert not Path(folder).exists()


def test_a_file_on_standard_input_is_fed_again(here, project):
    project.write("numbers.in", "1\n2\n")
    project.commit("data")
    record = recorded(
        here, "sh", "-c", "cat >seen.txt", stdin="file",
        inputs=(Input("numbers.in", Source.CODE, seen="stream"),),
    )  # fmt: skip

    _, texts = train(here, record)

    assert texts["seen.txt"] == "1\n2\n"


@pytest.mark.parametrize(
    ("status", "signal"),
    [(Status.INTERRUPTED, 2), (Status.INTERRUPTED, 9), (Status.INTERRUPTED, None)],
)
def test_an_interrupted_run_is_refused_before_the_training(here, status, signal):
    record = recorded(here, status=status, signal=signal, exit_code=None)

    with pytest.raises(RestoreError, match="interrupted"):
        train(here, record)


def test_a_run_that_crashed_by_itself_may_crash_again(here):
    record = recorded(
        here, "sh", "-c", "kill -SEGV $$", status=Status.INTERRUPTED, signal=11, exit_code=None
    )

    trained, _ = train(here, record)

    assert trained.ended.signal == 11


def test_a_failed_run_fails_again_or_it_is_said(here):
    record = recorded(here, "sh", "-c", "exit 3", status=Status.FAILED, exit_code=3)

    assert train(here, record)[0].ended.exit_code == 3
    better = dataclasses.replace(record, run=dataclasses.replace(record.run, command=("true",)))
    assert "failed with exit code 3" in " ".join(train(here, better)[0].notes)


def test_the_end_of_what_it_said_is_shown_without_control_characters(here):
    record = recorded(here, "sh", "-c", "printf '\\033[31mno\\007 data\\n' >&2; exit 1")

    with pytest.raises(TrainingFailedError) as caught:
        train(here, record)

    assert caught.value.hint == "It said:\nno data"


@pytest.mark.parametrize("root", ["/", "/etc", "/usr/lib", "/home"])
def test_the_room_is_never_shown_over_a_place_of_the_system(here, root):
    record = recorded(here, "sh", "-c", f"cat {root}/x", root=root)
    if root == "/":
        assert mounts.implausible(root)
        return

    with pytest.raises(RestoreError, match="belongs to the system"):
        train(here, record)


def test_the_room_is_never_shown_over_ones_home(here, home):
    record = recorded(here, "sh", "-c", f"cat {home}/x", root=str(home))

    with pytest.raises(RestoreError, match="your home folder"):
        train(here, record)


@pytest.mark.skipif(not mounts.available(), reason="no namespaces on this machine")
def test_a_command_with_the_recorded_folder_runs_there(here):
    root = "/mlrepro-nobody/ann/p"

    _, texts = train(here, recorded(here, "sh", f"{root}/train.sh"))

    assert texts["pwd.txt"].strip() == root


def test_a_command_that_does_not_exist_is_one_sentence(here):
    with pytest.raises(TrainingFailedError, match="does not start"):
        train(here, recorded(here, "no-such-command-anywhere"))
