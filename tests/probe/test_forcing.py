"""What a rebuild gives to library calls on purpose; and that nothing is given where it is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mlrepro import probe
from tests.probe import watching

LIGHTGBM = """
import lightgbm, numpy
x = numpy.random.default_rng(0).normal(size=(200, 4)); y = (x[:, 0] > 0).astype(int)
own = {"verbosity": -1, "n_jobs": 1, "force_col_wise": True, "random_state": 3}
def told(booster):
    text = booster.model_to_string()
    names = ("force_row_wise", "force_col_wise", "num_threads", "seed", "data_random_seed")
    print(*(text.partition("[%s: " % name)[2].partition("]")[0] for name in names))
data = lightgbm.Dataset(x, y)
told(lightgbm.train(own, data, 2))
told(lightgbm.train(params=dict(own), train_set=lightgbm.Dataset(x, y).construct(), num_boost_round=2))
told(lightgbm.LGBMClassifier(n_estimators=2, **own).fit(x, y).booster_)
booster = lightgbm.Booster(own, lightgbm.Dataset(x, y)); booster.update(); told(booster)
told(lightgbm.cv({**own, "objective": "binary"}, lightgbm.Dataset(x, y), 1, return_cvbooster=True)["cvbooster"].boosters[0])
told(lightgbm.Booster(model_str=booster.model_to_string()))
print(own)
"""


def run(folder: Path, script: str, force=None, *, python: str = sys.executable, log=True) -> str:
    """Run a script under the probe; return what it printed."""
    (folder / "train.py").write_text(textwrap.dedent(script))
    (folder / "log").mkdir(exist_ok=True)
    variables = {**os.environ, "PYTHONPATH": str(probe.folder())}
    if log:
        variables["MLREPRO_LOG"] = str(folder / "log")
    if force is not None:
        variables["MLREPRO_FORCE"] = force if isinstance(force, str) else json.dumps(force)
    done = subprocess.run(
        [python, "train.py"], cwd=folder, env=variables, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    return done.stdout


def test_parameters_of_lightgbm_are_merged_over_the_programs_by_whatever_name(tmp_path):
    force = {"force_row_wise": True, "force_col_wise": False, "num_threads": 2, "seed": 9}
    lines = run(tmp_path, LIGHTGBM, {"lightgbm": force}).splitlines()

    own = "{'verbosity': -1, 'n_jobs': 1, 'force_col_wise': True, 'random_state': 3}"
    assert [line.split()[:4] for line in lines[:-1]] == [["1", "0", "2", "9"]] * 6
    assert lines[1].split()[4] == "1", "a data set that was constructed keeps its seed"
    assert lines[-1] == own, "the program's own dictionary is left as it was"


def test_parameters_of_xgboost_are_merged_over_the_programs(tmp_path):
    script = """
    import json, numpy, xgboost
    x = numpy.random.default_rng(0).normal(size=(99, 3)); y = x[:, 0]
    def told(booster):
        found = json.dumps(json.loads(booster.save_config()))
        print(*(found.partition('"%s": "' % name)[2].partition('"')[0] for name in ("nthread", "eta")))
    data = xgboost.DMatrix(x, y)
    told(xgboost.train({"eta": 0.5, "n_jobs": 1}, data, 1))
    told(xgboost.train([("eta", 0.5), ("nthread", 1)], data, 1))
    told(xgboost.XGBRegressor(n_estimators=1, n_jobs=1, learning_rate=0.5).fit(x, y).get_booster())
    booster = xgboost.Booster({"eta": 0.5, "nthread": 1}, [data]); booster.update(data, 0); told(booster)
    print(*sorted(xgboost.cv({"eta": 0.5}, data, 1)))
    """

    forced = run(tmp_path, script, {"xgboost": {"nthread": 2, "learning_rate": 0.25}})

    assert forced.splitlines()[:4] == ["2 0.25"] * 4


def test_states_of_estimators_are_set_at_the_outermost_fit_alone(tmp_path):
    script = """
    import numpy
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LinearRegression
    from sklearn.model_selection import GridSearchCV, cross_validate
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.tree import DecisionTreeClassifier
    x = numpy.random.default_rng(0).normal(size=(60, 3)); y = (x[:, 0] > 0).astype(int)
    forest = RandomForestClassifier(5, n_jobs=2, random_state=3).fit(x, y)
    print(forest.random_state, len({tree.random_state for tree in forest.estimators_}))
    line = make_pipeline(StandardScaler(), DecisionTreeClassifier()).fit(x, y)
    print(line[-1].random_state)
    found = cross_validate(DecisionTreeClassifier(), x, y, return_estimator=True, cv=2)
    print(*(one.random_state for one in found["estimator"]))
    search = GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2]}, cv=2).fit(x, y)
    print(search.best_estimator_.random_state)
    LinearRegression().fit(x, y)
    """

    assert run(tmp_path, script, {"sklearn": {"random_state": 7}}) == "7 5\n7\n7 7\n7\n"


DRAWS = """
import os, random, sys, tempfile
print(random.random(), random.Random().random(), random.Random().random())
random.seed()
print(random.random())
random.seed(5)
print("own", random.random(), random.Random(5).random())
tempfile.mkstemp()
sys.stdout.flush()
if os.fork() == 0:
    print("child", random.random(), random.Random().random(), flush=True)
    os._exit(0)
os.wait()
"""
NUMPY = """
import numpy
print(numpy.random.rand(), numpy.random.default_rng().random(), numpy.random.default_rng().random())
print(numpy.random.RandomState().rand(), numpy.random.Generator(numpy.random.MT19937()).random())
numpy.random.seed()
print(numpy.random.rand())
numpy.random.seed(5)
print("own", numpy.random.rand(), numpy.random.default_rng(5).random(), numpy.random.RandomState(5).rand())
"""


@pytest.mark.parametrize("python", watching.interpreters()[:2], ids=watching.version)
def test_generators_without_a_seed_get_one_and_those_with_one_keep_it(tmp_path, python):
    first = run(tmp_path, DRAWS, {"seed": 1}, python=python).splitlines()
    again = run(tmp_path, DRAWS, {"seed": 1}, python=python).splitlines()
    other = run(tmp_path, DRAWS, {"seed": 2}, python=python).splitlines()
    bare = run(tmp_path, DRAWS, python=python).splitlines()

    numbers = " ".join(first).split()
    assert first == again
    assert len(set(numbers)) == len(numbers) - 1, "each another, but `Random(5)`"
    assert first[2] == other[2] == bare[2]
    for index in (0, 1, 3):
        assert len({first[index], other[index], bare[index]}) == 3


def test_generators_of_numpy_without_a_seed_get_one(tmp_path):
    first = run(tmp_path, NUMPY, {"seed": 1}).splitlines()
    other = run(tmp_path, NUMPY, {"seed": 2}).splitlines()
    bare = run(tmp_path, NUMPY).splitlines()

    assert first == run(tmp_path, NUMPY, {"seed": 1}).splitlines()
    assert len(set(" ".join(first[:3]).split())) == 6
    assert first[3] == other[3] == bare[3]
    for index in range(3):
        assert len({first[index], other[index], bare[index]}) == 3


def test_what_is_no_order_of_ours_harms_no_program(tmp_path):
    for text in ("", "{", "[]", '{"lightgbm": 3}', '{"seed": "x"}', '{"seed": true}', "null"):
        assert run(tmp_path, "import random; random.seed(1); print('well')", text) == "well\n"


def test_children_are_given_the_same(tmp_path):
    script = """
    import subprocess, sys
    code = "import random; print(random.random())"
    print(subprocess.check_output([sys.executable, "-c", code], text=True).strip())
    """

    assert run(tmp_path, script, {"seed": 1}) == run(tmp_path, script, {"seed": 1})
    assert run(tmp_path, script, {"seed": 1}) != run(tmp_path, script, {"seed": 2})


def test_without_the_order_nothing_of_this_is_loaded(tmp_path):
    script = "import sys, random; print('_mlrepro_probe.forcing' in sys.modules)"

    assert run(tmp_path, script) == "False\n"
    assert run(tmp_path, script, {"seed": 1}) == "True\n"
