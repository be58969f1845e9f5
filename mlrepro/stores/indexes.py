"""Indexes: which package indexes the user's settings of uv and pip name, beside the usual one."""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlrepro import locks
from mlrepro.stores.gitcall import without_tokens

_USUAL = frozenset({"https://pypi.org/simple", "https://pypi.python.org/simple"})
_OF_UV = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL")


@dataclass(frozen=True)
class Indexes:
    """What the user's settings say.

    Attributes
    ----------
    addresses : tuple of str
        Those beside the usual one, without credentials: what a lock keeps.
    variables : mapping of str to str
        What uv has to be told, since only pip knows it; credentials included, so it is for a
        process's environment alone.
    """

    addresses: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)


def configured(where: Path | None = None) -> Indexes:
    """Read the user's settings; those of uv, or pip's where uv has none.

    Parameters
    ----------
    where : Path, optional
        The project, whose ``pyproject.toml`` and ``uv.toml`` count, too.
    """
    of_uv = [*_of_variables(), *_of_uv(where)]
    if of_uv:
        return Indexes(_shown(of_uv))
    default, more = _of_pip()
    variables = {"UV_DEFAULT_INDEX": default} if _is_remote(default) else {}
    more = [address for address in more if _is_remote(address)]
    if more:
        # To pip all indexes are one: the version is looked for on each.
        variables |= {"UV_INDEX": " ".join(more), "UV_INDEX_STRATEGY": "unsafe-best-match"}
    return Indexes(_shown([default, *more]), variables)


def _shown(addresses: list[str]) -> tuple[str, ...]:
    """Return what may be kept: no credentials, and no folder, which only this machine has."""
    plain = [without_tokens(address).rstrip("/") for address in addresses]
    kept = [one for one in plain if one not in _USUAL and locks.is_address(one)]
    return tuple(dict.fromkeys(kept))


def _is_remote(address: str) -> bool:
    return address.startswith(("http://", "https://"))


def _of_variables() -> Iterator[str]:
    for name in _OF_UV:
        for word in os.environ.get(name, "").split():
            yield _address(word)


def _address(word: str) -> str:
    """Return the address of ``name=address``, as uv takes it."""
    name, mark, address = word.partition("=")
    return address if mark and "://" in address and "://" not in name else word


def _of_uv(where: Path | None) -> Iterator[str]:
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    tables = [_toml(path) for path in (home / "uv" / "uv.toml", Path("/etc/uv/uv.toml"))]
    if named := os.environ.get("UV_CONFIG_FILE"):
        tables = [_toml(Path(named))]
    for folder in (where, *where.parents) if where else ():
        ours = _toml(folder / "uv.toml")
        ours = ours or _below(_toml(folder / "pyproject.toml"), "tool", "uv")
        if ours:
            tables.insert(0, ours)
            break
    for table in tables:
        yield from _of_table(table)
        yield from _of_table(_below(table, "pip"))


def _of_table(table: Mapping[str, Any]) -> Iterator[str]:
    listed = table.get("index")
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict) and isinstance(one.get("url"), str):
            yield one["url"]
    if isinstance(table.get("index-url"), str):
        yield table["index-url"]
    more = table.get("extra-index-url")
    yield from (one for one in (more if isinstance(more, list) else ()) if isinstance(one, str))


def _below(table: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    found: Any = table
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _toml(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415  read only where a lock is made
    else:
        import tomli as tomllib  # noqa: PLC0415
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # absent; uv itself complains of a damaged one
        return {}


def _of_pip() -> tuple[str, list[str]]:
    """Return pip's index, and those beside it: a variable wins over the nearest file."""
    default = os.environ.get("PIP_INDEX_URL", "")
    more = os.environ.get("PIP_EXTRA_INDEX_URL", "").split()
    for parser in map(_ini, _files_of_pip()):
        for section in ("install", "global"):
            default = default or parser.get(section, "index-url", fallback="").strip()
            more = more or parser.get(section, "extra-index-url", fallback="").split()
    return default, more


def _files_of_pip() -> Iterator[Path]:
    if named := os.environ.get("PIP_CONFIG_FILE"):
        yield Path(named)
        return
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    if active := os.environ.get("VIRTUAL_ENV"):
        yield Path(active, "pip.conf")
    yield from (home / "pip/pip.conf", Path.home() / ".pip/pip.conf", Path("/etc/pip.conf"))


def _ini(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    with suppress(OSError, configparser.Error, UnicodeDecodeError):
        parser.read_string(path.read_text(encoding="utf-8"))
    return parser
