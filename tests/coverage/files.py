"""Files: what the programs of the cases read; `python files.py` makes them all in its folder."""

from __future__ import annotations

import pickle
import shutil
import sqlite3
from pathlib import Path

RANK = Path(__file__).parents[1] / "data" / "rank"


def texts() -> None:
    lines = [f"{i % 2},{i % 7},{i % 5},{i * 37 % 11}" for i in range(200)]
    Path("train.csv").write_text("label,a,b,c\n" + "\n".join(lines) + "\n")
    libsvm = "".join(
        f"{i % 2} {i % 7 + 1}:1 {i % 5 + 9}:1 {i * 37 % 11 + 15}:1\n" for i in range(99)
    )
    Path("small.libsvm").write_text(libsvm)
    Path("agaricus.txt.train").write_text(libsvm * 2)
    for name in ("data.txt", "texts/a.txt", "texts/b.txt", "outside/data.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("".join(f"{name} {i}\n" for i in range(20)))
    Path("numbers.txt").write_text("1 2\n3 4\n")
    Path("numbers.pkl").write_bytes(pickle.dumps(list(range(99))))
    for path in RANK.iterdir():
        shutil.copyfile(path, path.name)
    with sqlite3.connect("table.db") as database:
        database.execute("create table t (a)")
        database.executemany("insert into t values (?)", [(i,) for i in range(9)])


def tables() -> None:
    import h5py
    import joblib
    import numpy as np
    import pyarrow.parquet

    numbers = np.arange(1000.0)
    np.save("numbers.npy", numbers)
    numbers.tofile("numbers.bin")
    joblib.dump(numbers, "numbers.joblib")
    with h5py.File("table.h5", "w") as file:
        file["a"] = numbers
    table = pyarrow.table({"a": numbers, "b": numbers * 2})
    Path("parts").mkdir()
    for name in ("table", "parts/a", "parts/b"):
        pyarrow.parquet.write_table(table, f"{name}.parquet")


def models() -> None:
    import lightgbm
    import numpy as np
    import xgboost

    x = np.arange(400.0).reshape(-1, 4) % 7
    y = x[:, 0] > 2
    options = {"objective": "binary", "verbose": -1, "num_threads": 1}
    lightgbm.train(options, lightgbm.Dataset(x, y), 2).save_model("prev.txt")
    data = xgboost.DMatrix(x, y)
    xgboost.train({"objective": "binary:logistic"}, data, 2).save_model("prev.json")


if __name__ == "__main__":
    texts()
    tables()
    models()
