"""Overhead: what `mlrepro run` adds to a script, beside `dvc repro` and `dvc exp run`.

`python benchmarks/overhead.py [--pairs 20]`
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import measure

TINY = """
import json
json.dump({"auc": 0.9}, open("metrics.json", "w"))
open("model.pkl", "w").write("weights")
print("auc 0.9")
"""

TRAINING = """
import lightgbm, numpy
rng = numpy.random.default_rng(0)
x = rng.normal(size=(60_000, 40)); y = x[:, 0] * x[:, 1] + rng.normal(size=60_000)
booster = lightgbm.train({"verbosity": -1, "num_threads": 2}, lightgbm.Dataset(x, y), 120)
booster.save_model("model.txt")
"""


def call(folder: Path, *command: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def repository(folder: Path, script: str) -> Path:
    folder.mkdir()
    call(folder, "git", "init", "-q")
    call(folder, sys.executable, "-m", "dvc", "init", "-q")
    call(folder, sys.executable, "-m", "dvc", "config", "core.analytics", "false")
    (folder / "train.py").write_text(script)
    call(folder, "git", "add", "-A")
    call(folder, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "start")
    return folder


def with_stage(folder: Path, output: str) -> Path:
    stage = f"cmd: {sys.executable} train.py, deps: [train.py], outs: [{output}]"
    (folder / "dvc.yaml").write_text(f"stages: {{train: {{{stage}}}}}\n")
    call(folder, "git", "add", "-A")
    call(folder, "git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "stage")
    return folder


def table(name: str, script: str, output: str, pairs: int, *, peers: bool) -> None:
    with tempfile.TemporaryDirectory(dir=Path.home()) as scratch:
        bare = repository(Path(scratch, "bare"), script)
        ours = repository(Path(scratch, "ours"), script)
        python = [sys.executable, "train.py"]
        mlrepro = str(Path(sys.executable).with_name("mlrepro"))
        dvc = str(Path(sys.executable).with_name("dvc"))
        commands = {
            "bare": (python, bare, None),
            "mlrepro run": ([mlrepro, "run", *python], ours, None),
        }
        if peers:
            theirs = with_stage(repository(Path(scratch, "repro"), script), output)
            experiments = with_stage(repository(Path(scratch, "exp"), script), output)
            commands["dvc repro"] = ([dvc, "repro", "-f"], theirs, None)
            commands["dvc exp run"] = ([dvc, "exp", "run", "-f"], experiments, None)
        found = measure.interleaved(commands, pairs)
    base = found.pop("bare")
    wall = statistics.median(cost.wall for cost in base)
    cpu = statistics.median(cost.cpu for cost in base)
    measure.row(f"{name}: bare", f"{wall:.3f} s", f"{cpu:.3f} s", "", "")
    for what, costs in found.items():
        w, w_low, w_high = measure.added(costs, base, "wall")
        c, c_low, c_high = measure.added(costs, base, "cpu")
        measure.row(
            f"{name}: {what} adds",
            f"{w:+.3f} s [{w_low:+.3f}, {w_high:+.3f}]",
            f"{c:+.3f} s [{c_low:+.3f}, {c_high:+.3f}]",
            f"{w / wall:+.1%}",
            f"{c / cpu:+.1%}",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    pairs = parser.parse_args().pairs
    print("| what | wall | user + system | wall, relative | CPU, relative |")
    print("|---|---|---|---|---|")
    table("metric and two small files", TINY, "model.pkl", pairs, peers=True)
    table("LightGBM training", TRAINING, "model.txt", pairs, peers=False)


if __name__ == "__main__":
    main()
