"""Path maps: a colleague keeps the data elsewhere, and says so once."""

from __future__ import annotations

import json

import pytest

from mlrepro.cleanroom import mounts, pathmaps
from mlrepro.errors import ConfigError

READ = """
import os
found = sorted(os.listdir({folder!r}))
open("model.pkl", "w").write(open({folder!r} + "/data.csv").read() + str(found))
"""


def test_maps_are_read_from_both_files(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.mlrepro.paths]\n"/data/a/" = "near"\n')
    (tmp_path / "mlrepro.toml").write_text('[paths]\n"/data/b" = "/mnt/b/../c"\n')

    maps = pathmaps.read(tmp_path)

    assert {place: str(here) for place, here in maps.items()} == {
        "/data/a": str(tmp_path / "near"),
        "/data/b": "/mnt/c",
    }
    assert pathmaps.mapped("/data/b/x.csv", maps) == "/mnt/c/x.csv"
    assert pathmaps.mapped("/data/bb", maps) == ""


@pytest.mark.parametrize("line", ['"data" = "/x"', '"/etc" = "/x"', '"/data" = 3', '"/" = "/x"'])
def test_a_map_that_cannot_be_meant_is_a_sentence(tmp_path, line):
    (tmp_path / "mlrepro.toml").write_text(f"[paths]\n{line}\n")

    with pytest.raises(ConfigError, match="paths"):
        pathmaps.read(tmp_path)


@pytest.mark.skipif(not mounts.available(), reason="no user namespaces here")
def test_a_rebuild_finds_the_data_where_the_map_says(project, tmp_path):
    was, now = tmp_path / "warehouse", tmp_path / "nas"
    was.mkdir()
    (was / "data.csv").write_text("1\n")
    (was / "unread").touch()
    project.write("train.py", READ.format(folder=str(was)))
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)
    was.rename(now)
    project.write("mlrepro.toml", f'[paths]\n"{was}" = "{now}"\n')

    done = project.mlrepro("rebuild", "--json", "last")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "identical"
    assert not was.exists()
    assert (now / "data.csv").read_text() == "1\n"
    assert sorted(path.name for path in now.iterdir()) == ["data.csv", "unread"]
