"""A rebuild leaves a record: who asks about the run sees who rebuilt it, and how it came out."""

import dataclasses
import hashlib
import json

import pytest

from mlrepro.attestation import Attestation, Distance, Method, Rebuilt
from mlrepro.commands.attestations import Rebuild, summary
from mlrepro.commands.rebuild import rebuild
from mlrepro.errors import GitError, ManifestError
from mlrepro.manifest import Artifact, Digest, Manifest, Platform, Role, Run, Status
from mlrepro.stores import ledgernotes, place
from mlrepro.stores.signing import Signature
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


def record(**changes) -> Attestation:
    part = Rebuilt("model.txt", Role.WEIGHTS, "identical", True, MODEL, MODEL)
    whole = Attestation("a" * 64, "Ann <ann@example.org>", "2026-01-02T03:04:05Z", "1.0",
                        "identical", (part,), METHOD, machine=Platform(host="one", cpu="A"))  # fmt: skip
    return dataclasses.replace(whole, **changes)


METHOD = Method("recorded", "recorded", "lock")
MODEL, OTHER = Digest("md5", "1" * 32), Digest("md5", "2" * 32)


def moved(value: float, verdict="close", **changes) -> Attestation:
    measures = (Distance("leaf values, rms / std", value), Distance(LARGEST, 2 * value))
    part = Rebuilt("model.txt", Role.WEIGHTS, verdict, True, MODEL, OTHER, measures=measures)
    return record(verdict=verdict, artifacts=(part,), **changes)


LARGEST = "leaf values, largest / std"


@pytest.mark.parametrize("value", [1e-13, float("nan"), float("inf")])
def test_a_record_is_read_as_it_was_written(value):
    written = moved(value, rebuilder="A\x1b[2J\ud800 <a@example.org>", seconds=1.5)

    found = Attestation.from_bytes(written.to_bytes())

    assert (
        found.rebuilder == "A\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER} <a@example.org>"
    )
    assert str(found.artifacts[0].measures[0].value) == str(value)
    assert found.to_bytes() == written.to_bytes()


def damaged(change) -> bytes:
    statement = json.loads(moved(0.1).to_bytes())
    change(statement, statement["predicate"], statement["predicate"]["artifacts"][0])
    return json.dumps(statement).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda s, p, a: p.update(verdict="identical"),
        lambda s, p, a: (p.update(verdict="identical"), a.update(verdict="identical")),
        lambda s, p, a: a.update(rebuilt=a["recorded"]),
        lambda s, p, a: a.update(decides=False),
        lambda s, p, a: a.update(verdict="splendid"),
        lambda s, p, a: a.update(sha256="f" * 64),
        lambda s, p, a: a["measures"][0].update(value="1"),
        lambda s, p, a: a["measures"][0].update(name="\x1b[2J"),
        lambda s, p, a: s["subject"][0].update(name="other.txt"),
        lambda s, p, a: p.update(schema=2),
        lambda s, p, a: p.update(when="soon"),
        lambda s, p, a: p.update(rebuilder="x" * 10_000),
        lambda s, p, a: s.update(predicateType="urn:other"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(change):
    assert Attestation.from_bytes(damaged(lambda s, p, a: None))
    with pytest.raises(ManifestError):
        Attestation.from_bytes(damaged(change))


@pytest.mark.parametrize("data", [b"", b"[]", b"[" * 100_000, b'{"_type": 1}', b"\xff"])
def test_what_is_no_record_is_refused(data):
    with pytest.raises(ManifestError):
        Attestation.from_bytes(data)


def test_machines_are_counted_once_by_their_newest_rebuild():
    run = Run(("python", "train.py"), "", Status.COMPLETED)
    model = Artifact("model.txt", Role.WEIGHTS, MODEL, 1)
    manifest = Manifest(run, artifacts=(model,), platform=Platform(host="zero"))
    cpu = {host: Platform(host=host, cpu="A") for host in ("one", "two", "three")}
    later = {"when": "2026-01-03T00:00:00Z"}
    head = dataclasses.replace(record().method, code="head")
    told = [
        record(machine=cpu["one"]),
        record(machine=cpu["two"], rebuilder="Bob <bob@example.org>"),
        moved(0.5, "drifted", machine=cpu["three"]),
        moved(1e-13, machine=cpu["three"], **later),
        moved(0.5, "drifted", machine=Platform(host="four"), method=head),
    ]
    rebuilds = [Rebuild(str(n), True, one) for n, one in enumerate(told)]

    assert summary(manifest, rebuilds) == (
        "on 3 machines by 2 people: 2 identical, 1 close, largest leaf value difference 2e-13 / std"
    )
    assert summary(manifest, rebuilds[4:]) == ""


def test_a_rebuild_with_other_threads_hides_none_with_the_recorded_ones():
    run = Run(("python", "train.py"), "", Status.COMPLETED)
    manifest = Manifest(run, artifacts=(Artifact("model.txt", Role.WEIGHTS, MODEL, 1),))
    other = dataclasses.replace(METHOD, threads="current")
    told = [record(), moved(0.5, "drifted", method=other, when="2026-01-03T00:00:00Z")]
    same, moved_on = (Rebuild(str(n), True, one) for n, one in enumerate(told))

    assert summary(manifest, [same, moved_on]).endswith("on 1 machine: identical")
    assert "drifted (--threads current)" in summary(manifest, [moved_on])


def test_what_one_person_signs_on_one_machine_counts_once():
    manifest = Manifest(Run(("python", "train.py"), "", Status.COMPLETED))
    good, bad = Signature(True, "ann@example.org"), Signature(False)
    others = {"machine": Platform(host="two"), "rebuilder": "Bob <bob@example.org>"}
    told = [(record(), good), (record(), bad), (record(), good), (record(**others), bad)]
    rebuilds = [Rebuild(str(n), True, one, signature) for n, (one, signature) in enumerate(told)]

    assert summary(manifest, rebuilds) == (
        "on 2 machines by 2 people: 2 identical; 1 signed by ann@example.org;"
        " 1 with a signature that git does not accept here"
    )


def test_what_others_may_write_is_not_counted_unless_it_fits_the_run(trained):
    here = place.strict(trained.root)
    run = json.loads(trained.mlrepro("show", "base", "--json", check=True).stdout)["id"]
    lie = dataclasses.replace(record(), run=run).to_bytes()
    ledgernotes.put(here.repository, run, "attestations", lie)
    ledgernotes.put(here.repository, run, "attestations", b"\x1b[2Jnothing")
    ledgernotes.put(here.repository, run, "signatures", b'{"attestation": [], "commit": 1}')

    trained.write("data.csv", "1\n2\n30\n")
    trained.commit("other data")
    other = rebuilt(trained, "--code", "head")
    notes = ledgernotes.of_run(here.repository, run, "attestations")
    true = next(Attestation.from_bytes(n.data) for n in notes if n.id == other["attestation"])
    later = dataclasses.replace(true, when="2999-01-01T00:00:00Z")
    ledgernotes.put(here.repository, run, "attestations", later.to_bytes())
    shown = json.loads(trained.mlrepro("show", "base", "--json", check=True).stdout)

    assert line(trained) == ""
    assert [one["id"] for one in shown["rebuilds"]] == [other["attestation"]]
    assert shown["rebuilds"][0]["record"]["method"]["code"] == "head"
    assert statements(trained) == []


def test_a_ledger_that_cannot_be_written_costs_a_note_and_not_the_report(trained, monkeypatch):
    def full(*_arguments):
        raise GitError("no space left")

    monkeypatch.setattr("mlrepro.stores.ledgernotes.put", full)

    report = rebuild("base", start=trained.root)

    assert str(report.verdict) == "identical"
    assert report.attestation == ""
    assert report.notes[-1] == "this rebuild left no record in the ledger: no space left"
