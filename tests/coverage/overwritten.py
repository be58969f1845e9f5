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


def _by_script(name: str, change: str, **options) -> Case:
    return Case(
        f"{name} by the script",
        _READ + change,
        reads=("data.txt",),
        writes=("data.txt",),
        counted=False,
        **options,
    )


def _from_outside(name: str, change, *, left: bool = True) -> Case:
    lost = {"native": ("data.txt",), "audit": ("data.txt",)}
    return Case(
        f"{name} from outside of the run",
        _TELL,
        reads=("data.txt",),
        meanwhile=change,
        refused=lost,
        spots={"native": "no program was seen to do it: data.txt"} if left else {},
        counted=False,
    )


_BY_A_CHILD = """
import subprocess, sys
for code in ("assert open('data.txt').read()", "open('data.txt', 'w').write('other bytes')"):
    subprocess.run([sys.executable, "-c", code], check=True)
"""
_BY_C = r"""
#include <stdio.h>
int main(void) {
    char text[4096];
    FILE *in = fopen("data.txt", "r");
    if (!in || !fread(text, 1, sizeof text, in)) return 1;
    fclose(in);
    FILE *out = fopen("data.txt", "w");
    return fputs("other bytes", out) < 0 || fclose(out);
}
"""

CASES = (
    _by_script(
        "overwritten, time set back,",
        _SAME_SIZE + "open('data.txt', 'r+').write(text)\n" + _SET_BACK,
    ),
    _by_script("moved over", "os.replace('other.txt', 'data.txt')", texts={"other.txt": "other"}),
    _by_script("truncated", "os.truncate('data.txt', 3)"),
    _by_script(
        "overwritten under another name",
        "os.link('data.txt', 'same.txt')\nopen('same.txt', 'w').write('other')\nos.remove('same.txt')",
        missed={"native": "W", "audit": "W"},
        named={"native": "no program was seen to do it: data.txt"},
        refused={"native": ("data.txt",), "audit": ("data.txt",)},
    ),
    Case(
        "overwritten by mmap, mapped before it was read",
        """
        import mmap
        file = open("data.txt", "r+b")
        mapped = mmap.mmap(file.fileno(), 0)
        file.close()
        assert open("data.txt").read()
        mapped[:5] = b"other"
        mapped.close()
        """,
        reads=("data.txt",),
        writes=("data.txt",),
        counted=False,
    ),
    Case(
        "read by a symlink, overwritten by its own name",
        "assert open('link.txt').read(); open('data.txt', 'w').write('other')",
        reads=("link.txt",),
        writes=("data.txt",),
        files=("data.txt",),
        links={"link.txt": "data.txt"},
        refused={"native": ("link.txt",), "audit": ("link.txt",)},
        counted=False,
    ),
    Case(
        "read by one child and overwritten by the next",
        _BY_A_CHILD,
        reads=("data.txt",),
        writes=("data.txt",),
        refused={"audit": ("data.txt",)},
        counted=False,
    ),
    Case(
        "read and overwritten by a C program",
        _BY_C,
        language="c",
        reads=("data.txt",),
        writes=("data.txt",),
        missed={"audit": "RW"},
        named={"audit": "the compiled program `"},
        counted=False,
    ),
    Case(
        "overwritten by another Python of the run",
        _READ
        + "script = \"open('data.txt', 'w').write('other bytes')\"\n"
        + "subprocess.run([sys.executable, '-c', script], check=True)\n",
        reads=("data.txt",),
        writes=("data.txt",),
        refused={"audit": ("data.txt",)},
        counted=False,
    ),
    Case(
        "overwritten by a shell of the run",
        _READ + "subprocess.run('echo other bytes > data.txt', shell=True, check=True)\n",
        reads=("data.txt",),
        writes=("data.txt",),
        refused={"audit": ("data.txt",)},
        missed={"audit": "W"},
        named={"audit": "only Python's reads"},
        counted=False,
    ),
    Case(
        "moved over by `mv` of the run",
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
    _from_outside("overwritten, time set back,", _rewrite_and_set_back),
    _from_outside("replaced", _replace),
    _from_outside("deleted", _delete, left=False),
)
