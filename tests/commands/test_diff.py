"""`mlrepro diff`: what differs is named, and what could not be told is no pass."""

import json

import pytest

from mlrepro.commands import diffinputs
from mlrepro.commands.diff import diff
from tests.commands.test_run import TRAIN


@pytest.fixture
def trained(project):
    project.write("train.py", TRAIN)
    project.write("data.csv", "1\n2\n3\n")
    project.commit("training")
    project.mlrepro("run", "-n", "base", "python", "train.py", check=True)
    return project


def lose(project, run: str, path: str) -> None:
    """Remove the objects of an artifact from both stores."""
    shown = json.loads(project.mlrepro("show", run, "--json", check=True).stdout)
    (value,) = [a["digest"][4:] for a in shown["artifacts"] if a["path"] == path]
    for place in ("files", "mlrepro/files"):
        (project.root / f".dvc/cache/{place}/md5/{value[:2]}/{value[2:]}").unlink()


def test_unequal_models_whose_bytes_are_lost_are_no_pass(project):
    project.write("train.py", "import os\nopen('model.bin', 'wb').write(os.urandom(8))\n")
    project.commit("training")
    for name in ("one", "two"):
        project.mlrepro("run", "-n", name, "python", "train.py", check=True)
    (project.root / "model.bin").unlink()
    for name in ("one", "two"):
        lose(project, name, "model.bin")

    done = project.mlrepro("diff", "one", "two")

    assert done.returncode == 125
    assert "cannot be told" in done.stderr
    assert "no difference" not in done.stdout


def test_a_difference_that_is_known_is_told_in_spite_of_lost_bytes(trained):
    trained.mlrepro("run", "-n", "other", "python", "train.py", "0.7", check=True)
    lose(trained, "base", "model.pkl")

    done = trained.mlrepro("diff", "base", "other")

    assert done.returncode == 1
    assert "not compared" in done.stdout


def test_runs_without_an_artifact_cannot_be_told_apart(project):
    for name in ("one", "two"):
        project.mlrepro("run", "-n", name, "python", "-c", "", check=True)

    done = project.mlrepro("diff", "one", "two")

    assert done.returncode == 125
    assert "no artifact" in done.stderr


def test_a_run_that_only_prints_is_compared_by_its_code(project):
    project.write("train.py", "print(0.5)")
    project.commit("training")
    project.mlrepro("run", "python", "train.py", check=True)

    same = project.mlrepro("diff", "last")
    project.write("train.py", "print(0.6)")
    changed = project.mlrepro("diff", "last")

    assert same.returncode == 0
    assert "only code, inputs and parameters" in same.stdout
    assert changed.returncode == 1


def test_an_edited_input_among_many_is_noticed(project):
    for number in range(60):
        project.write(f"data/{number:02}.csv", str(number))
    project.write(
        "train.py",
        "import glob, json\n"
        "loss = sum(float(open(name).read()) for name in glob.glob('data/*'))\n"
        "json.dump({'loss': loss}, open('metrics.json', 'w'))\n",
    )
    project.commit("training")
    project.mlrepro("run", "python", "train.py", check=True)
    untouched = json.loads(project.mlrepro("diff", "last", "--json").stdout)

    project.write("data/57.csv", "7")
    edited = json.loads(project.mlrepro("diff", "last", "--json").stdout)

    assert untouched["inputs"] == []
    assert [change["what"] for change in edited["inputs"]] == ["data/57.csv"]


def test_unequal_positional_arguments_are_named(trained):
    trained.mlrepro("run", "-n", "other", "python", "train.py", "0.7", check=True)

    params = json.loads(trained.mlrepro("diff", "base", "other", "--json").stdout)["params"]

    assert {
        "what": "command",
        "recorded": "python train.py",
        "current": "python train.py 0.7",
    } in params


def test_a_run_without_options_has_no_nameless_parameter(project):
    project.write("train.py", "open('model.pkl', 'w').write('w')")
    project.commit()
    project.mlrepro("run", "-n", "a", "python", "train.py", check=True)
    project.mlrepro("run", "-n", "b", "python", "train.py", "--lr", "1", check=True)

    done = project.mlrepro("diff", "a", "b", "--json")

    assert [c["what"] for c in json.loads(done.stdout)["params"]] == ["command", "command line: lr"]


TABLE = "age,height,city\n" + "".join(f"{n % 60}.5,{n % 7},c{n % 5}\n" for n in range(500))
DATED = (
    "import csv, datetime, json, os, sys\n"
    "rows = list(csv.DictReader(open('data.csv')))\n"
    "total = sum(float(row['age']) for row in rows)\n"
    "folder = datetime.datetime.now().strftime('outputs/%Y-%m-%d_%H-%M-%S')\n"
    "folder += sys.argv[1]\n"
    "os.makedirs(folder)\n"
    "json.dump({'loss': total}, open(f'{folder}/metrics.json', 'w'))\n"
)


@pytest.fixture
def fed(project):
    """A run `one` that read a table, and one `two` that read another."""
    project.write("train.py", DATED)
    project.write("data.csv", TABLE)
    project.write("notes.bin", b"\0one")
    project.commit("training")
    project.mlrepro("run", "-n", "one", "python", "train.py", "Z", check=True)
    rows = TABLE.splitlines()
    for at in range(17, 29):
        age, rest = rows[at].split(",", 1)
        rows[at] = f"{float(age) + 2},{rest}"
    project.write("data.csv", "\n".join([*rows, "1.5,2,new", "2.5,3,new"]) + "\n")
    project.write("train.py", DATED.replace("total = ", "total = 1 + "))
    project.mlrepro("run", "-n", "two", "python", "train.py", "+01:00", check=True)
    return project


def test_inputs_are_told_by_rows_and_columns_code_by_lines_metrics_by_their_distance(fed):
    text = fed.mlrepro("diff", "one", "two").stdout
    data = json.loads(fed.mlrepro("diff", "one", "two", "--json").stdout)

    assert "train.py (+1 −1)" in text
    assert "rows 500 → 502" in text
    assert "488 rows are in both, 12 only in one, 14 only in two" in text
    assert "age: 12 of 500 cells differ, rms / std" in text
    (table,) = data["input_drifts"]
    assert table["path"] == "data.csv"
    assert [column["path"] for column in table["children"]] == ["age"]
    assert {"path": "train.py", "added": 1, "removed": 1} in data["code_lines"]
    (metric,) = data["metrics"]  # of two folders that are named for a date
    assert "absent" not in metric.values()
    assert float(metric["current"]) - float(metric["recorded"]) == 24 + 1.5 + 2.5 + 1
    assert "(+29, +" in text


def test_rows_in_another_order_are_told_and_an_input_that_is_lost_is_named(fed):
    head, *rows = (fed.root / "data.csv").read_text().splitlines()
    fed.write("data.csv", "\n".join([head, *reversed(rows)]) + "\n")
    moved = fed.mlrepro("diff", "two").stdout
    fed.write("data.csv", "\n".join([head, "0.5,0,first", *rows[:-1], "9.5,9,last"]) + "\n")
    shifted = fed.mlrepro("diff", "two").stdout

    fed.write("data.csv", TABLE.replace("city", "town"))
    renamed = fed.mlrepro("diff", "two").stdout
    fed.write("data.csv", b"\0damaged")
    damaged = fed.mlrepro("diff", "two").stdout

    assert "data.csv: the same rows in another order" in moved
    assert "501 rows are in both, 1 only in two, 2 only in the working tree" in shifted
    assert "city: 1 of 1 cells differ" in shifted
    assert "column only in two: city; column only in the working tree: town" in renamed
    assert "compared by their digests alone: data.csv (" in damaged
    assert "data.csv: md5:" in damaged


def test_an_input_that_is_too_large_is_told_by_its_digest(fed, monkeypatch):
    monkeypatch.setattr(diffinputs, "LARGEST", 1000)

    report = diff("one", "two", start=fed.root)

    assert [change.what for change in report.inputs] == ["data.csv"]
    assert report.input_drifts == ()
    assert "data.csv (too large, or too many)" in report.notes[-1]
