"""`mlrepro calibrate` and `run --repeats`: a training's own spread, and that of its seeds."""

import json

import pytest

from mlrepro.commands import noise, refs
from mlrepro.stores import place

NOISY = """
import json, os, numpy
rng = numpy.random.default_rng(0)
jitter = numpy.random.default_rng(int.from_bytes(os.urandom(4), "big"))
w = rng.normal(size=50) + jitter.normal(size=50) * 1e-3
numpy.save("model.npy", w)
json.dump({"auc": 0.9 + float(jitter.normal()) * 1e-3, "seconds": os.getpid()}, open("metrics.json", "w"))
"""

SEEDED = """
import json, sys
seed = int(sys.argv[sys.argv.index("--seed") + 1])
if seed == 3:
    raise SystemExit("no luck")
open("model.txt", "w").write(f"weight {seed}")
json.dump({"auc": 0.9 + seed / 1000}, open("metrics.json", "w"))
"""


def calibrated(project, *arguments):
    done = project.mlrepro("calibrate", "--json", *arguments)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


@pytest.fixture
def noisy(project):
    project.write("train.py", NOISY)
    project.commit()
    return project


def test_a_noisy_training_gets_a_floor_that_a_rebuild_knows(noisy):
    noisy.mlrepro("run", "-o", "model.npy", "python", "train.py", check=True)

    code, found = calibrated(noisy, "last", "--repeats", "3")

    assert code == 0
    assert (found["repeats"], found["identical"], found["here"]) == (3, 1, True)
    floors = {one["path"]: one for one in found["artifacts"]}
    assert floors["metrics.json"]["verdict"] == "drifted"
    assert 0 < floors["metrics.json"]["measures"][0]["value"] < 0.02
    here = place.strict(noisy.root)
    known = noise.known(here, refs.resolve(here, "last").manifest)
    assert [one.path for one in known.artifacts] == list(floors)
    assert known.trusted
