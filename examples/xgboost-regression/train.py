"""Train an XGBoost regressor on the diabetes data, and keep its predictions."""

import argparse
import json

import numpy
import pandas
import xgboost

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--depth", type=int, default=4)
parser.add_argument("--seed", type=int, default=7)
options = parser.parse_args()

table = pandas.read_csv("diabetes.csv").sample(frac=1.0, random_state=options.seed)
train = xgboost.DMatrix(table.drop(columns="target")[:350], table["target"][:350])
test = xgboost.DMatrix(table.drop(columns="target")[350:], table["target"][350:])
booster = xgboost.train(
    {"max_depth": options.depth, "eta": 0.1, "subsample": 0.8, "seed": options.seed},
    train,
    num_boost_round=60,
)
predicted = booster.predict(test)
rmse = float(numpy.sqrt(numpy.mean((predicted - test.get_label()) ** 2)))
booster.save_model("model.ubj")
numpy.save("predictions.npy", predicted)
with open("metrics.json", "w") as file:
    json.dump({"rmse": rmse}, file)
print(f"rmse {rmse:.3f}")
