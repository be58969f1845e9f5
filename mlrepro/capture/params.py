"""Params: hyperparameters and metrics as they stand in a command line and in files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from mlrepro import documents

_LARGEST = 100_000
"""A longer file of parameters or metrics, in bytes, is an input or artifact and nothing more."""

_MOST_VALUES = 200
_PARAM_FILES = ("params.yaml", "params.yml", "params.json", "dvclive/params.yaml")
_OPTION = re.compile(r"^--?([A-Za-z][\w.-]*)(?:=(.*))?$", re.DOTALL)
_OVERRIDE = re.compile(r"^[+~]{0,2}([A-Za-z_][\w./@-]*)=(.*)$", re.DOTALL)
_PYTHON = re.compile(r"^(?:python[\d.]*|pypy[\d.]*|torchrun|accelerate)$")
_SECRET = re.compile(
    r"(?:^|[-_.])(?:auth|access|bearer|api|hf|jwt|session|refresh)?[-_]?token$|secret|passw"
    r"|credential|api[-_]?key|private[-_]?key|access[-_]?key|(?:^|[-_.])(?:auth|pin)(?:$|[-_.])",
    re.IGNORECASE,
)
MASK = "***"
"""What stands for the value of a parameter whose name is that of a secret."""


def of_command(command: Sequence[str]) -> dict[str, Any]:
    """Read the parameters of a command line: ``--lr 0.1``, ``--lr=0.1``, ``model.depth=4``.

    Values are read as YAML 1.2 scalars, so that ``1e-5`` is a number; a repeated option becomes a
    list; an option without a value is true.
    """
    params: dict[str, Any] = {}
    rest = _after_interpreter(list(command))
    while rest:
        name, value = _next(rest)
        if name and is_secret(name):
            value = MASK
        if name:
            params[name] = [*_as_list(params[name]), value] if name in params else value
    return params


def is_secret(name: str) -> bool:
    """Say whether an option or a key is one that passwords and tokens are given by."""
    return bool(_SECRET.search(name))


def secrets_of(command: Sequence[str]) -> list[str]:
    """Name the options of a command line that give a secret."""
    return [name for name, value in of_command(command).items() if value == MASK]


def masked(data: Any) -> Any:
    """Return parameters with the values of secrets masked, at any depth."""
    if isinstance(data, Mapping):
        return {k: _masked_value(v) if is_secret(str(k)) else masked(v) for k, v in data.items()}
    return [masked(value) for value in data] if isinstance(data, list) else data


def _masked_value(value: Any) -> Any:
    return MASK if isinstance(value, str) and value else masked(value)


def of_files(root: Path, directory: str, read: Iterable[str]) -> dict[str, Any]:
    """Read `params.yaml` and its like: those in the run's directory, and any that the run read."""
    here = PurePosixPath(directory)
    candidates = {str(here / name) for name in _PARAM_FILES}
    candidates |= {name for name in read if PurePosixPath(name).name in _PARAM_FILES}
    found = {name: of_file(root / name) for name in sorted(candidates) if not name.startswith("/")}
    return {name: masked(values) for name, values in found.items() if values is not None}


def of_file(path: Path) -> Any:
    """Read a small JSON or YAML file of parameters or metrics; None where it is none."""
    try:
        if path.stat().st_size > _LARGEST:
            return None
        text = path.read_text()
        data = json.loads(text) if path.suffix == ".json" else documents.read_yaml(text)
    except (OSError, ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and _count(data) <= _MOST_VALUES else None


def _after_interpreter(words: list[str]) -> list[str]:
    """Leave out the program, and of an interpreter its own options: ``python -u -m pkg.train``."""
    if not words or not _PYTHON.match(PurePosixPath(words[0]).name):
        return words[1:]
    rest = words[1:]
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in ("-m", "-c", "-W", "-X") and rest:
            rest.pop(0)
        if option in ("-m", "-c"):
            return rest
    return rest[1:]


def _next(rest: list[str]) -> tuple[str, Any]:
    """Take the next option off the command line."""
    word = rest.pop(0)
    if match := _OPTION.match(word):
        name, value = match.groups()
        if value is None and rest and not _looks_like_option(rest[0]):
            value = rest.pop(0)
        return name, True if value is None else _scalar(value)
    if match := _OVERRIDE.match(word):
        return match[1], _scalar(match[2])
    return "", None


def _looks_like_option(word: str) -> bool:
    return bool(_OPTION.match(word)) or bool(_OVERRIDE.match(word))


def _scalar(text: str) -> Any:
    try:
        value = documents.read_yaml(text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int, float, str)) else text


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _count(data: Any) -> int:
    if isinstance(data, Mapping):
        return sum(_count(v) for v in data.values())
    if isinstance(data, list):
        return sum(_count(v) for v in data)
    return 1
