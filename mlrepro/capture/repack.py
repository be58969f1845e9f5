"""Repack: a wheel from what is installed, where the file that it came from is gone.

What an installer has laid out is what the wheel held: only its programs are made anew by whoever
installs it. So a package that no index has (a folder, a source archive, a download) can be
installed again as it was, from the bytes that the run used.
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from mlrepro.capture import recordcheck
from mlrepro.errors import StoreError

LARGEST = 10_000_000
"""Bytes of all files together; more is not kept."""

_OF_INSTALLER = frozenset({"INSTALLER", "REQUESTED", "direct_url.json", "RECORD"})
_LONG_AGO = (1980, 1, 1, 0, 0, 0)


def wheel(info: str, target: Path) -> None:
    """Write the wheel of an installed distribution; equal contents are equal bytes.

    Parameters
    ----------
    info : str
        Its ``dist-info``.
    target : Path
        The file to write.

    Raises
    ------
    StoreError
        If it is too large, was changed after it was installed, or has files that only its
        installer can lay out.
    OSError
        If it cannot be read or written.
    """
    folder = os.path.basename(info)
    files = dict(_files(info, folder))
    if f"{folder}/WHEEL" not in files:
        raise StoreError(f"`{folder}` was not installed from a wheel")
    rows = [f"{_quoted(name)},sha256={_hash(data)},{len(data)}" for name, data in files.items()]
    record = f"{folder}/RECORD"
    files[record] = "".join(f"{row}\n" for row in [*rows, f"{record},,"]).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            is_program = os.access(Path(info).parent / name, os.X_OK)
            entry.external_attr = (0o100755 if is_program else 0o100644) << 16
            archive.writestr(entry, data)


def _files(info: str, folder: str) -> Iterator[tuple[str, bytes]]:
    """Yield names and bytes of what the wheel held, in the order of their names."""
    programs = _programs(Path(info))
    recorded = recordcheck.recorded(info)
    if sum(entry.size for entry in recorded.values()) > LARGEST:
        raise StoreError(f"`{folder}` is larger than {LARGEST // 10**6} MB")
    for name, entry in sorted(recorded.items()):
        path = PurePosixPath(name)
        if path.suffix == ".pyc" or _is_of_installer(path, folder):
            continue
        if path.is_absolute() or ".." in path.parts or not name.isprintable():
            if path.name in programs:
                continue
            raise StoreError(f"`{folder}` has files that only its installer can lay out")
        data = (Path(info).parent / path).read_bytes()
        if not entry.holds(data):
            raise StoreError(f"`{folder}` was changed after it was installed")
        yield name, data


def _is_of_installer(name: PurePosixPath, folder: str) -> bool:
    inside = len(name.parts) == 2 and name.parts[0] == folder
    return inside and (name.name in _OF_INSTALLER or name.name.startswith("uv_"))


def _programs(info: Path) -> set[str]:
    """Return the names of the programs that each installer makes by itself."""
    parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # names keep their case
    try:
        parser.read_string((info / "entry_points.txt").read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error):
        return set()
    groups = [group for group in ("console_scripts", "gui_scripts") if parser.has_section(group)]
    return {name.strip() for group in groups for name in parser.options(group)}


def _quoted(name: str) -> str:
    return f'"{name}"' if "," in name else name


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
