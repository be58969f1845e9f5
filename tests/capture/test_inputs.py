"""What a run read: where a rebuild takes it from, and whose work it is."""

from pathlib import Path

import pytest

from mlrepro.capture import globs, grading, inputs
from mlrepro.capture.inputs import Known
from mlrepro.capture.observation import Observation, Read
from mlrepro.manifest import Grade, Source
from mlrepro.stores import objects


@pytest.fixture
def stores(tmp_path):
    return objects.stores(tmp_path / "cache")


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def seen(*paths: Path, **options) -> Observation:
    return Observation(
        reads=tuple(Read(str(p), grading.state(str(p)), "audit", **options) for p in paths)
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_tracked_file_comes_with_the_code(root, stores):
    data = write(root / "a.csv", "1")

    (one,) = inputs.find(seen(data), Known(root, tracked=frozenset(["a.csv"])), stores).inputs

    assert (one.source, one.grade) == (Source.CODE, Grade.VERIFIED)


def test_a_small_untracked_file_is_stored(root, stores):
    data = write(root / "a.csv", "1")

    (one,) = inputs.find(seen(data), Known(root), stores).inputs

    assert one.source is Source.STORED
    assert stores.find(one.digest)


def test_a_file_that_changed_after_it_was_read_has_no_digest(root, stores):
    data = write(root / "a.csv", "1")
    observed = seen(data)
    data.write_text("22")

    found = inputs.find(observed, Known(root), stores)

    assert (found.inputs[0].digest, found.inputs[0].grade) == (None, Grade.CHANGED)
    assert "a.csv" in found.troubles[0]


def test_a_large_file_is_only_named_unless_it_is_declared(root, stores, monkeypatch):
    monkeypatch.setattr(inputs, "STORED_LIMIT", 2)
    data = write(root / "big.csv", "12345")

    named = inputs.find(seen(data), Known(root), stores)
    declared = inputs.find(seen(data), Known(root), stores, declared=["*.csv"])

    assert named.inputs[0].source is Source.ELSEWHERE
    assert "a colleague has to have it" in named.troubles[0]
    assert declared.inputs[0].source is Source.STORED


def test_a_member_of_a_folder_that_dvc_tracks_is_dvcs_while_it_is_unchanged(root, stores):
    data = write(root / "data" / "a.csv", "1")
    known = Known(root, pointers={"data": stores.add(root / "data", into_dvc=True).digest})

    before = inputs.find(seen(data), known, stores).inputs[0].source
    data.write_text("edited")
    after = inputs.find(seen(data), known, stores).inputs[0].source

    assert (before, after) == (Source.DVC, Source.STORED)


def test_a_member_of_an_earlier_runs_folder_makes_it_a_parent(root, stores):
    data = write(root / "data" / "part" / "a.csv", "1")
    folder = stores.add(root / "data", into_dvc=False).digest
    known = Known(root, ledger={str(folder): ("run", "data")})
    (one,) = inputs.find(seen(data), known, stores).inputs

    (parent,) = inputs.parents([one], known, stores)
    write(data, "edited")
    (edited,) = inputs.find(seen(data), known, stores).inputs

    assert (parent.run, parent.path) == ("run", "data")
    assert inputs.parents([edited], known, stores) == ()


def test_a_folder_whose_listing_is_gone_makes_nobody_a_parent(root, stores):
    data = write(root / "data" / "a.csv", "1")
    known = Known(root, ledger={f"md5:{'0' * 32}.dir": ("run", "data")})
    found = inputs.find(seen(data), known, stores)

    assert inputs.parents(found.inputs, known, stores) == ()


def test_each_parent_is_named_once(root, stores):
    both = [write(root / name, "same") for name in ("a.csv", "b.csv")]
    digest = objects.digest_file(both[0])
    known = Known(root, ledger={str(digest): ("run", "a.csv")})

    found = inputs.find(seen(*both), known, stores)

    assert len(inputs.parents(found.inputs, known, stores)) == 1


def test_a_file_that_cannot_be_hashed_has_no_digest(root, stores):
    data = write(root / "a.csv", "1")
    observed = seen(data)
    data.unlink()

    (one,) = inputs.find(observed, Known(root), stores).inputs

    assert (one.digest, one.grade) == (None, Grade.GONE)


def test_declared_globs_are_relative_to_where_the_user_stands(root, tmp_path):
    inside = write(root / "sub" / "a.csv", "1")
    outside = write(tmp_path / "b.csv", "1")
    odd = write(root / "sub" / "c[1].csv", "1")

    found, idle = globs.files(root / "sub", ["a*", str(outside), "c[1].csv", "none", "", "**x"])

    assert set(found) == {inside, outside, odd}
    assert idle == ["none", "", "**x"]


def test_a_declared_folder_means_its_files_under_their_own_names(root):
    member = write(root / "d" / "deep" / "a.csv", "1")
    (root / "link").symlink_to("d")

    found, _idle = globs.files(root, ["d", "link"])

    assert found == [member]
