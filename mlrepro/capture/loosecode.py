"""Loosecode: the files of a folder without git that look like code, found quickly in any folder."""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass
from pathlib import Path

LARGEST = 2**20
"""A larger file, in bytes, is data."""
MOST = 5_000
"""No more files than this are taken."""
MOST_LOOKED_AT = 50_000
"""After so many names, about 0.1 s, the search ends: the folder may be somebody's home."""

_SUFFIXES = frozenset((
    ".py", ".pyi", ".pyx", ".pxd", ".ipynb", ".r", ".rmd", ".qmd", ".jl", ".sh", ".bash", ".zsh",
    ".fish", ".ps1", ".bat", ".toml", ".yaml", ".yml", ".json", ".jsonc", ".json5", ".cfg", ".ini",
    ".conf", ".properties", ".sql", ".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp", ".cu",
    ".cuh", ".f", ".f90", ".rs", ".go", ".java", ".kt", ".scala", ".js", ".mjs", ".ts", ".lua",
    ".pl", ".rb", ".m", ".mk", ".cmake", ".smk", ".nf", ".wdl", ".cwl", ".lock", ".dvc", ".proto",
    ".jinja", ".j2", ".libsonnet", ".jsonnet", ".hcl", ".gin", ".stan", ".do", ".sas",
))  # fmt: skip
_NAMES = frozenset((
    "Makefile", "makefile", "GNUmakefile", "Dockerfile", "Snakefile", "Justfile", "justfile",
    "Pipfile", "Rakefile", "DESCRIPTION", "NAMESPACE", ".gitignore", ".dvcignore",
    ".python-version",
))  # fmt: skip
_NOT_OURS = frozenset((
    "node_modules", "__pycache__", "site-packages", "renv", "packrat",
))  # fmt: skip
# A virtual environment, a conda environment, a repository of its own.
_MARKS = frozenset(("pyvenv.cfg", "conda-meta", ".git"))


@dataclass(frozen=True)
class Found:
    """Files, relative to the folder, and where the search could not go."""

    paths: tuple[str, ...]
    blind_spots: tuple[str, ...] = ()


def find(root: Path) -> Found:
    """Return the files below a folder that look like code or configuration, the nearest first."""
    paths: list[str] = []
    blind: list[str] = []
    waiting, looked_at = deque([""]), 0
    while waiting:
        folder = waiting.popleft()
        files, folders, seen, foreign = _look(root, folder)
        looked_at += seen
        if folder and foreign:
            continue
        paths += files
        waiting.extend(folders)
        if len(paths) > MOST or looked_at > MOST_LOOKED_AT:
            blind.append(
                f"the folder is too large to be searched for code beyond `{folder or '.'}`"
            )
            break
    return Found(tuple(paths[:MOST]), tuple(blind))


def _look(root: Path, folder: str) -> tuple[list[str], list[str], int, bool]:
    """Return a folder's code files, its subfolders, how many names, and whether to leave it."""
    files, folders, seen = [], [], 0
    prefix = f"{folder}/" if folder else ""
    try:
        with os.scandir(root / folder) as entries:
            for entry in entries:
                seen += 1
                if seen > MOST_LOOKED_AT or (folder and entry.name in _MARKS):
                    return [], [], seen, True
                if entry.is_dir(follow_symlinks=False):
                    if _is_entered(entry.name):
                        folders.append(prefix + entry.name)
                elif _is_code(entry):
                    files.append(prefix + entry.name)
    except OSError:  # not readable, or gone meanwhile: nothing that ran can be seen there
        return files, folders, seen, False
    return sorted(files), sorted(folders), seen, False


def _is_entered(name: str) -> bool:
    return not name.startswith(".") and name not in _NOT_OURS


def _is_code(entry: os.DirEntry[str]) -> bool:
    name = entry.name
    stem, dot, suffix = name.rpartition(".")
    known = name in _NAMES or (stem and dot + suffix.lower() in _SUFFIXES)
    listing = suffix == "txt" and stem.startswith(("requirements", "constraints"))
    if not (known or listing):
        return False
    try:
        return entry.is_symlink() or (entry.is_file() and entry.stat().st_size <= LARGEST)
    except OSError:
        return False
