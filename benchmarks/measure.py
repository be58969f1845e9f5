"""Measure: wall and CPU seconds of commands, interleaved, with 95 % intervals of the difference."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """Seconds of one command: wall, and user + system of the process tree."""

    wall: float
    cpu: float


def once(command: Sequence[str], cwd: Path, before: Callable[[], object] | None = None) -> Cost:
    """Run a command and return what it cost.

    `PYTHONDONTWRITEBYTECODE` is unset: where it is set, every start compiles again.
    """
    if before:
        before()
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start_cpu, start = os.times(), time.perf_counter()
    subprocess.run(command, cwd=cwd, env=environ, check=True, capture_output=True)
    wall, end_cpu = time.perf_counter() - start, os.times()
    cpu = end_cpu.children_user + end_cpu.children_system
    return Cost(wall, cpu - start_cpu.children_user - start_cpu.children_system)


def interleaved(
    commands: dict[str, tuple[Sequence[str], Path, Callable[[], object] | None]], pairs: int
) -> dict[str, list[Cost]]:
    """Run all commands in turn, `pairs` times, after one unmeasured turn; the order is shuffled."""
    found: dict[str, list[Cost]] = {name: [] for name in commands}
    for command in commands.values():
        once(*command)
    for _ in range(pairs):
        for name in random.sample(list(commands), len(commands)):
            found[name].append(once(*commands[name]))
    return found


def added(costs: Sequence[Cost], base: Sequence[Cost], kind: str) -> tuple[float, float, float]:
    """Return the median of the paired differences in seconds, and its bootstrap 95 % interval."""
    pairs = zip(costs, base, strict=True)
    return interval([getattr(a, kind) - getattr(b, kind) for a, b in pairs])


def relative(costs: Sequence[Cost], base: Sequence[Cost], kind: str) -> tuple[float, float, float]:
    """Return the median of the paired ratios less one, and its bootstrap 95 % interval."""
    pairs = zip(costs, base, strict=True)
    return interval([getattr(a, kind) / getattr(b, kind) - 1 for a, b in pairs])


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and its bootstrap 95 % interval."""
    rng = random.Random(0)
    medians = sorted(statistics.median(rng.choices(values, k=len(values))) for _ in range(2000))
    return statistics.median(values), medians[50], medians[1949]


def row(name: str, *cells: str) -> None:
    """Print one line of the table."""
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def filesystem(path: Path) -> str:
    """Return the type of the file system that a path lies on."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _device, mount, kind, *_ = line.split()
        if str(path.resolve()).startswith(mount) and len(mount) > len(best[0]):
            best = (mount, kind)
    return best[1]
