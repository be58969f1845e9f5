"""Skops: scikit-learn models as a zip of JSON and arrays, compared as trees of values and arrays.

Metadata, which never moves the verdict: ``__id__`` (an address in memory), the members' names (the
same address), ``protocol``, ``_skops_version``, the spelling of the JSON, the zip's own headers and
compression, and what `aside.METADATA` names.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

from mlrepro.comparators import archives
from mlrepro.comparators.base import Comparator
from mlrepro.comparators.blobs import Blob, Source, close, spooled
from mlrepro.comparators.damage import translated
from mlrepro.comparators.known import array_of
from mlrepro.comparators.objects import PLAIN, Array, Mapping, Name, Object, Sequence
from mlrepro.comparators.objecttree import Walk
from mlrepro.comparators.treewords import Step
from mlrepro.drift import Difference, Tolerance

_SCHEMA = "schema.json"
_LONGEST = 256 * 2**20
_HEADER = 1 << 16
_DEEPEST = 250
_NAMED = ("__class__", "__module__", "__loader__", "__id__")
_VERSIONS = ("protocol", "_skops_version")
_KINDS = {"ListNode": "list", "TupleNode": "tuple", "SetNode": "set"}


def _recognises(path: Path, head: bytes) -> bool:
    return path.suffix == ".skops" and bool(head)


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    kept: list[Source] = []
    with contextlib.ExitStack() as stack, translated(recorded.name):
        stack.callback(close, kept)
        sides = []
        for path in (recorded, rebuilt):
            source = Source.opened(path)
            stack.callback(source.close)
            sides.append(_Reader(archives.members(source, kept), kept))
        walk = Walk(tolerance)
        roots = [side.root() for side in sides]
        for name in _VERSIONS:
            old, new = (side.versions.get(name, "absent") for side in sides)
            if old != new:
                walk.tally.aside(f"{name}: {old} → {new}")
        walk.compare(roots[0], roots[1])
        if sides[0].rest() != sides[1].rest():
            walk.tally.broken(Step(None, "members", ""), "those that nothing refers to differ")
        return walk.tally.difference(recorded.name)


class _Reader:
    """Turns the schema and the members of one file into inert nodes."""

    def __init__(self, members: dict[str, Blob], kept: list[Source]) -> None:
        self.members = members
        self.kept = kept
        self.used = {_SCHEMA}
        self.known: dict[int, str] = {}
        self.versions: dict[str, str] = {}

    def root(self) -> Any:
        if _SCHEMA not in self.members or self.members[_SCHEMA].size > _LONGEST:
            raise ValueError("it is no skops file: it has no `schema.json`, or a vast one")
        schema = json.loads(self.members[_SCHEMA].all(), object_pairs_hook=_unique)
        if not isinstance(schema, dict) or "__loader__" not in schema:
            raise ValueError("its schema is no object")
        self.versions = {k: str(schema.pop(k)) for k in _VERSIONS if k in schema}
        return self.node(schema, 0)

    def rest(self) -> list[tuple[int, int]]:
        """Return length and checksum of the members that nothing refers to."""
        unused = [blob for name, blob in self.members.items() if name not in self.used]
        return sorted((blob.size, blob.crc()) for blob in unused)

    def value(self, value: Any, depth: int) -> Any:
        """Return what any part of the schema is."""
        if depth > _DEEPEST:
            raise ValueError("its schema is nested too deep")
        if isinstance(value, dict) and "__loader__" in value:
            return self.node(value, depth + 1)
        if isinstance(value, dict):
            return self.mapping(value, depth)
        if isinstance(value, list):
            return Sequence("list", [self.value(v, depth + 1) for v in value])
        if type(value) not in PLAIN:
            raise ValueError("its schema holds what is no value")
        return value

    def mapping(self, value: dict[str, Any], depth: int) -> Mapping:
        found = Mapping()
        found.pairs += [(k, self.value(v, depth + 1)) for k, v in value.items()]
        return found

    def node(self, state: dict[str, Any], depth: int) -> Any:
        """Return the object that one entry of the schema describes."""
        name = Name(_text(state, "__module__"), _text(state, "__class__"))
        loader, rest = _text(state, "__loader__"), dict(state)
        for key in _NAMED:
            rest.pop(key, None)
        self._check_same(name, state)
        if loader == "JsonNode":
            return self.value(json.loads(_text(state, "content")), depth)
        if loader == "NdArrayNode":
            return self._array(name, rest, depth)
        if loader == "DictNode":
            return self._dict(name, rest, depth)
        if loader in _KINDS and isinstance(rest.get("content"), list):
            return self._sequence(name, loader, rest, depth)
        return self._object(name, loader, rest, depth)

    def _check_same(self, name: Name, state: dict[str, Any]) -> None:
        """Refuse two entries of one id and two classes: the loader takes the first for both.

        All that is written is compared; of one object written twice, both copies are.
        """
        number = state.get("__id__")
        if isinstance(number, int) and self.known.setdefault(number, name.full) != name.full:
            raise ValueError("two parts of one id differ")

    def _object(self, name: Name, loader: str, rest: dict[str, Any], depth: int) -> Any:
        if loader == "TypeNode" and not rest:
            return name
        if "file" in rest and name.module == "builtins":  # bytes lie in a member of their own
            return self._member(_text(rest, "file"), name)
        node = Object(name, [loader])
        if "content" in rest:
            node.states.append(self.value(rest.pop("content"), depth))
        if "file" in rest:
            node.states.append(self._member(_text(rest, "file"), name))
            del rest["file"]
        if rest:
            node.states.append(self.mapping(rest, depth))
        return node

    def _dict(self, name: Name, rest: dict[str, Any], depth: int) -> Any:
        content, types = rest.get("content"), rest.get("key_types")
        kinds = self.value(types, depth)
        if (
            not isinstance(content, dict)
            or type(kinds) is not Sequence
            or len(kinds.items) != len(content)
        ):
            raise ValueError("a dict has other keys than types of keys")
        found = Mapping()
        for kind, (key, value) in zip(kinds.items, content.items(), strict=True):
            found.pairs.append((_key(kind, key), self.value(value, depth)))
        if name.full == "builtins.dict":
            return found
        node = Object(name, [])
        node.pairs += found.pairs
        return node

    def _sequence(self, name: Name, loader: str, rest: dict[str, Any], depth: int) -> Any:
        values = [self.value(v, depth) for v in rest["content"]]
        kind = _KINDS[loader]
        if name.full == f"builtins.{kind}":
            return Sequence(kind, values)
        node = Object(name, [loader])
        node.items += values
        return node

    def _array(self, name: Name, rest: dict[str, Any], depth: int) -> Any:
        import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

        if rest.get("type") == "numpy":
            return self._member(_text(rest, "file"), name)
        if rest.get("type") != "json" or not isinstance(rest.get("content"), list):
            raise ValueError("an array is of a kind that is not read here")
        shape = self.value(rest.get("shape"), depth)
        values = [self.value(v, depth) for v in rest["content"]]
        node = Object(name, [shape])
        array = Array(np.dtype("O"), (len(values),), None, kind=f"{name.full} of objects")
        array.items = values
        node.states.append(array)
        return node

    def _member(self, file: str, name: Name) -> Any:
        if file not in self.members:
            raise ValueError(f"it lacks the member `{file:.40}`")
        self.used.add(file)
        blob = self.members[file]
        if file.endswith(".npy"):
            return npy(blob, name.full)
        if not file.endswith(".npz"):
            return blob
        inner = spooled(blob.pieces(), blob.size)
        self.kept.append(inner)
        found = Mapping()
        for member, part in sorted(archives.members(inner, self.kept).items()):
            found.pairs.append((member.removesuffix(".npy"), npy(part, "numpy.ndarray")))
        return found


def npy(blob: Blob, kind: str) -> Array:
    """Return the array that an npy file inside a zip holds."""
    from numpy.lib import format as form  # noqa: PLC0415  0.1 s: paid where arrays are compared

    head = io.BytesIO(blob.read(0, min(_HEADER, blob.size)))
    version = form.read_magic(head)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"npy version {version[0]}.{version[1]} is not read here")
    read = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
    shape, fortran, dtype = read(head)
    if dtype.hasobject or any(n < 0 for n in shape):
        raise ValueError("an npy member holds pickled objects, which are never unpickled here")
    at = head.tell()
    data = Blob(blob.source, blob.at + at, blob.size - at)
    return array_of(dtype, tuple(shape), data, kind, fortran=fortran)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _text(state: dict[str, Any], key: str) -> str:
    value = state.get(key)
    if not isinstance(value, str):
        raise ValueError(f"an entry of the schema has no {key}")  # noqa: TRY004  damage
    return value


def _key(kind: Any, key: str) -> Any:
    if type(kind) is not Name:
        raise ValueError("a key is of no type")
    if kind.full == "builtins.int":
        return int(key)
    return key if kind.full == "builtins.str" else f"{kind.short} {key}"


COMPARATOR = Comparator("skops", _recognises, _compare)
