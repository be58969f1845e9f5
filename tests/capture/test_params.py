"""Hyperparameters from a command line and from files."""

import pytest

from mlrepro.capture import params


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("python train.py --lr 0.1", {"lr": 0.1}),
        ("python -u train.py --lr=1e-5 -v", {"lr": 1e-5, "v": True}),
        ("python -m pkg.train model.depth=4 +seed=1", {"model.depth": 4, "seed": 1}),
        ("python train.py --layer 1 --layer 2", {"layer": [1, 2]}),
        ("python train.py --note 12:30:45 --no no", {"note": "12:30:45", "no": "no"}),
        ("python train.py --offset -1", {"offset": -1}),
        ("./train --api-key x --lr 1", {"api-key": "***", "lr": 1}),
        ("make train", {}),
    ],
)
def test_a_command_line_is_read_as_its_author_meant_it(command, found):
    assert params.of_command(command.split()) == found


def test_params_yaml_of_the_runs_directory_is_found(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/params.yaml").write_text("lr: 1e-5\n")

    assert params.of_files(tmp_path, "sub", []) == {"sub/params.yaml": {"lr": 1e-5}}


def test_a_damaged_or_huge_file_of_params_is_left_alone(tmp_path):
    (tmp_path / "params.yaml").write_text("{")
    (tmp_path / "params.json").write_text("[" * 100_000)

    assert params.of_files(tmp_path, "", []) == {}


@pytest.mark.parametrize("name", ["token", "hf-token", "password", "api_key", "db.auth", "pin"])
def test_an_option_that_gives_a_secret_is_masked(name):
    assert params.of_command(["python", "t.py", f"--{name}=x"]) == {name: "***"}


@pytest.mark.parametrize("name", ["tokenizer", "max_tokens", "author", "spin"])
def test_an_option_that_only_sounds_like_a_secret_is_a_parameter(name):
    assert params.of_command(["python", "t.py", f"--{name}=x"]) == {name: "x"}
