"""Running: the trainings of a case, recorded by `mlrepro run`, and compared by `mlrepro diff`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mlrepro.commands.diff import DiffReport, diff
from mlrepro.commands.listing import ls
from mlrepro.drift import Difference, Verdict
from tests.drifttable.cases import CASES, Case, Training


@dataclass(frozen=True)
class Size:
    """How large the trainings are."""

    rows: int = 3000
    columns: int = 12
    rounds: int = 30


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    case: Case
    verdict: Verdict
    causes: tuple[str, ...]
    difference: Difference | None

    @property
    def fault(self) -> str:
        """What is not as it has to be; empty otherwise."""
        if self.verdict not in self.case.verdicts:
            return f"{self.case.name}: {self.verdict}"
        named = [cause for cause in self.causes if self.case.cause in cause]
        if bool(self.case.cause) != bool(named):
            return f"{self.case.name}: `{self.case.cause}` is not among {self.causes}"
        return ""


@dataclass
class Laboratory:
    """A project in which trainings are recorded, each once."""

    root: Path
    size: Size = field(default_factory=Size)
    runs: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shutil.copy(Path(__file__).with_name("train.py"), self.root)
        rng = np.random.default_rng(7)
        x = rng.normal(size=(self.size.rows, self.size.columns))
        noise = 0.1 * rng.normal(size=self.size.rows)
        y = x[:, 0] * x[:, 1] + np.sin(2 * x[:, 2]) + noise
        table = np.column_stack([y, x])
        np.savetxt(self.root / "train.csv", table, delimiter=",", fmt="%.17g")
        np.savetxt(self.root / "shuffled.csv", table[::-1], delimiter=",", fmt="%.17g")
        self.call("git", "add", "-A")
        self.call("git", "commit", "-qm", "the training and its data")

    def row(self, case: Case) -> Row:
        """Record both trainings of a case and compare them."""
        report = diff(*(self.recorded(one, again=n) for n, one in enumerate((case.a, case.b))),
                      start=self.root)  # fmt: skip
        deciding = [one.difference for one in report.artifacts if one.decides]
        verdict = max(one.verdict for one in deciding)
        return Row(case, verdict, causes(report), next(iter(deciding), None))

    def recorded(self, training: Training, *, again: int) -> str:
        """Return the id of a run; the second of two equal ones is a run of its own.

        Parameters
        ----------
        again : int
            0 for the first training of a case, 1 for the second.
        """
        words = {**training.params, "rounds": self.size.rounds}
        command = [
            training.python, "train.py", training.library, training.data, training.dtype,
            *(f"{name}={json.dumps(value)}" for name, value in words.items()),
        ]  # fmt: skip
        is_repeated = any(training == case.a == case.b for case in CASES)
        key = json.dumps([command, again if is_repeated else 0])
        if key not in self.runs:
            self.call(sys.executable, "-m", "mlrepro", "run", "--no-keep", *command)
            self.runs[key] = ls(most=1, start=self.root)[0].id
        return self.runs[key]

    def call(self, *command: str) -> str:
        """Run a command in the project."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(command, cwd=self.root, env={**os.environ, "PATH": path},
                              capture_output=True, text=True)  # fmt: skip
        if done.returncode:
            raise AssertionError(f"{command}: {done.stderr}")
        return done.stdout


def causes(report: DiffReport) -> tuple[str, ...]:
    """Return what a report names as unequal, the command line as a whole left out."""
    found = (report.code, report.environment, report.inputs, report.params, report.training)
    changes = [change for group in found for change in group if change.what != "command"]
    return tuple(f"{one.what}: {one.recorded} → {one.current}" for one in changes)
