"""`mlrepro verify`, `show` and `ls`."""

import json
import re
from dataclasses import replace

import pytest

from mlrepro.commands import verify
from mlrepro.manifest import Digest
from mlrepro.stores import ledger
from mlrepro.stores.place import strict
from tests.commands.test_run import TRAIN


@pytest.fixture
def trained(project):
    project.write("train.py", TRAIN)
    project.write("data.csv", "1\n2\n3\n")
    project.commit("training")
    project.mlrepro("run", "-n", "base", "-m", "why", "python", "train.py", check=True)
    return project


def test_verify_of_an_untouched_model_is_fine(trained):
    done = trained.mlrepro("verify")

    assert done.returncode == 0
    assert "1 of 1 runs are as recorded and to be had" in done.stdout


def test_verify_notices_an_edited_artifact(trained):
    artifact = trained.root / "metrics.json"
    artifact.unlink()
    artifact.write_text("{}")

    done = trained.mlrepro("verify", "last")

    assert done.returncode == 1
    assert re.search(r"metrics.json +drifted", done.stdout)


def test_show_prints_the_record_for_people_and_for_programs(trained):
    text = trained.mlrepro("show", "base", check=True).stdout
    data = json.loads(trained.mlrepro("show", "base", "--json", check=True).stdout)

    assert "python train.py" in text
    assert "loss=0.6" in text.replace("0.6000000000000001", "0.6")
    assert data["run"]["message"] == "why"


def test_ls_lists_newest_first_and_filters(trained):
    trained.mlrepro("run", "-n", "second", "python", "train.py", "3", check=True)
    trained.mlrepro("run", "-n", "broken", "python", "-c", "raise SystemExit(1)")

    rows = json.loads(trained.mlrepro("ls", "--json", check=True).stdout)
    named = json.loads(trained.mlrepro("ls", "--name", "base", "--json", check=True).stdout)
    failed = trained.mlrepro("ls", "--status", "failed", "--csv", check=True).stdout.splitlines()

    assert [row["name"] for row in rows] == ["broken", "second", "base"]
    assert [row["name"] for row in named] == ["base"]
    assert len(failed) == 2
    assert failed[1].split(",")[1] == "broken"


def test_a_run_is_found_by_path_id_prefix_name_and_last(trained):
    run_id = json.loads(trained.mlrepro("show", "last", "--json", check=True).stdout)["id"]

    for ref in ("model.pkl", "model.pkl.mlrepro.yaml", "model.pkl.dvc", run_id, run_id[:6], "base"):
        shown = json.loads(trained.mlrepro("show", ref, "--json", check=True).stdout)

        assert shown["id"] == run_id


def test_a_model_that_was_renamed_with_its_manifest_is_found(trained):
    for suffix in ("", ".dvc", ".mlrepro.yaml"):
        (trained.root / f"model.pkl{suffix}").rename(trained.root / f"best.pkl{suffix}")
    run_id = json.loads(trained.mlrepro("show", "last", "--json", check=True).stdout)["id"]

    shown = json.loads(trained.mlrepro("show", "best.pkl", "--json", check=True).stdout)
    verified = trained.mlrepro("verify", "best.pkl")
    compared = json.loads(trained.mlrepro("diff", "best.pkl", "--json").stdout)["artifacts"]
    (trained.root / "best.pkl.dvc").unlink()
    (trained.root / "best.pkl").unlink()
    trained.write("best.pkl", "another model")
    other = trained.mlrepro("show", "best.pkl")

    assert shown["id"] == run_id
    assert verified.returncode == 0
    assert "best.pkl" in verified.stdout
    assert [a["difference"]["verdict"] for a in compared] == ["identical"]
    assert other.returncode == 2
    assert "manifest of another file" in other.stderr


def test_diff_with_the_working_tree_names_what_changed(trained):
    same = trained.mlrepro("diff", "last")
    trained.write("train.py", TRAIN + "# changed\n")
    trained.write("metrics.json", '{"loss": 7}')

    changed = trained.mlrepro("diff", "last")

    assert same.returncode == 0
    assert changed.returncode == 1
    assert "train.py" in changed.stdout
    assert "loss" in changed.stdout


def test_an_older_run_has_not_drifted_since_a_newer_one_took_its_place(trained):
    trained.mlrepro("run", "-n", "newer", "python", "train.py", "0.7", check=True)

    older = trained.mlrepro("verify", "base")
    by_path = trained.mlrepro("verify", "model.pkl")

    assert (older.returncode, by_path.returncode) == (0, 0)


def test_verify_by_path_notices_that_the_file_is_another_runs(trained):
    before = (trained.root / "model.pkl.mlrepro.yaml").read_bytes()
    trained.mlrepro("run", "-n", "newer", "python", "train.py", "0.7", check=True)
    (trained.root / "model.pkl.mlrepro.yaml").write_bytes(before)

    done = trained.mlrepro("verify", "model.pkl")

    assert done.returncode == 1
    assert "drifted" in done.stdout


def test_verify_notices_a_damaged_object(trained):
    shown = json.loads(trained.mlrepro("show", "base", "--json", check=True).stdout)
    (value,) = [a["digest"][4:] for a in shown["artifacts"] if a["path"] == "model.pkl"]
    for place in ("files", "mlrepro/files"):
        path = trained.root / f".dvc/cache/{place}/md5/{value[:2]}/{value[2:]}"
        path.unlink()
        path.write_text("other bytes")

    done = trained.mlrepro("verify", "base")

    assert done.returncode == 1
    assert "lost" in done.stdout


def test_two_runs_that_differ_in_a_time_alone_are_the_same(project):
    project.write(
        "train.py",
        "import json, time; json.dump({'auc': 0.9, 'train_seconds': time.time()}, open('metrics.json', 'w'))",
    )
    project.commit("training")
    project.mlrepro("run", "-n", "one", "python", "train.py", check=True)
    project.mlrepro("run", "-n", "two", "python", "train.py", check=True)

    done = project.mlrepro("diff", "one", "two")

    assert done.returncode == 0
    assert "no difference" in done.stdout


def test_what_other_runs_made_is_no_code(trained):
    trained.write("other.py", "open('other.json', 'w').write('{}')")
    trained.mlrepro("run", "python", "other.py", check=True)
    trained.write("other.json", '{"changed": 1}')
    trained.commit("outputs in git")
    trained.dvc("remote", "add", "-q", "-d", "storage", str(trained.root.parent / "storage"))

    code = json.loads(trained.mlrepro("diff", "base", "--json").stdout)["code"]

    assert [change["what"] for change in code] == ["other.py"]


def test_an_edited_input_is_named_and_in_nobodys_way(project):
    project.write("train.py", TRAIN)
    project.commit("training")
    project.write("data.csv", "1\n2\n3\n")
    project.mlrepro("run", "python", "train.py", check=True)
    project.write("data.csv", "1\n2\n4\n")

    done = project.mlrepro("verify", "last")

    assert done.returncode == 0
    assert re.search(r"data.csv +edited", done.stdout)


def test_an_edited_input_that_git_holds_is_named_too(trained):
    trained.write("data.csv", "1\n2\n4\n")

    done = trained.mlrepro("verify", "last")

    assert done.returncode == 0
    assert re.search(r"data.csv +edited", done.stdout)


def test_a_run_that_was_stopped_cannot_be_rebuilt(project):
    project.write("train.py", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)")
    project.commit("training")
    project.mlrepro("run", "python", "train.py")

    done = project.mlrepro("verify", "last")

    assert done.returncode == 1
    assert re.search(r"run +[0-9a-f]{12} +interrupted", done.stdout)


def test_an_input_that_the_code_has_otherwise_is_lost(trained):
    here = strict(trained.root)
    (entry,) = ledger.entries(here.repository)
    inputs = tuple(
        replace(i, digest=Digest("md5", "0" * 32)) if i.path == "data.csv" else i
        for i in entry.manifest.inputs
    )
    wrong = replace(entry.manifest, inputs=inputs, lists={}, sealed="")
    assert "code" in {i.source.value for i in inputs}
    ledger.append(here.repository, wrong, {})

    (found,) = verify.verify((wrong.id,))

    assert verify.Finding("input", "data.csv", verify.State.LOST) in found.findings
    assert not found.ok


def test_a_model_without_its_pointer_is_noticed(trained):
    (trained.root / "model.pkl.dvc").unlink()

    done = trained.mlrepro("verify")

    assert done.returncode == 1
    assert re.search(r"model.pkl.dvc +lost", done.stdout)
