"""DVC's pipelines: which files the stages of ``dvc.yaml`` own."""

from __future__ import annotations

import fnmatch
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mlrepro import documents
from mlrepro.errors import GitError
from mlrepro.stores import git

_REFERENCE = re.compile(r"\$\{\s*([^}\s]+)\s*\}")
_STEP = re.compile(r"[^.\[\]]+")
_OUTPUTS = ("outs", "metrics", "plots")


class Owned(frozenset[str]):
    """Outputs of stages, relative to the root; ``path in owned`` holds inside folders too.

    Attributes
    ----------
    unsure : frozenset of str
        Outputs whose templates could not be resolved, as patterns (``models/*.pkl``). What
        fits one of them counts as owned: a pointer beside a stage would break the pipeline.
    """

    unsure: frozenset[str]

    def __new__(cls, names: Iterable[str] = ()) -> Owned:
        """Divide the names into paths and patterns."""
        names = frozenset(names)
        unsure = frozenset(name for name in names if "${" in name)
        owned = super().__new__(cls, names - unsure)
        owned.unsure = frozenset(_REFERENCE.sub("*", name) for name in unsure)
        return owned

    def __contains__(self, path: object) -> bool:
        """Say whether a path, or a folder above it, is an output of a stage."""
        if not isinstance(path, str):
            return False
        parts = path.split("/")
        above = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        return any(
            super(Owned, self).__contains__(name)
            or any(fnmatch.fnmatchcase(name, pattern) for pattern in self.unsure)
            for name in above
        )


def owned(root: Path) -> Owned:
    """Return the outputs that stages of ``dvc.yaml`` own, at the root and wherever git tracks one.

    ``foreach``, ``matrix`` and ``vars`` templates are resolved as far as plain values go, and
    ``dvc.lock`` names the rest; see `Owned` for what stays unsure.
    """
    names: set[str] = set()
    for file in _pipelines(root):
        folder = posixpath.dirname(file)
        content = _mapping(_read(root / file))
        context = _context(root / folder, content.get("vars"))
        for stage in _mapping(content.get("stages")).values():
            names.update(_stage_outputs(folder, _mapping(stage), context))
        lock = _mapping(_read(root / folder / "dvc.lock"))
        for name, stage in _mapping(lock.get("stages")).items():
            base = _mapping(_mapping(content.get("stages")).get(name.partition("@")[0]))
            wdir = posixpath.join(folder, str(base.get("wdir") or "."))
            for out in _mapping(stage).get("outs") or ():
                names.add(_joined(wdir, str(_mapping(out).get("path"))))
    return Owned(names)


def _pipelines(root: Path) -> Iterator[str]:
    found = {"dvc.yaml"}
    repo = git.find(root)
    if repo is not None and repo.root == root.resolve():
        try:
            listed = git.call(repo, "ls-files", "-z", "--", ":(glob)**/dvc.yaml")
        except GitError:
            listed = b""
        found.update(name.decode(errors="surrogateescape") for name in listed.split(b"\0") if name)
    return (name for name in sorted(found) if (root / name).is_file())


def _stage_outputs(
    folder: str, stage: Mapping[str, Any], context: Mapping[str, Any]
) -> Iterator[str]:
    body = _mapping(stage.get("do")) or stage
    for local in _variants(stage, context):
        wdir = posixpath.join(folder, _filled(str(body.get("wdir") or "."), local))
        for key in _OUTPUTS:
            for out in body.get(key) or ():
                # an entry with options is a mapping of one key: the path
                name = next(iter(out), None) if isinstance(out, Mapping) else out
                if isinstance(name, str) and name:
                    yield _joined(wdir, _filled(name, local))


def _variants(stage: Mapping[str, Any], context: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the names that a template can use, once for each stage that it stands for."""
    context = {**context, **_vars(stage.get("vars"))}
    if "foreach" in stage:
        items = _value(stage["foreach"], context)
        if isinstance(items, Mapping):
            yield from ({**context, "key": key, "item": item} for key, item in items.items())
        else:
            yield from ({**context, "item": item} for item in _sequence(items))
    elif "matrix" in stage:
        yield from ({**context, "item": item} for item in _products(stage["matrix"], context))
    else:
        yield context


def _products(matrix: Any, context: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{}]
    for key, values in _mapping(matrix).items():
        choices = _sequence(_value(values, context))
        rows = [{**row, key: choice} for row in rows for choice in choices]
    return rows or [{}]


def _context(folder: Path, variables: Any) -> dict[str, Any]:
    files = [item for item in _sequence(variables) if isinstance(item, str)]
    context: dict[str, Any] = {}
    for file in ["params.yaml", *files]:
        context.update(_mapping(_read(folder / file.partition(":")[0])))
    return {**context, **_vars(variables)}


def _vars(variables: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for item in _sequence(variables):
        merged.update(_mapping(item))
    return merged


def _value(text: Any, context: Mapping[str, Any]) -> Any:
    """Return what a whole template stands for: ``${models}`` may be a list."""
    if isinstance(text, str) and (match := _REFERENCE.fullmatch(text.strip())):
        return _looked_up(match[1], context, text)
    return text


def _filled(text: str, context: Mapping[str, Any]) -> str:
    def value(match: re.Match[str]) -> str:
        found = _looked_up(match[1], context, match[0])
        return match[0] if isinstance(found, (Mapping, list)) else str(found)

    return _REFERENCE.sub(value, text)


def _looked_up(reference: str, context: Mapping[str, Any], otherwise: Any) -> Any:
    found: Any = context
    for step in _STEP.findall(reference):
        if isinstance(found, Mapping) and step in found:
            found = found[step]
        elif isinstance(found, list) and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return otherwise
    return found


def _joined(wdir: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(wdir, name))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


def _read(path: Path) -> Any:
    """Read YAML; nothing where it is absent, damaged or of another kind (``params.py``)."""
    try:
        return documents.read_yaml(path.read_bytes())
    except (OSError, ValueError):
        return None
