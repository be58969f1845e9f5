"""`mlrepro gc`: what rebuilds left in the user's cache goes, and what it says."""

from __future__ import annotations

import json


def test_gc_says_what_it_removed(project):
    left = project.root.parent / "home/.cache/mlrepro/environments/0123.building"
    left.mkdir(parents=True)
    (left / "file").write_text("x" * 10_000)

    said = project.mlrepro("gc").stdout
    again = project.mlrepro("gc", "--json").stdout

    assert f"removed {left}" in said
    assert "removed 1 environment and 0 rooms, freed 0.0 MB; 0 environments kept" in said
    assert not left.exists()
    assert json.loads(again)["environments"] == []
