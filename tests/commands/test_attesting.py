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
