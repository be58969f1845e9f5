"""Torches: PyTorch's zip files, read without torch: state dicts, checkpoints, TorchScript.

Metadata, which never moves the verdict: the name of the archive's folder, the zip's own headers,
which number a storage has, elements of a storage that no tensor shows, ``version``,
``.format_version``, ``.storage_alignment``, ``.data/serialization_id``, TorchScript's
``.debug_pkl``, and what `aside.METADATA` names. Of all else each number counts, and each byte.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlrepro.comparators import archives
from mlrepro.comparators.base import Comparator
from mlrepro.comparators.blobs import Blob, Slice, Source, close
from mlrepro.comparators.damage import translated
from mlrepro.comparators.objecttree import Walk
from mlrepro.comparators.storages import Storage, TorchMachine, storage_type, width
from mlrepro.comparators.treewords import Step
from mlrepro.drift import Difference, Tolerance

_SUFFIXES = (".pt", ".pth", ".ckpt", ".ptl")
_FIRST = re.compile(
    rb"[^/]+/(data\.pkl|constants\.pkl|attributes\.pkl|version|byteorder|\.format_version|"
    rb"\.storage_alignment|\.data/|data/\d+$|code/|constants/\d+$|extra/)"
)
_PICKLES = ("data.pkl", "constants.pkl", "attributes.pkl")
_NOTED = ("version", ".format_version", ".storage_alignment", ".data/version")
_ORDERS = {b"little": "<", b"big": ">"}


def _recognises(path: Path, head: bytes) -> bool:
    if not head.startswith(b"PK\3\4"):
        return False
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return path.suffix in _SUFFIXES or bool(_FIRST.match(name) and not name.endswith(b".npy"))


@dataclass
class _File:
    """The members of a file without their folder, and the objects that its pickles hold."""

    members: dict[str, Blob]
    order: str = "<"
    used: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, source: Source, kept: list[Source]) -> _File:
        found = archives.members(source, kept)
        folders = {name.partition("/")[0] for name in found}
        if len(folders) != 1 or any("/" not in name for name in found):
            raise ValueError("it is no PyTorch file: its members lie in no folder, or in several")
        members = {name.partition("/")[2]: blob for name, blob in found.items()}
        if "data.pkl" not in members:
            raise ValueError("it is no PyTorch file: it has no `data.pkl`")
        order = members["byteorder"].all() if "byteorder" in members else b"little"
        if order not in _ORDERS:
            raise ValueError("it is of no known byte order")
        return cls(members, _ORDERS[order])

    def load(self, name: str) -> Any:
        """Return what one of its pickles holds."""
        self.used.add(name)
        source = Slice(self.members[name])
        machine = TorchMachine(source)
        folder = "data" if name == "data.pkl" else name.removesuffix(".pkl")
        machine.find = lambda named: self.storage(named, folder)
        found = machine.run()
        if machine.at != source.size:
            raise ValueError(f"bytes follow the pickle in `{name}`")
        return found

    def storage(self, id: list[Any], folder: str) -> Storage:  # noqa: A002  as pickle calls it
        """Return the storage that a persistent id names."""
        kind, type_, key, device, size = id
        name = f"{folder}/{key}"
        if kind != "storage" or type(key) is not str or name not in self.members:
            raise ValueError(f"it lacks the storage `{_shown(key)}`")
        self.used.add(name)
        blob, named = self.members[name], storage_type(type_)
        if type(size) is not int or blob.size != size * width(named):
            raise ValueError(f"the storage `{key:.40}` has another length than it should")
        return Storage(named, blob, str(device), self.order)


def _shown(key: Any) -> str:
    return str(key)[:40] if type(key) is str else "without a name"


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    kept: list[Source] = []
    with contextlib.ExitStack() as stack, translated(recorded.name):
        stack.callback(close, kept)
        sides = []
        for path in (recorded, rebuilt):
            source = Source.opened(path)
            stack.callback(source.close)
            sides.append(_File.of(source, kept))
        walk = Walk(tolerance)
        _pickles(walk, sides[0], sides[1])
        _others(walk, sides[0], sides[1])
        return walk.tally.difference(recorded.name)


def _pickles(walk: Walk, a: _File, b: _File) -> None:
    if a.order != b.order:
        walk.tally.aside(f"byte order: {a.order} → {b.order}")
    for name in _PICKLES:
        if name in a.members and name in b.members:
            walk.compare(a.load(name), b.load(name), "" if name == "data.pkl" else name[:-4])


def _others(walk: Walk, a: _File, b: _File) -> None:
    """Compare the members that no pickle has used: code as text, all else byte by byte."""
    left = {n: m for n, m in a.members.items() if n not in a.used and n != "byteorder"}
    right = {n: m for n, m in b.members.items() if n not in b.used and n != "byteorder"}
    for name in dict.fromkeys((*left, *right)):
        x, y = left.get(name), right.get(name)
        if x is None or y is None:
            note = f"{name}: only {'rebuilt' if x is None else 'recorded'}"
            differs = True
        else:
            note = _note(name, x, y)
            differs = bool(note)
        if differs and _is_noted(name):
            walk.tally.aside(note)
        elif differs:
            walk.tally.broken(Step(None, name, ""), note.removeprefix(f"{name}: "))
        else:
            walk.tally.equal()


def _is_noted(name: str) -> bool:
    return name in _NOTED or name == ".data/serialization_id" or name.endswith(".debug_pkl")


def _note(name: str, a: Blob, b: Blob) -> str:
    """Say how two members differ; empty where they do not."""
    at = a.first_difference(b)
    if at is None:
        return ""
    if name.endswith(".py"):
        before = a.read(0, min(at, a.size)).splitlines()
        return f"{name}: line {max(1, len(before))} differs"
    if name in _NOTED:
        return f"{name}: {_word(a)} → {_word(b)}"
    return f"{name}: differs from offset {at}"


def _word(blob: Blob) -> str:
    return blob.read(0, min(blob.size, 40)).decode("ascii", "backslashreplace").strip()


COMPARATOR = Comparator("torch", _recognises, _compare)
