"""ONNX: two models compared node by node, attribute by attribute, initializer by initializer.

Metadata, which never moves the verdict: producer, versions of the format and of the model, doc
strings, ``metadata_props``, names of graphs and of nodes, names of values inside of a graph where
the renaming is consistent, annotations of inner values that stand on one side only, the order of
attributes and of initializers, and in which of its fields a tensor is stored. What the schema here
does not name (functions, training, sparse and quantised parts) must be equal byte for byte.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from mlrepro.comparators import onnxfile
from mlrepro.comparators.base import Comparator
from mlrepro.comparators.elements import whole
from mlrepro.comparators.onnxfile import Message, Source
from mlrepro.comparators.onnxgraphs import Walk
from mlrepro.comparators.values import LISTED, show
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_ASIDE = ("ir_version", "producer_name", "producer_version", "model_version", "doc_string")


def _recognises(path: Path, head: bytes) -> bool:
    return bool(head) and path.suffix.lower() == ".onnx"


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    with ExitStack() as stack, _translated(recorded.name):
        a, b = (stack.enter_context(_opened(path)) for path in (recorded, rebuilt))
        return _models(recorded.name, a, b, tolerance)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, OverflowError, EOFError, OSError, MemoryError) as error:
        what = " ".join(str(error).split())[:200] or type(error).__name__
        raise ComparisonError(f"`{name}` is damaged: {what}") from error
    except ComparisonError as error:
        raise ComparisonError(f"`{name}` cannot be compared: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[Source]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield Source(path, data)


def _models(name: str, a: Source, b: Source, tolerance: Tolerance) -> Difference:
    left, right = onnxfile.read(a), onnxfile.read(b)
    walk = Walk(a, b, tolerance)
    walk.unknown("the model", left, right)
    if left.one("domain", "") != right.one("domain", ""):
        walk.broken(f"domain: {show(left.one('domain', ''))} → {show(right.one('domain', ''))}")
    _opsets(walk, left, right)
    walk.graphs(left.one("graph", None), right.one("graph", None))
    parts = [*walk.structure, *walk.parts]
    if not parts and walk.compared:
        parts = [Difference("graph", Verdict.EQUIVALENT)]
    found = whole(name, parts, "parts")
    return replace(
        found,
        summary=_summary(walk, found),
        metadata=(*_metadata(left, right), *walk.metadata)[: LISTED + 1],
        compared=found.compared + walk.compared,
    )


def _summary(walk: Walk, found: Difference) -> str:
    if walk.structure:
        return "the graph differs in structure"
    unequal = sum(p.verdict > Verdict.EQUIVALENT for p in walk.parts)
    if unequal:
        return f"{unequal} of {len(walk.parts)} tensors and lists of numbers differ"
    return found.summary


def _opsets(walk: Walk, left: Message, right: Message) -> None:
    a, b = (
        {o.one("domain", "") or "ai.onnx": o.one("version", 0) for o in m.all("opset_import")}
        for m in (left, right)
    )
    for domain in {**a, **b}:
        walk.compared += 1
        if a.get(domain) != b.get(domain):
            old, new = a.get(domain, "–"), b.get(domain, "–")
            walk.broken(f"opset {show(domain)}: {old} → {new}")
    for x, y in zip(left.all("opset_import"), right.all("opset_import"), strict=False):
        walk.unknown("an opset", x, y)


def _metadata(left: Message, right: Message) -> list[str]:
    notes = [
        f"{key}: {show(left.one(key, ''))} → {show(right.one(key, ''))}"
        for key in _ASIDE
        if left.one(key, "") != right.one(key, "")
    ]
    a, b = (
        {e.one("key", ""): e.one("value", "") for e in m.all("metadata_props")}
        for m in (left, right)
    )
    notes += [
        f"metadata_props {show(key)}: {show(a.get(key, '–'))} → {show(b.get(key, '–'))}"
        for key in {**a, **b}
        if a.get(key) != b.get(key)
    ]
    return notes


COMPARATOR = Comparator("onnx", _recognises, _compare)
