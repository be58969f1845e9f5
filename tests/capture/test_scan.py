"""The scan of a project's folder: what changed since a moment, and what is none of its business."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from mlrepro.capture import scan


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "project"
    (root / ".mlrepro").mkdir(parents=True)
    (root / "old.txt").write_text("1")
    return root


def changed(root: Path, since: int, **options) -> list[str]:
    found = scan.changes(root, since, **options)
    return [os.path.relpath(path, root) for path in found.paths]


def test_made_and_changed_files_are_found_and_untouched_ones_are_not(root):
    (root / "edited.txt").write_text("1")
    since = scan.marker(root, root / ".mlrepro").since
    (root / "edited.txt").write_text("2")
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "new \n.txt").write_text("1")

    assert changed(root, since) == ["a/b/new \n.txt", "edited.txt"]


def test_a_file_written_just_before_the_moment_is_not_claimed(root):
    for number in range(5):
        (root / "before.txt").write_text(str(number))
        since = scan.marker(root, root / ".mlrepro").since

        assert changed(root, since) == []


def test_a_copy_that_keeps_its_old_time_is_found(root):
    os.utime(root / "old.txt", (1, 1))
    since = scan.marker(root, root / ".mlrepro").since
    shutil.copy2(root / "old.txt", root / "copy.txt")

    assert (root / "copy.txt").stat().st_mtime == 1
    assert changed(root, since) == ["copy.txt"]


def test_caches_environments_and_nested_repositories_are_left_out(root):
    since = scan.marker(root, root / ".mlrepro").since
    (root / ".mlrepro" / "state").write_text("1")
    for name in (".git", ".dvc/cache", ".dvc/tmp", "__pycache__", "node_modules", "env", "deep/er"):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text("1")
    (root / "env" / "pyvenv.cfg").write_text("")
    (root / ".dvc" / "config").write_text("1")
    subprocess.run(["git", "init", "-q", root / "nested"], check=True)
    (root / "nested" / "file").write_text("1")

    assert changed(root, since) == [".dvc/config", "deep/er/file"]


def test_symlinks_are_named_and_not_followed(root, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("1")
    since = scan.marker(root, root / ".mlrepro").since
    (root / "loop").symlink_to(".")
    (root / "folder").symlink_to(tmp_path / "outside")
    (root / "latest").symlink_to("old.txt")

    assert changed(root, since) == ["latest"]


def test_the_search_ends_at_a_limit_and_says_so(root, monkeypatch):
    monkeypatch.setattr(scan, "MOST", 3)
    for number in range(5):
        (root / f"{number}.txt").write_text("1")

    assert not scan.changes(root, 0).complete


def test_a_folder_that_cannot_be_read_is_passed_by(root, monkeypatch):
    (root / "gone").mkdir()
    real = os.scandir

    def scandir(path):
        if str(path).endswith("gone"):
            raise FileNotFoundError(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)

    assert changed(root, 0) == ["old.txt"]


def test_an_upper_limit_leaves_out_what_came_later(root):
    until = (root / "old.txt").stat().st_ctime_ns
    scan.marker(root, root / ".mlrepro")
    (root / "later.txt").write_text("1")

    assert changed(root, 0, until=until) == ["old.txt"]
