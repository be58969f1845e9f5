"""How the seed of a run is found, and what passes another one."""

import json

import pytest

from mlrepro.cleanroom.factors import Factors
from mlrepro.commands import seeding
from mlrepro.errors import UsageError
from mlrepro.manifest import Fit, Manifest, Run, Status, Variables


def recorded(*command, **facts) -> Manifest:
    return Manifest(
        Run(command or ("python", "train.py"), "", "/home/ann/p", "", Status.COMPLETED), **facts
    )


def find(record, wanted="", **files):
    named = {name.replace("__", "."): text.encode() for name, text in files.items()}

    def content(path):
        if path not in named:
            raise FileNotFoundError(path)
        return named[path]

    return seeding.find(record, wanted, content)


@pytest.mark.parametrize(
    ("command", "name", "changed"),
    [
        ("python train.py --seed 42 --lr 0.1", "--seed", "python train.py --seed 7 --lr 0.1"),
        ("python train.py --seed=42", "--seed", "python train.py --seed=7"),
        ("python train.py --random-state 42", "--random-state", "python train.py --random-state 7"),
        ("python train.py seed=42", "seed", "python train.py seed=7"),
        ("python train.py +train.seed=42", "train.seed", "python train.py +train.seed=7"),
        (
            "python train.py --split-seed 1 --seed 42",
            "--seed",
            "python train.py --split-seed 1 --seed 7",
        ),
        ("python train.py --bagging-seed 42", "--bagging-seed", "python train.py --bagging-seed 7"),
    ],
)
def test_a_seed_on_the_command_line_is_found(command, name, changed):
    found = find(recorded(*command.split()))

    assert (found.parameter, found.recorded) == (name, 42)
    assert found.factors(7).command == tuple(changed.split())


def test_a_seed_in_a_line_of_a_shell_is_found():
    found = find(recorded("sh", "-c", "python prep.py && python train.py --seed 42 > log"))

    assert found.factors(7).command[2] == "python prep.py && python train.py --seed 7 > log"


def test_a_seed_in_params_yaml_is_changed_and_nothing_else():
    text = "# seeds\ndata: {seed: 3}\ntrain:\n  lr: 1e-5  # seed: 42\n  seed: 42   # the answer\n"
    record = recorded(
        params={"params.yaml": {"data": {"seed": 3}, "train": {"lr": 1e-5, "seed": 42}}}
    )

    found = find(record, params__yaml=text)

    assert (found.parameter, found.recorded) == ("params.yaml: train.seed", 42)
    assert found.factors(7).edits == {
        "params.yaml": text.replace("seed: 42   #", "seed: 7   #").encode()
    }


@pytest.mark.parametrize(
    ("name", "text", "after"),
    [
        ("p.json", '{"a": {"seed": 1}, "train":\t{"seed" : 42}}', '{"a": {"seed": 1}, "train":\t{"seed" : 7}}'),
        ("p.toml", "[a]\nseed = 1\n[train]\nseed = 42 # x\n", "[a]\nseed = 1\n[train]\nseed = 7 # x\n"),
        ("p.yml", "a: {seed: 42}\r\ntrain: {seed: 42}\r\n", "a: {seed: 42}\r\ntrain: {seed: 7}\r\n"),
    ],
)  # fmt: skip
def test_every_kind_of_file_keeps_its_other_bytes(name, text, after):
    found = find(recorded(), f"{name}:train.seed", **{name.replace(".", "__"): text})

    assert found.factors(7).edits == {name: after.encode()}


def test_a_number_that_others_share_is_refused_before_any_training():
    with pytest.raises(UsageError, match="cannot be changed alone"):
        find(recorded(), "p.yaml:b.seed", p__yaml="a: &x {seed: 42}\nb: *x\n")


def test_a_variable_that_the_program_asked_for_is_set():
    asked = Variables(restored={"PYTHONHASHSEED": "0", "SEED": "42", "SPLIT_SEED": "1"})

    found = find(recorded(variables=asked))

    assert (found.parameter, found.recorded) == ("env: SEED", 42)
    assert found.factors(7).variables == {"SEED": "7"}
    assert find(recorded(), found.parameter).factors(7) == Factors(variables={"SEED": "7"})
    assert find(recorded(), "env:PYTHONHASHSEED").factors(7).variables == {"PYTHONHASHSEED": "7"}


def test_the_seed_that_a_library_was_given_is_forced():
    fit = Fit("lightgbm.train", params={"seed": 42, "num_leaves": 7})

    found = find(recorded(fits=(fit,)))

    assert (found.parameter, found.recorded) == ("lightgbm: seed", 42)
    assert found.factors(7).forced == {"lightgbm": {"seed": 7}}


def test_every_library_that_was_given_a_seed_is_forced():
    fits = (
        Fit("sklearn RandomForestClassifier.fit", params={"random_state": 7}),
        Fit("XGBClassifier.fit", params={"seed": 42}),
        Fit("LGBMClassifier.fit", params={"num_leaves": 7}),
    )

    found = find(recorded(fits=fits))

    assert found.parameter == "xgboost: seed, sklearn: random_state"
    assert found.factors(3).forced == {"xgboost": {"seed": 3}, "sklearn": {"random_state": 3}}


def test_what_the_user_says_comes_first():
    record = recorded("python", "train.py", "--seed", "42", fits=(Fit("xgboost.train"),))

    assert find(record, "xgboost:seed").factors(7).forced == {"xgboost": {"seed": 7}}
    assert find(record, "--rng").factors(7).command[-2:] == ("--rng", "7")
    assert find(record, "rng=").factors(7).command[-1] == "rng=7"


@pytest.mark.parametrize("wanted", ["", "nonsense", "absent.yaml:seed", "p.yaml:seed"])
def test_where_no_seed_is_found_the_option_is_named(wanted):
    with pytest.raises(UsageError) as caught:
        find(recorded("python", "train.py", "--seedling", "3"), wanted, p__yaml="seed: high\n")

    assert "--seed-param" in caught.value.hint


def test_the_recorded_seed_is_none_of_the_others():
    found = find(recorded("python", "train.py", "--seed", "2"))

    assert found.others(3) == (1, 3, 4)


def test_json_that_is_edited_stays_json():
    text = json.dumps({"seed": 42, "name": "seed: 42"})

    assert json.loads(seeding.edited("p.json", text.encode(), "seed", 7)) == {
        "seed": 7,
        "name": "seed: 42",
    }
