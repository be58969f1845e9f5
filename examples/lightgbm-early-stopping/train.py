"""Train a LightGBM classifier with early stopping; parameters from params.yaml and --seed."""

import argparse
import json
from pathlib import Path

import lightgbm
import pandas
import yaml

here = Path(__file__).parent
params = yaml.safe_load((here / "params.yaml").read_text())
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=params["seed"])
seed = parser.parse_args().seed

table = pandas.read_csv(here / "breast_cancer.csv").sample(frac=1.0, random_state=seed)
train, valid = table.iloc[:400], table.iloc[400:]
data = lightgbm.Dataset(train.drop(columns="target"), train["target"])
checked = data.create_valid(valid.drop(columns="target"), valid["target"])
booster = lightgbm.train(
    {
        "objective": "binary",
        "metric": ["auc", "binary_logloss"],
        "learning_rate": params["learning_rate"],
        "num_leaves": params["num_leaves"],
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbosity": -1,
    },
    data,
    num_boost_round=params["rounds"],
    valid_sets=[checked],
    callbacks=[lightgbm.early_stopping(params["stop_after"], verbose=False)],
)
booster.save_model(here / "model.txt")
best = booster.best_score["valid_0"]
(here / "metrics.json").write_text(json.dumps(dict(best), indent=2) + "\n")
print(f"kept {booster.best_iteration} rounds, auc {best['auc']:.4f}")
