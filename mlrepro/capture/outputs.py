"""Outputs: what a run wrote, judged by an ordered table: weights, metrics, text, the rest."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlrepro.capture import globs
from mlrepro.capture.observation import Observation
from mlrepro.manifest import SUFFIX, Role

TEXT_LIMIT = 100_000
"""Text up to this many bytes stays in git, as DVC users keep it."""

_HEAD = 2048
_MODEL_SUFFIXES = frozenset(
    [
        ".bst",
        ".cbm",
        ".ckpt",
        ".gguf",
        ".h5",
        ".hdf5",
        ".joblib",
        ".keras",
        ".lgb",
        ".model",
        ".mlmodel",
        ".onnx",
        ".pickle",
        ".pkl",
        ".pt",
        ".pth",
        ".safetensors",
        ".skops",
        ".tflite",
        ".ubj",
        ".xgb",
    ]
)
_MODEL_NAMES = ("pytorch_model*.bin", "model*.bin", "saved_model.pb", "*.lgb.txt")
_METRIC_NAMES = (
    "metrics*.json",
    "metrics*.yaml",
    "metrics*.yml",
    "*_metrics.json",
    "*-metrics.json",
)
_CODE_SUFFIXES = frozenset(
    [".py", ".pyc", ".pyi", ".pyx", ".so", ".ipynb", ".sh", ".r", ".jl", ".mk"]
)
_CODE_NAMES = frozenset({"makefile", "pyproject.toml", "setup.py", "setup.cfg"})
_CHECKPOINTS = re.compile(
    r"^(?:checkpoints?|ckpts?|checkpoint-\d+|.*\.ckpt|saved_model)$", re.IGNORECASE
)
_OUTSIDE = "written outside the project"
_AMBIGUOUS = "changed while another run went on"
_EDITED = "changed by somebody else while the run went on"
NO_NEWS = (_OUTSIDE, _AMBIGUOUS, _EDITED)
"""How those blind spots begin that are no news to a user: caches; the files of runs beside."""
_OF_GIT = frozenset((".gitignore", ".gitattributes", ".gitmodules", ".dvcignore"))
_MANY = 500
"""A folder of more files is one artifact: a record of each could not be read any more."""
_NEVER = re.compile(r"(?:^|/)(?:\.git|\.mlrepro|\.dvc|__pycache__|\.ipynb_checkpoints)(?:/|$)")


@dataclass(frozen=True)
class Output:
    """A file, or a folder of checkpoints, that a run wrote.

    Attributes
    ----------
    path : str
        Relative to the project's root.
    role : Role
        By the table below.
    seen : str
        The observers that saw it.
    """

    path: str
    role: Role
    seen: str


def find(
    root: Path,
    observation: Observation,
    *,
    overlapped: bool = False,
    declared: Sequence[str] = (),
    start: Path | None = None,
    code: Collection[str] = (),
) -> tuple[tuple[Output, ...], tuple[str, ...]]:
    """Say what a run wrote and what each is, and name what was seen but not claimed.

    Parameters
    ----------
    root : Path
        The project's folder.
    observation : Observation
        What the observers saw.
    overlapped : bool
        Whether another run went on at the same time; then what only the scan saw is ambiguous.
    declared : sequence of str
        Globs of ``--output``.
    start : Path, optional
        What the globs are relative to; the root otherwise.
    code : collection of str
        Files of the code's snapshot: one that only the scan saw change was edited by somebody
        and is no output, unless programs ran whose writes only the scan can see.

    Returns
    -------
    outputs : tuple of Output
        Weights first, then by path.
    blind_spots : tuple of str
        One sentence for each kind of write that is not claimed.
    """
    seen, outside = _written(root, observation)
    ambiguous = []
    edited = _edited(root, observation, {p for p, by in seen.items() if by == {"scan"}} & set(code))
    seen = {p: by for p, by in seen.items() if p not in edited}
    if overlapped:
        ambiguous = sorted(p for p, by in seen.items() if by == {"scan"})
        seen = {p: by for p, by in seen.items() if by != {"scan"}}
    named, idle = globs.files(start or root, declared)
    for name in named:
        path = _relative(root, str(name))
        if path is None:
            outside.append(str(name))
        elif not _NEVER.search(path):
            seen.setdefault(path, set()).add("declared")
    unclaimed = [p for p, was_read in sorted(edited.items()) if not was_read and p not in seen]
    outputs, lost = _judged(root, {p: by for p, by in seen.items() if (root / p).is_file()})
    lost += _doubtful(root, unclaimed)
    lost += [f"`--output {pattern}` names no file" for pattern in idle]
    return outputs, (*_blind_spots(outside, ambiguous), *lost)


def _edited(root: Path, observation: Observation, scanned: Collection[str]) -> dict[str, bool]:
    """Return those of the code's files that somebody edited, and whether the run read them."""
    read = {_relative(root, read.path) for read in observation.reads}
    return {
        path: path in read
        for path in scanned
        if path in read or not observation.unwatched or is_code(path)
    }


def is_code(name: str) -> bool:
    """Say by its name whether a file is code, which a training loads rather than reads."""
    pure = PurePosixPath(name)
    return pure.suffix.lower() in _CODE_SUFFIXES or pure.name.lower() in _CODE_NAMES


def _doubtful(root: Path, unclaimed: Sequence[str]) -> Iterable[str]:
    """Say aloud only what would have decided a rebuild."""
    decide: list[str] = []
    rest: list[str] = []
    for path in unclaimed:
        try:
            decisive = role(root, path) in (Role.WEIGHTS, Role.METRICS)
        except OSError:
            decisive = False
        (decide if decisive else rest).append(path)
    if decide:
        yield (
            f"changed during the run, but not seen to be written by it: {_some(decide)}; "
            "if the run made that, say `--output`"
        )
    if rest:
        yield f"{_EDITED}, so not claimed by it: {_some(rest)}"


def _written(root: Path, observation: Observation) -> tuple[dict[str, set[str]], list[str]]:
    """Return what was written in the project, each with its observers, and what outside."""
    seen: dict[str, set[str]] = {}
    outside = []
    for write in observation.writes:
        path = _relative(root, write.path)
        if path is None:
            outside.append(write.path)
        elif not _NEVER.search(path) and not _is_ours(path):
            seen.setdefault(path, set()).update(write.seen.split("+"))
    return seen, outside


def _judged(root: Path, present: dict[str, set[str]]) -> tuple[tuple[Output, ...], list[str]]:
    outputs, lost = [], []
    for path, by in _folded(root, present).items():
        try:
            outputs.append(Output(path, role(root, path), "+".join(sorted(by))))
        except OSError as error:  # not readable, or gone this moment
            lost.append(f"{path} could not be read: {error.strerror}")
    order = list(Role)
    outputs.sort(key=lambda o: (order.index(o.role), o.path))
    return tuple(outputs), lost


def role(root: Path, path: str) -> Role:
    """Say what an output is: the first row of `TABLE` that fits."""
    target = root / path
    if target.is_dir():
        return Role.WEIGHTS if _holds_model(target) else Role.OTHER
    with target.open("rb") as file:
        head = file.read(_HEAD)
    size = target.stat().st_size
    return next(role for role, fits in TABLE if fits(PurePosixPath(path), head, size))


def _holds_model(folder: Path) -> bool:
    if _CHECKPOINTS.match(folder.name):
        return True
    return any(is_model_name(name) for _top, _folders, names in os.walk(folder) for name in names)


def is_model_name(path: str) -> bool:
    """Say by its name alone whether a file is of a recognised model format."""
    pure = PurePosixPath(path)
    return pure.suffix.lower() in _MODEL_SUFFIXES or _named(pure, _MODEL_NAMES)


def is_model(path: str, head: bytes) -> bool:
    """Say by its name and its first bytes whether a file is of a recognised model format."""
    return is_model_name(path) or _is_lightgbm(head) or _is_xgboost(head)


def _is_weights(path: PurePosixPath, head: bytes, size: int) -> bool:
    return size > 0 and is_model(str(path), head)


def _is_metrics(path: PurePosixPath, _head: bytes, _size: int) -> bool:
    dvclive = path.name in ("metrics.json", "summary.json") or "plots" in path.parts
    return _named(path, _METRIC_NAMES) or (dvclive and "dvclive" in path.parts)


def _is_small_text(_path: PurePosixPath, head: bytes, size: int) -> bool:
    if size > TEXT_LIMIT or b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return len(head) == _HEAD and error.start > _HEAD - 4
    return True


TABLE: Sequence[tuple[Role, Callable[[PurePosixPath, bytes, int], bool]]] = (
    (Role.WEIGHTS, _is_weights),
    (Role.METRICS, _is_metrics),
    (Role.TEXT, _is_small_text),
    (Role.OTHER, lambda _path, _head, _size: True),
)


def _is_lightgbm(head: bytes) -> bool:
    return head.startswith(b"tree\nversion=v")


def _is_xgboost(head: bytes) -> bool:
    start = head[:512].lstrip()
    return start.startswith(b'{"learner"') or head.startswith(
        (b"{L\0\0\0\0\0\0\0\x07learner", b"binf")
    )


def _named(path: PurePosixPath, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(path.name.lower(), pattern) for pattern in patterns)


def _is_ours(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith((SUFFIX, ".dvc")) or name.startswith(".mlrepro-") or name in _OF_GIT


def _relative(root: Path, path: str) -> str | None:
    """Return a path below the root as it is named there, whichever way it was opened."""
    for candidate in (os.path.normpath(path), os.path.realpath(path)):
        if candidate.startswith(f"{root}/"):
            return candidate[len(str(root)) + 1 :]
    return None


def _folded(root: Path, seen: dict[str, set[str]]) -> dict[str, set[str]]:
    """Put a folder of checkpoints, or of very many files, in the place of its files.

    Only if the run wrote all that is in it.
    """
    folders: dict[str, set[str]] = {}
    for path in seen:
        for parent in PurePosixPath(path).parents:
            folders.setdefault(str(parent), set()).add(path)
    folders.pop(".", None)
    folded = dict(seen)
    for folder, members in sorted(folders.items()):
        if not members <= folded.keys() or not _is_one(folder, members):
            continue
        if _all_files(root / folder, root) == members:
            folded[folder] = set().union(*(folded.pop(member) for member in members))
    return folded


def _is_one(folder: str, members: Collection[str]) -> bool:
    if len(members) > _MANY:
        return True
    checkpoints = _CHECKPOINTS.match(PurePosixPath(folder).name)
    return bool(checkpoints) and any(is_model_name(member) for member in members)


def _all_files(folder: Path, root: Path) -> set[str]:
    return {
        os.path.relpath(os.path.join(top, name), root)
        for top, _dirs, names in os.walk(folder)
        for name in names
    }


def _blind_spots(outside: list[str], ambiguous: list[str]) -> Iterable[str]:
    models = sorted({path for path in outside if is_model_name(path)})
    others = sorted(set(outside).difference(models))
    if models:
        yield f"the model is not kept, since it lies outside the project: {_some(models)}"
    if others:
        yield f"{_OUTSIDE} and not kept: {_some(others)}"
    if ambiguous:
        yield f"{_AMBIGUOUS}, so not claimed by this one: {_some(ambiguous)}"


def _some(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
