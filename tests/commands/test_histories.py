"""The course of a score on both sides, and what of it files tell."""

import json

import pytest

from mlrepro.commands import curves, histories


def test_the_first_step_that_differs_is_counted_from_one():
    assert histories.history("loss", [3, 2, 1.0], [3, 2, 1.5]).first == 3
    assert histories.history("loss", [3, float("nan")], [3, float("nan")]).first is None
    assert histories.history("loss", [3, 2], [3, 2, 1]).first == 3


def test_a_long_history_is_thinned_and_its_first_difference_is_not():
    long = [float(n) for n in range(25_001)]

    found = histories.history("loss", long, [*long[:-1], 0.5])

    assert found.first == 25_001
    assert len(found.recorded) <= histories.MOST_STEPS
    assert found.recorded[:2] == (0, 3)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("log.csv", "epoch,loss,val_loss,epoch_time\n1,3,,9\n2,2,2.5,8\n",
         {"loss": [3, 2], "val_loss": [2.5]}),
        ("log.tsv", "step\tauc\n1\t0.5\n2\tnan\n", {"auc": [0.5, None]}),
        ("log.jsonl", '{"step": 1, "loss": 3, "tag": "a"}\n{"step": 2, "loss": 2, "tag": "b"}\n',
         {"loss": [3, 2]}),
        ("history.json", json.dumps({"train": {"rmse": [3, 2]}, "seconds": [1, 2], "n": 4}),
         {"train.rmse": [3, 2]}),
        ("list.json", '[{"iteration": 0, "l2": 1}, {"iteration": 1, "l2": 0.5}]', {"l2": [1, 0.5]}),
        ("table.csv", "age,weight\n3,4\n5,6\n", {}),
        ("broken.json", '{"loss": [1, 2', {}),
        ("deep.json", "[" * 100_000, {}),
        ("cells.csv", "epoch,name\n1,a\n2,b\n", {}),
    ],
)  # fmt: skip
def test_histories_are_found_in_the_files_that_trainings_write(tmp_path, name, text, expected):
    path = tmp_path / name
    path.write_text(text)

    found = {
        column: [None if value != value else value for value in values]
        for column, values in curves.read(path).items()
    }

    assert found == expected
    assert curves.may_hold(name)
