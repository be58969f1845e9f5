"""Cross-validate a forest and print the result; no file is written, as in most demo scripts."""

import time

from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

began = time.time()
scores = cross_val_score(
    RandomForestClassifier(n_estimators=40, random_state=7), *load_wine(return_X_y=True), cv=5
)
for fold, score in enumerate(scores):
    print(f"fold {fold}: accuracy {score:.4f}")
print(f"mean accuracy {scores.mean():.4f}")
print(f"took {time.time() - began:.2f} seconds")
