"""The object store: what is stored comes back, under its name, or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrepro.errors import ManifestError, ObjectNotFoundError, StoreError
from mlrepro.manifest import Digest
from mlrepro.stores import objects
from mlrepro.stores.statcache import StatCache

LARGE = 5 * 2**20 + 3


@pytest.fixture
def stores(tmp_path):
    return objects.stores(tmp_path / "cache")


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def old(path: Path) -> Path:
    """Make a file's time stamps old enough to be believed."""
    os.utime(path, (1_600_000_000, 1_600_000_000))
    return path


@pytest.mark.parametrize("size", [0, 1, 256 * 1024, 256 * 1024 + 1, 4 * 2**20, LARGE])
def test_a_stored_file_comes_back_writable_and_is_linked_in_both_stores(stores, tmp_path, size):
    source = write(tmp_path / "model.bin", os.urandom(size))

    stored = stores.add(source, into_dvc=True)
    stores.put(stored.digest, tmp_path / "back")

    assert stored == objects.Stored(Digest("md5", md5(source.read_bytes())), size)
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o644
    own, dvc = (store.path(stored.digest).stat() for store in (stores.own, stores.dvc))
    assert (own.st_ino, own.st_mode & 0o777, own.st_nlink) == (dvc.st_ino, 0o444, 2)
    assert source.stat().st_nlink == 1
    assert source.stat().st_mode & 0o200


def test_bytes_that_dvc_does_not_keep_stay_out_of_its_cache(stores):
    stored = stores.add_bytes(b"printed")

    assert stores.own.path(stored.digest).read_bytes() == b"printed"
    assert not stores.dvc.root.exists()


def test_an_object_that_dvc_has_is_linked_and_one_that_is_ours_reaches_dvc_later(stores, tmp_path):
    source = write(tmp_path / "f", "content")
    digest = stores.add(source, into_dvc=False).digest
    stores.add(source, into_dvc=True)
    stores.own.path(digest).unlink()

    stores.add(source, into_dvc=False)

    assert stores.own.path(digest).samefile(stores.dvc.path(digest))


def test_a_writable_object_of_dvc_is_never_linked(stores, tmp_path):
    """With `cache.type hardlink` it may be the working file itself."""
    source = write(tmp_path / "f", "content")
    theirs = stores.dvc.path(Digest("md5", md5(b"content")))
    write(theirs, "content").chmod(0o644)

    stores.add(source, into_dvc=False)

    assert not stores.own.path(Digest("md5", md5(b"content"))).samefile(theirs)


def test_an_object_of_the_wrong_size_is_replaced(stores, tmp_path):
    source = write(tmp_path / "f", "content")
    digest = Digest("md5", md5(b"content"))
    for store in (stores.own, stores.dvc):
        write(store.path(digest), "cont").chmod(0o444)

    stores.add(source, into_dvc=True)

    assert stores.own.path(digest).read_bytes() == b"content"
    assert stores.dvc.path(digest).samefile(stores.own.path(digest))


def test_a_stored_folder_comes_back_with_every_file(stores, tmp_path):
    for name in ("a", "sub/ü b", "sub/empty", "sub/deep/er/x"):
        write(tmp_path / "data" / name, name if "empty" not in name else "")
    write(tmp_path / "data" / os.fsdecode(b"no-utf8-\xff"), "x")

    stored = stores.add(tmp_path / "data", into_dvc=False)
    stores.put(stored.digest, tmp_path / "back")

    assert stored.digest.is_dir
    assert stored.files == 5
    assert objects.digest_dir(tmp_path / "data") == stored
    assert objects.digest_dir(tmp_path / "back") == stored
    assert stores.missing([stored.digest]) == []


def test_a_folder_is_put_among_the_files_that_are_there(stores, tmp_path):
    write(tmp_path / "data" / "a", "a")
    digest = stores.add(tmp_path / "data", into_dvc=False).digest
    write(tmp_path / "back" / ".gitignore", "mine")

    stores.put(digest, tmp_path / "back")

    assert sorted(os.listdir(tmp_path / "back")) == [".gitignore", "a"]


@pytest.mark.parametrize("size", [10, LARGE])
def test_a_damaged_object_is_named_and_nothing_comes_to_the_target(stores, tmp_path, size):
    write(tmp_path / "data" / "fine", "fine")
    source = write(tmp_path / "data" / "model", os.urandom(size))
    folder = stores.add(tmp_path / "data", into_dvc=False)
    digest = objects.digest_file(source)
    stores.own.path(digest).chmod(0o644)
    stores.own.path(digest).write_bytes(b"x" * size)

    with pytest.raises(ObjectNotFoundError, match=f"{digest} is damaged"):
        stores.put(digest, tmp_path / "back")
    with pytest.raises(ObjectNotFoundError, match=f"{digest} is damaged"):
        stores.put(folder.digest, tmp_path / "folder")

    assert sorted(os.listdir(tmp_path)) == ["cache", "data"]


def test_a_damaged_object_is_taken_from_the_other_store(stores, tmp_path):
    digest = stores.add(write(tmp_path / "f", "content"), into_dvc=True).digest
    stores.own.path(digest).unlink()
    write(stores.own.path(digest), "CONTENT")

    stores.put(digest, tmp_path / "back")

    assert (tmp_path / "back").read_text() == "content"


def test_missing_names_absent_files_of_folders_too(stores, tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "data" / name, name)
    folder = stores.add(tmp_path / "data", into_dvc=False).digest
    absent = Digest("md5", md5(b"never stored"))
    stores.own.path(Digest("md5", md5(b"b"))).unlink()

    missing = stores.missing([folder, absent, Digest("sha256", "0" * 64)])

    assert missing == [Digest("md5", md5(b"b")), absent, Digest("sha256", "0" * 64)]
    assert stores.find(absent) is None
    with pytest.raises(ObjectNotFoundError, match="is not in"):
        stores.put(absent, tmp_path / "back")


HOSTILE = ["../out", "/etc/passwd", "a/../../out", ".git/hooks/post-checkout", "", "a\0b", "."]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_listing_that_leaves_its_folder_is_refused(stores, tmp_path, name):
    file = stores.add_bytes(b"evil").digest
    data = json.dumps([{"md5": file.value, "relpath": name}]).encode()
    value = stores.add_bytes(data).digest.value
    listing = stores.own.path(Digest("md5", value))
    listing.rename(listing.with_name(listing.name + ".dir"))

    with pytest.raises(ManifestError):
        stores.put(Digest("md5", f"{value}.dir"), tmp_path / "room" / "back")

    assert os.listdir(tmp_path / "room") == []


def test_a_folder_is_not_put_through_a_symlink_of_the_room(stores, tmp_path):
    write(tmp_path / "data" / "sub" / "x", "x")
    digest = stores.add(tmp_path / "data", into_dvc=False).digest
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "back").mkdir()
    (tmp_path / "back" / "sub").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ManifestError):
        stores.put(digest, tmp_path / "back")

    assert os.listdir(tmp_path / "elsewhere") == []


def test_what_is_neither_file_nor_folder_is_an_error(stores, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "nowhere").symlink_to("gone")
    (tmp_path / "loop").symlink_to("loop")

    for name in ("pipe", "data", "loop", "absent"):
        with pytest.raises(StoreError):
            stores.add(tmp_path / name, into_dvc=True)


def test_the_digest_is_that_of_the_stored_bytes_while_the_file_is_being_written(stores, tmp_path):
    source = write(tmp_path / "log", os.urandom(LARGE))
    stop = threading.Event()

    def scribble() -> None:
        with source.open("r+b", buffering=0) as file:
            while not stop.is_set():
                file.seek(0)
                file.write(os.urandom(4096))

    thread = threading.Thread(target=scribble)
    thread.start()
    try:
        stored = stores.add(source, into_dvc=True, cache=StatCache(tmp_path / "stat"))
    finally:
        stop.set()
        thread.join()

    assert md5(stores.own.path(stored.digest).read_bytes()) == stored.digest.value


def test_a_file_system_without_hard_links_gets_copies(stores, tmp_path, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr("mlrepro.stores.shelf.os.link", refused)
    write(tmp_path / "data" / "a", "content")

    stored = stores.add(tmp_path / "data", into_dvc=True)

    digest = Digest("md5", md5(b"content"))
    for store in (stores.own, stores.dvc):
        assert store.path(digest).stat().st_mode & 0o777 == 0o444
    stores.put(stored.digest, tmp_path / "back")
    assert (tmp_path / "back" / "a").read_text() == "content"
    assert os.listdir(tmp_path / "cache" / "mlrepro" / "tmp") == []


def test_a_group_that_shares_the_cache_may_write_its_folders(tmp_path):
    stores = objects.stores(tmp_path / "cache", shared=True)

    stored = stores.add_bytes(b"x", into_dvc=True)

    for store in (stores.own, stores.dvc):
        assert store.path(stored.digest).parent.stat().st_mode & 0o7777 == 0o2775


STORE = """
import sys
from pathlib import Path
from mlrepro.stores import objects
stores = objects.stores(Path(sys.argv[1]))
sys.stdin.read(1)
print(stores.add(Path(sys.argv[2]), into_dvc=True).digest)
"""


def test_eight_processes_store_the_same_folder_at_once(stores, tmp_path):
    for number in range(100):
        write(tmp_path / "data" / str(number), f"{number % 50}")
    command = [sys.executable, "-c", STORE, str(tmp_path / "cache"), str(tmp_path / "data")]

    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda process: process.communicate("x")[0].strip(), running))

    expected = objects.digest_dir(tmp_path / "data").digest
    assert done == [str(expected)] * 8
    assert stores.missing([expected]) == []
    assert os.listdir(tmp_path / "cache" / "mlrepro" / "tmp") == []


KILLED = """
import os, signal, sys
from pathlib import Path
from mlrepro.stores import objects, reflink
write = reflink.write
def die(descriptor, data):
    write(descriptor, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
reflink.write = die
objects.stores(Path(sys.argv[1])).add(Path(sys.argv[2]), into_dvc=True)
"""


def test_a_killed_process_leaves_no_half_object_and_its_leavings_are_swept(stores, tmp_path):
    source = write(tmp_path / "model", os.urandom(1000))

    command = [sys.executable, "-c", KILLED, str(tmp_path / "cache"), str(source)]
    killed = subprocess.run(command)

    assert killed.returncode < 0
    assert stores.find(objects.digest_file(source)) is None
    assert stores.sweep(before=time.time() - 3600) == 0
    assert stores.sweep(before=time.time() + 1) == 500


def test_a_full_disk_is_one_sentence_and_leaves_nothing(stores, tmp_path, monkeypatch):
    source = write(tmp_path / "model", os.urandom(LARGE))

    def full(descriptor: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlrepro.stores.reflink.write", full)

    with pytest.raises(StoreError, match="No space left on device"):
        stores.add(source, into_dvc=True)

    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_the_cache_knows_an_old_file_again_and_doubts_a_fresh_one(stores, tmp_path):
    source = old(write(tmp_path / "model", os.urandom(LARGE)))
    with StatCache(tmp_path / "stat.sqlite") as cache:
        cache.put(source.stat(), "0" * 32)
        cache.save()
        fresh = cache.get(source.stat())

    assert fresh is None  # its inode changed a moment ago


def test_the_cache_forgets_a_file_that_changed(tmp_path, monkeypatch):
    source = old(write(tmp_path / "model", b"x"))
    monkeypatch.setattr("mlrepro.stores.statcache._RACY", -(10**12))
    with StatCache(tmp_path / "stat.sqlite") as cache:
        cache.put(source.stat(), "1" * 32)
    with StatCache(tmp_path / "stat.sqlite") as cache:
        before = cache.get(source.stat())
        source.write_bytes(b"y")
        old(source)
        after = cache.get(source.stat())

    assert (before, after) == ("1" * 32, None)


def test_a_known_large_file_is_stored_without_being_read(stores, tmp_path, monkeypatch):
    source = old(write(tmp_path / "model", os.urandom(LARGE)))
    monkeypatch.setattr("mlrepro.stores.statcache._RACY", -(10**12))
    with StatCache(tmp_path / "stat.sqlite") as cache:
        first = stores.add(source, into_dvc=False, cache=cache)

        def unread(*_: object) -> None:
            raise AssertionError("the file was read again")

        monkeypatch.setattr("mlrepro.stores.reflink.carry", unread)
        second = stores.add(source, into_dvc=True, cache=cache)

    assert first == second
    assert stores.dvc.path(first.digest).exists()


def test_a_damaged_or_unwritable_cache_is_as_good_as_an_empty_one(stores, tmp_path):
    source = write(tmp_path / "model", os.urandom(LARGE))
    write(tmp_path / "damaged", "no database" * 1000)

    for place in (tmp_path / "damaged", tmp_path / "model" / "impossible"):
        with StatCache(place) as cache:
            assert stores.add(source, into_dvc=False, cache=cache).size == LARGE
            assert cache.get(source.stat()) is None


@given(st.dictionaries(st.text("ab/ü .-", min_size=1), st.binary(max_size=9), max_size=6))
@settings(max_examples=25, deadline=None)
def test_a_folders_digest_names_its_content(tmp_path_factory, files):
    tmp_path = tmp_path_factory.mktemp("law")
    for name, data in files.items():
        parts = [f"_{part}" for part in name.split("/")]
        write(tmp_path.joinpath("data", *parts[:-1], f"f{parts[-1]}"), data)
    (tmp_path / "data").mkdir(exist_ok=True)
    stores = objects.stores(tmp_path / "cache")

    stored = stores.add(tmp_path / "data", into_dvc=True)
    stores.put(stored.digest, tmp_path / "back")

    assert stored == objects.digest_dir(tmp_path / "back") == objects.digest_dir(tmp_path / "data")
