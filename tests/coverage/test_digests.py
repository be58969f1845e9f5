"""Digests of what was read, where an input changes faster than a file system's clock ticks."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest

from mlrepro.capture import inputs, observers
from mlrepro.manifest import Grade
from mlrepro.stores import objects
from tests.coverage.running import OBSERVERS

READER = """
import sys
for line in sys.stdin:
    open(line.strip()).read()
    print("read", flush=True)
"""


@pytest.mark.parametrize("observer", OBSERVERS)
def test_an_input_rewritten_within_a_tick_of_the_clock_never_gets_the_later_digest(
    observer, tmp_path
):
    root = tmp_path / "project"
    (root / ".mlrepro").mkdir(parents=True)
    (root / "train.py").write_text(READER)
    watcher = observers.choose(observer, log=root / ".mlrepro" / "log", root=root)
    variables = watcher.prepare(os.environ)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}

    with subprocess.Popen(
        [sys.executable, "train.py"], cwd=root, env=variables, **pipes
    ) as process:
        for number in range(20):
            file = root / f"{number}.txt"
            file.write_text("before")
            process.stdin.write(f"{file.name}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "read\n"
            file.write_text("after!")  # as long, and mostly at the same time to the file system
        process.stdin.close()

    found = inputs.find(watcher.finish(), inputs.Known(root), objects.stores(tmp_path)).inputs
    data = [one for one in found if one.path.endswith(".txt")]
    later = hashlib.md5(b"after!").hexdigest()
    assert len(data) == 20
    assert [one.path for one in data if one.digest and one.digest.value == later] == []
    assert [one.path for one in data if one.digest is None and one.grade is Grade.VERIFIED] == []
