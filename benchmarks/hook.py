"""Hook: what the git hook adds to a commit of one model (its code, pointer and manifest).

`python benchmarks/hook.py [--pairs 20]`; `pre-commit`, `prepare-commit-msg` and `commit-msg`
together, in a repository with 2,000 files and 200 recorded runs.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import measure

from mlrepro.manifest import Manifest, Run, Status
from mlrepro.stores import git, ledger

SCRIPT = 'open("model.txt", "w").write("tree\\nversion=v4\\n" + "leaf_value=0.1\\n" * 1000)\n'
FILES, RUNS = 2000, 200


def call(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def repository(folder: Path) -> Path:
    """Make a repository in which one model waits to be committed."""
    folder.mkdir()
    call(folder, "git", "init", "-q")
    call(folder, "git", "config", "user.name", "a")
    call(folder, "git", "config", "user.email", "a@b")
    call(folder, sys.executable, "-m", "dvc", "init", "-q")
    for number in range(FILES):
        path = folder / f"package{number % 40}" / f"module{number}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"x = {number}\n")
    call(folder, "git", "add", "-A")
    call(folder, "git", "commit", "-qm", "start")
    repo = git.open_repository(folder)
    for number in range(RUNS):
        run = Run(("python", "old.py"), "2026-11-20T00:00:00Z", Status.COMPLETED, name=str(number))
        ledger.append(repo, Manifest(run), {})
    (folder / "train.py").write_text(SCRIPT)
    call(folder, sys.executable, "-m", "mlrepro", "run", sys.executable, "train.py")
    call(folder, "git", "add", "-A")
    return folder


def back_to(folder: Path) -> Callable[[], object]:
    """Return what brings the repository back to where the model waits to be committed."""
    start = call(folder, "git", "rev-parse", "HEAD")
    return lambda: call(folder, "git", "reset", "-q", "--soft", start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory(dir=Path.home()) as scratch:
        hooked = repository(Path(scratch, "hooked"))
        bare = Path(scratch, "bare")
        shutil.copytree(hooked, bare, symlinks=True)
        call(hooked, sys.executable, "-m", "mlrepro", "hook", "install")
        command = ("git", "commit", "-q", "-m", "model")
        costs = measure.interleaved(
            {
                "without": (command, bare, back_to(bare)),
                "with": (command, hooked, back_to(hooked)),
            },
            pairs,
        )
        trailer = call(hooked, "git", "log", "-1", "--format=%(trailers:key=Mlrepro-Run)")
    if not trailer.startswith("Mlrepro-Run: "):
        sys.exit("the hook did not run")
    show(costs, pairs)


def show(costs: dict[str, list[measure.Cost]], pairs: int) -> None:
    print(f"commit of one model, {FILES} files, {RUNS} runs, {pairs} interleaved pairs; seconds\n")
    print("| what | wall | user + system |")
    print("|---|---|---|")
    for name, found in costs.items():
        wall, cpu = (statistics.median(getattr(c, kind) for c in found) for kind in ("wall", "cpu"))
        print(f"| git commit {name} the hook | {wall:.3f} | {cpu:.3f} |")
    cells = []
    for kind in ("wall", "cpu"):
        middle, low, high = measure.added(costs["with"], costs["without"], kind)
        cells.append(f"{middle:.3f} [{low:.3f}, {high:.3f}]")
    print(f"| the hook adds (budget 0.2) | {cells[0]} | {cells[1]} |")


if __name__ == "__main__":
    main()
