"""What two models are asked about, in a process of its own, and what of its answers is believed."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlrepro.cleanroom import asking
from mlrepro.cleanroom.asking import Told
from tests.probe.fitting import run

lightgbm = pytest.importorskip("lightgbm")
xgboost = pytest.importorskip("xgboost")
pandas = pytest.importorskip("pandas")
linear = pytest.importorskip("sklearn.linear_model")
joblib = pytest.importorskip("joblib")

SCRIPT = Path(asking.__file__).with_name("_predict.py")
NAMES = ["age", "blood sugar", "kind"]


def table(rows: int = 200, seed: int = 0):
    rng = np.random.default_rng(seed)
    found = pandas.DataFrame(rng.normal(size=(rows, 2)), columns=NAMES[:2])
    found["kind"] = pandas.Categorical(rng.choice(["x", "y", "z"], rows))
    label = (found["age"] + (found["kind"] == "x") + rng.normal(size=rows) > 0).astype(int)
    return found, label


@pytest.fixture
def ask(tmp_path):
    """Return a function that writes two models of each name and asks them; `file` is a table."""

    def told(models: dict, file: str = "", rows: Path | None = None) -> Told:
        out = tmp_path / "asked"
        out.mkdir()
        plan = tmp_path / "plan.json"
        sides = [[n, *(str(tmp_path / f"{side}-{n}") for side in "ab")] for n in models]
        for name, writes in models.items():
            for side, write in zip("ab", writes, strict=True):
                write(tmp_path / f"{side}-{name}")
        wanted = {"models": sides, "rows": str(rows or ""), "file": file, "path": []}
        plan.write_text(json.dumps({**wanted, "out": str(out)}))
        done = subprocess.run(
            [sys.executable, str(SCRIPT), str(plan)], capture_output=True, text=True, cwd=tmp_path
        )
        assert (done.returncode, done.stderr) == (0, "")
        return Told(out, tuple(asking._lines(out / "answers")))

    return told


def both(make):
    """Two models of a kind, each learned from other rows."""
    return [make(*table(seed=seed)) for seed in (1, 2)]


def boosted(x, y):
    params = {"objective": "binary", "verbose": -1, "num_threads": 1}
    return lightgbm.train(params, lightgbm.Dataset(x, y), 3).save_model


def extreme(x, y):
    matrix = xgboost.DMatrix(x, y, enable_categorical=True)
    return xgboost.train({"objective": "binary:logistic", "nthread": 1}, matrix, 3).save_model


def pickled(make, dump=pickle.dump):
    def learned(x, y):
        model = make(x, y)

        def write(path):
            with path.open("wb") as file:
                dump(model, file)

        return write

    return learned


@pytest.mark.filterwarnings("ignore")
def test_models_of_every_kind_are_asked_about_a_table_of_the_users(ask, tmp_path):
    x, y = table(50)
    more = x.assign(id=range(50), target=y)
    more[more.columns[::-1]].to_csv(tmp_path / "probe.csv", index=False)
    numbers = NAMES[:2]
    models = {
        "model.txt": both(boosted),
        "turned.txt": [boosted(x, y), boosted(x[NAMES[::-1]], y)],  # of a set of names, say
        "model.ubj": both(extreme),
        "linear.pkl": both(pickled(lambda x, y: linear.LogisticRegression().fit(x[numbers], y))),
        "ridge.joblib": both(
            pickled(lambda x, y: {"m": linear.RidgeClassifier().fit(x[numbers], y)}, joblib.dump)
        ),
        "price.pkl": both(pickled(lambda x, y: linear.LinearRegression().fit(x[numbers], x.age))),
        "plain.pkl": both(
            pickled(lambda x, y: linear.LinearRegression().fit(np.c_[x[numbers], y], y))
        ),
        "net.pt": [lambda path: path.write_bytes(b"PK\x05\x06" + bytes(18))] * 2,
        "lacking.txt": both(lambda x, y: boosted(x.rename(columns={"age": "years old"}), y)),
        "list.pkl": both(pickled(lambda x, y: [1, 2])),
        "what.bin": [lambda path: path.write_bytes(b"what")] * 2,
    }

    told = ask(models, file=str(tmp_path / "probe.csv"))

    found = {(one.path, one.data): one for one in told.answers()}
    kinds = {key: (one.kind, one.task, one.recorded.shape) for key, one in found.items()}
    assert kinds == {
        ("model.txt", "probe.csv"): ("probability", "binary", (50, 1)),
        ("model.txt", "probe.csv, raw scores"): ("margin", "binary", (50, 1)),
        ("model.ubj", "probe.csv"): ("probability", "binary", (50, 1)),
        ("model.ubj", "probe.csv, raw scores"): ("margin", "binary", (50, 1)),
        ("turned.txt", "probe.csv"): ("probability", "binary", (50, 1)),
        ("turned.txt", "probe.csv, raw scores"): ("margin", "binary", (50, 1)),
        ("linear.pkl", "probe.csv"): ("probability", "binary", (50, 2)),
        ("ridge.joblib", "probe.csv"): ("margin", "binary", (50, 1)),
        ("price.pkl", "probe.csv"): ("value", "regression", (50, 1)),
    }
    expected = lightgbm.Booster(model_file=str(tmp_path / "a-model.txt")).predict(x)
    # Read from a CSV, the last digit of a number may be another one.
    assert found["model.txt", "probe.csv"].recorded[:, 0] == pytest.approx(expected)
    turned = lightgbm.Booster(model_file=str(tmp_path / "b-turned.txt")).predict(x[NAMES[::-1]])
    assert found["turned.txt", "probe.csv"].rebuilt[:, 0] == pytest.approx(turned)
    assert found["linear.pkl", "probe.csv"].label.tolist() == y.tolist()
    notes = dict(told.notes())
    assert notes["plain.pkl"] == "it has 3 features without names, and probe.csv 4 columns"
    assert notes["lacking.txt"] == "probe.csv lacks its feature years_old"
    assert "it holds no model that could be asked, but list" in notes["list.pkl"]
    assert (
        notes["what.bin"] == notes["net.pt"] == "mlrepro knows no way to ask a model of this kind"
    )
    assert notes[""] == "probe.csv: no features, so left out: id, kind"


def test_without_rows_nothing_is_asked_and_a_data_file_is_named(ask, tmp_path):
    rows = tmp_path / "rows"
    rows.mkdir()
    fact = {"name": "v", "call": "lightgbm.train", "kind": "file", "path": "v.csv", "rows": 0}
    (rows / "rows-1-1.json").write_text(json.dumps({**fact, "total": 0, "training": False}))
    (rows / "rows-1-2.json").write_text("damaged")

    told = ask({"model.txt": both(boosted)}, rows=rows)

    assert dict(told.notes())["model.txt"].startswith("no rows")
    assert told.files() == ("v.csv",)


SEVERAL = """
import sys, pickle, warnings; warnings.simplefilter("ignore")
import numpy as np, lightgbm as lgb
from sklearn.linear_model import LogisticRegression
rng = np.random.default_rng(0); X = rng.random((300, 4)); y = (X[:, 0] > rng.random(300)) * 1
side = sys.argv[1] if len(sys.argv) > 1 else "b"
params = {"objective": "binary", "verbose": -1, "num_threads": 1, "bagging_fraction": 0.5,
          "bagging_freq": 1, "seed": ord(side)}
for name, label in (("first", y), ("second", 1 - y)):
    train, valid = lgb.Dataset(X[:200], label[:200]), lgb.Dataset(X[200:], label[200:])
    lgb.train(params, train, 3, valid_sets=[valid], valid_names=[name]).save_model(f"{side}-{name}")
alone = lgb.train(params, lgb.Dataset(X[:150], y[:150]), 2)
alone.save_model(f"{side}-alone")
for name, label in (("one", y), ("other", 1 - y)):
    model = LogisticRegression(C=ord(side)).fit(X[:200], label[:200])
    model.score(X[200 + len(name):], label[200 + len(name):])
    with open(f"{side}-{name}", "wb") as file: pickle.dump(model, file)
"""


def test_each_model_is_asked_about_the_rows_that_it_was_tested_on_itself(
    ask, tmp_path, monkeypatch
):
    rows = tmp_path / "rows"
    rows.mkdir()
    monkeypatch.setenv("MLREPRO_EVALUATIONS", str(rows))
    run(tmp_path, SEVERAL)
    monkeypatch.delenv("MLREPRO_EVALUATIONS")
    subprocess.run([sys.executable, "train.py", "a"], cwd=tmp_path, check=True)
    there = [lambda _path: None] * 2

    told = ask(dict.fromkeys(["first", "second", "alone", "one", "other"], there), rows=rows)

    found = {one.path: one for one in told.answers() if "raw" not in one.data}
    assert {path: (one.data, len(one.recorded)) for path, one in found.items()} == {
        "first": ("first of lightgbm.train", 100),
        "second": ("second of lightgbm.train", 100),
        "alone": ("training rows of lightgbm.train", 150),
        "one": ("rows of LogisticRegression.score", 97),
        "other": ("rows of LogisticRegression.score", 95),
    }
    assert (found["first"].label + found["second"].label == 1).all()
    assert (found["one"].label[2:] + found["other"].label == 1).all()


def written(folder, **arrays):
    for name, array in arrays.items():
        np.save(folder / f"0-{name}.npy", array)
    return Told(folder, ({"index": 0, "model": "m", "data": "d", "kind": "value", "task": "x"},))


def test_answers_that_do_not_fit_together_are_not_believed(tmp_path):
    good = np.ones((3, 1))
    assert (
        len(list(written(tmp_path, recorded=good, rebuilt=good, label=np.ones(9)).answers())) == 1
    )
    (one,) = written(tmp_path, recorded=good, rebuilt=good).answers()
    assert one.label is None
    assert not list(written(tmp_path, rebuilt=np.ones((2, 1))).answers())
    assert not list(written(tmp_path, rebuilt=np.array([["a"]] * 3)).answers())
    assert not list(Told(tmp_path, ({"index": "../0"},)).answers())


def test_an_array_that_promises_more_than_it_holds_takes_no_memory(tmp_path):
    good = np.ones((3, 1))
    told = written(tmp_path, recorded=good, rebuilt=good)
    header = (tmp_path / "0-recorded.npy").read_bytes()
    lying = header.replace(b"(3, 1), }       ", b"(1" + b"0" * 9 + b", 1), }")[: len(header)]
    (tmp_path / "0-recorded.npy").write_bytes(lying)

    assert list(told.answers()) == []


def test_a_pickle_in_the_place_of_numbers_is_not_read(tmp_path):
    good = np.ones((3, 1))
    told = written(tmp_path, recorded=good, rebuilt=good)
    np.save(tmp_path / "0-recorded.npy", np.array([[None]] * 3), allow_pickle=True)

    assert list(told.answers()) == []


def test_what_ends_the_asking_is_told_of_the_model_that_was_asked(tmp_path):
    told = Told(tmp_path, ({"begun": "a"}, {"begun": "b"}), "signal 11 ended it")

    assert list(told.notes()) == [("b", "signal 11 ended it")]
