"""Ledger: what an append and a listing cost at 1,000 and 10,000 runs, and how to shard by date.

Run with ``python benchmarks/ledger.py [runs …]``; one line for each layout and number of runs.
"""

from __future__ import annotations

import hashlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from mlrepro import documents
from mlrepro.manifest import Artifact, Digest, Input, Manifest, Role, Run, Source, Status
from mlrepro.stores import git, ledger, writers

REPEATS = 15
LAYOUTS: dict[str, Callable[[Manifest], str]] = {
    "by date, two digits": ledger.place,
    "by date": lambda m: f"runs/{m.run.started[:7]}/{m.run.started[8:10]}/{m.id}",
    "two digits": lambda m: f"runs/{m.id[:2]}/{m.id}",
}


def made(number: int, per_day: int) -> Manifest:
    day = date(2026, 1, 1) + timedelta(days=number // per_day)
    digest = Digest("md5", hashlib.md5(str(number).encode()).hexdigest())
    started = f"{day.isoformat()}T{number % 24:02d}:00:00.{number % 1_000_000:06d}Z"
    return Manifest(
        run=Run(("python", "train.py"), started, Status.COMPLETED, author="Ann <ann@example.org>"),
        artifacts=tuple(Artifact(f"model{i}.txt", Role.WEIGHTS, digest, 1) for i in range(4)),
        inputs=tuple(Input(f"data{i}.csv", Source.STORED, digest, 1) for i in range(10)),
        params={"params.yaml": {f"p{i}": i / 7 for i in range(40)}},
    )


def filled(root: Path, runs: int, per_day: int, place: Callable[[Manifest], str]) -> git.Repository:
    """Make a repository whose ledger holds so many runs, in one commit."""
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    repo = git.open_repository(root)
    ref = writers.LOG + writers.own(repo)
    with tempfile.TemporaryFile() as stream:
        stream.write(f"commit {ref}\ncommitter x <x> 0 +0000\ndata 0\n".encode())
        for number in range(runs):
            manifest = made(number, per_day)
            writers.note_own(repo, manifest.id)
            for name, data in (
                ("manifest.json", documents.canonical_json(manifest.to_dict())),
                ("manifest.yaml", b"# as long as the JSON\n" * 60),
                ("inputs.json", b"[]"),
            ):
                stream.write(f"M 100644 inline {place(manifest)}/{name}\n".encode())
                stream.write(b"data %d\n%s\n" % (len(data), data))
        stream.seek(0)
        command = ("git", "fast-import", "--quiet")
        subprocess.run(command, cwd=root, stdin=stream, check=True)
    return repo


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def loose(root: Path) -> int:
    found = (p for p in (root / ".git" / "objects").glob("??/*"))
    return sum(p.stat().st_size for p in found)


def measure(name: str, runs: int, per_day: int) -> str:
    ledger.place = LAYOUTS[name]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        repo = filled(root, runs, per_day, LAYOUTS[name])
        before = loose(root)
        new = [made(runs - 1 - i, per_day) for i in range(REPEATS)]
        # Other runs on the last day, in the ledger's fullest folder.
        new = [Manifest(run=m.run, metrics={"x": i}) for i, m in enumerate(new)]
        appends = [seconds(lambda m=m: ledger.append(repo, m, {"inputs": b"[]"})) for m in new]
        size = (loose(root) - before) / REPEATS / 1024
        cold = seconds(lambda: ledger.entries(repo))
        warm = statistics.median(seconds(lambda: ledger.entries(repo)) for _ in range(5))
        everything = ledger.entries(repo)
        whole = seconds(lambda: [entry.manifest for entry in everything[:1000]])
    return (
        f"{name:20} {runs:6,} runs, {per_day:6,} a day"
        f"   append {statistics.median(appends) * 1e3:6.1f} ms {size:7.1f} KiB"
        f"   list cold {cold:5.2f} s, warm {warm:6.3f} s"
        f"   1,000 manifests {whole:5.2f} s"
    )


if __name__ == "__main__":
    for runs in [int(word) for word in sys.argv[1:]] or [1_000, 10_000]:
        for name in LAYOUTS:
            for per_day in sorted({100, runs}):
                print(measure(name, runs, per_day), flush=True)
