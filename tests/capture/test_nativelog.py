"""Reading the shared log: whole, with holes, cut off, or made by somebody who means ill."""

from __future__ import annotations

import os
import random
import struct
import tempfile
from pathlib import Path

import pytest

from mlrepro.capture import nativelog
from mlrepro.probe import native

MARK = 0x31524C4D


@pytest.fixture
def log(tmp_path, monkeypatch) -> Log:
    monkeypatch.setattr(native, "LARGEST", 4 * 2**20)
    native.create(tmp_path)
    return Log(tmp_path)


class Log:
    """A writer of such logs, in Python."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / native.NAME
        self.first = native.HEADER.unpack(self.path.read_bytes()[: native.HEADER.size])[6]
        self.tail = self.first
        self.time = 0

    def put(self, kind: str, *strings: str, pid=1, numbers=(0,) * 5, flags=0, time=0, mark=MARK):
        """Add a record; the next time if none is given."""
        self.time += 1
        text = b"".join(os.fsencode(string) + b"\0" for string in strings)
        text += bytes(-len(text) % 8)
        numbers = (*numbers, *(0,) * (5 - len(numbers)))
        head = (mark, 64 + len(text), time or self.time, pid, ord(kind), flags, len(strings))
        return self.bytes(struct.pack("<IIQIBBH5q", *head, *numbers) + text)

    def bytes(self, data: bytes) -> Log:
        with self.path.open("r+b") as file:
            file.seek(self.tail)
            file.write(data)
            self.tail += len(data)
            file.seek(48)
            file.write(struct.pack("<Q", self.tail))
        return self

    def poke(self, place: int, form: str, value: int) -> None:
        with self.path.open("r+b") as file:
            file.seek(place)
            file.write(struct.pack(form, value))

    def read(self) -> nativelog.NativeLog:
        return nativelog.read(self.folder)

    def paths(self) -> list[str]:
        return [record.fields[-1] for record in self.read().records]


# --- making one


def test_a_new_log_is_empty_private_and_has_its_space(log):
    status = log.path.stat()

    assert log.read().records == ()
    assert (log.read().lost, log.read().damaged) == (0, 0)
    assert log.read().clock is not None
    assert status.st_mode & 0o777 == 0o600
    assert status.st_blocks * 512 >= status.st_size


def test_the_log_names_its_folder_without_links(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    native.create(tmp_path / "link")

    head = (tmp_path / "real" / native.NAME).read_bytes()[256:2304]
    assert head.rstrip(b"\0") == os.fsencode(os.path.realpath(tmp_path / "real"))


def test_a_log_is_not_made_twice(log):
    with pytest.raises(FileExistsError):
        native.create(log.folder)


def test_a_full_disk_is_told_before_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", _no_space)

    with pytest.raises(OSError, match="No space"):
        native.create(tmp_path)

    assert not os.listdir(tmp_path)


def test_a_nearly_full_disk_is_told_before_the_run(tmp_path, monkeypatch):
    _leave_free(tmp_path, 2**20, monkeypatch)

    with pytest.raises(OSError, match="too little free space"):
        native.create(tmp_path)


def test_a_disk_with_little_left_gets_a_small_log(tmp_path, monkeypatch):
    _leave_free(tmp_path, 100 * 2**20, monkeypatch)

    native.create(tmp_path)

    assert (tmp_path / native.NAME).stat().st_size == native.SMALLEST


def _leave_free(folder, size, monkeypatch):
    real = os.statvfs(folder)
    blocks = size // real.f_frsize
    monkeypatch.setattr(
        os, "statvfs", lambda _path: os.statvfs_result((*real[:4], blocks, *real[5:]))
    )


def _no_space(*_arguments):
    raise OSError(28, "No space left on device")


def test_a_file_system_that_reserves_nothing_gets_a_small_log(tmp_path, monkeypatch):
    monkeypatch.setattr(
        os, "posix_fallocate", lambda file, start, size: os.pwrite(file, bytes(size), start)
    )
    monkeypatch.setattr(native, "EMULATED", native.SMALLEST)

    native.create(tmp_path)

    assert (tmp_path / native.NAME).stat().st_size == native.SMALLEST
    assert nativelog.read(tmp_path).damaged == 0


def test_a_file_system_in_memory_gets_a_small_log(monkeypatch):
    if not native._is_in_memory(Path("/dev/shm")):
        pytest.skip("no file system in memory here")
    monkeypatch.setattr(native, "IN_MEMORY", native.SMALLEST)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        native.create(Path(folder))
        assert (Path(folder) / native.NAME).stat().st_size == native.SMALLEST


# --- what the records become


def test_uses_of_files_become_records_of_the_common_form(log):
    log.put("r", "", "/data/a.csv", numbers=(1, 2, 3, 4, 5), pid=7)
    log.put("w", "", "/out/b", flags=1)
    log.put("r", "", "/data/c", flags=2)
    log.put("m", "", "/out/b", "/out", "c", flags=1)
    log.put("k", "kept-1", "", "/data/a.csv", numbers=(1, 2, 3, 4, 5))

    read, wrote, stream, moved, kept = log.read().records

    assert (read.kind, read.time, read.pid) == ("r", 1, 7)
    assert read.fields == ("native", "0", "1", "2", "3", "4", "5", "/data/a.csv")
    assert wrote.fields == ("native", "1", "0", "0", "0", "0", "0", "/out/b")
    assert stream.fields[0] == "stream"
    assert moved.fields == ("1", "/out/b", "/out/c")
    assert kept.fields == ("1", "2", "3", "4", "5", "kept-1", "/data/a.csv")


def test_other_events_become_records_of_the_common_form(log):
    log.put("d", "/data", numbers=(2, -1, 255))
    log.put("d", "/other", numbers=(-1, 0, 0))
    log.put("s", "/bin/sh", "/home", "sh", "-c", "", numbers=(41,))
    log.put("x", "/bin/ls", "1", "ls", "-l", numbers=(41,))
    log.put("e", "HOME")
    log.put("n", "connect", "host:1")
    log.put("l", "/lib/x.so", numbers=(0, 99))
    log.put("z")

    assert [(record.kind, *record.fields) for record in log.read().records] == [
        ("d", "/data", "2", "ffffffffffffffff", "00000000000000ff"),
        ("d", "/other", "-1", "", ""),
        ("s", "41", "/bin/sh", "sh", "-c", ""),
        ("x", "/bin/ls", "1", "ls", "-l"),
        ("e", "HOME", "native"),
        ("n", "connect", "host:1"),
        ("l", "/lib/x.so", "0", "99"),
        ("z",),
    ]


def test_records_are_sorted_by_their_times(log):
    log.put("e", "second", time=20).put("e", "first", time=10)

    assert [record.fields[0] for record in log.read().records] == ["first", "second"]


def test_relative_paths_follow_the_folder_of_their_process(log):
    log.put("s", "/bin/a", "/one", pid=5)
    log.put("s", "/bin/b", "/two", pid=6)
    log.put("w", "", "x", pid=5)
    log.put("w", "", "x", pid=6)
    log.put("c", "/three", pid=5)
    log.put("w", "", "x", pid=5)
    log.put("F", "/four", pid=7, numbers=(5,))
    log.put("w", "", "x", pid=7)
    log.put("s", "/bin/c", "/five", pid=5)
    log.put("w", "", "x", pid=5)
    log.put("w", "/folder", "x", pid=5)

    written = [record.fields[-1] for record in log.read().records if record.kind == "w"]
    assert written == ["/one/x", "/two/x", "/three/x", "/four/x", "/five/x", "/folder/x"]


def test_a_child_of_vfork_is_in_the_folder_of_its_parent(log):
    log.put("s", "/bin/first", "/first", pid=4)
    log.put("s", "/bin/a", "/one", pid=5)
    log.put("w", "", "x", pid=9)
    log.put("x", "/bin/b", "1", "b", pid=9, numbers=(5,))
    log.put("w", "", "y", pid=1234)

    written = [record.fields[-1] for record in log.read().records if record.kind == "w"]
    assert written == ["/one/x", "/first/y"]


def test_paths_are_made_plain_without_asking_for_links(log, tmp_path):
    (tmp_path / "real/sub").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real/sub")
    log.put("r", "", f"{tmp_path}/./link//x")
    log.put("r", "", f"{tmp_path}/link/../x")
    log.put("r", "", f"{tmp_path}/link/.hidden")
    log.put("r", "", f"{tmp_path}/a..b")

    assert log.paths() == [
        f"{tmp_path}/link/x",
        f"{tmp_path}/real/x",
        f"{tmp_path}/link/.hidden",
        f"{tmp_path}/a..b",
    ]


def test_imported_modules_are_told_by_their_sources(log, tmp_path):
    source = tmp_path / "helper.py"
    source.write_text("A = 1\n")
    log.put("r", "", str(tmp_path / "__pycache__/helper.cpython-311.opt-1.pyc"))
    log.put("r", "", str(source), numbers=(1, 2, 3, 4, 5))
    log.put("r", "", str(tmp_path / "old.pyc"))
    log.put("w", "", str(source))

    compiled, plain, legacy, written = log.read().records

    assert (compiled.fields[0], compiled.fields[-1]) == ("import", str(source))
    assert compiled.fields[3:5] == (str(source.stat().st_ino), "6")
    assert plain.fields == ("import", "0", "1", "2", "3", "4", "5", str(source))
    assert legacy.fields[0] == written.fields[0] == "native"


def test_paths_that_are_no_text_stay_what_they_are(log):
    log.put("r", "", os.fsdecode(b"/data/\xff\n\xe9"))

    assert os.fsencode(log.paths()[0]) == b"/data/\xff\n\xe9"


# --- what is damaged


def test_an_unfinished_record_is_left_out_and_counted(log):
    log.put("e", "one").put("e", "half", mark=0).put("e", "two")

    assert [record.fields[0] for record in log.read().records] == ["one", "two"]
    assert log.read().damaged == 1


@pytest.mark.parametrize("length", [0, 3, 60, 64 + 4, 2**31])
def test_after_a_hole_without_a_length_the_next_record_is_found(log, length):
    log.put("e", "one").bytes(struct.pack("<II", 0, length) + bytes(88)).put("e", "two")

    assert [record.fields[0] for record in log.read().records] == ["one", "two"]
    assert log.read().damaged == 1


def test_a_hole_at_the_end_is_counted(log):
    log.put("e", "one").bytes(bytes(80))

    assert len(log.read().records) == 1
    assert log.read().damaged == 1


def test_lost_events_are_counted(log):
    log.poke(56, "<Q", 12)

    assert log.read().lost == 12


@pytest.mark.parametrize("copy", ["", ".", "..", "../../home/key", "/etc/passwd"])
def test_a_copy_lies_in_the_logs_folder_or_is_refused(log, copy):
    log.put("k", copy, "", "/data/a")

    assert log.read().records == ()
    assert log.read().damaged == 1


@pytest.mark.parametrize(
    ("kind", "strings"),
    [("r", ()), ("m", ("a",)), ("?", ("a",)), ("x", ("a", "1")), ("s", ("a",)), ("r", ("", "x"))],
)
def test_a_record_that_makes_no_sense_is_left_out_and_counted(log, kind, strings):
    log.put(kind, *strings)  # the last is relative, to the folder of a process nobody knows

    assert log.read().records == ()
    assert log.read().damaged == 1


@pytest.mark.parametrize("path", ["x" * 256, "a/" * 5000])
def test_a_path_that_no_system_takes_is_left_out_and_counted(log, path):
    log.put("s", "/bin/sh", "/home").put("r", "", path).put("r", "", "/data/" + "x" * 255)

    found = log.read()

    assert found.damaged == 1
    assert [one.fields[-1] for one in found.records if one.kind == "r"] == ["/data/" + "x" * 255]


def test_no_log_is_an_empty_one(tmp_path):
    assert nativelog.read(tmp_path) == nativelog.NativeLog()


@pytest.mark.parametrize("size", [0, 1, 100, 4095, 4096, 8192, 2**20, 2**20 + 100])
def test_a_log_that_was_cut_off_is_read_as_far_as_it_goes(log, size):
    log.put("e", "one")
    os.truncate(log.path, size)

    assert len(log.read().records) in (0, 1)


@pytest.mark.parametrize("place", [0, 8, 12, 16, 24, 32, 40, 48])
@pytest.mark.parametrize("value", [0, 1, 2**31, 2**64 - 1])
def test_a_header_of_any_other_form_harms_nobody(log, place, value):
    log.put("e", "one")
    log.poke(place, "<Q", value)

    assert len(log.read().records) in (0, 1)


def test_a_folder_in_its_place_harms_nobody(tmp_path):
    (tmp_path / native.NAME).mkdir()

    assert nativelog.read(tmp_path).damaged == 1


def test_random_changes_never_raise(log):
    chance = random.Random(3)
    log.put("s", "/bin/a", "/one", "a").put("r", "", "x.py").put("m", "", "a", "", "b")
    log.put("k", "kept", "", "x").put("d", "/one", numbers=(1, 2, 3)).put("x", "a", "1", "a")
    log.put("l", "/x.so").put("n", "name", "host").put("c", "/two").put("F", "/x").put("z")
    whole = log.path.read_bytes()[log.first : log.tail]
    head = log.path.read_bytes()[: native.HEADER_SIZE]
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            data[chance.randrange(len(data))] = chance.choice((0, 255, 47, chance.randrange(256)))
        found = nativelog._told(bytes(data[: chance.randint(0, len(data))]), 0, (0, 0))
        assert len(found.records) <= 11
        changed = bytearray(head)
        changed[chance.randrange(100)] = chance.randrange(256)
        nativelog._shape(bytes(changed))


def test_a_hundred_thousand_records_are_read(log):
    one = struct.pack("<IIQIBBH5q", MARK, 80, 1, 1, ord("e"), 0, 1, 0, 0, 0, 0, 0)
    count = (native.SMALLEST - log.first) // 80
    log.bytes((one + b"MODEL_SEED".ljust(16, b"\0")) * count)

    assert len(log.read().records) == count > 40_000
