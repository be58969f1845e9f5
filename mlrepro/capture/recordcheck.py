"""Record check: which of the installed files that a run used are not as the installer left them.

A ``RECORD`` names size and hash of each file. All files of 200 distributions are 30,000: to ask
the system for their sizes takes 0.15 s, to hash them seconds. So only what the run used is looked
at, since nothing else can have decided its result: the modules that it imported and the native
libraries that it mapped, some 2,000 files. Of those a file is hashed only where its size is not
the recorded one, or where it was changed after the installer wrote the record, which it does last.
An edit that keeps size and time goes unseen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlrepro.capture.distributions import Installed

MOST = 20
"""Changed files that are named for each distribution."""

_SITES = ("/site-packages", "/dist-packages")
_ENTRY = re.compile(
    r"^(?P<path>\"(?:[^\"]|\"\")*\"|[^,]*),(?P<hash>[^,]*),(?P<size>[^,]*)$", re.DOTALL
)
_Changed = dict[str, dict[str, str]]


@dataclass(frozen=True)
class _Record:
    """The lines of a record by the names of their files, and when it was written."""

    lines: Mapping[str, bytes]
    written: int = 0


@dataclass(frozen=True)
class Entry:
    """What a record says of a file; `size` is -1 where it does not say it."""

    size: int
    digest: tuple[str, bytes] | None
    written: int

    def holds(self, data: bytes) -> bool:
        """Say whether these bytes are known to be the recorded ones."""
        if self.digest is None:
            return False
        algorithm, value = self.digest
        return hashlib.new(algorithm, data).digest() == value


def changed(
    installed: Iterable[Installed],
    used: Collection[str],
    *,
    prefix: str = "",
    known: dict[str, Any] | None = None,
) -> dict[str, dict[str, str]]:
    """Return the changed files of each distribution.

    Parameters
    ----------
    installed : iterable of Installed
    used : collection of str
        Absolute paths of files that the run used.
    prefix : str
        The interpreter's; conda writes it into files while it installs them.
    known : dict, optional
        Findings of before, by the states of the files; it is added to.

    Returns
    -------
    dict
        Name of the distribution → path relative to its folder of packages → the first 16 hex
        digits of the sha256 of what the file holds now.
    """
    known = {} if known is None else known
    owners = _owners(installed)
    found: _Changed = {}
    for site, tops in _grouped(used, {site for site, _ in owners}).items():
        for top, names in tops.items():
            those = owners.get((site, top), [])
            for name, files in _of_top(site, top, names, those, prefix, known).items():
                found.setdefault(name, {}).update(files)
    return {name: _shortened(found[name]) for name in sorted(found)}


def code(installed: Iterable[Installed]) -> list[str]:
    """Return the paths of all modules and libraries that the records name, tests left out."""
    found = []
    for one in installed:
        site = one.info.rpartition("/")[0]
        found += [f"{site}/{name}" for name in _named(one.info) if "/tests/" not in name]
    return found


def _named(info: str) -> Iterator[str]:
    try:
        with open(f"{info}/RECORD", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for line in lines:
        name = line.partition(b",")[0].decode("utf-8", "surrogateescape")
        if _is_code(name) and not name.startswith(("..", "/", '"')):
            yield name


def _owners(installed: Iterable[Installed]) -> dict[tuple[str, str], list[Installed]]:
    result: dict[tuple[str, str], list[Installed]] = {}
    for one in installed:
        site = one.info.rpartition("/")[0]
        if one.package.owner == "system" and site.endswith("/dist-packages"):
            continue  # Debian strips libraries, and leaves the record as it was
        for top in one.tops:
            result.setdefault((site, top), []).append(one)
    return result


def _grouped(used: Collection[str], sites: Iterable[str]) -> dict[str, dict[str, list[str]]]:
    """Sort paths by their folder of packages, as the interpreter calls it, and its first part."""
    places = {f"{site}/": site for site in sites}
    for site in sorted(places.values()):
        places.setdefault(f"{os.path.realpath(site)}/", site)
    result: dict[str, dict[str, list[str]]] = {}
    for start, site in places.items():
        names = sorted({path[len(start) :] for path in used if path.startswith(start)})
        for name in names:
            result.setdefault(site, {}).setdefault(name.partition("/")[0], []).append(name)
    return result


def _of_top(
    site: str,
    top: str,
    names: Sequence[str],
    owners: Sequence[Installed],
    prefix: str,
    known: dict[str, Any],
) -> _Changed:
    """Look at the files below one folder of modules; of several owners each has a part of it."""
    if not owners:  # put there by no installer: a `.pth` file's module, for instance
        return {}
    states = {name: state for name in names if (state := _stat(site, name))}
    key = _key(site, top, states, owners)
    with suppress(KeyError, TypeError, AttributeError, ValueError):
        return {str(k): {str(f): str(h) for f, h in v.items()} for k, v in known[key].items()}
    found: _Changed = {}
    records = {one.package.name: _record(one.info) for one in owners}
    by_conda = {one.package.name for one in owners if one.package.owner == "conda"}
    for name, status in states.items():
        owner, entry = _claimed(name, records)
        if owner in by_conda and not name.endswith(".py"):
            continue  # conda writes its own search paths into libraries
        if entry is None and not (len(owners) == 1 and _is_new(name, records[owner])):
            continue
        digest = _difference(Path(site, name), status, entry, prefix)
        if digest:
            found.setdefault(owner, {})[name] = digest
    known[key] = found
    return found


def _claimed(name: str, records: Mapping[str, _Record]) -> tuple[str, Entry | None]:
    """Return whose a file is, and what the record says of it."""
    for owner, record in records.items():
        if line := record.lines.get(name):
            return owner, _entry(line, record.written)
    return next(iter(records)), None


def _is_new(name: str, record: _Record) -> bool:
    """Say whether somebody has put a module there that no installer brought."""
    return _is_code(name) and bool(record.lines) and name not in record.lines


def _is_code(name: str) -> bool:
    return name.endswith((".py", ".so"))


def _stat(site: str, name: str) -> os.stat_result | None:
    try:
        name.encode()
        return os.stat(f"{site}/{name}")
    except (OSError, ValueError):  # gone since, or no text: such a name is in no record
        return None


def _key(
    site: str, top: str, states: Mapping[str, os.stat_result], owners: Sequence[Installed]
) -> str:
    files = (f"{n} {s.st_ino} {s.st_size} {s.st_mtime_ns}" for n, s in states.items())
    text = "\n".join((site, top, *(one.state for one in owners), *files))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _difference(path: Path, status: os.stat_result, entry: Entry | None, prefix: str) -> str:
    """Return 16 hex digits of what a file holds now; empty where it is as it was installed."""
    if entry is None:
        return _digest(path)
    same_size = entry.size in (-1, status.st_size)
    if same_size and status.st_mtime_ns <= entry.written:
        return ""
    try:
        data = path.read_bytes()
    except OSError:
        return ""
    if entry.holds(data) or (entry.digest is None and same_size):
        return ""
    if prefix and prefix.encode() in data and Path(prefix, "conda-meta").is_dir():
        return ""
    return hashlib.sha256(data).hexdigest()[:16]


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError:
        return ""


def _shortened(files: Mapping[str, str]) -> dict[str, str]:
    """Name the first files; the rest count with one digest."""
    names = sorted(files)
    kept = {name: files[name] for name in names[:MOST]}
    if len(names) > MOST:
        rest = "\n".join(f"{name} {files[name]}" for name in names[MOST:])
        digest = hashlib.sha256(rest.encode()).hexdigest()[:16]
        kept[f"and {len(names) - MOST} more"] = digest
    return kept


# --- the record


def recorded(info: str) -> dict[str, Entry]:
    """Return what the record of a distribution says of each file; nothing where there is none."""
    record = _record(info)
    return {name: _entry(line, record.written) for name, line in record.lines.items()}


def _record(info: str) -> _Record:
    """Return what a record says; nothing where it cannot be read."""
    try:
        with open(f"{info}/RECORD", "rb") as file:
            written = os.fstat(file.fileno()).st_mtime_ns
            lines = file.read().splitlines()
    except OSError:
        return _Record({})
    return _Record({_name(line): line for line in lines}, written)


def _name(line: bytes) -> str:
    name = line.partition(b",")[0].decode("utf-8", "surrogateescape")
    if not name.startswith('"'):
        return name
    match = _ENTRY.match(line.decode("utf-8", "surrogateescape"))
    return match["path"][1:-1].replace('""', '"') if match else ""


def _entry(line: bytes, written: int) -> Entry:
    match = _ENTRY.match(line.decode("utf-8", "surrogateescape"))
    if match is None:
        return Entry(-1, None, written)
    size = int(match["size"]) if re.fullmatch("[0-9]{1,15}", match["size"]) else -1
    return Entry(size, _parsed(match["hash"]), written)


def _parsed(text: str) -> tuple[str, bytes] | None:
    algorithm, _, value = text.partition("=")
    if algorithm not in ("sha256", "sha384", "sha512"):  # the rest is not allowed in a wheel
        return None
    try:
        return algorithm, base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
    except (binascii.Error, ValueError):
        return None


def sentence(name: str, version: str, files: Iterable[str]) -> str:
    """Say which files of a distribution were changed."""
    names = list(files)
    folder = f"{name.replace('-', '_')}/"
    shown = ", ".join(one.removeprefix(folder) for one in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{name} {version} was changed after it was installed: {shown}{more}"
