"""Train one boosted model on a CSV; words `name=value` are parameters of the library."""

import json
import sys

import numpy as np

# Both libraries look for these at their import, which takes 2 s, and need neither here.
sys.modules.update(dict.fromkeys(("sklearn", "pandas")))

library, data, dtype, *words = sys.argv[1:]
given = {name: json.loads(value) for name, _, value in (word.partition("=") for word in words)}
rounds = given.pop("rounds")
table = np.loadtxt(data, delimiter=",")
X, y = table[:, 1:].astype(dtype), table[:, 0]

if library == "lightgbm":
    import lightgbm

    params = {"objective": "regression", "num_leaves": 15, "verbose": -1, **given}
    lightgbm.train(params, lightgbm.Dataset(X, y), rounds).save_model("model.txt")
else:
    import xgboost

    params = {"objective": "reg:squarederror", **given}
    xgboost.train(params, xgboost.DMatrix(X, y), rounds).save_model("model.json")
