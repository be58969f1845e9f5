"""Torch legacy: PyTorch's files from before 1.6: pickles in a row, then the storages."""

from __future__ import annotations

import struct
from typing import Any

from mlrepro.comparators.blobs import Blob, Source
from mlrepro.comparators.known import items
from mlrepro.comparators.objects import Mapping
from mlrepro.comparators.opcodes import Machine
from mlrepro.comparators.storages import Storage, TorchMachine, storage_type, width

MAGIC = 0x1950A86A20F9469CFC6C
"""What the first of the pickles holds."""

_PROTOCOL = 1001


def tensors_of(source: Source, at: int) -> Any:
    """Return the object that the file holds; `at` is where the first pickle ends.

    Raises
    ------
    ValueError and others of `damage.DAMAGE`
        If it is damaged.
    """
    protocol, at = _read(Machine(source, at))
    system, at = _read(Machine(source, at))
    if protocol != _PROTOCOL or type(system) is not Mapping or not dict_of(system)["little_endian"]:
        raise ValueError("a PyTorch file is of another kind than is read here")
    asking = _Asking(source, at)
    _, after = _read(asking)
    keys, end = _read(Machine(source, after))
    storages = _storages(source, end, items(keys, "list"), asking.asked)
    machine = TorchMachine(source, at)
    machine.find = lambda named: storages[_key(named)]
    return machine.run()


def _read(machine: Machine) -> tuple[Any, int]:
    return machine.run(), machine.at


def dict_of(mapping: Mapping) -> dict[str, Any]:
    """Return the pairs whose keys are text."""
    return {key: value for key, value in mapping.pairs if type(key) is str}


class _Asking(Machine):
    """Reads over the object to learn of what types its storages are."""

    def __init__(self, source: Source, at: int) -> None:
        super().__init__(source, at)
        self.asked: dict[str, tuple[str, int, str]] = {}

    def persistent(self, id: Any) -> Any:  # noqa: A002  as pickle calls it
        kind, type_, _, device, size, *view = items(id)
        if kind != "storage" or any(v is not None for v in view) or type(size) is not int:
            raise ValueError("a storage is described in a way that is not read here")
        asked = (storage_type(type_), size, str(device))
        if self.asked.setdefault(_key(items(id)), asked) != asked:
            raise ValueError("a storage is described in two ways")
        return super().persistent(id)


def _key(id: list[Any]) -> str:  # noqa: A002  as pickle calls it
    if len(id) < 5 or type(id[2]) is not str:
        raise ValueError("a storage has no key")
    return id[2]


def _storages(
    source: Source, at: int, keys: list[Any], asked: dict[str, tuple[str, int, str]]
) -> dict[str, Storage]:
    """Return the storages by their keys, in whose order they stand."""
    if sorted(keys) != sorted(asked):
        raise ValueError("it holds other storages than it uses")
    found = {}
    for key in keys:
        kind, size, device = asked[key]
        (stated,) = struct.unpack("<q", source.read(at, 8))
        if stated != size:
            raise ValueError("a storage has another length than it should")
        blob = Blob(source, at + 8, size * width(kind))
        at += 8 + blob.size
        if at > source.size:
            raise ValueError("it ends too early")
        found[key] = Storage(kind, blob, device, "<")
    if at != source.size:
        raise ValueError("bytes follow its last storage")
    return found
