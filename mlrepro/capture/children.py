"""Children: tell which started programs could be watched, and say it of those that could not."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlrepro.capture.observation import Interpreter

_PYTHON = re.compile(r"^(?:python|pypy)[0-9.]*t?$")
_LAUNCHERS = frozenset(
    {"sh", "bash", "dash", "zsh", "ksh", "fish", "make", "env", "nice", "nohup", "time", "timeout"}
    | {"taskset", "numactl", "stdbuf", "xargs", "uv", "uvx", "poetry", "pipenv", "hatch", "conda"}
    | {"mamba", "micromamba", "mpirun", "mpiexec", "srun", "just", "parallel", "sudo", "setsid"}
)
# Launchers that only start another program: what is written, that one writes.
_PLAIN_LAUNCHERS = frozenset(
    {"env", "nice", "nohup", "time", "timeout", "taskset", "numactl", "stdbuf", "uv", "uvx"}
    | {"poetry", "pipenv", "hatch", "conda", "mamba", "micromamba", "mpirun", "mpiexec", "srun"}
    | {"sudo", "setsid"}
)
# They look at the machine or at the repository's state, not at data.
_HARMLESS = frozenset(
    {"lscpu", "uname", "ldconfig", "ldconfig.real", "nvidia-smi", "getconf", "hostname", "sysctl"}
    | {"nproc", "stty", "tput", "tty", "locale", "true", "false", "sleep", "which", "id", "whoami"}
    | {"date", "free", "df", "ps", "kill", "mkdir", "rmdir", "rm", "chmod", "touch", "echo"}
)
_HARMLESS_GIT = frozenset(
    {"rev-parse", "describe", "status", "log", "config", "branch", "symbolic-ref", "diff"}
    | {"version", "--version", "remote", "name-rev", "ls-files"}
)
_TAKES_A_VALUE = "cmWXQ"
_HIDES = "IES"


@dataclass(frozen=True)
class Program:
    """A program that the run started, or tried to.

    Attributes
    ----------
    arguments : tuple of str
        Its path first.
    word : str
        ``1`` if it was given the variables of the observers and can take them; else why not:
        ``0`` (no variables), ``static``, ``go``, ``musl``, ``foreign``, ``sanitizer``, ``setuid``.
    parent : int
        The process that started it; its own where that process became the program.
    """

    arguments: tuple[str, ...]
    word: str = "1"
    parent: int = 0


@dataclass(frozen=True)
class Started:
    """A program that has started under the native observer."""

    pid: int
    parent: int
    executable: str
    arguments: tuple[str, ...]


def sentences(programs: Sequence[Program], interpreters: Collection[Interpreter]) -> list[str]:
    """Return one blind spot for each program that could not be watched.

    Parameters
    ----------
    programs : sequence of Program
        All that were started.
    interpreters : collection of Interpreter
        The Python processes that left a log.
    """
    said: dict[str, str] = {}
    for program in programs:
        sentence = _sentence(program, interpreters)
        if sentence:
            said.setdefault(_name(program.arguments[0]), sentence)
    return list(said.values())


def write_unseen(programs: Sequence[Program], interpreters: Collection[Interpreter]) -> bool:
    """Say whether one of the programs may have written what no probe saw."""
    return any(
        _sentence(program, interpreters) and not _launched(program.arguments, interpreters)
        for program in programs
    )


def _launched(arguments: Sequence[str], interpreters: Collection[Interpreter]) -> bool:
    """Whether a launcher's words end with those of a Python process that was watched."""
    if _name(arguments[0]) not in _PLAIN_LAUNCHERS:
        return False
    given = tuple(arguments)
    return any(len(i.argv) > 1 and given[-len(i.argv) + 1 :] == i.argv[1:] for i in interpreters)


def _sentence(program: Program, interpreters: Collection[Interpreter]) -> str | None:
    arguments, watched = program.arguments, program.word == "1"
    name = _name(arguments[0])
    if name in _HARMLESS or (name == "git" and {*arguments[1:3]} & _HARMLESS_GIT):
        return None
    path = shutil.which(arguments[0])
    if path is None:  # it could not start
        return None
    shown = _shown(arguments)
    if _is_python(path):
        if _left_a_log(arguments, interpreters):
            return None
        reason = _reason(arguments, watched)
        return f"Python was started as `{shown}` {reason}; what it read was not seen"
    if name in _LAUNCHERS:
        return (
            f"`{shown}` was started; of the programs that it starts, only Python's reads are seen"
        )
    return f"the compiled program `{shown}` was started; what it read was not seen"


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _shown(arguments: Sequence[str]) -> str:
    text = " ".join([_name(arguments[0]), *(shlex.quote(part) for part in arguments[1:])])
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:59] + "…"


def _is_python(path: str) -> bool:
    if _PYTHON.match(_name(path)):
        return True
    try:
        with Path(path).open("rb") as file:
            first = file.read(200).partition(b"\n")[0]
    except OSError:
        return False
    # pip writes `#!/bin/sh` and `'''exec' …/python` where the interpreter's path is too long.
    return first.startswith(b"#!") and b"python" in first


def _left_a_log(arguments: Sequence[str], interpreters: Collection[Interpreter]) -> bool:
    given = tuple(arguments[1:])
    return any(i.argv[len(i.argv) - len(given) :] == given for i in interpreters)


def _reason(arguments: Sequence[str], watched: bool) -> str:
    hidden = _hiding_option(arguments)
    if hidden:
        return f"with -{hidden}, which shuts the probe out"
    if not watched:
        return "with an environment of its own"
    return "and left no log"


def _hiding_option(arguments: Sequence[str]) -> str:
    for argument in arguments[1:]:
        if not argument.startswith("-") or argument in ("-", "--"):
            break
        if argument.startswith("--"):
            continue
        for letter in argument[1:]:
            if letter in _HIDES:
                return letter
            if letter in _TAKES_A_VALUE:
                break
        if argument[1] in "cm":
            break
    return ""
