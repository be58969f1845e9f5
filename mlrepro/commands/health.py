"""Health: what a look at a machine and a repository found, as values."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.Enum):
    """How one check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, a sentence, and what helps."""

    about: str
    state: State
    sentence: str
    hint: str = ""


@dataclass(frozen=True)
class Health:
    """All that was looked at."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing fails; a warning is something to know."""
        return all(check.state is not State.FAIL for check in self.checks)


Found = tuple[State, str, str]
"""What a check yields: how it is, a sentence, a hint."""
