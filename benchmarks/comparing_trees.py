"""Comparing trees: seconds and memory for two boosted models in which every leaf differs.

    python benchmarks/comparing_trees.py [--trees 1000 10000] [--rows 2000]

A real training of 40 features and 31 leaves a tree, whose trees are repeated to the count that
is asked for; in the copy every leaf moved by 1e-9 of itself (XGBoost: to the next float32).
Each comparison is a process of its own, models in page cache: what it prints is the time of
`compare` alone (both files parsed, measured, judged) and the peak resident memory of the process.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

_MEASURE = """
import sys, time
from pathlib import Path
import numpy
from mlrepro.comparators import compare
from mlrepro.drift import Tolerance
start, begun = time.perf_counter(), time.process_time()
found = compare(Path(sys.argv[1]), Path(sys.argv[2]), name=sys.argv[3], tolerance=Tolerance())
took, cpu = time.perf_counter() - start, time.process_time() - begun
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
said = f"{found.comparator}, {found.verdict}: {found.summary}"
print(f"{took:.2f} s | {cpu:.2f} s | {peak} MiB | {said}")
"""
_NUMBER = re.compile(r"[-+]?\d[-+.e\d]*")
_TRAINED = 250
"""So many trees are trained; a longer model repeats them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trees", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--rows", type=int, default=2_000)
    options = parser.parse_args()
    print("model | size of each | compare | its CPU | peak memory | found")
    for trees in options.trees:
        with tempfile.TemporaryDirectory(prefix="comparing-trees-") as folder:
            for kind, write in (("LightGBM text", lightgbm), ("XGBoost JSON", xgboost)):
                write(Path(folder), trees, options.rows)
                report(kind, trees, Path(folder), ".txt" if write is lightgbm else ".json")
            report("XGBoost UBJSON", trees, Path(folder), ".ubj")


def report(kind: str, trees: int, folder: Path, suffix: str) -> None:
    """Compare the two models of one form in a process of its own, and print a line."""
    a, b = (folder / f"{side}{suffix}" for side in ("recorded", "rebuilt"))
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, a, b, f"model{suffix}"],
        check=True,
        capture_output=True,
        text=True,
    )
    size = a.stat().st_size / 2**20
    print(f"{kind}, {trees} trees | {size:.1f} MiB | {done.stdout.strip()}", flush=True)


def data(rows: int) -> tuple:
    import numpy as np  # noqa: PLC0415  what trains

    random = np.random.default_rng(7)
    x = random.normal(size=(rows, 40))
    return x, x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + random.normal(size=rows)


def lightgbm(folder: Path, trees: int, rows: int) -> None:
    """Train a model, and write it and a copy whose leaves moved."""
    warnings.filterwarnings("ignore")
    import lightgbm  # noqa: PLC0415  what trains

    parameters = {
        "num_leaves": 31, "learning_rate": 0.01, "min_data_in_leaf": 5, "verbose": -1, "seed": 1,
        "num_threads": 1,
    }  # fmt: skip
    x, y = data(rows)
    booster = lightgbm.train(parameters, lightgbm.Dataset(x, y), min(trees, _TRAINED))
    top, _, rest = booster.model_to_string().partition("\nTree=0\n")
    body, end, tail = rest.partition("end of trees\n")
    trained = re.split(r"Tree=\d+\n", body)
    written = [f"Tree={i}\n{trained[i % len(trained)]}" for i in range(trees)]
    sizes = " ".join(str(len(tree)) for tree in written)
    top = re.sub(r"tree_sizes=.*", f"tree_sizes={sizes}", top)
    text = "".join([top, "\n", *written, end, tail])
    (folder / "recorded.txt").write_text(text)
    moved = re.sub(r"(?m)^leaf_value=.*", lambda line: _NUMBER.sub(_moved, line[0]), text)
    (folder / "rebuilt.txt").write_text(moved)


def _moved(number: re.Match[str]) -> str:
    return repr(float(number[0]) * (1 + 1e-9))


def xgboost(folder: Path, trees: int, rows: int) -> None:
    """Train a model, and write it and a copy whose leaves moved, as JSON and UBJSON."""
    import json  # noqa: PLC0415  as above

    import xgboost  # noqa: PLC0415  what trains

    parameters = {
        "max_leaves": 31, "max_depth": 0, "grow_policy": "lossguide", "eta": 0.01, "seed": 1,
        "nthread": 1,
    }  # fmt: skip
    booster = xgboost.train(parameters, xgboost.DMatrix(*data(rows)), min(trees, _TRAINED))
    model = json.loads(booster.save_raw("json"))
    forest = model["learner"]["gradient_booster"]["model"]
    trained = forest["trees"]
    forest["tree_info"] = [0] * trees
    forest["iteration_indptr"] = list(range(trees + 1))
    forest["gbtree_model_param"]["num_trees"] = str(trees)
    for side in ("recorded", "rebuilt"):
        forest["trees"] = [{**trained[i % len(trained)], "id": i} for i in range(trees)]
        (folder / f"{side}.json").write_text(json.dumps(model, separators=(",", ":")))
        written = xgboost.Booster(model_file=folder / f"{side}.json")
        written.save_model(folder / f"{side}.ubj")
        written.save_model(folder / f"{side}.json")  # in XGBoost's own spelling of numbers
        trained = [_shifted(tree) for tree in trained]


def _shifted(tree: dict) -> dict:
    """Return a tree whose leaves are the next float32."""
    import numpy as np  # noqa: PLC0415  what trains

    values = np.array(tree["split_conditions"], dtype=np.float32)
    leaf = np.array(tree["left_children"]) == -1
    values[leaf] = np.nextafter(values[leaf], np.float32(np.inf))
    return {**tree, "split_conditions": [float(str(v)) for v in values]}


if __name__ == "__main__":
    main()
