"""DVC's files: pointers and ``.gitignore`` lines, byte for byte as `dvc add` writes them."""

from __future__ import annotations

import io
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlrepro import documents, paths
from mlrepro.errors import DvcError, ManifestError
from mlrepro.manifest import Digest
from mlrepro.stores.objects import Stored

SUFFIX = ".dvc"
_LARGEST = 2**20

# What every YAML writer leaves unquoted and unfolded; other names are left to ruamel.yaml.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]{0,60}")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
_NUMBER = re.compile(r"[0-9be]+")
_OURS = re.compile(
    r"outs:\n- md5: [0-9a-f]{32}(\.dir)?\n  size: \d+\n(  nfiles: \d+\n)?(  isexec: true\n)?"
    r"  hash: md5\n  path: (?P<path>[A-Za-z_][A-Za-z0-9_./-]{0,60})\n"
)
_ALIEN = ("deps", "cmd")
_STATE = ("md5", "size", "nfiles", "isexec", "hash", "etag", "checksum", "version_id")
_DROPPED = ("nfiles", "isexec", "files", "cloud", "etag", "checksum", "version_id", "remote_path")


@dataclass(frozen=True)
class Pointer:
    """What a ``.dvc`` file says.

    Attributes
    ----------
    path : str
        The file or folder that it names, relative to the folder of the pointer.
    digest : Digest
        Of its bytes.
    size : int or None
        In bytes; old pointers do not say.
    files : int or None
        How many files a folder holds.
    """

    path: str
    digest: Digest
    size: int | None = None
    files: int | None = None


def read_pointer(path: Path) -> Pointer:
    """Read a ``.dvc`` file that nobody vouches for.

    Raises
    ------
    ManifestError
        If it is damaged, names a path outside its folder, or does not name one output's md5.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise ManifestError(f"`{path}` is too large for a pointer")
        return parse_pointer(path.read_bytes(), where=path.name)
    except OSError as error:
        raise ManifestError(f"`{path}` cannot be read: {error.strerror}") from error


def parse_pointer(data: bytes, *, where: str) -> Pointer:
    """Read the bytes of a ``.dvc`` file, for instance from git; see `read_pointer`."""
    try:
        content = documents.read_yaml(data)
    except ValueError as error:
        raise ManifestError(f"`{where}` is no DVC pointer: {error}") from error
    outs = content.get("outs") if isinstance(content, dict) else None
    if not isinstance(outs, list) or len(outs) != 1 or not isinstance(outs[0], dict):
        raise ManifestError(f"`{where}` is no DVC pointer to one output")
    out = outs[0]
    name, folder = out.get("path"), content.get("wdir") or "."
    if not isinstance(name, str) or not name or not isinstance(folder, str):
        raise ManifestError(f"`{where}` is no DVC pointer to one output")
    return Pointer(
        paths.inside(posixpath.normpath(posixpath.join(folder, name)), where=where),
        Digest.parse(f"md5:{out.get('md5')}"),
        _count(out.get("size")),
        _count(out.get("nfiles")),
    )


def pointer_text(name: str, stored: Stored, *, executable: bool = False) -> str:
    """Return the text of a new ``.dvc`` file."""
    state = _state(stored, executable)
    value = stored.digest.value
    is_plain = _PLAIN.fullmatch(name) and name.lower() not in _WORDS
    if not is_plain or _NUMBER.fullmatch(value):
        return _dump({"outs": [{**state, "path": name}]})
    lines = [f"{key}: {'true' if item is True else item}" for key, item in state.items()]
    return "outs:\n- " + "\n  ".join([*lines, f"path: {name}"]) + "\n"


def renewed_pointer(text: str, name: str, stored: Stored, *, executable: bool = False) -> str:
    """Return the text of a ``.dvc`` file that is there already, with all else that it says kept.

    Raises
    ------
    DvcError
        If it is damaged, or is not the pointer that `dvc add` would make.
    """
    ours = _OURS.fullmatch(text)
    if ours and ours["path"] == name:
        return pointer_text(name, stored, executable=executable)
    content = _load(text, name)
    outs = content.get("outs") if isinstance(content, dict) else None
    if not isinstance(outs, list) or len(outs) != 1 or outs[0].get("path") != name:
        raise DvcError(f"`{name}.dvc` exists and names another output")
    if any(key in content for key in _ALIEN) or outs[0].get("cache") is False:
        raise DvcError(f"`{name}.dvc` is an import or a stage, which only DVC can update")
    state = _state(stored, executable)
    for key in _DROPPED:
        if key not in state:
            outs[0].pop(key, None)
    for key, value in state.items():
        if outs[0].get(key) != value:
            outs[0][key] = value
    return _dump(content)


def with_ignored(text: str, name: str) -> str:
    """Return the text of a ``.gitignore`` with one more file or folder of its own folder."""
    line = "/" + re.sub(r"([\\\[\]!*#?])", r"\\\1", name) + "\n"
    if text and not text.endswith("\n"):
        return f"{text}\n{line}"
    return text if line in text.splitlines(keepends=True) else text + line


def is_executable(path: Path) -> bool:
    """Say whether DVC would note the file as executable."""
    try:
        return path.is_file() and bool(path.stat().st_mode & 0o111)
    except OSError:
        return False


def _state(stored: Stored, executable: bool) -> dict[str, Any]:
    state: dict[str, Any] = {"md5": stored.digest.value, "size": stored.size}
    if stored.files is not None:
        state["nfiles"] = stored.files
    if executable:
        state["isexec"] = True
    return {**state, "hash": "md5"}


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _load(text: str, name: str) -> Any:
    from ruamel.yaml import YAML  # noqa: PLC0415  25 ms, for pointers with more than DVC writes
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415

    try:
        return YAML(typ="rt").load(text)
    except (YAMLError, ValueError) as error:
        raise DvcError(f"`{name}.dvc` exists and is not readable as YAML") from error


def _dump(content: Any) -> str:
    from ruamel.yaml import YAML  # noqa: PLC0415  25 ms, for names that need quoting or folding

    writer, stream = YAML(), io.StringIO()
    writer.default_flow_style = False
    writer.dump(content, stream)
    return stream.getvalue()
