"""Make the golden pairs of the plain kinds; `old` is an environment with other versions.

    uv venv -p 3.10 OLD && uv pip install -p OLD numpy==1.23.5 pandas==1.5.3 lightgbm==3.3.5 scikit-learn==1.2.2 tqdm
    OLD/bin/python tests/data/comparators/make_plain.py old
    .venv/bin/python tests/data/comparators/make_plain.py new

`old` and `new` hold the same work, done by two real library versions: an npz, a CSV by pandas, a
JSON by `json`, and what LightGBM, tqdm and a warning print.
"""

import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import pandas as pd

HERE = pathlib.Path(__file__).parent
SCRIPT = """
import sys, time, warnings
import numpy as np, lightgbm as lgb
from tqdm import tqdm
start = time.time()
x = np.random.default_rng(0).normal(size=(500, 5))
y = (x[:, 0] + x[:, 1] > 0).astype(int)
model = lgb.train({"objective": "binary", "verbose": 1, "num_threads": 1, "deterministic": True},
                  lgb.Dataset(x, y), num_boost_round=5)
for _ in tqdm(range(3), file=sys.stdout):
    pass
p = model.predict(x)
print(f"logloss {-np.mean(np.where(y, np.log(p), np.log(1 - p))):.9f}  accuracy: {np.mean((p > .5) == y):.4f}")
print(time.strftime("%Y-%m-%d %H:%M:%S"), f"done in {time.time() - start:.2f} s, object at {hex(id(model))}")
"""


def main(side: str) -> None:
    for kind in ("arrays", "table", "numbers", "printed"):
        (HERE / kind).mkdir(exist_ok=True)
    random = np.random.default_rng(3)
    weights = random.normal(size=(6, 4))
    scores = 1 / (1 + np.exp(-weights.ravel()))
    started = time.time()
    np.savez(
        HERE / "arrays" / f"{side}.npz", weights=weights, scores=scores, order=np.argsort(scores)
    )
    frame = pd.DataFrame(
        {"id": range(24), "label": ["yes", "no"] * 12, "score": scores.astype("f4")}
    )
    frame.to_csv(HERE / "table" / f"{side}.csv", index=False)
    metrics = {"auc": float(scores.mean()), "fit_seconds": time.time() - started, "n": 24}
    (HERE / "numbers" / f"{side}.json").write_text(
        json.dumps(metrics, indent=2 if side == "new" else None)
    )
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    (HERE / "printed" / f"{side}.log").write_bytes(done.stdout)


main(sys.argv[1])
