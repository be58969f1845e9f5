"""Run all: every benchmark in turn, each printing one table. `make bench` calls it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BENCHMARKS = (
    "startup", "observer", "overhead", "hook", "storing", "ledger", "environment", "comparing",
)  # fmt: skip


def main() -> None:
    failed = []
    for name in BENCHMARKS:
        print(f"\n## {name}\n", flush=True)
        done = subprocess.run([sys.executable, str(HERE / f"{name}.py")], check=False)
        failed += [name] if done.returncode else []
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
