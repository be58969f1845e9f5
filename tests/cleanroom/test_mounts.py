"""A room shown at recorded places that exist elsewhere, or nowhere."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mlrepro import process
from mlrepro.cleanroom import mounts

pytestmark = pytest.mark.skipif(not mounts.available(), reason="no namespaces on this machine")

# Not on the way to any real folder, on any machine.
NOWHERE = "/mlrepro-nobody-has-this/ann/project"


@pytest.fixture
def room(tmp_path) -> Path:
    room = tmp_path / "cache" / "room"
    room.mkdir(parents=True)
    (room / "data.csv").write_text("recorded\n")
    return room


def run(command: list[str], *before: str, **options) -> subprocess.CompletedProcess:
    wrapped = mounts.wrap(command, **options)
    return subprocess.run([*before, *wrapped], capture_output=True, text=True)


def facts(*folders: Path | str) -> tuple:
    return Path("/proc/self/mountinfo").read_text(), [sorted(os.listdir(f)) for f in folders]


def test_an_existing_root_shows_the_room(tmp_path, room):
    root = tmp_path / "project"
    root.mkdir()
    (root / "data.csv").write_text("the author's\n")

    done = run(
        ["sh", "-c", f"pwd; cat {root}/data.csv; echo new >{root}/data.csv; echo w >model"],
        binds={str(root): room},
        cwd=str(root),
    )

    assert done.stdout == f"{root}\nrecorded\n"
    assert (room / "data.csv").read_text() == "new\n"
    assert (room / "model").read_text() == "w\n"
    assert os.listdir(root) == ["data.csv"]
    assert (root / "data.csv").read_text() == "the author's\n"


def test_a_missing_root_appears_below_an_existing_folder(tmp_path, room):
    (tmp_path / "bob").mkdir()
    (tmp_path / "bob" / "notes").write_text("bob's\n")
    (tmp_path / "link").symlink_to("bob")
    root = tmp_path / "ann" / "work" / "project"
    before = facts(tmp_path)

    done = run(
        ["sh", "-c", f"cat data.csv ../../../bob/notes ../../../link/notes; echo >{root}/model"],
        binds={str(root): room},
        cwd=str(root),
    )

    assert done.stdout == "recorded\nbob's\nbob's\n"
    assert (room / "model").exists()
    assert facts(tmp_path) == before


def test_a_root_of_which_nothing_exists_gets_a_new_root_folder(tmp_path, room):
    before = facts("/")

    done = run(
        [
            "sh",
            "-c",
            f"pwd; cat {NOWHERE}/data.csv; echo >model; echo >{tmp_path}/outside; ls -a /",
        ],
        binds={NOWHERE: room},
        cwd=NOWHERE,
    )

    lines = done.stdout.splitlines()
    assert lines[:2] == [NOWHERE, "recorded"]
    assert {*os.listdir("/"), "mlrepro-nobody-has-this", ".", ".."} == set(lines[2:])
    assert (room / "model").exists()
    assert (tmp_path / "outside").exists()
    assert facts("/") == before


def test_it_works_without_rights_too(tmp_path, room):
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("no setpriv")
    drop = ["setpriv", "--bounding-set=-sys_admin", "--"] if os.geteuid() == 0 else []

    for place in (NOWHERE, f"{tmp_path}/ann/project", f"{tmp_path}/cache"):
        done = run(["sh", "-c", "id -u; cat data.csv"], *drop, binds={place: room}, cwd=place)

        assert done.stdout == f"{os.getuid()}\nrecorded\n", done.stderr


def test_a_file_is_shown_at_a_recorded_path(room):
    interpreter = Path(sys.executable).resolve()

    done = run(
        ["sh", "-c", f"{NOWHERE}-venv/bin/python -I -S -c 'import sys; print(sys.executable)'"],
        binds={NOWHERE: room, f"{NOWHERE}-venv/bin/python": interpreter},
        cwd=NOWHERE,
    )

    assert done.stdout == f"{NOWHERE}-venv/bin/python\n"


def test_places_below_places_are_shown_and_outputs_still_arrive(tmp_path, room):
    data = tmp_path / "data"
    data.mkdir()
    (data / "big").write_text("big\n")

    done = run(
        ["sh", "-c", "cat store/data/big; echo >model; echo >store/data/made"],
        binds={f"{NOWHERE}/store/data": data, NOWHERE: room},
        cwd=NOWHERE,
    )

    assert done.stdout == "big\n"
    assert (room / "model").exists()
    assert (data / "made").exists()


def test_an_environment_inside_the_recorded_root_stays_visible(tmp_path, room):
    tool = tmp_path / "project" / ".venv" / "bin" / "tool"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho tool; cat data.csv\n")
    tool.chmod(0o755)
    root = str(tmp_path / "project")

    done = run([str(tool)], binds={root: room}, cwd=root)

    assert done.stdout == "tool\nrecorded\n"


def test_a_room_inside_the_recorded_root_stays_at_its_own_place_too(tmp_path, room):
    (room.parent / "log").mkdir()

    done = run(
        ["sh", "-c", f"cat data.csv; echo >{room.parent}/log/events"],
        binds={str(tmp_path): room},
        cwd=str(tmp_path),
    )

    assert done.stdout == "recorded\n", done.stderr
    assert (room.parent / "log" / "events").exists()


def test_status_signals_variables_and_streams_are_the_commands_own(room, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/nonexistent")
    for name in ("LANG", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    status = "grep -E 'Sig(Blk|Ign|Cgt)' /proc/self/status; env | grep -v ^_= | grep -v PWD | sort"
    options = {"binds": {NOWHERE: room}, "cwd": NOWHERE}

    alone = subprocess.run(["sh", "-c", status], capture_output=True, text=True).stdout

    assert run(["sh", "-c", status], **options).stdout == alone
    assert run(["sh", "-c", "exit 7"], **options).returncode == 7
    assert run(["sh", "-c", "kill -TERM $$"], **options).returncode == -signal.SIGTERM
    assert run(["sh", "-c", "echo $PWD"], **options).stdout == f"{NOWHERE}\n"


def test_the_child_process_runs_in_it(tmp_path, room):
    ended = process.execute(
        mounts.wrap(["sh", "-c", "pwd; exit 3"], binds={NOWHERE: room}, cwd=NOWHERE),
        cwd=room,
        variables=dict(os.environ),
        stdout=tmp_path / "out",
        stderr=tmp_path / "err",
        quiet=True,
    )

    assert ended.exit_code == 3
    assert (tmp_path / "out").read_text() == f"{NOWHERE}\n"


def test_what_cannot_start_has_the_shells_status(room):
    options = {"binds": {NOWHERE: room}, "cwd": NOWHERE}
    (room / "script").write_text("echo shell $1\n")

    assert run(["nonsense-command"], **options).returncode == 127
    assert run(["./script"], **options).returncode == 126
    (room / "script").chmod(0o755)
    assert run(["./script", "a b"], **options).stdout == "shell a b\n"


@pytest.mark.parametrize("place", ["/", "/proc/1", "/dev/shm/x", "relative", "/a/../b"])
def test_what_is_the_systems_is_refused_before_training(place):
    assert mounts.possible(place)


def test_what_is_possible_is_tried_and_nothing_remains(tmp_path):
    before = facts("/", tmp_path)

    assert mounts.possible(NOWHERE) is None
    assert mounts.possible(f"{tmp_path}/a/b") is None
    assert mounts.possible(str(tmp_path)) is None
    assert facts("/", tmp_path) == before


def test_the_reason_is_told_when_namespaces_are_forbidden(monkeypatch):
    monkeypatch.setattr(mounts, "available", lambda: False)

    assert "user namespaces" in mounts.possible(NOWHERE)


def test_what_is_fixed_is_read_and_never_written(tmp_path, room):
    place = tmp_path / "elsewhere.csv"

    done = run(
        ["sh", "-c", f"cat {place}; echo wrong >{place}"],
        binds={str(place): room / "data.csv"},
        fixed=[str(place)],
        cwd="/",
    )

    assert done.stdout == "recorded\n"
    assert done.returncode != 0
    assert (room / "data.csv").read_text() == "recorded\n"
