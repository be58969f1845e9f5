"""Diffinputs: the inputs of two runs, by their digests, and by what is in them where it is here.

Nothing is fetched: an input may be larger than this machine, and its digest has told already that
it differs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mlrepro import comparators
from mlrepro.capture.inputs import name_of
from mlrepro.cleanroom import restore
from mlrepro.commands import tablediff
from mlrepro.commands.tablediff import Rows
from mlrepro.comparators import pairing
from mlrepro.drift import Change, Difference, Tolerance, Verdict
from mlrepro.errors import MlreproError
from mlrepro.manifest import Digest, Input, Manifest
from mlrepro.stores import git
from mlrepro.stores.place import Place

LARGEST = 10**9
"""An input of more bytes is not looked into."""
MOST = 20
"""So many inputs are looked into."""
_LARGEST_BLOB = 2**28
_SLOW = 50 * 2**20
"""Bytes of text that take about a second to compare."""


@dataclass(frozen=True)
class Read:
    """What one side read: inputs by their names, and its code, from which some of them come."""

    label: str
    root: Path | None
    tree: str
    inputs: Mapping[str, Input]


def read(
    here: Place, record: Manifest, notify: Callable[[str], None] = lambda _sentence: None
) -> Sequence[Input]:
    """Return all inputs, or those that the manifest shows where the ledger is not to be had."""
    try:
        return restore.all_inputs(here, record, notify=notify)
    except MlreproError:
        return record.inputs


def side(here: Place, label: str, record: Manifest, root: Path | None) -> Read:
    """Return what one side read.

    Parameters
    ----------
    root : Path or None
        Where its files lie now: given for the working tree alone.
    """
    found = {name_of(Path(record.run.root), one.path): one for one in read(here, record)}
    return Read(label, root, record.code.tree if record.code else "", found)


def pairs(a: Read, b: Read) -> list[tuple[str | None, str | None]]:
    """Match the inputs of both sides by their names, dates in them masked."""
    return pairing.pair(sorted(a.inputs), sorted(b.inputs))


def changes(a: Read, b: Read) -> tuple[Change, ...]:
    """Name the inputs whose digests differ, or that only one side read."""
    found = [
        Change(left or right or "", _word(a, left), _word(b, right)) for left, right in pairs(a, b)
    ]
    return tuple(sorted((c for c in found if c.recorded != c.current), key=lambda c: c.what))


def _word(one: Read, name: str | None) -> str:
    return str(one.inputs[name].digest or "no digest") if name else "not read"


def inside(
    here: Place, a: Read, b: Read, scratch: Path, *, notify: Callable[[str], None]
) -> tuple[tuple[Difference, ...], tuple[str, ...]]:
    """Compare what is in the inputs that both sides read with other bytes.

    Parameters
    ----------
    scratch : Path
        A folder for copies.

    Returns
    -------
    found : tuple of Difference
        One for each input that was looked into.
    notes : tuple of str
        Which were not, and why.
    """
    found: list[Difference] = []
    left_out: dict[str, list[str]] = {}
    for number, (name, x, y) in enumerate(_unequal(a, b)):
        if max(x.size or 0, y.size or 0) > LARGEST or number >= MOST:
            left_out.setdefault("too large, or too many", []).append(name)
            continue
        try:
            paths = [
                _bytes(here, one, end, scratch / f"{number}{word}")
                for one, end, word in ((x, a, "a"), (y, b, "b"))
            ]
            if not (paths[0] and paths[1]):
                left_out.setdefault("their bytes are not all here", []).append(name)
                continue
            found.append(_compared(name, paths[0], paths[1], scratch / str(number), a, b, notify))
        except (MlreproError, OSError) as error:
            left_out.setdefault(str(error), []).append(name)
    return tuple(found), tuple(
        f"inputs compared by their digests alone: {_listed(names)} ({why})"
        for why, names in left_out.items()
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def _unequal(a: Read, b: Read) -> Iterator[tuple[str, Input, Input]]:
    for left, right in pairs(a, b):
        x, y = a.inputs.get(left or ""), b.inputs.get(right or "")
        if left and x and y and x.digest and y.digest and x.digest != y.digest:
            yield left, x, y


def _bytes(here: Place, one: Input, end: Read, target: Path) -> Path | None:
    """Return where the bytes of an input can be read; None where they are not here."""
    digest = one.digest
    if digest is None or digest.is_dir:
        return None
    for place in (end.root, here.root):
        if place and restore.is_file(place / one.path, digest):
            return place / one.path
    if stored := here.stores.find(digest):
        restore.put(here.stores, digest, target, size=stored.stat().st_size)
        return target
    return _from_git(here, one, digest, end, target)


def _from_git(here: Place, one: Input, digest: Digest, end: Read, target: Path) -> Path | None:
    if not end.tree or one.path.startswith("/") or "\n" in one.path:
        return None
    if (one.size or 0) > _LARGEST_BLOB:
        return None
    with suppress(MlreproError):
        data = next(iter(git.read_objects(here.repository, [f"{end.tree}:{one.path}"])))
        if data is not None and _md5(data) == digest.value:
            target.write_bytes(data)
            return target
    return None


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _compared(
    name: str,
    a: Path,
    b: Path,
    scratch: Path,
    left: Read,
    right: Read,
    notify: Callable[[str], None],
) -> Difference:
    size = max(a.stat().st_size, b.stat().st_size)
    if size > LARGEST:
        raise MlreproError(f"more than {LARGEST / 1e9:.0f} GB")
    if size > _SLOW:
        notify(f"comparing {name} ({size / 1e6:.0f} MB)")
    rows = tablediff.rows(a, b, name)
    if rows and rows.shifted:
        found = _apart(name, a, b, rows, scratch)
    else:
        found = comparators.compare(a, b, name=name, tolerance=Tolerance())
    found = _reworded(found, left.label, right.label)
    if rows is None or found.verdict <= Verdict.EQUIVALENT:
        return found
    told = [*_told(rows, left.label, right.label)]
    return replace(found, summary="; ".join(filter(None, [*told, _cells(found, rows)])))


def _apart(name: str, a: Path, b: Path, rows: Rows, scratch: Path) -> Difference:
    """Compare the rows that only one side has: row beside row, all others would differ too."""
    if not (rows.a > rows.both and rows.b > rows.both):
        return Difference(name, Verdict.DRIFTED, comparator="table", compared=rows.both)
    x, y = (scratch.with_name(f"{scratch.name}{word}-apart") for word in "ab")
    tablediff.write_apart(a, b, x, y)
    return comparators.compare(x, y, name=name, tolerance=Tolerance())


def _cells(found: Difference, rows: Rows) -> str:
    """Return the comparator's summary without what the rows and columns have told already."""
    parts = [part for part in found.summary.split("; ") if "on one side only" not in part]
    said = "; ".join(parts if rows.a != rows.b or rows.gone or rows.come else [found.summary])
    return f"of the rows that only one has, {said}" if said and rows.shifted else said


def _told(rows: Rows, a: str, b: str) -> Iterator[str]:
    """Say what became of rows and columns as sets."""
    if rows.a != rows.b:
        yield f"rows {rows.a} → {rows.b}"
    for names, label in ((rows.gone, a), (rows.come, b)):
        if names:
            yield f"column{'s' * (len(names) > 1)} only in {label}: {_listed(names)}"
    where = "agree in the shared columns" if rows.gone or rows.come else "are in both"
    if rows.both < max(rows.a, rows.b) and (rows.a != rows.b or rows.shifted):
        yield (
            f"{rows.both} rows {where}, {rows.a - rows.both} only in {a},"
            f" {rows.b - rows.both} only in {b}"
        )
    if rows.moved:
        yield f"{'these' if rows.both < max(rows.a, rows.b) else 'the same'} rows in another order"


_WORDS = (
    (re.compile(r"\bonly (?:the )?recorded\b(?: table)?"), "only in {a}"),
    (re.compile(r"\bonly (?:the )?rebuilt\b(?: table)?"), "only in {b}"),
    (re.compile(r"\brebuilt − recorded\b"), "{b} − {a}"),
)


def _reworded(found: Difference, a: str, b: str) -> Difference:
    """Say of two inputs whose they are, since neither was rebuilt."""

    def said(text: str) -> str:
        for pattern, words in _WORDS:
            text = pattern.sub(words.format(a=a, b=b).replace("\\", r"\\"), text)
        return text

    return replace(
        found,
        summary=said(found.summary),
        first=said(found.first),
        metadata=tuple(map(said, found.metadata)),
        measures=tuple(replace(one, name=said(one.name)) for one in found.measures),
        children=tuple(_reworded(child, a, b) for child in found.children),
    )
