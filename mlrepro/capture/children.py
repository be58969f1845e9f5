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
LAUNCHERS = frozenset(
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
        The process that started it; its own where that process became the program; 0 for
        mlrepro itself.
    time : int
        When, in ns of the monotonic clock.
    """

    arguments: tuple[str, ...]
    word: str = "1"
    parent: int = 0
    time: int = 0


@dataclass(frozen=True)
class Started:
    """A program that has started under the native observer."""

    pid: int
    parent: int
    executable: str
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """All processes of a run, as far as they are known.

    Attributes
    ----------
    programs : sequence of Program
        All that were started, in the order of their starts.
    interpreters : sequence of Interpreter
        The Python processes that left a log.
    started : sequence of Started
        What the native observer saw.
    native : bool
        Whether the native observer watched.
    """

    programs: Sequence[Program] = ()
    interpreters: Sequence[Interpreter] = ()
    started: Sequence[Started] = ()
    native: bool = False

    def unwatched(self) -> list[tuple[Program, str]]:
        """Return the programs that could not be watched, each with a sentence that says so."""
        found = ((program, self._sentence(program)) for program in self.programs)
        return [(program, sentence) for program, sentence in found if sentence]

    def sentences(self) -> list[str]:
        """Return one blind spot for each program that could not be watched."""
        said: dict[str, str] = {}
        for program, sentence in self.unwatched():
            said.setdefault(_name(program.arguments[0]), sentence)
        return list(said.values())

    def write_unseen(self) -> bool:
        """Say whether one of the programs may have written what no observer saw."""
        return any(
            not _launched(program.arguments, self.interpreters)
            for program, _sentence in self.unwatched()
        )

    def _sentence(self, program: Program) -> str:
        arguments = program.arguments
        if _is_harmless(arguments) or shutil.which(arguments[0]) is None:  # it could not start
            return ""
        if self.native:
            return self._native_sentence(program)
        return _sentence(program, self.interpreters)

    def _native_sentence(self, program: Program) -> str:
        if program.word == "1" and self._has_started(program):
            return ""
        shown = _shown(program.arguments)
        why = _WHY.get(program.word, "it left no log")
        return f"`{shown}` was not watched, since {why}; what it read was not seen"

    def _has_started(self, program: Program) -> bool:
        rest = program.arguments[1:]
        return any(
            program.parent in (one.pid, one.parent, 0)
            and one.arguments[len(one.arguments) - len(rest) :] == rest
            for one in self.started
        )


_WHY = {
    "0": "it was started with an environment of its own",
    "static": "it is linked statically",
    "go": "programs in Go call the system by themselves",
    "musl": "it uses another C library, musl",
    "foreign": "it is of another architecture",
    "sanitizer": "its sanitizer tolerates no library before its own",
    "setuid": "it runs with the rights of another user",
}


def _launched(arguments: Sequence[str], interpreters: Collection[Interpreter]) -> bool:
    """Whether a launcher's words end with those of a Python process that was watched."""
    if _name(arguments[0]) not in _PLAIN_LAUNCHERS:
        return False
    given = tuple(arguments)
    return any(len(i.argv) > 1 and given[-len(i.argv) + 1 :] == i.argv[1:] for i in interpreters)


def _is_harmless(arguments: Sequence[str]) -> bool:
    name = _name(arguments[0])
    return name in _HARMLESS or (name == "git" and bool({*arguments[1:3]} & _HARMLESS_GIT))


def _sentence(program: Program, interpreters: Collection[Interpreter]) -> str:
    """Say of a program that only the probe could have watched, if it did not."""
    arguments = program.arguments
    path = shutil.which(arguments[0]) or arguments[0]
    shown = _shown(arguments)
    head = _head(path)
    if _is_python(path, head):
        if _left_a_log(arguments, interpreters):
            return ""
        reason = _reason(arguments, watched=program.word == "1")
        return f"Python was started as `{shown}` {reason}; what it read was not seen"
    if _name(arguments[0]) in LAUNCHERS or head.startswith(b"#!"):
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


def _is_python(path: str, head: bytes) -> bool:
    if _PYTHON.match(_name(path)):
        return True
    # pip writes `#!/bin/sh` and below it `'''exec' …/python` where the interpreter's path is long.
    first = head.partition(b"\n")[0]
    return head.startswith(b"#!") and (b"python" in first or b"\n'''exec'" in head)


def _head(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(200)
    except OSError:
        return b""


def _left_a_log(arguments: Sequence[str], interpreters: Collection[Interpreter]) -> bool:
    given = tuple(arguments[1:])
    return any(i.argv[len(i.argv) - len(given) :] == given for i in interpreters)


def _reason(arguments: Sequence[str], *, watched: bool) -> str:
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
