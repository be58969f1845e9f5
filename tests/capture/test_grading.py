"""A digest is that of the bytes that were read, or it is not given."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrepro.capture import grading
from mlrepro.capture.observation import Read, Stat
from mlrepro.manifest import Grade
from mlrepro.stores.statcache import StatCache


def read(path: Path, *, copy: str = "") -> Read:
    return Read(str(path), grading.state(str(path)), "native", copy=copy)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def write_over(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def write_over_and_put_the_time_back(path: Path, data: bytes) -> None:
    before = path.stat()
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def move_over(path: Path, data: bytes) -> None:
    new = path.with_name("new")
    new.write_bytes(data)
    os.replace(new, path)


def change_in_place(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()


def touch(path: Path, _data: bytes) -> None:
    os.utime(path)


def link(path: Path, _data: bytes) -> None:
    other = path.with_name("link")
    other.unlink(missing_ok=True)
    os.link(path, other)


def delete(path: Path, _data: bytes) -> None:
    path.unlink(missing_ok=True)


CHANGES = [
    write_over,
    write_over_and_put_the_time_back,
    move_over,
    change_in_place,
    touch,
    link,
    delete,
]


@pytest.fixture
def ticks(monkeypatch) -> None:
    """Kernels before 6.13 count changes in ticks: two within 4 ms leave one time."""

    def coarse(found: os.stat_result) -> Stat:
        exact = (found.st_dev, found.st_ino, found.st_size)
        return Stat(*exact, *(t - t % 4_000_000 for t in (found.st_mtime_ns, found.st_ctime_ns)))

    monkeypatch.setattr(grading, "_state", coarse)


@pytest.mark.usefixtures("ticks")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    changes=st.lists(
        st.tuples(
            st.sampled_from(CHANGES), st.sampled_from([b"old", b"new", b"longer"]), st.booleans()
        ),
        max_size=3,
    ),
    waited=st.booleans(),
    keeps_copy=st.booleans(),
)
def test_a_digest_is_that_of_the_bytes_that_were_read_or_it_is_not_given(
    tmp_path, changes, waited, keeps_copy
):
    data, copy = tmp_path / "data.csv", tmp_path / "copy"
    data.unlink(missing_ok=True)
    data.write_bytes(b"old")
    if waited:
        time.sleep(0.012)  # the file is older than a tick when it is opened
    opened = time.time_ns()
    seen, held = read(data), data.read_bytes()
    if keeps_copy:
        copy.write_bytes(held)
        seen = Read(seen.path, seen.stat, seen.seen, copy=str(copy))
    for change, content, wait in changes:
        if data.exists():
            change(data, content)
        if wait:
            time.sleep(0.005)

    found = grading.grade(seen, opened=opened)

    assert found.digest is None or found.digest.value == md5(held)
    if waited and not changes:
        assert found.grade is Grade.VERIFIED


def test_a_file_that_was_changed_just_before_its_opening_is_racy(tmp_path):
    data = tmp_path / "data.csv"
    data.write_bytes(b"1")

    found = grading.grade(read(data), opened=data.stat().st_ctime_ns + grading.TICK)

    assert (found.digest, found.grade) == (None, Grade.RACY)


def test_what_git_vouches_for_is_not_racy(tmp_path):
    data = tmp_path / "data.csv"
    data.write_bytes(b"1")

    found = grading.grade(
        read(data), opened=data.stat().st_ctime_ns, vouched=lambda digest: digest.value == md5(b"1")
    )

    assert found.grade is Grade.VERIFIED


def test_a_file_system_that_counts_in_seconds_needs_two_of_them():
    stat = Stat(1, 2, 3, 5 * 10**9, 5 * 10**9)

    assert grading.is_racy(stat, 6 * 10**9)
    assert not grading.is_racy(stat, 8 * 10**9)


@pytest.mark.parametrize("change", [write_over, move_over, delete])
def test_the_copy_of_before_the_change_gives_the_digest(tmp_path, change):
    data, copy = tmp_path / "data.csv", tmp_path / "copy"
    for path in (data, copy):
        path.write_bytes(b"old")
    seen = read(data, copy=str(copy))
    change(data, b"new")

    found = grading.grade(seen, opened=time.time_ns() + 10**9)

    assert (found.digest.value, found.grade) == (md5(b"old"), Grade.BEFORE_WRITE)
    assert found.held == str(copy)


def test_the_stat_cache_knows_what_a_file_held_before_it_was_changed(tmp_path):
    data = tmp_path / "data.csv"
    data.write_bytes(b"old")
    seen = read(data)
    with StatCache(tmp_path / "cache.sqlite") as cache:
        cache._pending.append((*seen.stat.__dict__.values(), md5(b"old")))
        cache.save()
        move_over(data, b"new")

        found = grading.grade(seen, cache=cache)

    assert (found.digest.value, found.held) == (md5(b"old"), "")
