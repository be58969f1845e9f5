"""Watching: run a program bare and under each observer that this machine has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from mlrepro import probe
from mlrepro.capture import observers
from mlrepro.capture.observation import Observation

NAMES = ["audit", *(["native"] if getattr(probe, "library", lambda: None)() else [])]
"""The observers to test: the probe in Python alone, and the preload library where it is built."""


def interpreters() -> list[str]:
    """One Python of each version from 3.8 on, the running one first."""
    found = {sys.version_info[:2]: sys.executable}
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    places = [*map(str, root.glob("versions/*/bin")), *os.environ["PATH"].split(os.pathsep)]
    # A version manager's shim may be there for a version that is not.
    path = os.pathsep.join(place for place in places if "shims" not in place)
    for minor in range(8, 15):
        one = shutil.which(f"python3.{minor}", path=path)
        if one is not None:
            found.setdefault((3, minor), one)
    return list(found.values())


def version(python: str) -> str:
    """Return the name of an interpreter for a test's id."""
    return re.sub(r".*(python[0-9.]*)$", r"\1", python)


@dataclass(frozen=True)
class Bench:
    """A folder to run programs in, with and without an observer."""

    observer: str
    root: Path
    variables: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def bare(self, *command: str, **options) -> subprocess.CompletedProcess[str]:
        """Run a command with nobody watching."""
        return self._run(command, self._own(), options)

    def watch(
        self, *command: str, **options
    ) -> tuple[subprocess.CompletedProcess[str], Observation]:
        """Run a command as mlrepro does; return what it said, and what was seen."""
        log = self.root / ".mlrepro" / "log"
        shutil.rmtree(log, ignore_errors=True)
        observer = observers.choose(self.observer, log=log, root=self.root, command=command)
        variables = observer.prepare(self._own())
        return self._run(command, variables, options), observer.finish()

    def _own(self) -> dict[str, str]:
        # `python3` is the interpreter that runs the tests, as in an active environment.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, **self.variables}

    def _run(self, command, variables, options):
        return subprocess.run(
            command,
            **{"cwd": self.root, "capture_output": True, "text": True, "timeout": 60} | options,
            env=variables,
        )

    def reads(self, seen: Observation) -> set[str]:
        return {os.path.relpath(read.path, self.root) for read in seen.reads}

    def writes(self, seen: Observation) -> set[str]:
        return {os.path.relpath(write.path, self.root) for write in seen.writes}


def same(bare: subprocess.CompletedProcess[str], seen: subprocess.CompletedProcess[str]) -> bool:
    """Whether a program said and ended the same."""
    assert (seen.returncode, seen.stdout, seen.stderr) == (
        bare.returncode,
        bare.stdout,
        bare.stderr,
    )
    return True
