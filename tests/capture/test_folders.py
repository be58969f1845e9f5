"""Folders: which of the listed ones were there before the run."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from mlrepro.capture import folders
from mlrepro.capture.observation import Observation
from mlrepro.facts import Folder


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere Python tells a folder's birth")
def test_many_folders_that_changed_are_asked_for_together(tmp_path, monkeypatch):
    calls = []
    real = subprocess.run
    monkeypatch.setattr(
        folders.subprocess, "run", lambda *args, **more: calls.append(args) or real(*args, **more)
    )
    old = [tmp_path / f"old {number}" for number in range(600)]
    new = [tmp_path / f"new\n{number}" for number in range(600)]
    for folder in old:
        folder.mkdir()
    time.sleep(0.05)
    began = time.time()
    time.sleep(0.05)
    for folder in new:
        folder.mkdir()
    for folder in old:
        (folder / "made").touch()
    seen = Observation(listed=tuple(Folder(str(path), 0, "", "") for path in [*new, *old]))

    found = folders.empty(tmp_path, seen, began=began, code=(), inputs=())

    assert found == tuple(sorted(path.name for path in old))
    assert len(calls) <= 3
