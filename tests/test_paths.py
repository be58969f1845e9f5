"""Files written whole or not at all, and paths that stay inside."""

import os

import pytest

from mlrepro import paths
from mlrepro.errors import ManifestError


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    target = tmp_path / "file"
    target.write_text("old")

    with pytest.raises(ZeroDivisionError), paths.beside(target) as file:
        file.write(b"half")
        raise ZeroDivisionError

    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_written_file_has_the_mode_of_any_new_file(tmp_path):
    paths.write_beside(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")

    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_symlink_out_of_the_folder_is_not_followed(tmp_path):
    room = tmp_path / "room"
    room.mkdir()
    (room / "out").symlink_to(tmp_path)

    with pytest.raises(ManifestError, match="symlink"):
        paths.resolve_inside(room, "out/file")
