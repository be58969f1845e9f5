"""Environments: made once from a lock, whoever asks, and whole or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mlrepro.cleanroom import environments, making
from mlrepro.commands.gc import gc
from mlrepro.errors import RestoreError, UvError
from mlrepro.locks import Lock, Requirement
from mlrepro.manifest import Digest
from mlrepro.stores import place, uv
from tests.cleanroom import wheels

BASE = Path(os.path.realpath(sys.executable))
HERE = sys.version.split()[0]


@pytest.fixture(scope="module")
def links(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for version in ("1.0", "2.0"):
        wheels.numlib(folder, version)
    return folder


@pytest.fixture
def shelf(home, links, monkeypatch) -> Path:
    """A cache of one's own, and an index that is a folder."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(links))
    return environments.home()


def locked(links: Path, version: str = "1.0", *, python: str = HERE, **more) -> Lock:
    found = wheels.hashes(links, "numlib", version)
    one = Requirement("numlib", version, **{"hashes": found, **more})
    return Lock(Digest("sha256", "0" * 64), python, "cpython", (one,))


def weight(built: environments.Built) -> float:
    asked = [built.python, "-c", "import numlib; print(numlib.weight(1))"]
    return float(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)


def test_an_environment_is_made_once_and_then_only_lent(shelf, links):
    said: list[str] = []

    for _ in range(2):
        with environments.borrow(locked(links), here=None, notify=said.append) as built:
            assert weight(built) == 1.0
            assert (built.source, built.version, built.notes) == ("lock", HERE, ())

    assert len(said) == 1
    assert "making the recorded environment" in said[0]
    assert [one.folder for one in environments.kept()] == [built.prefix]


def test_other_locks_are_other_environments(shelf, links):
    numbers = []
    for version in ("1.0", "2.0"):
        with environments.borrow(locked(links, version), here=None) as built:
            numbers.append(weight(built))

    assert numbers == [1.0, 2.0]


def test_a_console_script_finds_its_python_after_the_move(shelf, links, tmp_path):
    with environments.borrow(locked(links), here=None) as built:
        subprocess.run([built.prefix / "bin/train-it"], check=True, cwd=tmp_path)

    assert (tmp_path / "model.json").read_text() == "[3.0]"


BORROW = """
import sys
from mlrepro.cleanroom import environments, making
from mlrepro.locks import Lock
with environments.borrow(Lock.from_text(sys.stdin.read()), here=None, notify=print) as built:
    print(built.prefix)
"""


def test_several_rebuilds_at_once_make_it_once(shelf, links):
    text = locked(links).to_text()
    started = [
        subprocess.Popen([sys.executable, "-c", BORROW], stdin=subprocess.PIPE,
                         stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]  # fmt: skip
    for one in started:
        one.stdin.write(text)
        one.stdin.close()
    said = [one.stdout.read() for one in started]

    assert [one.wait() for one in started] == [0] * 4
    for one in started:
        one.stdout.close()
    assert "".join(said).count("making the recorded environment") == 1
    assert len({text.strip().splitlines()[-1] for text in said}) == 1


def test_what_a_killed_process_left_is_not_taken_for_whole(shelf, links, monkeypatch):
    slow = '#!/bin/sh\nif [ "$1" = pip ]; then touch begun; sleep 60; fi\nexec {} "$@"\n'
    tool = shelf.parent / "slow" / "uv"
    tool.parent.mkdir(parents=True)
    tool.write_text(slow.format(uv.find()).replace("begun", str(tool.parent / "begun")))
    tool.chmod(0o755)
    path = f"{tool.parent}{os.pathsep}{os.environ['PATH']}"
    killed = subprocess.Popen(
        [sys.executable, "-c", BORROW], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env={**os.environ, "PATH": path}, start_new_session=True,
    )  # fmt: skip
    killed.stdin.write(locked(links).to_text())
    killed.stdin.close()
    while not (tool.parent / "begun").exists():
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert [one.folder.suffix for one in environments.kept()] == [".building"]

    with environments.borrow(locked(links), here=None) as built:
        assert weight(built) == 1.0
    assert [one.folder for one in environments.kept()] == [built.prefix]


@pytest.mark.parametrize("harm", ["edited", "removed", "added", "mark", "python"])
def test_a_damaged_environment_is_made_again(shelf, links, harm):
    with environments.borrow(locked(links), here=None) as built:
        module = next(built.prefix.glob("lib/*/site-packages/numlib.py"))
    if harm == "edited":
        text = module.read_text()
        module.unlink()
        module.write_text(text.replace("1.0", "1.5"))
    elif harm == "removed":
        module.unlink()
    elif harm == "added":
        module.with_name("sitecustomize.py").write_text("print('I am not of the lock')")
    elif harm == "mark":
        (built.prefix / "mlrepro.json").write_text("{")
    else:
        built.python.unlink()
        built.python.symlink_to("/nowhere/python")

    with environments.borrow(locked(links), here=None) as built:
        assert weight(built) == 1.0


def test_what_python_compiles_is_no_damage(shelf, links):
    said: list[str] = []
    for _ in range(2):
        with environments.borrow(locked(links), here=None, notify=said.append) as built:
            subprocess.run(
                [built.python, "-m", "compileall", "-q", built.prefix / "lib"], check=True
            )

    assert len(said) == 1


def test_a_package_that_is_not_to_be_had_is_named(shelf, links):
    lock = locked(links, "1.5", hashes=("sha256:" + "0" * 64,))

    with pytest.raises(RestoreError, match=r"numlib 1\.5 is not to be had here") as e:
        environments.borrow(lock, here=None).__enter__()

    assert "--env current" in e.value.hint
    assert environments.kept() == []


def test_a_package_that_never_was_on_an_index_is_left_out_unless_it_makes_the_numbers(shelf, links):
    lock = locked(links)
    apt = Requirement("python-apt", "2.4", unhashed="not on the index")
    torch = Requirement("torch", "2.1+cu121", unhashed="this version is not on the index")

    with environments.borrow(replace(lock, requirements=(*lock.requirements, apt)), here=None) as b:
        assert weight(b) == 1.0
        assert "left out, since not to be had here: python-apt 2.4 (not on the index)" in b.notes[0]
    with pytest.raises(RestoreError, match=r"torch 2\.1\+cu121"):
        environments.borrow(
            replace(lock, requirements=(*lock.requirements, apt, torch)), here=None
        ).__enter__()


def test_a_full_disk_is_not_blamed_on_a_package(links):
    lock = locked(links)
    lock = replace(lock, requirements=(*lock.requirements, Requirement("private", "1.0")))
    full = UvError("Failed to install: private-1.0.whl: No space left on device (os error 28)")

    assert making.why(lock, full).endswith("cannot be made: no space left on device")
    assert not making.spared(lock, full)


def test_a_file_of_other_content_is_not_installed(shelf, links):
    lock = locked(links, hashes=("sha256:" + "0" * 64,))

    with pytest.raises(RestoreError, match="numlib"):
        environments.borrow(lock, here=None).__enter__()


def others() -> list[str]:
    found = uv.installed(uv.find())
    return sorted({version for _path, version in found if version != HERE and version >= "3.8"})


def test_the_recorded_python_is_used_where_this_machine_has_it(shelf, links):
    if not others():
        pytest.skip("this machine has one Python")
    version = others()[0]

    with environments.borrow(locked(links, python=version), here=None) as built:
        asked = [built.python, "-c", "import platform, numlib; print(platform.python_version())"]
        said = subprocess.run(asked, check=True, capture_output=True, text=True).stdout

    assert (said.strip(), built.version, built.notes) == (version, version, ())


def test_a_python_that_is_not_here_is_replaced_by_the_nearest_and_that_is_said(shelf, links):
    minor = HERE.rpartition(".")[0]

    with environments.borrow(locked(links, python=f"{minor}.99"), here=None) as built:
        assert weight(built) == 1.0

    assert built.version.startswith(f"{minor}.")
    assert f"instead of the recorded {minor}.99" in built.notes[0]


def test_a_wheel_that_the_ledger_keeps_is_installed(shelf, project, links, tmp_path):
    here = place.strict(project.root)
    own = wheels.wheel(tmp_path / "own", "private", "3.1", {"private.py": "NUMBER = 7\n"})
    digest = here.stores.add(own, into_dvc=False).digest
    one = Requirement("private", "3.1", unhashed="local file", source=f"object:{digest}")
    lock = Lock(Digest("sha256", "0" * 64), HERE, "cpython", (one,))

    with environments.borrow(lock, here=here) as built:
        asked = [built.python, "-c", "import private; print(private.NUMBER)"]
        assert subprocess.run(asked, check=True, capture_output=True, text=True).stdout == "7\n"


def test_gc_removes_what_was_not_used_for_long_and_spares_what_is_in_use(shelf, links):
    with environments.borrow(locked(links, "2.0"), here=None) as old:
        pass
    long_ago = time.time() - 40 * 24 * 3600
    os.utime(old.prefix / "mlrepro.json", (long_ago, long_ago))

    with environments.borrow(locked(links), here=None) as built:
        assert gc().environments == (str(old.prefix),)
        again = gc(everything=True)
        assert (again.environments, again.kept, again.busy) == ((), 1, 1)
        assert weight(built) == 1.0

    removed = gc(everything=True)
    assert removed.environments == (str(built.prefix),)
    assert removed.freed > 0
    assert environments.kept() == []


def test_gc_removes_the_rooms_of_killed_rebuilds(shelf):
    room = shelf.parent / "rooms" / "abandoned"
    room.mkdir(parents=True)
    (room / "lock").touch()
    long_ago = time.time() - 3600
    os.utime(room, (long_ago, long_ago))

    assert gc().rooms == (str(room),)
    assert not room.exists()
