"""What the probe wrote of fits becomes facts of a manifest: bounded, ordered, without secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlrepro.capture import effective
from mlrepro.capture.observation import Fitted, Interpreter, Observation
from mlrepro.facts import Folder, Input, Rounds, Source
from mlrepro.manifest import Manifest, Run, Status

WHERE = "/home/ann/project/train.py:12"
MODEL = "tree\nversion=v4\n\nTree=0\nleaf_value=%s\n\nend of trees\n\nparameters:\n[seed: %s]\n"


def fitted(call="lightgbm.train", *, pid=1, time=0, model="", saved=False, **record) -> Fitted:
    return Fitted(pid, time, {"call": call, **record}, str(model), saved)


def process(pid: int, *argv: str) -> Interpreter:
    return Interpreter(pid, ("python", *argv), "python", "/v", "/v", "3.11.7", "cpython", ())


def find(observation: Observation, weights=()) -> effective.Effective:
    return effective.find(observation, Path("/home/ann/project"), weights)


def seen(*fits: Fitted, **others) -> Observation:
    return Observation(fits=fits, **others)


def recorded(found: effective.Effective) -> Manifest:
    """What a reader of the manifest gets: through YAML and all its checks."""
    run = Run(command=("python",), started="2026-11-21T00:00:00Z", status=Status.COMPLETED)
    made = Manifest(run, fits=found.fits, generators=found.generators)
    return Manifest.from_yaml(made.to_yaml())


def test_a_fit_is_shown_as_the_library_understood_it() -> None:
    record = {
        "params": {"learning_rate": 0.1, "num_leaves": 7},
        "ignored": ["num_leafs"],
        "aliased": {"eta": "learning_rate"},
        "overridden": {"num_threads": "the data set was made with 1"},
        "rounds": {"asked": 500, "trained": 10, "kept": 5, "stopped_by": "early stopping"},
        "scores": {"valid l2": 0.25},
        "threads": 2,
        "data": ["X: ndarray 100 × 4 float64"],
        "budget": "timeout=60",
        "entry": {"python": "aa", "numpy": "bb"},
        "exit": {"python": "aa", "numpy": "cc"},
        "seconds": 0.5,
        "of a newer probe": [1],
    }

    (fit,) = recorded(find(seen(fitted(**record)))).fits

    assert fit.rounds == Rounds(500, 10, 5, "early stopping")
    assert fit.ignored == ("num_leafs",)
    assert fit.aliased == {"eta": "learning_rate"}
    assert fit.random == {"python": "aa", "numpy": "bb → cc"}
    assert (fit.threads, fit.budget, fit.scores) == (2, "timeout=60", {"valid l2": 0.25})


HOSTILE = [
    {},
    dict.fromkeys(("call", "budget", "failed"), "\ud800" * 10**5),
    {name: [[[[[[[[1]]]]]]]] for name in ("params", "rounds", "scores", "inside", "entry")},
    {name: {"a": {"b": {"c": {"d": {"e": {"f": 1}}}}}} for name in ("params", "data", "ignored")},
    {"params": {str(n): "x" * 10**4 for n in range(5000)}, "ignored": ["y" * 10**5] * 1000},
    {"params": {"a": float("nan"), "b": float("inf"), "c": 10**5000, "d": -(2**60), "\t\x00": "\x1b"}},
    {"scores": {"l2": float("nan"), "auc": 10**400, "ok": 1, "word": "x"}, "seconds": float("inf")},
    {"threads": True, "seconds": "1", "rounds": {"asked": 2**70, "trained": -1, "kept": 1.5}},
    {"history": {"valid": [0.1] * 10**6}, "resolved": {"a": [float("nan")] * 10}},
]  # fmt: skip


@pytest.mark.parametrize("record", HOSTILE)
def test_a_hostile_record_makes_a_manifest_that_can_be_read(record) -> None:
    found = find(Observation(fits=(Fitted(1, 0, record),), seedings=(record,)))

    text = recorded(found).to_yaml()

    assert len(text) < 40_000
    assert len(json.dumps(json.loads(found.listing), allow_nan=False)) < 3 * 2**20


def test_secrets_stay_out() -> None:
    record = {
        "params": {"storage": "mysql://ann:hunter2@db/x", "api_key": "k3y", "depth": 3},
        "resolved": {"password": "k3y", "depth": 3},
    }

    found = find(seen(fitted(**record)))

    said = recorded(found).to_yaml() + found.listing.decode()
    assert "hunter2" not in said
    assert "k3y" not in said
    assert found.fits[0].params["depth"] == 3


def test_workers_fits_stand_in_one_order_whichever_was_faster() -> None:
    mains = process(1, "train.py")
    ends = [(7, 3, 0.1), (8, 2, 0.2), (9, 1, 0.3)]

    def order(ends):
        fits = [fitted(pid=pid, time=time, params={"eta": eta}) for pid, time, eta in ends]
        found = find(seen(*fits, interpreters=(mains,)))
        return [fit.params["eta"] for fit in found.fits]

    swapped = [(pid, time, eta) for (pid, _, eta), time in zip(ends, (1, 2, 3), strict=True)]
    assert order(ends) == order(swapped) == [0.1, 0.2, 0.3]


def test_a_search_is_shown_and_its_workers_parts_are_listed(text) -> None:
    mains = process(1, "train.py")
    parts = [fitted(pid=2, time=n, model=text(f"model-{n}", n)) for n in range(9)]
    search = fitted("sklearn GridSearchCV.fit", pid=1, time=99, model=text("model", 10))

    found = find(seen(*parts, search, interpreters=(mains,)))

    assert [fit.call for fit in found.fits] == ["sklearn GridSearchCV.fit"]
    assert found.count == len(json.loads(found.listing)["fits"]) == 10
    assert [path.name for _, path in found.models] == ["model"]


def test_a_search_shows_its_first_and_last_fits_and_lists_all() -> None:
    fits = [fitted(time=n, params={"n": n}, seconds=float(n)) for n in range(7000)]

    found = find(seen(*fits))

    assert [fit.params["n"] for fit in found.fits] == [0, 1, 2, 6997, 6998, 6999]
    assert found.count == 7000
    listing = json.loads(found.listing)
    (rest,) = listing["others"]
    assert len(listing["fits"]) + rest["count"] == 7000
    assert rest["call"] == "lightgbm.train"
    assert rest["seconds"]["max"] == 6999.0


@pytest.fixture
def text(tmp_path: Path):
    def write(name: str, leaf: object, seed: int = 1) -> Path:
        path = tmp_path / name
        path.write_text(MODEL % (leaf, seed))
        return path

    return write


def test_only_models_that_were_not_saved_get_a_name(text) -> None:
    first, second, third = (text(f"model-{n}", n) for n in (1, 2, 3))
    fits = [
        fitted(time=1, model=first, saved=True),
        fitted(time=2, model=second),
        fitted(time=3, model=third),
    ]
    # Saved with other words at its end, by something that the probe did not see.
    weights = text("saved.txt", 2, seed=9)

    found = find(seen(*fits), [weights])

    assert found.models == (("<model 1>", third),)
    assert [fit.model for fit in found.fits] == ["", "", "<model 1>"]


def test_of_many_models_the_last_ones_are_kept(text) -> None:
    fits = [fitted(time=n, model=text(f"model-{n}", n)) for n in range(20)]

    found = find(seen(*fits))

    assert [path.name for _, path in found.models] == [f"model-{n}" for n in range(12, 20)]
    assert [name for name, _ in found.models][::7] == ["<model 1>", "<model 8>"]


def test_a_search_does_not_crowd_out_the_models_of_other_calls(text) -> None:
    calls = ["sklearn Pipeline.fit", "lightgbm.train", *["sklearn SGDClassifier.fit"] * 20]
    fits = [
        fitted(call, time=n, model=text(f"model-{n}", f"tree\n\nTree=0\nleaf_value={n}\n"))
        for n, call in enumerate(calls)
    ]

    found = find(seen(*fits))

    assert [path.name for _, path in found.models] == [f"model-{n}" for n in (0, 1, *range(16, 22))]


def test_a_model_file_that_is_gone_or_a_link_is_no_model(tmp_path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    fits = [fitted(model=tmp_path / "gone"), fitted(model=tmp_path / "link")]

    assert find(seen(*fits)).models == ()


def test_what_was_ignored_is_known_of_fits_that_are_not_shown() -> None:
    fits = [fitted(time=n, ignored=["num_leafs"] if n == 50 else ()) for n in range(100)]

    assert find(seen(*fits)).ignored == {"lightgbm.train": ("num_leafs",)}


def test_generators_say_who_was_seeded_and_who_was_not() -> None:
    seedings = (
        {"name": "numpy", "seed": "42", "where": "", "pid": 1, "count": 1},
        {"name": "numpy", "seed": "42", "where": "", "pid": 1, "count": 2},
        {"name": "numpy default_rng", "seed": None, "where": WHERE, "pid": 1, "count": 3},
        {"name": "numpy default_rng", "seed": None, "where": "", "pid": 1, "count": 40},
        {"name": "numpy default_rng", "seed": None, "where": "b.py:1", "pid": 2, "count": 2},
        {"name": 7, "seed": []},
    )
    drew = fitted(entry={"python": "a", "numpy": "b"}, exit={"python": "c", "numpy": "d"})

    found = recorded(find(seen(drew, seedings=seedings))).generators

    assert [(g.name, g.seeded, g.seeds, g.count, g.where) for g in found] == [
        ("numpy", True, ("42",), 2, ""),
        ("numpy default_rng", False, (), 42, "train.py:12"),
        ("python", False, (), 1, "lightgbm.train"),
    ]


def test_listed_folders_are_the_projects_and_those_of_inputs(tmp_path) -> None:
    names = ("/data/far", "/usr/lib", f"{tmp_path}/data", str(tmp_path), f"{tmp_path}/.git/refs")
    inputs = [Input("/data/far/a.csv", Source.ELSEWHERE)]

    seen = Observation(listed=tuple(Folder(name, 2) for name in names))

    found = effective.folders(seen, tmp_path, inputs)

    assert [folder.path for folder in found] == ["", "/data/far", "data"]


def test_the_order_of_a_folder_from_which_python_imports_says_nothing(tmp_path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "train.py").touch()
    places = [tmp_path / "src", tmp_path / "lib", tmp_path / "data"]
    python = Interpreter(1, ("python", "-u", "src/train.py"), "", "", "", "", "", (str(places[1]),))
    seen = Observation(
        listed=tuple(Folder(str(place), 2, "names", "order") for place in places),
        interpreters=(python,),
    )

    found = effective.folders(seen, tmp_path, [])

    assert {one.path: (one.names, one.order) for one in found} == {
        "src": ("", ""),
        "lib": ("", ""),
        "data": ("names", "order"),
    }
