"""Storing: many small files and one large file, by mlrepro and by `dvc add`.

Usage: python benchmarks/storing.py [--files 20000] [--megabytes 1024] [--pairs 5]

Each measurement is a process of its own, in a new repository, with the files in the page cache
and nothing stored before. The two of a pair follow each other, by turns in either order; the ratio
is the median over the pairs, with the least and the most: of five pairs these hold the true median
with 94 % confidence, of eight with 99 %. `dvc add` is the real command; mlrepro does the same work:
objects in both stores, pointer, `.gitignore`. Of the small files nothing is deleted until the end:
ext4 searches long for a free inode while it remembers those that were deleted a moment ago.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_KEEP = """
import sys
from pathlib import Path
from mlrepro.stores import dvc
root, name = Path.cwd(), sys.argv[1]
stored = dvc.stores(root).add(root / name, into_dvc=True, ignore=dvc.ignore_rules(root))
dvc.keep(root, {root / name: stored}, notify=print)
"""


@dataclass(frozen=True)
class Cost:
    """Seconds and MiB of one process."""

    wall: float
    cpu: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="storing-", dir=os.environ.get("STORING_DIR")))
    try:
        os.environ.update(HOME=str(base), DVC_NO_ANALYTICS="1")
        os.environ["DVC_SITE_CACHE_DIR"] = str(base / "site")
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        small, large = [], []
        for number in range(options.pairs):
            first = bool(number % 2)
            small.append(measure(base, f"s{number}", options.files, 0, ours_first=first))
            large.append(measure(base, f"l{number}", 0, options.megabytes, ours_first=first))
            shutil.rmtree(base / f"l{number}")  # its one inode is none to wait for
        print(f"file system: {file_system(base)}; {options.pairs} interleaved pairs, hot cache")
        print("what | mlrepro | dvc add | ratio, median [least, most]")
        report(f"{options.files} files of 1 kB", small)
        report(f"one file of {options.megabytes} MiB", large)
    finally:
        shutil.rmtree(base, ignore_errors=True)


def measure(
    base: Path, name: str, files: int, megabytes: int, *, ours_first: bool
) -> tuple[Cost, Cost]:
    """Store the same content by both, each in a repository of its own."""
    ours, theirs = base / name / "ours", base / name / "theirs"
    for root in (ours, theirs):
        root.mkdir(parents=True)
        subprocess.run(["git", "init", "-q"], cwd=root, check=True)
        subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=root, check=True)
        fill(root / "data", files, megabytes)
    commands = {
        ours: [sys.executable, "-c", _KEEP, "data"],
        theirs: [sys.executable, "-m", "dvc", "add", "-q", "data"],
    }
    costs = {}
    for root in (ours, theirs) if ours_first else (theirs, ours):
        os.sync()
        costs[root] = cost(commands[root], root)
    same = (ours / "data.dvc").read_bytes() == (theirs / "data.dvc").read_bytes()
    assert same or files  # the content of the small files is random
    return costs[ours], costs[theirs]


def fill(target: Path, files: int, megabytes: int) -> None:
    """Write the files, and leave them in the page cache."""
    if not files:
        with target.open("wb") as file:
            for number in range(megabytes):
                file.write(number.to_bytes(8, "big") * 2**17)
        return
    for number in range(files):
        folder = target / f"{number % 100:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.txt").write_bytes(os.urandom(1000))


def cost(command: Sequence[str], cwd: Path) -> Cost:
    """Run a command; its peak memory is the largest of its process tree."""
    before, start = os.times(), time.perf_counter()
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=cwd, check=True, capture_output=True, text=True
    )
    wall, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return Cost(wall, cpu, int(done.stdout.split()[-1]) / unit)


def report(what: str, costs: Sequence[tuple[Cost, Cost]]) -> None:
    """Print medians, and of the paired ratios the median, the least and the most."""
    for field, unit, digits in (("wall", "s", 2), ("cpu", "s", 2), ("memory", "MiB", 0)):
        ours = [getattr(mine, field) for mine, _ in costs]
        theirs = [getattr(dvcs, field) for _, dvcs in costs]
        ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
        spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        cells = [f"{statistics.median(values):.{digits}f} {unit}" for values in (ours, theirs)]
        print(f"{what}, {field} | {cells[0]} | {cells[1]} | {spread}")


def file_system(path: Path) -> str:
    """Return the kind of file system that holds the path."""
    done = subprocess.run(["df", "-T", path], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1].split()[1]


if __name__ == "__main__":
    main()
