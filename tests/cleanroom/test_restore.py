"""Restoring: inputs into the room, and hostile records that would lead out of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mlrepro.capture import variables
from mlrepro.cleanroom import restore, room
from mlrepro.cleanroom.outside import Outside
from mlrepro.errors import ManifestError, ObjectNotFoundError, RestoreError
from mlrepro.manifest import (
    Artifact,
    CodeState,
    Digest,
    Input,
    Manifest,
    Role,
    Run,
    Source,
    Status,
    Variables,
)
from mlrepro.stores import place

NOTHING = Digest("md5", "d41d8cd98f00b204e9800998ecf8427e")


@pytest.fixture
def record(project) -> Manifest:
    project.write("train.py", "pass")
    (project.root / "out").symlink_to(project.root.parent)
    project.commit("code with a link that leads out")
    run = Run(("python", "train.py"), "", Status.COMPLETED, root=str(project.root), work="salt")
    tree = project.git("rev-parse", "HEAD^{tree}")
    return Manifest(run=run, code=CodeState(tree, project.git("rev-parse", "HEAD")))


def restored(project, record: Manifest, **changes) -> tuple[restore.Restored, set[str]]:
    """Restore a changed record; return what was restored, and the files of the room then."""
    here = place.strict(project.root)
    changed = dataclasses.replace(record, sealed="", **changes)
    with room.opened(here, changed) as opened:
        result = restore.restore(here, changed, opened, notify=lambda _: None)
        return result, {str(p.relative_to(opened.root)) for p in opened.root.rglob("*")}


def stored(project, text: str) -> Digest:
    file = project.root.parent / "stored"
    file.write_text(text)
    return place.strict(project.root).stores.add(file, into_dvc=False).digest


def test_inputs_and_the_folders_of_outputs_are_there(project, record):
    digest = stored(project, "1\n")

    _, files = restored(
        project,
        record,
        inputs=(Input("data/x.csv", Source.STORED, digest, 2),),
        artifacts=(Artifact("models/a/model.pkl", Role.WEIGHTS, digest, 2),),
    )

    assert {"data/x.csv", "models/a"} <= files


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": (Input("out/x.csv", Source.STORED, NOTHING),)},
        {"artifacts": (Artifact("out/sub/model.pkl", Role.WEIGHTS, NOTHING, 0),)},
    ],
)
def test_no_link_of_the_code_leads_out_of_the_room(project, record, changes):
    stored(project, "")

    with pytest.raises(RestoreError, match="symlink"):
        restored(project, record, **changes)


def test_the_working_directory_stays_in_the_room(project, record):
    run = dataclasses.replace(record.run, directory="out")

    with pytest.raises(RestoreError, match="leads out"):
        restored(project, record, run=run)


def test_a_pointer_with_dots_is_passed_over(project, record):
    project.write("evil.dvc", f"outs:\n- md5: {NOTHING.value}\n  size: 0\n  path: ../../x\n")
    project.commit("a hostile pointer")
    code = CodeState(project.git("rev-parse", "HEAD^{tree}"), project.git("rev-parse", "HEAD"))

    _, files = restored(project, record, code=code)

    assert "evil.dvc" in files


def test_a_folder_listing_with_dots_writes_nothing(project, record):
    stores = place.strict(project.root).stores
    listing = b'[{"md5": "%s", "relpath": "../../x"}]' % NOTHING.value.encode()
    digest = Digest("md5", f"{stores.add_bytes(listing).digest.value}.dir")
    source = stores.own.path(Digest("md5", digest.value.removesuffix(".dir")))
    stores.own.path(digest).parent.mkdir(parents=True, exist_ok=True)
    source.rename(stores.own.path(digest))
    stored(project, "")

    with pytest.raises(RestoreError, match="cannot be restored"):
        restored(project, record, inputs=(Input("data", Source.STORED, digest),))


def test_all_that_is_absent_is_named_at_once(project, record):
    gone = Digest("md5", "0" * 32)

    with pytest.raises(RestoreError) as caught:
        restored(
            project,
            record,
            inputs=(Input("a.csv", Source.STORED, gone), Input("b.csv", Source.ELSEWHERE, gone)),
        )

    assert "a.csv" in str(caught.value)
    assert "b.csv" in str(caught.value)


@pytest.mark.parametrize("size", [5, restore.LINKED_FROM])
def test_a_damaged_object_is_never_restored(project, tmp_path, size):
    digest = stored(project, "right")
    stores = place.strict(project.root).stores
    path = stores.own.path(digest)
    path.chmod(0o644)
    path.write_text("wrong")

    with pytest.raises(ObjectNotFoundError, match="damaged"):
        restore.put(stores, digest, tmp_path / "target", size=size)

    assert not (tmp_path / "target").exists()


def test_an_object_is_linked_for_a_reader_of_our_own_alone(project, tmp_path):
    digest = stored(project, "right")
    stores = place.strict(project.root).stores

    restore.put(stores, digest, tmp_path / "target", size=restore.LINKED_FROM)
    restore.put(stores, digest, tmp_path / "copied")

    assert (tmp_path / "target").is_symlink()
    assert (tmp_path / "target").read_text() == "right"
    assert not (tmp_path / "copied").is_symlink()


@pytest.mark.parametrize("source", [Source.STORED, Source.ELSEWHERE])
def test_writing_to_an_input_reaches_neither_the_users_file_nor_the_cache(project, record, source):
    digest = stored(project, "right")
    here = place.strict(project.root)
    mine = project.write("data.bin", "right")
    changed = dataclasses.replace(record, sealed="", inputs=(Input("data.bin", source, digest, 5),))

    with room.opened(here, changed) as opened:
        restore.restore(here, changed, opened, notify=lambda _: None)
        with (opened.root / "data.bin").open("r+b") as file:
            file.write(b"wrong")

    assert mine.read_text() == "right"
    assert here.stores.find(digest).read_text() == "right"


def test_an_input_that_the_code_has_otherwise_comes_from_the_store(project, record):
    digest = stored(project, "as it was read")
    here = place.strict(project.root)
    changed = dataclasses.replace(
        record, sealed="", inputs=(Input("train.py", Source.CODE, digest),)
    )

    with room.opened(here, changed) as opened:
        restore.restore(here, changed, opened, notify=lambda _: None)
        text = (opened.root / "train.py").read_text()

    assert text == "as it was read"


def test_an_input_that_neither_the_code_nor_the_store_has_is_named(project, record):
    unknown = Input("train.py", Source.CODE, Digest("md5", "0" * 32))

    with pytest.raises(RestoreError, match=r"train\.py"):
        restored(project, record, inputs=(unknown,))


def test_an_input_that_head_has_otherwise_is_a_change(project, record):
    here = place.strict(project.root)
    unknown = Input("train.py", Source.CODE, Digest("md5", "0" * 32))
    changed = dataclasses.replace(record, sealed="", inputs=(unknown,))

    with room.opened(here, changed) as opened:
        result = restore.restore(here, changed, opened, head=True, notify=lambda _: None)

    assert [change.what for change in result.changes] == ["train.py"]


def test_empty_folders_that_the_run_listed_are_there(project, record):
    _, files = restored(project, record, folders=("data/none",))

    assert "data/none" in files


@pytest.mark.parametrize("folder", ["out", "../x"])
def test_no_listed_folder_leads_out_of_the_room(project, record, folder):
    with pytest.raises((RestoreError, ManifestError)):
        restored(project, record, folders=(folder,))


def outside(tmp_path, record: Manifest, author: str = "/home/ann") -> Outside:
    table = variables.tables({"HOME": author}, (), salt="salt")
    return Outside(dataclasses.replace(record, sealed="", variables=table), tmp_path / "copies")


def test_a_file_in_the_authors_home_is_looked_for_in_ones_own(record, home, tmp_path):
    places = outside(tmp_path, record).places("/home/ann/data/x.csv")

    assert places == ["/home/ann/data/x.csv", f"{home}/data/x.csv"]


def test_a_file_outside_any_home_has_one_place(record, home, tmp_path):
    assert outside(tmp_path, record).places("/data/x.csv") == ["/data/x.csv"]
    unknown = Outside(dataclasses.replace(record, sealed="", variables=Variables()), tmp_path)
    assert unknown.places("/home/ann/x.csv") == ["/home/ann/x.csv"]


@pytest.mark.parametrize("path", ["/a/../etc/passwd", "/a//b", "/a\0b"])
def test_a_twisted_path_is_refused(record, tmp_path, path):
    with pytest.raises(ManifestError):
        outside(tmp_path, record).places(path)


def test_folders_that_are_not_here_are_shown_as_one(record, tmp_path):
    shown = outside(tmp_path, record)
    for name in ("x", "y"):
        shown.copy(f"{tmp_path}/absent/deep/{name}").touch()
    shown.copy(f"{tmp_path}/z").touch()

    binds = shown.binds()

    assert set(binds) == {f"{tmp_path}/absent", f"{tmp_path}/z"}
    assert sorted(p.name for p in Path(binds[f"{tmp_path}/absent"], "deep").iterdir()) == ["x", "y"]
