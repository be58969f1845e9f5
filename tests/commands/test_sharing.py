"""`mlrepro push` and `pull`, between two clones and two remotes."""

import json
import shutil

import pytest

from tests.commands.test_run import TRAIN


@pytest.fixture
def shared(project, tmp_path):
    """A project with a bare git remote and a DVC remote in a folder, and one pushed run."""
    project.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    project.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    project.dvc("remote", "add", "-q", "-d", "storage", str(tmp_path / "storage"))
    project.write("train.py", TRAIN)
    project.write("data.csv", "1\n2\n3\n")
    project.dvc("add", "-q", "data.csv")
    project.commit("training")
    project.mlrepro("run", "-n", "base", "python", "train.py", check=True)
    project.commit("model")
    project.git("push", "-q", "-u", "origin", "HEAD")
    return project


def clone(project, tmp_path, name="bob"):
    folder = tmp_path / name
    project.git("clone", "-q", str(tmp_path / "remote.git"), str(folder))
    return folder


def test_a_fresh_clone_rebuilds_with_what_it_fetches_by_itself(shared, tmp_path):
    shared.mlrepro("push", check=True)
    bob = clone(shared, tmp_path)
    shutil.rmtree(shared.root)

    done = shared.mlrepro("rebuild", "--yes", "model.pkl", "--json", cwd=bob)

    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "identical"


def test_a_fresh_clone_gets_uncommitted_code_of_the_one_run_that_it_rebuilds(shared, tmp_path):
    shared.write("train.py", TRAIN.replace("0.1", "0.6"))
    shared.mlrepro("run", "python", "train.py", check=True)
    shared.git("checkout", "-q", "train.py")
    shared.commit("another model")
    shared.git("push", "-q")
    shared.mlrepro("push", check=True)
    bob = clone(shared, tmp_path)

    done = shared.mlrepro("rebuild", "--yes", "model.pkl", "--json", cwd=bob)

    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "identical"


def test_pull_brings_the_runs_of_others_and_prune_harms_nothing(shared, tmp_path):
    shared.mlrepro("push", check=True)
    bob = clone(shared, tmp_path)

    shared.mlrepro("pull", cwd=bob, check=True)
    shared.git("fetch", "-q", "--prune", cwd=bob)

    rows = json.loads(shared.mlrepro("ls", "--json", cwd=bob, check=True).stdout)
    assert [row["name"] for row in rows] == ["base"]
    assert shared.git("config", "--get-all", "remote.origin.fetch", cwd=bob).count("\n") == 0


def test_two_people_push_and_pull_without_conflict(shared, tmp_path):
    shared.mlrepro("push", check=True)
    bob = clone(shared, tmp_path)
    shared.dvc("pull", "-q", cwd=bob)
    shared.mlrepro("run", "-n", "bobs", "python", "train.py", "0.5", cwd=bob, check=True)
    shared.mlrepro("run", "-n", "anns", "python", "train.py", "0.7", check=True)

    shared.mlrepro("push", cwd=bob, check=True)
    shared.mlrepro("push", check=True)
    shared.mlrepro("pull", check=True)

    rows = json.loads(shared.mlrepro("ls", "--json", check=True).stdout)
    assert {row["name"] for row in rows} == {"base", "bobs", "anns"}


def test_the_first_push_of_untracked_code_asks(shared, tmp_path):
    shared.write("helper.py", "x = 1")
    shared.write("train.py", "import helper\n" + TRAIN)
    shared.mlrepro("run", "python", "train.py", check=True)

    refused = shared.mlrepro("push")
    sent = shared.git("ls-remote", "origin", "refs/mlrepro/*")
    agreed = shared.mlrepro("push", "--yes")

    assert refused.returncode == 1
    assert "helper.py" in refused.stderr
    assert sent == ""
    assert agreed.returncode == 0


def test_push_without_a_dvc_remote_is_one_sentence(shared):
    shared.dvc("remote", "remove", "storage")

    done = shared.mlrepro("push")

    assert done.returncode == 1
    assert "dvc remote add" in done.stderr
    assert shared.git("ls-remote", "origin", "refs/mlrepro/*") == ""


def test_verify_tells_what_is_to_be_had_from_what_is_lost(shared, tmp_path):
    shared.mlrepro("push", check=True)
    bob = clone(shared, tmp_path)
    there = shared.mlrepro("verify", "model.pkl", "--json", cwd=bob)
    shutil.rmtree(tmp_path / "storage")

    lost = shared.mlrepro("verify", "model.pkl", "--json", cwd=bob)

    assert there.returncode == 0
    assert lost.returncode == 1


def test_the_bytes_on_a_remote_survive_a_cloud_gc(shared, tmp_path):
    shared.mlrepro("push", check=True)
    shared.mlrepro("run", "python", "train.py", "0.3", check=True)
    shared.commit("another model")
    shared.mlrepro("push", check=True)
    shared.dvc("gc", "-q", "-f", "-w", "-c")
    shutil.rmtree(shared.root / ".dvc/cache")

    done = shared.mlrepro("rebuild", "base", "--json")

    assert done.returncode == 0


@pytest.fixture
def bucket(monkeypatch):
    """A real S3 endpoint on loopback."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    address = f"http://{host}:{port}"
    boto3.client("s3", endpoint_url=address).create_bucket(Bucket="models")
    yield address
    server.stop()


@pytest.mark.filterwarnings("ignore")
def test_a_fresh_clone_rebuilds_from_s3(shared, tmp_path, bucket):
    shared.dvc("remote", "add", "-q", "-f", "-d", "s3", "s3://models/store")
    shared.dvc("remote", "modify", "-q", "s3", "endpointurl", bucket)
    shared.git("commit", "-qam", "S3")
    shared.git("push", "-q")
    shared.mlrepro("push", check=True)
    bob = clone(shared, tmp_path)
    shutil.rmtree(shared.root)
    shutil.rmtree(tmp_path / "storage", ignore_errors=True)

    done = shared.mlrepro("rebuild", "--yes", "base", "--json", cwd=bob)

    assert done.returncode == 0
    assert json.loads(done.stdout)["verdict"] == "identical"


def test_the_first_push_of_data_that_nobody_tracks_asks_and_only_the_first(shared, tmp_path):
    shared.write(".gitignore", shared.root.joinpath(".gitignore").read_text() + "private.csv\n")
    shared.write("private.csv", "7\n")
    outside = tmp_path / "outside.txt"
    outside.write_text("secret")
    shared.write("train.py", f"open('private.csv'); open({str(outside)!r})\n" + TRAIN)
    shared.commit("reads private files")
    shared.mlrepro("run", "python", "train.py", check=True)

    refused = shared.mlrepro("push")
    sent = shared.git("ls-remote", "origin", "refs/mlrepro/*")
    agreed = shared.mlrepro("push", "--yes")
    shared.mlrepro("run", "python", "train.py", "0.9", check=True)
    again = shared.mlrepro("push")

    assert refused.returncode == 1
    assert "private.csv" in refused.stderr
    assert str(outside) in refused.stderr
    assert "data.csv" not in refused.stderr.replace("private.csv", "")
    assert sent == ""
    assert (agreed.returncode, again.returncode) == (0, 0)


def test_an_artifact_of_an_earlier_run_is_pushed_without_a_question(shared):
    shared.write("use.py", "open('model.pkl', 'rb').read(); open('scores.csv', 'w').write('1')")
    shared.commit("uses the model")
    shared.mlrepro("run", "python", "use.py", check=True)

    assert shared.mlrepro("push").returncode == 0
