"""A rebuild leaves a record: who asks about the run sees who rebuilt it, and how it came out."""

import hashlib
import json
import shutil

import pytest

from tests.commands.test_run import TRAIN


@pytest.fixture
def trained(project):
    project.write("train.py", TRAIN)
    project.write("data.csv", "1\n2\n3\n")
    project.commit("training")
    project.mlrepro("run", "-n", "base", "python", "train.py", check=True)
    return project


def rebuilt(project, *options, **where):
    """Rebuild the run, and return the report."""
    return json.loads(project.mlrepro("rebuild", *options, "base", "--json", **where).stdout)


def line(project, **where) -> str:
    """Return what `show` says of rebuilds."""
    shown = project.mlrepro("show", "base", check=True, **where).stdout.splitlines()
    return next((one.partition("rebuilt")[2].strip() for one in shown if one[:7] == "rebuilt"), "")


def statements(project, **where):
    done = project.mlrepro("export", "base", "--attestation", **where)
    return [json.loads(one) for one in done.stdout.splitlines()]


def test_rebuilds_are_counted_and_exported_as_in_toto_statements(trained):
    nobody = trained.mlrepro("export", "base", "--attestation")
    before = line(trained)
    first, second = rebuilt(trained), rebuilt(trained)

    record = json.loads(trained.mlrepro("show", "base", "--json", check=True).stdout)
    exported = trained.mlrepro("export", "base", "--attestation").stdout.splitlines()

    assert (nobody.returncode, before) == (1, "")
    assert "nobody has rebuilt" in nobody.stderr
    assert first["attestation"] != second["attestation"]
    assert line(trained) == "on the machine that recorded it: identical"
    assert [one["id"] for one in record["rebuilds"]] == [
        first["attestation"],
        second["attestation"],
    ]
    assert [hashlib.sha256(one.encode()).hexdigest() for one in exported] == [
        first["attestation"],
        second["attestation"],
    ]
    statement = json.loads(exported[0])
    model = (trained.root / "model.pkl").read_bytes()
    (subject,) = [one for one in statement["subject"] if one["name"] == "model.pkl"]
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert subject["digest"] == {
        "md5": hashlib.md5(model).hexdigest(),
        "sha256": hashlib.sha256(model).hexdigest(),
    }
    assert statement["predicate"]["run"] == record["id"]
    assert statement["predicate"]["rebuilder"] == "Ann <ann@example.org>"


@pytest.fixture
def keys(trained, tmp_path):
    """Ann signs with an SSH key that git knows here."""
    trained.call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key"))
    public = (tmp_path / "key.pub").read_text()
    (tmp_path / "allowed").write_text(f"ann@example.org {public}")
    trained.git("config", "--global", "gpg.format", "ssh")
    trained.git("config", "--global", "user.signingkey", str(tmp_path / "key.pub"))
    trained.git("config", "--global", "gpg.ssh.allowedSignersFile", str(tmp_path / "allowed"))
    return tmp_path


def test_a_signature_is_checked_by_git_alone_and_a_tampered_record_has_none(trained, keys):
    report = rebuilt(trained, "--sign")
    signed = line(trained)
    (statement,) = statements(trained)
    commit = statement.pop("signature")["commit"]

    name = trained.git("hash-object", "-t", "commit", "-w", "--stdin", input=commit)
    by_hand = trained.call("git", "verify-commit", name)
    said = trained.call("git", "log", "-1", "--format=%B", name).stdout
    (keys / "allowed").write_text("")
    unknown = line(trained)

    assert signed == "on the machine that recorded it: identical; 1 signed by ann@example.org"
    assert 'Good "git" signature for ann@example.org' in by_hand.stderr
    assert json.loads(said) == statement
    assert hashlib.sha256(said.strip().encode()).hexdigest() == report["attestation"]
    assert unknown.endswith("; 1 with a signature that git does not accept here")
    assert trained.git("status", "--porcelain") == trained.git("status", "--porcelain")


def test_signing_that_cannot_be_done_is_told_before_the_training(trained, keys):
    (keys / "key").unlink()

    done = trained.mlrepro("rebuild", "--sign", "base")

    assert done.returncode == 125
    assert "git cannot sign" in done.stderr
    assert "training" not in done.stderr


def test_a_colleague_signs_with_gpg_and_pushes_and_the_author_sees_it(trained, tmp_path):
    trained.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    trained.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    trained.dvc("remote", "add", "-q", "-d", "storage", str(tmp_path / "storage"))
    trained.commit("model")
    trained.git("push", "-q", "-u", "origin", "HEAD")
    trained.mlrepro("push", check=True)
    bob = tmp_path / "bob"
    trained.git("clone", "-q", str(tmp_path / "remote.git"), str(bob))
    trained.git("config", "user.name", "Bob", cwd=bob)
    trained.git("config", "user.email", "bob@example.org", cwd=bob)
    (tmp_path / "gpg").mkdir(mode=0o700)
    gpg = {"env": {"GNUPGHOME": str(tmp_path / "gpg")}}
    new = ("--passphrase", "", "--quick-gen-key", "Bob <bob@example.org>", "ed25519", "sign")
    trained.call("gpg", "--batch", "-q", *new, **gpg)
    try:
        report = rebuilt(trained, "--yes", "--sign", cwd=bob, **gpg)
        trained.mlrepro("push", cwd=bob, check=True)
        rebuilt(trained)
        mine = line(trained)
        trained.mlrepro("pull", check=True)
        both = line(trained, **gpg)
    finally:
        trained.call("gpgconf", "--kill", "all", **gpg)

    assert report["attestation"]
    assert mine == "on the machine that recorded it: identical"
    assert both == (
        "on the machine that recorded it by 2 people: identical; 1 signed by Bob <bob@example.org>"
    )
    assert {one["predicate"]["rebuilder"] for one in statements(trained)} == {
        "Ann <ann@example.org>",
        "Bob <bob@example.org>",
    }
