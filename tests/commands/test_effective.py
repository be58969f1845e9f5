"""What was effective in a training, as a user meets it: run, show, rebuild, diff, verify."""

from __future__ import annotations

import json

import pytest

SCRIPT = """
import sys
sys.modules.update(pandas=None, sklearn=None)  # 1.5 s, which LightGBM can do without
import lightgbm, numpy
rng = numpy.random.Generator(numpy.random.PCG64(DATA))
X, y = rng.random((300, 4)), rng.random(300)
params = {"num_leafs": 7, "eta": 0.2, "verbosity": -1, "num_threads": 1, "seed": SEED,
          "bagging_fraction": 0.5, "bagging_freq": 1}
train, valid = lightgbm.Dataset(X[:200], y[:200]), lightgbm.Dataset(X[200:], y[200:])
stop = lightgbm.early_stopping(2, verbose=False)
model = lightgbm.train(params, train, 30, valid_sets=[valid], callbacks=[stop])
print("done")
"""


def script(*, seed: int = 1, data: object = 0) -> str:
    return SCRIPT.replace("SEED", str(seed)).replace("DATA", str(data))


def test_a_model_that_nobody_saved_is_recorded_and_rebuilt(project) -> None:
    project.write("train.py", script())
    project.commit()

    done = project.mlrepro("run", "python", "train.py", check=True)

    assert "trained and not saved: <model 1>" in done.stderr
    assert "lightgbm.train ignored: num_leafs (unknown parameter)" in done.stderr
    assert "git add" not in done.stderr
    (fit,) = json.loads(project.mlrepro("show", "--json", check=True).stdout)["fits"]
    assert fit["model"] == "<model 1>"
    assert fit["aliased"] == {"eta": "learning_rate"}
    assert fit["rounds"]["asked"] == 30
    assert fit["rounds"]["kept"] < fit["rounds"]["trained"] < 30
    shown = project.mlrepro("show", check=True).stdout
    assert f"{fit['rounds']['trained']} of 30 rounds, kept {fit['rounds']['kept']}" in shown
    assert "eta is learning_rate" in shown
    rebuilt = project.mlrepro("rebuild", "last", check=True).stdout
    assert "verdict: identical" in rebuilt
    assert "<model 1>" in rebuilt
    assert "training differs" not in rebuilt


def test_another_seed_drifts_and_its_trees_are_named(project) -> None:
    project.write("train.py", script())
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)
    project.write("train.py", script(seed=2))
    project.commit()

    rebuilt = project.mlrepro("rebuild", "last", "--code", "head")

    assert rebuilt.returncode == 1
    assert "lightgbm.train: seed: 1 → 2" in rebuilt.stdout
    assert "first divergence: tree 0" in rebuilt.stdout
    project.mlrepro("run", "python", "train.py", check=True)
    differs = project.mlrepro("diff", "last~1", "last")
    assert "lightgbm.train: seed: 1 → 2" in differs.stdout
    assert "lightgbm.train: valid_0 l2" in differs.stdout
    assert "first divergence: tree 0" in differs.stdout


def test_a_generator_without_a_seed_is_named_where_the_model_drifts(project) -> None:
    project.write("train.py", script(data=""))
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    rebuilt = project.mlrepro("rebuild", "last")

    assert rebuilt.returncode == 1
    assert "train.py:5 was not seeded" in rebuilt.stdout


def test_models_on_the_way_to_a_saved_one_are_kept_and_do_not_decide(project) -> None:
    fold = "lightgbm.train(params, lightgbm.Dataset(X[:99], y[:99]), 2)\n"
    project.write(
        "train.py", fold.join(script().rpartition("print")[::2]) + "model.save_model('m.txt')\n"
    )
    project.commit()

    done = project.mlrepro("run", "python", "train.py", check=True)

    assert "not saved" not in done.stderr
    assert "made" in project.mlrepro("ls", check=True).stdout
    assert "<model" not in project.mlrepro("ls", check=True).stdout
    record = json.loads(project.mlrepro("show", "--json", check=True).stdout)
    assert [fit.get("model") for fit in record["fits"]] == [None, "<model 1>"]
    rebuilt = project.mlrepro("rebuild", "last", check=True).stdout
    assert "m.txt" in rebuilt
    (said,) = (line for line in rebuilt.splitlines() if "<model 1>" in line)
    assert said.endswith("(shown only)")


@pytest.mark.parametrize("command", ["show", "rebuild", "verify", "diff"])
def test_an_unsaved_model_is_no_ref(project, command) -> None:
    project.write("train.py", "print(1)\n")
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    done = project.mlrepro(command, "<model 1>")

    assert done.returncode == 2
    assert "no run answers to" in done.stderr


def test_a_colleague_gets_a_model_that_nobody_saved(project, tmp_path) -> None:
    project.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    project.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    project.dvc("remote", "add", "-q", "-d", "storage", str(tmp_path / "storage"))
    project.write("train.py", script())
    project.commit()
    project.mlrepro("run", "-n", "base", "python", "train.py", check=True)
    project.git("push", "-q", "-u", "origin", "HEAD")
    project.mlrepro("push", check=True)
    bob = tmp_path / "bob"
    project.git("clone", "-q", str(tmp_path / "remote.git"), str(bob))
    (bob / "train.py").write_text(script(seed=2))
    project.git("commit", "-qam", "another seed", cwd=bob)

    project.mlrepro("pull", "base", cwd=bob, check=True)

    verified = project.mlrepro("verify", "base", cwd=bob, check=True).stdout
    assert "<model 1>" in verified
    assert "absent" not in verified
    rebuilt = project.mlrepro("rebuild", "--yes", "base", "--code", "head", cwd=bob)
    assert rebuilt.returncode == 1
    assert "first divergence: tree 0" in rebuilt.stdout
