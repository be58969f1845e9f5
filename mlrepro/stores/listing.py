"""Listing: the files of a folder, and DVC's ``.dir`` object that names them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from mlrepro import documents, paths
from mlrepro.errors import ManifestError, StoreError
from mlrepro.manifest import Digest


def walk(
    folder: Path, ignore: Callable[[Path, bool], bool] | None = None
) -> Iterator[tuple[str, str, os.stat_result]]:
    """Yield the files of a folder as (relative path, path, stat), in no promised order.

    As `dvc add` does: links to files are followed, links to folders and empty folders leave no
    trace, and a link that leads nowhere is an error.
    """
    pending = [("", os.fspath(folder))]
    while pending:
        prefix, place = pending.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                is_dir = entry.is_dir()
                if ignore and ignore(Path(entry.path), is_dir):
                    continue
                if not is_dir:
                    yield prefix + entry.name, entry.path, _status(entry)
                elif not entry.is_symlink():
                    pending.append((f"{prefix}{entry.name}/", entry.path))


def write(members: Mapping[str, Digest]) -> bytes:
    """Return the bytes of the listing, as DVC writes them."""
    rows = [{"md5": members[name].value, "relpath": name} for name in sorted(members)]
    return json.dumps(rows).encode()


def read(data: bytes, where: str) -> dict[str, Digest]:
    """Read a listing that nobody vouches for.

    Raises
    ------
    ManifestError
        If it is no listing, or names a path that leaves the folder.
    """
    rows = documents.read_json(data)
    if not isinstance(rows, list):
        raise ManifestError(f"{where} is no listing of a folder")
    members = {}
    for row in rows:
        name, value = (
            (row.get("relpath"), row.get("md5")) if isinstance(row, dict) else (None, None)
        )
        digest = Digest.parse(f"md5:{value}")
        if not isinstance(name, str) or digest.is_dir:
            raise ManifestError(f"{where} is no listing of a folder")
        members[paths.inside(name, where=where)] = digest
    return members


def _status(entry: os.DirEntry[str]) -> os.stat_result:
    try:
        return entry.stat()
    except OSError as error:
        raise StoreError(f"`{entry.path}` is a link that leads nowhere") from error
