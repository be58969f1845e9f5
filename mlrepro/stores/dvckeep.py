"""DVC's bookkeeping: pointers and ``.gitignore`` lines of new outputs, under DVC's lock."""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from mlrepro import paths
from mlrepro.errors import DvcError
from mlrepro.manifest import Digest
from mlrepro.stores import dvcconfig, dvcfiles, dvcignore, dvclock, git
from mlrepro.stores.objects import Stored


def keep(
    root: Path, outputs: Mapping[Path, Stored], *, notify: Callable[[str], None]
) -> list[Path]:
    """Write a pointer and a ``.gitignore`` line for each output, as `dvc add` does, or none at all.

    The objects must be in DVC's cache already (``Stores.add(…, into_dvc=True)``). DVC's lock is
    held only here.

    Parameters
    ----------
    root : Path
        The folder that holds ``.dvc``.
    outputs : mapping of Path to Stored
        Files and folders below the root.
    notify : callable
        Gets one sentence if another process holds DVC's lock.

    Returns
    -------
    list of Path
        The pointers and ``.gitignore`` files that `git add` should take, also unchanged ones
        among the pointers.

    Raises
    ------
    DvcError
        Where `dvc add` would refuse; see `obstacle`.
    LockTimeoutError
        If another process held DVC's lock for minutes.
    """
    if not outputs:
        return []
    wanted = {_located(root, path): stored for path, stored in outputs.items()}
    with dvclock.locked(root, notify=notify):
        to_ignore = _checked(root, wanted)
        texts = _ignore_texts(to_ignore)
        for path, stored in sorted(wanted.items()):
            texts[_pointer(path)] = _pointer_text(path, stored)
        _write_all(texts)
    return list(texts)


def obstacle(root: Path, path: Path) -> str:
    """Say why `dvc add` would refuse a file or folder; empty where nothing is in the way.

    What git says about it (ignored pointers, tracked outputs) is left to the caller.
    """
    path = _located(root, path)
    if not _is_text(os.path.relpath(path, root)):
        return "its name is no UTF-8"
    for parent in path.parents:
        if parent == root:
            break
        if parent.is_symlink():
            return f"`{parent.relative_to(root)}` is a symlink"
        if _pointer(parent).is_file():
            return f"it lies in `{parent.relative_to(root)}`, which DVC tracks as a whole"
        if (parent / ".dvc").is_dir():
            return f"it lies in another DVC repository, `{parent.relative_to(root)}`"
    return (_obstacle_inside(path) if path.is_dir() else "") or _obstacle_beside(path)


def _obstacle_beside(path: Path) -> str:
    """Say why the pointer that is there already cannot be renewed."""
    try:
        _pointer_text(path, Stored(Digest("md5", "f" * 32), 0))
    except DvcError as error:
        return str(error)
    return ""


def _obstacle_inside(folder: Path) -> str:
    for _, _, names in os.walk(folder):
        for name in names:
            if name == dvcignore.FILE:
                return "it holds a `.dvcignore` file"
            if name.endswith(dvcfiles.SUFFIX):
                return f"it holds a pointer of DVC's, `{name}`"
            if not _is_text(name):
                return f"it holds a file whose name is no UTF-8, {name!r}"
    return ""


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _located(root: Path, path: Path) -> Path:
    located = root / path
    paths.inside(os.path.relpath(located, root), where="an output")
    return located


def _pointer(path: Path) -> Path:
    return path.with_name(path.name + dvcfiles.SUFFIX)


def _checked(root: Path, wanted: Iterable[Path]) -> list[Path]:
    """Refuse what `dvc add` refuses; return the outputs that git does not ignore yet."""
    for path in wanted:
        if reason := obstacle(root, path):
            raise DvcError(f"`{path.relative_to(root)}` cannot get a pointer: {reason}")
    repo = None if dvcconfig.is_true(dvcconfig.setting(root, "core.no_scm")) else git.find(root)
    if repo is None:
        return []
    names = {os.path.relpath(path, repo.root): path for path in wanted}
    if tracked := sorted(git.tracked(repo, names)):
        raise DvcError(f"`{tracked[0]}` is tracked by git, so DVC cannot keep it too")
    pointers = [name + dvcfiles.SUFFIX for name in names]
    ignored = git.ignored(repo, [*names, *pointers])
    if hidden := sorted(ignored.intersection(pointers)):
        raise DvcError(f"the pointer `{hidden[0]}` would be ignored by git")
    return [path for name, path in names.items() if name not in ignored]


def _ignore_texts(outputs: Iterable[Path]) -> dict[Path, str]:
    texts: dict[Path, str] = {}
    for path in outputs:
        file = path.with_name(".gitignore")
        text = texts[file] if file in texts else _text(file) or ""
        texts[file] = dvcfiles.with_ignored(text, path.name)
    return texts


def _pointer_text(path: Path, stored: Stored) -> str:
    executable = stored.files is None and dvcfiles.is_executable(path)
    there = _text(_pointer(path))
    if there is None:
        return dvcfiles.pointer_text(path.name, stored, executable=executable)
    return dvcfiles.renewed_pointer(there, path.name, stored, executable=executable)


def _text(path: Path) -> str | None:
    """Return a file's text with its line ends as they are; None where it is absent."""
    if path.is_symlink():
        raise DvcError(f"`{path}` is a symlink")
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DvcError(f"`{path}` cannot be read as text") from error


def _write_all(texts: Mapping[Path, str]) -> None:
    """Write all files, or put back those that were written before one failed."""
    done: list[tuple[Path, bytes | None]] = []
    try:
        for path, text in texts.items():
            before = path.read_bytes() if path.exists() else None
            if before != text.encode():
                done.append((path, before))
                _write(path, text.encode())
    except OSError as error:
        for path, before in reversed(done):
            with suppress(OSError):
                path.unlink() if before is None else _write(path, before)
        raise DvcError(f"`{error.filename or path}` cannot be written: {error.strerror}") from error


def _write(path: Path, data: bytes) -> None:
    mode = modes.S_IMODE(path.stat().st_mode) if path.exists() else None
    paths.write_beside(path, data, mode=mode)
