"""Startup: what `mlrepro --help` takes, beside `python -c pass`."""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import measure


def main() -> None:
    here = Path.cwd()
    mlrepro = str(Path(sys.executable).with_name("mlrepro"))
    commands = {
        "python -c pass": ([sys.executable, "-c", "pass"], here, None),
        "mlrepro --help": ([mlrepro, "--help"], here, None),
    }
    print("| what | wall | user + system |")
    print("|---|---|---|")
    for name, costs in measure.interleaved(commands, 20).items():
        wall = statistics.median(cost.wall for cost in costs)
        cpu = statistics.median(cost.cpu for cost in costs)
        measure.row(name, f"{wall:.3f} s", f"{cpu:.3f} s")


if __name__ == "__main__":
    main()
