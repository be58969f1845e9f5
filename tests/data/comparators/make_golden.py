"""Make golden: the models of two library versions that the comparators' tests compare.

Made once, with one virtual environment for each version, all under CPython 3.11 on Linux x86-64::

    lightgbm 3.3.5 (numpy 1.24.4, pandas 1.5.3), 4.6.0 and 4.7.0 (numpy 2.4.6, pandas 3.1.1)
    xgboost-cpu 2.1.4 and 3.2.0 (numpy 2.4.6, pandas 3.1.1)

    for each:  <its python> make_golden.py lightgbm|xgboost <this folder>

The recorded trees of differences (`*.tree.json`) are written by
``MLREPRO_RECORD_GOLDEN=1 pytest tests/comparators/test_table.py`` and read before they are committed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

_RANDOM = np.random.RandomState(7)
X = np.round(_RANDOM.normal(size=(300, 4)), 3)
Y = np.round(X[:, 0] * 2 + np.sin(X[:, 1] * 3) + X[:, 2] * (X[:, 3] > 0), 4)


def _frame():
    import pandas as pd

    frame = pd.DataFrame(X, columns=list("abcd"))
    colours = np.where(Y > 1, "red", np.where(Y > -1, "green", "blue"))
    frame["colour"] = pd.Categorical(colours)
    return frame


def lightgbm(folder: Path) -> None:
    import lightgbm as lgb

    common = {
        "num_leaves": 5,
        "num_threads": 1,
        "seed": 3,
        "verbose": -1,
        "deterministic": True,
        "force_row_wise": True,
        "objective": "regression",
    }

    def save(name, x, y, rounds, **parameters):
        model = lgb.train({**common, **parameters}, lgb.Dataset(x, y), rounds)
        model.save_model(str(folder / f"{name}-{lgb.__version__}.txt"))

    categorical = {"min_data_per_group": 1, "cat_smooth": 1, "max_cat_to_onehot": 1}
    save("regression", X, Y, 6)
    save("categories", _frame(), Y, 6, **categorical)
    save("multiclass", X, np.digitize(Y, [-1, 1]), 2, objective="multiclass", num_class=3)
    save("linear", X, Y, 3, linear_tree=True)
    save("constant", X, np.ones(300), 2)
    save(
        "forest",
        X,
        Y > 0,
        2,
        objective="binary",
        boosting="rf",
        bagging_freq=1,
        bagging_fraction=0.6,
    )


def xgboost(folder: Path) -> None:
    import xgboost as xgb

    def save(name, x, y, rounds, *, categorical=False, **parameters):
        data = xgb.DMatrix(x, y, enable_categorical=categorical)
        model = xgb.train({"max_depth": 3, "nthread": 1, "seed": 3, **parameters}, data, rounds)
        for form in ("json", "ubj"):
            model.save_model(str(folder / f"{name}-{xgb.__version__}.{form}"))

    three = {"objective": "multi:softprob", "num_class": 3}
    vectors = {"multi_strategy": "multi_output_tree", "tree_method": "hist"}
    save("squared", X, Y, 4)
    save("multiclass", X, np.digitize(Y, [-1, 1]), 2, **three)
    save("categories", _frame(), Y, 4, categorical=True, max_cat_to_onehot=1)
    save("dart", X, Y, 4, booster="dart", rate_drop=0.5)
    save("linear", X, Y, 4, booster="gblinear", updater="coord_descent")
    save("vectors", X, np.stack([Y, -2 * Y], 1), 2, **vectors)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]) / sys.argv[1])
