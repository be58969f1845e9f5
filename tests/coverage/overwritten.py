"""Overwritten: an input changes during the run; its digest is that of what was read, or none."""

from __future__ import annotations

import os
from pathlib import Path

from tests.coverage.case import Case

_READ = "import os, subprocess, sys\nassert open('data.txt').read()\n"
_TELL = _READ + "print('read', flush=True)\nsys.stdin.read()\n"
_SAME_SIZE = "text = open('data.txt').read()[::-1]\nfound = os.stat('data.txt')\n"
_SET_BACK = "os.utime('data.txt', ns=(found.st_atime_ns, found.st_mtime_ns))\n"


def _rewrite(root: Path) -> None:
    (root / "data.txt").write_text("other bytes\n")


def _rewrite_and_set_back(root: Path) -> None:
    path = root / "data.txt"
    before = path.stat()
    path.write_text(path.read_text()[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replace(root: Path) -> None:
    (root / "new.txt").write_text((root / "data.txt").read_text()[::-1])
    (root / "new.txt").replace(root / "data.txt")


def _delete(root: Path) -> None:
    (root / "data.txt").unlink()


def _from_outside(name: str, change) -> Case:
    lost = {"native": ("data.txt",), "audit": ("data.txt",)}
    return Case(
        f"input {name} by a program outside of the run",
        _TELL,
        reads=("data.txt",),
        meanwhile=change,
        refused=lost,
        counted=False,
    )


CASES = (
    Case(
        "input overwritten by the script, size and time kept",
        _READ + _SAME_SIZE + "open('data.txt', 'r+').write(text)\n" + _SET_BACK,
        reads=("data.txt",),
        writes=("data.txt",),
        counted=False,
    ),
    Case(
        "input overwritten by another Python of the run",
        _READ
        + "script = \"open('data.txt', 'w').write('other bytes')\"\n"
        + "subprocess.run([sys.executable, '-c', script], check=True)\n",
        reads=("data.txt",),
        writes=("data.txt",),
        refused={"audit": ("data.txt",)},
        counted=False,
    ),
    Case(
        "input overwritten by a shell of the run",
        _READ + "subprocess.run('echo other bytes > data.txt', shell=True, check=True)\n",
        reads=("data.txt",),
        writes=("data.txt",),
        refused={"audit": ("data.txt",)},
        missed={"audit": "W"},
        named={"audit": "only Python's reads"},
        counted=False,
    ),
    Case(
        "input moved over by `mv` of the run",
        _READ + "subprocess.run(['mv', 'other.txt', 'data.txt'], check=True)\n",
        reads=("data.txt",),
        writes=("data.txt",),
        texts={"other.txt": "other bytes\n"},
        refused={"audit": ("data.txt",)},
        missed={"audit": "W"},
        named={"audit": "the compiled program `mv"},
        counted=False,
    ),
    _from_outside("overwritten", _rewrite),
    _from_outside("overwritten, size and time kept,", _rewrite_and_set_back),
    _from_outside("replaced", _replace),
    _from_outside("deleted", _delete),
)
