"""DVC's remotes: a local folder, and S3 by moto on loopback with the real `dvc-s3`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mlrepro.errors import DvcError
from mlrepro.manifest import Digest
from mlrepro.stores import dvc


@pytest.fixture(scope="module")
def s3():
    """The address of an S3 server of our own."""
    pytest.importorskip("dvc_s3")
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3, monkeypatch, request) -> tuple[str, str]:
    """A new bucket, and the address of the server."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    import boto3

    name = f"bucket-{abs(hash(request.node.name))}"
    boto3.client("s3", endpoint_url=s3).create_bucket(Bucket=name)
    return f"s3://{name}/some/prefix", s3


@pytest.fixture(params=["folder", "s3"])
def shared(request, project, tmp_path) -> str:
    """A project with a default remote of either kind; its address."""
    if request.param == "folder":
        address = str(tmp_path / "remote")
        project.dvc("remote", "add", "-q", "-d", "store", address)
    else:
        address, endpoint = request.getfixturevalue("bucket")
        project.dvc("remote", "add", "-q", "-d", "store", address)
        project.dvc("remote", "modify", "-q", "store", "endpointurl", endpoint)
    project.commit("a remote")
    return address


def record(project) -> list[Digest]:
    """Store a file, a folder, and something printed: what a run leaves."""
    project.write("model.txt", "weights")
    for name in ("a", "sub/ü", "empty"):
        project.write(f"data/{name}", name if name != "empty" else "")
    stores = dvc.stores(project.root)
    paths = [project.root / "model.txt", project.root / "data"]
    stored = {path: stores.add(path, into_dvc=True) for path in paths}
    dvc.keep(project.root, stored, notify=lambda _: None)
    project.commit("a model")
    return [*(s.digest for s in stored.values()), stores.add_bytes(b"printed").digest]


def clone(project, tmp_path: Path) -> Path:
    target = tmp_path / "colleague"
    subprocess.run(["git", "clone", "-q", str(project.root), str(target)], check=True)
    return target


@pytest.mark.filterwarnings("ignore")  # botocore's, while moto answers in this process
def test_a_fresh_clone_gets_every_object_that_was_pushed(project, shared, tmp_path, capfd):
    digests = record(project)
    config = (project.root / ".dvc" / "config").read_bytes()
    seen = []

    sent = dvc.push(project.root, digests, progress=lambda *steps: seen.append(steps))
    again = dvc.push(project.root, digests)
    colleague = clone(project, tmp_path)
    absent = dvc.stores(colleague).missing(digests)
    brought = dvc.pull(colleague, digests)

    assert (sent, again, brought) == (6, 0, 6)
    assert seen[-1] == (6, 6)
    assert absent == digests
    assert dvc.stores(colleague).missing(digests) == []
    assert dvc.verify_remote(colleague, digests) == []
    assert (project.root / ".dvc" / "config").read_bytes() == config
    assert not (colleague / ".dvc" / "cache" / "files").exists()
    dvc.stores(colleague).put(digests[1], colleague / "data")
    assert (colleague / "data" / "sub" / "ü").read_text() == "sub/ü"
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore")
def test_dvcs_own_place_is_what_dvc_pull_reads(project, shared, tmp_path):
    digests = record(project)

    dvc.push(project.root, digests[:2], nested=False)
    colleague = clone(project, tmp_path)
    project.dvc("pull", "-q", cwd=colleague)

    assert (colleague / "model.txt").read_text() == "weights"
    assert (colleague / "data" / "sub" / "ü").read_text() == "sub/ü"
    assert dvc.verify_remote(project.root, digests[:2], nested=False) == []


@pytest.mark.filterwarnings("ignore")
def test_what_dvc_push_sent_can_be_pulled_from_dvcs_place(project, shared, tmp_path):
    digests = record(project)
    project.dvc("push", "-q")
    colleague = clone(project, tmp_path)

    brought = dvc.pull(colleague, digests, nested=False)

    assert brought == 5
    assert dvc.stores(colleague).missing(digests) == digests[2:]


@pytest.mark.filterwarnings("ignore")
def test_objects_absent_from_the_remote_are_named(project, shared):
    digests = record(project)
    dvc.push(project.root, digests[:1])

    lost = dvc.verify_remote(project.root, digests)

    assert lost[0] == digests[1]
    assert len(lost) == 5
    assert digests[0] not in lost


@pytest.mark.filterwarnings("ignore")
def test_dvc_gc_of_the_cloud_leaves_our_place_on_s3_alone(project, bucket):
    address, endpoint = bucket
    project.dvc("remote", "add", "-q", "-d", "store", address)
    project.dvc("remote", "modify", "-q", "store", "endpointurl", endpoint)
    digests = record(project)
    dvc.push(project.root, digests)
    dvc.push(project.root, digests[:2], nested=False)
    for name in ("model.txt.dvc", "data.dvc"):
        (project.root / name).unlink()

    project.dvc("gc", "-w", "-c", "-f", "-q")

    assert dvc.verify_remote(project.root, digests) == []
    assert len(dvc.verify_remote(project.root, digests[:2], nested=False)) == 5


def test_an_object_that_is_damaged_on_the_remote_does_not_arrive(project, tmp_path):
    project.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "remote"))
    digests = record(project)
    dvc.push(project.root, digests)
    value = digests[0].value
    remote = tmp_path / "remote" / dvc.PLACE / "files" / "md5" / value[:2] / value[2:]
    remote.chmod(0o644)
    remote.write_text("WEIGHTS")
    shutil.rmtree(project.root / ".dvc" / "cache")

    brought = dvc.pull(project.root, digests[:1])

    assert brought == 0
    assert dvc.stores(project.root).missing(digests[:1]) == digests[:1]


def test_a_push_from_a_cache_that_only_dvc_filled(project, tmp_path):
    project.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "remote"))
    project.write("data/x", "x")
    project.dvc("add", "-q", "data")
    digest = dvc.read_pointer(project.root / "data.dvc").digest

    assert dvc.push(project.root, [digest]) == 2
    assert dvc.verify_remote(project.root, [digest]) == []


def test_no_remote_is_one_sentence_with_a_hint(project, tmp_path):
    digests = record(project)
    (tmp_path / "plain").mkdir()

    with pytest.raises(DvcError, match="no DVC remote is configured") as caught:
        dvc.push(project.root, digests)
    with pytest.raises(DvcError, match="no DVC"):
        dvc.pull(tmp_path / "plain", digests)
    with pytest.raises(DvcError, match="doesn't exist"):
        dvc.verify_remote(project.root, digests, remote="other")

    assert "dvc remote add" in caught.value.hint


def test_a_remote_that_cannot_be_written_is_one_sentence(project, tmp_path, capfd):
    digests = record(project)
    (tmp_path / "file").write_text("no folder")
    project.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "file" / "remote"))

    with pytest.raises(DvcError, match="could not be sent to the DVC remote `store`: ") as caught:
        dvc.push(project.root, digests)

    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore")
def test_an_s3_server_that_refuses_is_one_sentence(project, bucket, monkeypatch, capfd):
    digests = record(project)
    project.dvc("remote", "add", "-q", "-d", "store", "s3://no-such-bucket-here/x")
    project.dvc("remote", "modify", "-q", "store", "endpointurl", bucket[1])
    capfd.readouterr()

    with pytest.raises(DvcError, match="DVC remote `store`") as caught:
        dvc.push(project.root, digests)

    assert "\n" not in str(caught.value)
    assert capfd.readouterr().out == ""


def test_a_missing_local_object_is_passed_over_by_push(project, tmp_path):
    project.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "remote"))
    absent = Digest("md5", "0" * 32)

    assert dvc.push(project.root, [absent]) == 0
    assert dvc.verify_remote(project.root, [absent]) == [absent]
    assert dvc.pull(project.root, [absent]) == 0
    assert os.listdir(project.root / ".dvc" / "tmp")
