"""The folder of a run that goes on, and of one that was killed."""

import json
import os
import subprocess
import sys
import time

import pytest

from mlrepro.capture import work as works
from mlrepro.capture.work import Options, State
from mlrepro.errors import ManifestError
from mlrepro.process import Ended, Streams


def state(work, **changes):
    known = {"work": work.name, "command": ("true",), "directory": "", "root": "/", "began": 1.0}
    return State(**{**known, "started": "2026-01-01", "options": Options(), **changes})


def test_a_state_is_read_back_as_it_was_written(tmp_path):
    with works.begin(tmp_path) as work:
        written = state(work, troubles=("one",), options=Options(name="n", inputs=("a*",)))
        work.write(written)

        assert work.read() == written


def test_a_run_that_was_killed_before_its_state_was_written_has_none(tmp_path):
    with works.begin(tmp_path) as work, pytest.raises(ManifestError):
        work.read()


def test_the_end_is_written_into_room_that_was_taken_at_the_start(tmp_path):
    ended = Ended(1, None, 2.0, 1.0, 5, Streams("null", "pipe", "file"))
    with works.begin(tmp_path) as work:
        work.write(state(work))
        before = work.read_ended(Ended)
        size = (work.folder / "ended.json").stat().st_size

        work.write_ended(ended)

        assert before == (None, 0.0)
        assert work.read_ended(Ended)[0] == ended
        assert (work.folder / "ended.json").stat().st_size == size


def test_a_run_that_is_concluded_leaves_only_when_it_went_on(tmp_path):
    with works.begin(tmp_path) as work:
        works.conclude(tmp_path, work, began=100.0, end=200.0)

    assert not work.folder.exists()
    assert works.overlapped(tmp_path, "another", 150.0)
    assert not works.overlapped(tmp_path, "another", 250.0)
    assert not works.overlapped(tmp_path, work.name, 150.0)


def test_a_run_that_goes_on_is_neither_dead_nor_left(tmp_path):
    with works.begin(tmp_path) as work, works.dead(tmp_path) as dead:
        assert dead == ()
        assert work.is_held()
        assert not works.left(tmp_path)
        assert works.overlapped(tmp_path, "another", time.time())


def test_a_folder_without_its_mlrepro_is_dead(tmp_path):
    with works.begin(tmp_path) as work:
        pass

    with works.dead(tmp_path) as dead:
        assert dead == (work,)
    assert works.left(tmp_path)


def test_a_dead_run_overlaps_only_what_began_before_its_last_sign(tmp_path):
    with works.begin(tmp_path) as work:
        pass
    for path in (work.folder, *work.folder.iterdir()):
        os.utime(path, (1000, 1000))

    assert works.overlapped(tmp_path, "another", 900.0)
    assert not works.overlapped(tmp_path, "another", 1100.0)


def test_a_folder_with_a_living_child_is_left_alone(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with works.begin(tmp_path) as work:
        work.started(child.pid)

    with works.dead(tmp_path) as dead:
        alive = dead
    child.communicate()
    with works.dead(tmp_path) as dead:
        gone = dead

    assert alive == ()
    assert gone == (work,)


def test_a_folder_that_cannot_be_written_is_replaced_by_a_temporary_one(tmp_path):
    (tmp_path / ".mlrepro").write_text("a file")

    with works.begin(tmp_path) as work:
        assert work.log.is_dir()
        assert not work.lasts

    assert not work.folder.parent.exists()


@pytest.mark.parametrize(
    "damage", [b"5\n", b'{"work": "x", "en', b"\xff\xfe", b'[1]\n{"end": "x"}']
)
def test_damaged_spans_are_passed_over(tmp_path, damage):
    (tmp_path / ".mlrepro").mkdir()
    (tmp_path / ".mlrepro" / "spans.jsonl").write_bytes(damage)

    with works.begin(tmp_path) as work:
        works.conclude(tmp_path, work, began=100.0, end=200.0)

    assert isinstance(works.overlapped(tmp_path, "another", 150.0), bool)


def test_old_spans_are_forgotten(tmp_path):
    (tmp_path / ".mlrepro").mkdir()
    lines = [json.dumps({"work": str(n), "begin": n, "end": n}) for n in range(500)]
    (tmp_path / ".mlrepro" / "spans.jsonl").write_text("\n".join(lines))

    with works.begin(tmp_path) as work:
        works.conclude(tmp_path, work, began=1000.0, end=2000.0)

    assert len((tmp_path / ".mlrepro" / "spans.jsonl").read_text().split()) < 2500
    assert works.overlapped(tmp_path, "another", 1500.0)
