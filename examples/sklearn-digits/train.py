"""Train a logistic regression on the digits; the model is a joblib file."""

import json

import joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

features, labels = load_digits(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(features, labels, random_state=7)
model = LogisticRegression(max_iter=300, C=0.1).fit(x_train / 16, y_train)
joblib.dump(model, "model.joblib")
with open("metrics.json", "w") as file:
    json.dump({"accuracy": model.score(x_test / 16, y_test)}, file)
