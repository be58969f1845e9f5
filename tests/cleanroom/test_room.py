"""The room: code with its own git, borrowed folders, and what a killed rebuild leaves."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from mlrepro.cleanroom import borrowed, room
from mlrepro.errors import RestoreError
from mlrepro.manifest import CodeState, Manifest, Run, Status
from mlrepro.stores import git, place


def recorded(project, root: str = "/home/ann/models", branch: str = "main") -> Manifest:
    commit = project.git("rev-parse", "HEAD")
    tree = project.git("rev-parse", "HEAD^{tree}")
    run = Run(
        command=("python", "train.py"), started="2026-11-21T00:00:00Z", status=Status.COMPLETED,
        root=root,
    )  # fmt: skip
    return Manifest(
        run=run, code=CodeState(tree=tree, snapshot=commit, commit=commit, branch=branch)
    )


def test_a_room_answers_git_as_the_project_would(project):
    project.write("train.py", "pass")
    head = project.commit("training")
    project.git("tag", "v1")

    with room.opened(place.strict(project.root), recorded(project)) as opened:
        answers = [
            project.git(*words, cwd=opened.root)
            for words in (
                ["rev-parse", "HEAD"], ["rev-parse", "--abbrev-ref", "HEAD"], ["describe", "--tags"],
                ["status", "--porcelain"],
            )
        ]  # fmt: skip

    assert answers == [head, "main", "v1", ""]
    assert opened.root.name == "models"
    assert not opened.folder.exists()


def test_a_room_can_be_made_from_a_shallow_clone(project, tmp_path):
    project.commit("one")
    project.commit("two")
    shallow = tmp_path / "shallow"
    project.git("clone", "-q", "--depth=1", f"file://{project.root}", str(shallow))

    with room.opened(place.strict(shallow), recorded(project)) as opened:
        log = project.git("log", "--oneline", cwd=opened.root)

    assert log.endswith("two")


@pytest.mark.parametrize("root", ["/a/..", "/", "", "/home/ann/work", "/home/ann/.git"])
def test_the_recorded_folders_name_never_leads_out_of_the_room(project, root):
    with room.opened(place.strict(project.root), recorded(project, root=root)) as opened:
        inside = [opened.root, opened.work, opened.temporary]

        assert all(path.resolve().is_relative_to(opened.folder.resolve()) for path in inside)
        assert not any(a.is_relative_to(b) for a in inside for b in inside if a != b)


def test_a_recorded_branch_that_git_refuses_leaves_a_detached_head(project):
    hostile = recorded(project, branch="../../hooks/x")

    with room.opened(place.strict(project.root), hostile) as opened:
        branch = project.git("rev-parse", "--abbrev-ref", "HEAD", cwd=opened.root)

    assert branch == "HEAD"


def test_what_the_room_commits_stays_in_the_room(project):
    before = project.git("for-each-ref")

    with room.opened(place.strict(project.root), recorded(project)) as opened:
        project.git("commit", "-q", "--allow-empty", "-m", "in the room", cwd=opened.root)

    assert project.git("for-each-ref") == before


def test_code_that_is_nowhere_is_one_sentence(project):
    lost = Manifest(run=recorded(project).run, code=CodeState(tree="0" * 40, snapshot="0" * 40))

    with (
        pytest.raises(RestoreError, match="has no remote"),
        room.opened(place.strict(project.root), lost),
    ):
        pass


def test_a_cache_that_cannot_be_written_is_one_sentence(project, home):
    (home / ".cache").write_text("a file")

    with (
        pytest.raises(RestoreError, match="clean room") as caught,
        room.opened(place.strict(project.root), recorded(project)),
    ):
        pass
    assert "XDG_CACHE_HOME" in (caught.value.hint or "")


def test_mentions_finds_the_folder_in_code(project):
    project.write("train.py", "open('/home/ann/models/data.csv')")
    project.write("notes.md", "/home/ann/models")
    project.write("model.txt.mlrepro.yaml", "root: /home/ann/models")
    project.commit("training")
    here = place.strict(project.root)

    with room.opened(here, recorded(project)) as opened:
        found = room.mentions(here, recorded(project), opened, "/home/ann/models")

    assert found == ["train.py"]
    assert git.find(project.root) is not None


def test_folders_without_permission_are_removed_too(tmp_path):
    with borrowed.folder(tmp_path / "rooms") as made:
        (made / "a/b").mkdir(parents=True)
        (made / "a/b/file").touch()
        (made / "a/b").chmod(0o555)
        (made / "a").chmod(0o000)

    assert list((tmp_path / "rooms").iterdir()) == []


def test_a_symlink_in_a_room_is_removed_and_not_followed(tmp_path):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/file").touch()

    with borrowed.folder(tmp_path / "rooms") as made:
        (made / "link").symlink_to(tmp_path / "precious")

    assert (tmp_path / "precious/file").exists()


def left(parent: Path, name: str, *, age: float) -> Path:
    folder = parent / name
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    then = (folder / "lock").stat().st_mtime - age
    os.utime(folder / "lock", (then, then))
    return folder


def test_only_old_rooms_that_nobody_uses_are_swept(tmp_path):
    old = left(tmp_path, "old", age=90_000)
    young = left(tmp_path, "young", age=100)
    used = left(tmp_path, "used", age=90_000)
    kept = tmp_path / "kept"
    kept.mkdir()
    with (used / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        assert borrowed.sweep(tmp_path) == 1

    assert not old.exists()
    assert young.exists()
    assert used.exists()
    assert kept.exists()


def test_a_kept_folder_is_never_swept(tmp_path):
    with borrowed.folder(tmp_path, keep=True) as made:
        pass

    assert borrowed.sweep(tmp_path, older=-1) == 0
    assert made.exists()
