"""Spawn: start a command as a shell finds and starts it."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlrepro.errors import MlreproError

NOT_FOUND, NOT_EXECUTABLE, NO_RESOURCES = 127, 126, 125

_SHELL = "/bin/sh"
# Python ignores these in its own process; a child expects their usual effect.
_DEFAULT_IN_CHILD = (signal.SIGPIPE, signal.SIGXFSZ)
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


class CannotStartError(MlreproError):
    """The command cannot be started: 127 not found, 126 not executable, 125 no resources."""

    def __init__(self, message: str, *, exit_code: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = exit_code


def spawn(
    command: Sequence[str],
    *,
    cwd: Path,
    variables: Mapping[str, str],
    mask: AbstractSet[int],
    actions: Sequence[tuple[Any, ...]],
) -> int:
    """Start a command in our session and process group; return its pid.

    `posix_spawn` rather than `subprocess`: it sets the signal mask without running Python between
    fork and exec, and leaves the inheritable descriptors (make's job server) open.

    Parameters
    ----------
    command : sequence of str
        Looked up in the ``PATH`` of `variables`; a script without ``#!`` is given to ``/bin/sh``.
    cwd, variables : Path, mapping
        The child's folder and whole environment.
    mask : set of int
        The child's signal mask.
    actions : sequence of tuple
        File actions of `posix_spawn`.

    Raises
    ------
    CannotStartError
        If there is no such command or folder, or it cannot be executed.
    """
    if not command or not command[0]:
        raise CannotStartError("there is no command to run", exit_code=NOT_FOUND)
    refused: CannotStartError | None = None
    with _inside(cwd):
        for path in _candidates(command[0], variables):
            try:
                return _start(path, command, variables, mask, actions)
            except OSError as error:
                refusal = _refusal(command[0], path, error)
            if refusal is not None and not isinstance(refusal.__cause__, PermissionError):
                raise refusal
            refused = refused or refusal
    raise refused or CannotStartError(f"`{command[0]}` was not found", exit_code=NOT_FOUND)


def _start(
    path: str,
    command: Sequence[str],
    variables: Mapping[str, str],
    mask: AbstractSet[int],
    actions: Sequence[tuple[Any, ...]],
) -> int:
    def call(program: str, arguments: list[str]) -> int:
        return os.posix_spawn(
            program,
            arguments,
            variables,
            file_actions=actions,
            setsigmask=mask,
            setsigdef=_DEFAULT_IN_CHILD,
        )

    try:
        return call(path, list(command))
    except OSError as error:
        if error.errno != errno.ENOEXEC or _is_binary(path):
            raise
    return call(_SHELL, [_SHELL, path, *command[1:]])


def _candidates(name: str, variables: Mapping[str, str]) -> list[str]:
    if "/" in name:
        return [name]
    folders = variables.get("PATH", os.defpath).split(os.pathsep)
    return [f"{folder or os.curdir}/{name}" for folder in folders]


def _refusal(name: str, path: str, error: OSError) -> CannotStartError | None:
    """Say why one candidate cannot be started; None where it is simply not there."""
    refusal: CannotStartError | None
    if error.errno in _ABSENT and not os.path.lexists(path):
        return None
    if error.errno in _ABSENT:
        words = f"the interpreter of `{path}` (its first line), or what it links to, was not found"
        refusal = CannotStartError(words, exit_code=NOT_EXECUTABLE)
    elif error.errno in (errno.EAGAIN, errno.ENOMEM):
        words = f"`{name}` cannot be started now: {error.strerror}"
        refusal = CannotStartError(words, exit_code=NO_RESOURCES)
    else:
        reason = "it is a folder" if Path(path).is_dir() else error.strerror
        words = f"`{path}` cannot be executed: {reason}"
        refusal = CannotStartError(words, exit_code=NOT_EXECUTABLE)
    refusal.__cause__ = error
    return refusal


def _is_binary(path: str) -> bool:
    """Tell as bash does whether a file without a known format is a script at all."""
    try:
        with Path(path).open("rb") as file:
            return b"\0" in file.read(80).split(b"\n", 1)[0]
    except OSError:
        return True


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Change the folder for a moment: `posix_spawn` has no such argument."""
    here = os.open(os.curdir, getattr(os, "O_PATH", os.O_RDONLY))
    try:
        try:
            os.chdir(folder)
        except OSError as error:
            code = NOT_FOUND if error.errno in _ABSENT else NOT_EXECUTABLE
            raise CannotStartError(
                f"cannot change into `{folder}`: {error.strerror}", exit_code=code
            ) from error
        try:
            yield
        finally:
            os.fchdir(here)
    finally:
        os.close(here)
