"""Programs that train, with and without the probe, and what it wrote of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlrepro import probe
from mlrepro.capture import records


@dataclass(frozen=True)
class Seen:
    """What a program printed, and what the probe wrote of it."""

    stdout: str
    fits: list[dict[str, Any]]
    seedings: list[dict[str, Any]]
    saved: list[str]
    log: Path

    def model(self, fit: dict[str, Any]) -> Path:
        return self.log / fit["model"]


def run(folder: Path, script: str, *, watched: bool = True, path: str = "", code: int = 0) -> Seen:
    """Run a script; it must end as `code` says, and write nothing to the standard error."""
    log = folder / ("log" if watched else "none")
    log.mkdir()
    (folder / "train.py").write_text(textwrap.dedent(script))
    places = [str(probe.folder())] * watched + [path] * bool(path)
    variables = {**os.environ, "PYTHONPATH": ":".join(places), "MLREPRO_LOG": str(log)}
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=folder, env=variables, capture_output=True, text=True
    )
    assert done.returncode == code, done.stderr
    assert code or not done.stderr, done.stderr
    found = records.read(log)
    assert not found.damaged
    texts: dict[str, list[Any]] = {"f": [], "y": []}
    for record in found.records:
        if record.kind in texts:
            texts[record.kind].append(json.loads(record.fields[0]))
    saved = [record.fields[0] for record in found.records if record.kind == "p"]
    return Seen(done.stdout, texts["f"], texts["y"], saved, log)


def prints_the_same(folder: Path, script: str, *, path: str = "") -> Seen:
    """Run a script under the probe and without it: its output must not tell which is which."""
    seen = run(folder, script, path=path)
    alone = run(folder, script, watched=False, path=path)
    assert seen.stdout == alone.stdout
    assert seen.stdout
    return seen
