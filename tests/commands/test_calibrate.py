"""`mlrepro calibrate` and `run --repeats`: a training's own spread, and that of its seeds."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from mlrepro import documents, plain
from mlrepro.commands import noise, refs
from mlrepro.commands.calibrate import calibrate
from mlrepro.drift import Ensemble, Measure, Noise, Repeated, Verdict
from mlrepro.errors import UsageError
from mlrepro.manifest import Manifest, Run, Status
from mlrepro.stores import ledgernotes, place, writers

# Two processes differ in two scores, always by as much.
NOISY = """
import json, os
scores = [1.0] * 4999
scores[os.getpid() % 4999] += 1e-3
json.dump({"scores": scores, "seconds": os.getpid()}, open("metrics.json", "w"))
"""

SEEDED = """
import json, sys
seed = int(sys.argv[sys.argv.index("--seed") + 1])
if seed == 3:
    raise SystemExit("no luck")
json.dump({"auc": 0.9 + seed / 1000}, open("metrics.json", "w"))
"""

BOOSTED = """
import sys; sys.modules.update(sklearn=None, pandas=None)  # 4 s of an import that needs neither
import json, lightgbm, numpy
seed = int(open("params.yaml").read().split("seed:")[1].split()[0])
rng = numpy.random.default_rng(0)
x = rng.normal(size=(400, 5)); y = x[:, 0] + rng.normal(size=400)
params = {"verbosity": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True,
          "bagging_fraction": 0.5, "bagging_freq": 1, "seed": seed}
test = lightgbm.Dataset(x[200:], y[200:])
lightgbm.train(params, lightgbm.Dataset(x[:200], y[:200]), 5, valid_sets=[test]).save_model("model.txt")
"""


@pytest.fixture
def recorded(project):
    """A project, and a run that notes are about."""
    record = Manifest(Run(("python", "train.py"), "", Status.COMPLETED))
    return place.strict(project.root), record


def test_a_noisy_training_gets_a_floor_and_a_rebuild_within_it_is_close(project):
    project.write("train.py", NOISY)
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    done = project.mlrepro("calibrate", "last", "--json")
    found = json.loads(done.stdout)
    rebuilt = project.mlrepro("rebuild", "last")
    exact = project.mlrepro("rebuild", "--exact", "last")
    shown = project.mlrepro("show", "last")

    assert done.returncode == 0
    assert (found["repeats"], found["identical"], found["here"]) == (2, 1, True)
    assert found["artifacts"][0]["path"] == found["recorded"][0]["path"] == "metrics.json"
    assert found["artifacts"][0]["measures"][0]["value"] == pytest.approx(1e-3, rel=0.01)
    assert "training 2 of 2, about" in done.stderr
    assert rebuilt.returncode == 0
    assert "verdict: close" in rebuilt.stdout
    assert "the drift is inside the noise floor of 2 repeats" in rebuilt.stdout
    assert exact.returncode == 1
    assert "noise     2 repeats: they differ: metrics.json by " in shown.stdout
    assert list((project.root.parent / "home/.cache/mlrepro/rooms").iterdir()) == []


def test_a_run_is_repeated_with_other_seeds_and_a_gate_knows_their_spread(project):
    project.write("train.py", SEEDED)
    project.commit()

    done = project.mlrepro(
        "run", "--repeats", "2", "--seeds", "4", "python", "train.py", "--seed", "42"
    )
    below = project.mlrepro("rebuild", "--fail-under", "auc=0.95", "last")

    assert done.returncode == 0
    assert "noise floor of 2 repeats: identical, bit for bit" in done.stderr
    assert "3 other seeds by --seed: 1, 2, 4 (recorded: 42)" in done.stderr
    assert (
        "seed 3 failed and is left out: the training failed in the clean room with exit code 1: no luck"
        in done.stderr
    )
    assert below.returncode == 1
    assert (
        "auc 0.942 is under 0.95 by 5.2 standard errors (one is 0.0015, by 3 seeds)" in below.stdout
    )
    assert "seed 42 is the luckiest of 4 by its auc" in below.stdout
    assert "verdict: identical" in below.stdout


def test_the_seed_of_params_yaml_is_changed_in_the_room_alone(project):
    project.write("train.py", BOOSTED)
    project.write("params.yaml", "train:\n  seed: 42  # the answer\n")
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    done = project.mlrepro("calibrate", "--repeats", "0", "--seeds", "2", "--json", check=True)
    ensemble = json.loads(done.stdout)["ensemble"]

    assert ensemble["parameter"] == "params.yaml: train.seed"
    assert ensemble["recorded_seed"] == 42
    values = ensemble["metrics"]["valid_0 l2"]
    assert len({*values, ensemble["recorded"]["valid_0 l2"]}) == 3
    assert (project.root / "params.yaml").read_text() == "train:\n  seed: 42  # the answer\n"


def test_where_no_seed_is_found_nothing_is_trained(project):
    project.write("train.py", NOISY)
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    done = project.mlrepro("calibrate", "--seeds", "2")

    assert done.returncode == 2
    assert "--seed-param" in done.stderr
    assert "training" not in done.stderr


def test_ctrl_c_keeps_what_was_finished(project):
    project.write("train.py", NOISY)
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)
    command = [sys.executable, "-m", "mlrepro", "calibrate", "last", "--repeats", "9"]
    started = subprocess.Popen(
        command, cwd=project.root, stderr=subprocess.PIPE, text=True, start_new_session=True
    )

    for line in started.stderr:
        if "training 3 of 9" in line:
            os.killpg(started.pid, signal.SIGINT)
            break
    said = started.communicate()[1]

    assert started.returncode == 130
    assert "of 9 trainings told is kept" in said
    here = place.strict(project.root)
    found = noise.known(here, refs.resolve(here, "last").manifest)
    assert 2 <= found.repeats < 9
    assert found.notes == (f"interrupted after {found.repeats} of 9 trainings",)


@pytest.mark.parametrize(("repeats", "seeds"), [(0, 0), (1, 0), (2, 1)])
def test_one_training_has_no_spread(repeats, seeds):
    with pytest.raises(UsageError, match="tells nothing of"):
        calibrate("last", repeats=repeats, seeds=seeds)


def floor(count, verdict=Verdict.DRIFTED) -> Noise:
    part = Repeated("model.txt", verdict, (Measure("rms / std", 0.5),), ("x",))
    return Noise(count, 1, artifacts=(part,))


def test_repeats_and_seeds_come_from_the_notes_that_tell_most(recorded):
    here, record = recorded
    seeds = Ensemble("--seed", (1, 2), 42, {"auc": (0.5, 0.6)}, {"auc": 0.55})
    noise.keep(here, record, floor(5), environment="lock")
    noise.keep(here, record, replace(floor(2), ensemble=seeds), environment="lock")

    found = noise.known(here, record)

    assert (found.repeats, found.ensemble, found.here, found.trusted) == (5, seeds, True, True)
    assert found.artifacts == floor(5).artifacts
    assert found.measured.endswith("Z")


def test_seeds_that_moved_nothing_do_not_hide_those_that_did(recorded):
    here, record = recorded
    told = Ensemble("--seed", (1, 2), 42, {"auc": (0.5, 0.6)}, {"auc": 0.55})
    idle = Ensemble("env: FOO", (1, 2, 3), None, {"auc": (0.55, 0.55, 0.55)}, {"auc": 0.55})
    for one in (told, idle):
        noise.keep(here, record, Noise(ensemble=one), environment="lock")

    assert noise.known(here, record).ensemble == told


def test_what_was_measured_elsewhere_is_told_as_such(recorded, monkeypatch):
    here, record = recorded
    other = replace(noise.machine.platform(), cpu="VAX-11/780", affinity=1)
    with monkeypatch.context() as patched:
        patched.setattr(noise.machine, "platform", lambda: other)
        noise.keep(here, record, floor(9), environment="lock")

    assert not noise.known(here, record).here
    assert "VAX-11/780" in noise.known(here, record).machine

    noise.keep(here, record, floor(2), environment="lock")

    assert noise.known(here, record).repeats == 2


def test_the_note_of_a_stranger_is_shown_and_turns_no_verdict(recorded, monkeypatch):
    here, record = recorded
    with monkeypatch.context() as patched:
        patched.setattr(writers, "own", lambda _repo: "0" * 32)
        patched.setattr(writers, "LOG", "refs/mlrepro/remotes/origin/log/")
        noise.keep(here, record, floor(9), environment="lock")

    found = noise.known(here, record)

    assert (found.repeats, found.trusted) == (9, False)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"noise": {"repeats": 1, "identical": 1}},
        {"noise": {"repeats": 2, "identical": 3}},
        {"noise": {"repeats": "many"}},
        {"noise": {"repeats": 2, "machine": "x" * 10_000}},
        {"noise": {"repeats": 2, "artifacts": [{"path": "m", "verdict": 9}]}},
        {"noise": {"ensemble": {"parameter": "s", "seeds": [1, 2], "metrics": {"auc": [1.0]}}}},
        {"noise": {"ensemble": {"parameter": "s", "seeds": [1, 1], "metrics": {}}}},
        {"noise": []},
        None,
    ],
)
def test_a_note_that_is_not_sound_says_nothing(recorded, change):
    here, record = recorded
    good = {**plain.dump(noise.Measured(floor(2))), "schema": 1}
    data = documents.canonical_json({**good, **change}) if change is not None else b"\xff[["
    ledgernotes.put(here.repository, record.id, noise.KIND, data)

    assert noise.known(here, record) is None
