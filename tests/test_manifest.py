"""Laws of the manifest."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro import documents, manifest
from mlrepro.errors import ManifestError, SchemaTooNewError
from mlrepro.manifest import Artifact, Digest, Input, Kept, Manifest, Role, Run, Source, Status

DATA = Path(__file__).parent / "data" / "manifests"

words = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
names = words.map(lambda w: w.replace("/", "_")).filter(
    lambda w: w not in (".", "..") and w.lower() != ".git"
)
digests = st.binary(min_size=16, max_size=16).map(lambda b: Digest("md5", b.hex()))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
artifacts = st.builds(
    Artifact, names, st.sampled_from([Role.WEIGHTS, Role.METRICS]), digests,
    st.integers(0, 2**53 - 1), st.sampled_from(Kept),
)  # fmt: skip
inputs = st.builds(Input, names, st.sampled_from(Source), st.none() | digests)
runs = st.builds(
    Run, st.lists(words, min_size=1).map(tuple), words, st.sampled_from(Status),
    seconds=st.floats(0, 1e9), name=words, message=words,
)  # fmt: skip
manifests = st.builds(
    Manifest, runs,
    artifacts=st.lists(artifacts, max_size=3).map(tuple),
    inputs=st.lists(inputs, max_size=3).map(tuple),
    params=st.dictionaries(words, values, max_size=3),
)  # fmt: skip


@given(manifests)
def test_what_is_written_is_read_back(record):
    read = Manifest.from_yaml(record.to_yaml())

    assert read.id == record.id
    assert read.to_dict() == record.to_dict()


@given(manifests)
def test_the_id_is_the_sha256_of_the_canonical_json_without_the_id(record):
    data = documents.read_own_yaml(record.to_yaml())
    shown = data.pop("id")

    assert shown == hashlib.sha256(documents.canonical_json(data)).hexdigest()


@given(manifests, st.text())
def test_cutting_or_extending_a_manifest_is_a_manifest_error_or_the_same_manifest(record, tail):
    text = record.to_yaml()
    for changed in (text[: len(text) // 2], text + tail):
        try:
            assert Manifest.from_yaml(changed).id == record.id
        except ManifestError:
            pass


def minimal(**changes) -> dict:
    run = {"command": ["python", "t.py"], "started": "2026-01-01T00:00:00Z", "status": "completed"}
    return {"schema": 1, "run": run, **changes}


def test_a_field_of_a_newer_version_is_kept_out_of_the_way_and_under_the_id():
    data = minimal(added_later={"x": 1})
    shown = hashlib.sha256(documents.canonical_json(data)).hexdigest()

    assert Manifest.from_dict({**data, "id": shown}).id == shown


@pytest.mark.parametrize("schema", [2, 10**9])
def test_a_newer_schema_is_refused_in_one_sentence(schema):
    with pytest.raises(SchemaTooNewError, match=f"schema {schema}"):
        Manifest.from_dict({**minimal(), "schema": schema})


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/../../x", "", ".", ".git/hooks/pre-commit", "a/.GIT/x", "a\0b"],
)
def test_a_path_that_leaves_the_project_is_refused(path):
    artifact = {"path": path, "role": "weights", "digest": "md5:" + "0" * 32, "size": 1}

    with pytest.raises(ManifestError):
        Manifest.from_dict(minimal(artifacts=[artifact]))


@pytest.mark.parametrize(
    "changes",
    [
        {"artifacts": [{"path": "m", "role": "weights", "digest": "md5:../../x", "size": 1}]},
        {"artifacts": [{"path": "m", "role": "genius", "digest": "md5:" + "0" * 32, "size": 1}]},
        {"artifacts": {"path": "m"}},
        {"run": {"command": [], "started": "now", "status": "completed"}},
        {"run": {"command": "python", "started": "now", "status": "completed"}},
        {"code": {"tree": "--upload-pack=x", "snapshot": "y"}},
        {"params": ["x"]},
    ],
)
def test_a_malformed_field_is_refused_and_named(changes):
    with pytest.raises(ManifestError):
        Manifest.from_dict(minimal(**changes))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "schema: 1", "a: &a [1]\nb: *a", "!!python/object:os.system x", "a: 1\na: 2",
     "schema: true", "[" * 5000, "\0", "%YAML 9.9\n---\nx"],
)  # fmt: skip
def test_what_is_no_manifest_is_a_manifest_error(text):
    with pytest.raises(ManifestError):
        Manifest.from_yaml(text)


def test_an_alias_bomb_is_refused_at_once():
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 12)]

    with pytest.raises(ManifestError, match="aliases"):
        Manifest.from_yaml("l0: &l0 [x]\n" + "\n".join(levels))


def test_a_merge_conflict_is_called_by_its_name():
    text = "schema: 1\n<<<<<<< HEAD\nid: a\n=======\nid: b\n>>>>>>> side\n"

    with pytest.raises(ManifestError, match="conflict markers") as caught:
        Manifest.from_yaml(text)

    assert "--theirs" in caught.value.hint


def test_a_huge_file_is_refused_without_being_read(tmp_path):
    path = tmp_path / "m.mlrepro.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 30)

    with pytest.raises(ManifestError, match="16 MiB"):
        manifest.read(path)


@pytest.mark.parametrize("path", sorted(DATA.glob("*.yaml")), ids=lambda p: p.stem)
def test_a_manifest_of_every_schema_ever_released_stays_readable(path):
    expected = json.loads(path.with_suffix(".json").read_text())

    record = manifest.read(path)

    assert record.id == expected["id"]
    assert record.to_dict() | {"id": record.id} == expected
