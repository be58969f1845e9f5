"""LightGBM: its text model, read by a parser of our own, so that it works across versions.

No content, and so metadata: the version line, ``tree_sizes`` (lengths of text), the values of the
``parameters:`` block (what they did shows in the trees), and the root's ``internal_value`` and
``internal_weight``, which LightGBM before 4 wrote as 0. Everything else decides.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from mlrepro.comparators import text_model, trees
from mlrepro.comparators.base import Comparator
from mlrepro.comparators.ensembles import Ensemble, Field, Rule
from mlrepro.comparators.lists import Lists
from mlrepro.drift import Difference, Tolerance
from mlrepro.errors import ComparisonError

if TYPE_CHECKING:
    from mlrepro.comparators.ensembles import Array

_METADATA = ("version", "tree_sizes")
_LISTS = ("feature_names", "monotone_constraints")
# name in the file, name in reports, unit, rule, whole numbers
_FIELDS = (
    ("split_feature", "feature", "split", Rule.STRUCTURE, True),
    ("threshold", "threshold", "split", Rule.SCALAR, False),
    ("decision_type", "decision_type", "split", Rule.STRUCTURE, True),
    ("left_child", "left_child", "split", Rule.STRUCTURE, True),
    ("right_child", "right_child", "split", Rule.STRUCTURE, True),
    ("cat_boundaries", "cat_boundaries", "", Rule.STRUCTURE, True),
    ("cat_threshold", "cat_threshold", "", Rule.STRUCTURE, True),
    ("leaf_value", "leaf value", "leaf", Rule.SPREAD, False),
    ("num_features", "num_features", "leaf", Rule.STRUCTURE, True),
    ("leaf_features", "leaf_features", "", Rule.STRUCTURE, True),
    ("leaf_const", "leaf_const", "leaf", Rule.SPREAD, False),
    ("leaf_coeff", "leaf_coeff", "", Rule.SCALAR, False),
    ("is_linear", "is_linear", "", Rule.STRUCTURE, True),
    ("shrinkage", "shrinkage", "", Rule.SCALAR, False),
    ("leaf_weight", "leaf_weight", "leaf", Rule.STATISTIC, False),
    ("leaf_count", "leaf_count", "leaf", Rule.STATISTIC, True),
    ("split_gain", "gain", "split", Rule.STATISTIC, False),
    ("internal_value", "internal_value", "split", Rule.STATISTIC, False),
    ("internal_weight", "internal_weight", "split", Rule.STATISTIC, False),
    ("internal_count", "internal_count", "split", Rule.STATISTIC, True),
)
_ROOT = ("internal_value", "internal_weight")
_SIZES = ("num_leaves", "num_cat")
_ABSENT = {"is_linear": "0"}
_KNOWN = {*_SIZES, *(row[0] for row in _FIELDS)}


def recognises(_path: Path, head: bytes) -> bool:
    """Know a text model by its first lines."""
    return head.startswith((b"tree\n", b"tree\r\n")) and b"\nnum_class=" in head


def compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    """Compare two text models."""
    return trees.measure(read(recorded), read(rebuilt), tolerance)


def read(path: Path) -> Ensemble:
    """Read a text model.

    Raises
    ------
    ComparisonError
        If it is truncated, inconsistent, or its numbers are none.
    """
    return _read(path.open("rb"), path.name)


def parse(data: bytes, name: str) -> Ensemble:
    """Read the bytes of a text model, which may have lain inside a pickle; `name` for errors."""
    return _read(io.BytesIO(data), name)


def _read(file: BinaryIO, name: str) -> Ensemble:
    try:
        # A reader that takes `\r` alone for the end of a line would forgive damage.
        with io.TextIOWrapper(file, "utf-8", errors="backslashreplace", newline="\n") as text:
            return _parse(text_model.lines(text))
    except (ValueError, OverflowError, RecursionError) as error:
        raise ComparisonError(f"`{name}` is no sound LightGBM model: {error}") from error


COMPARATOR = Comparator("lightgbm", recognises, compare)


def _parse(lines: Iterator[str]) -> Ensemble:
    blocks = text_model.blocks(lines)
    header = text_model.header(next(blocks))
    names = tuple(header.get("feature_names", "").split(" "))
    count, fields = _forest(blocks, len(names))
    _check_count(header, count)
    sections = text_model.sections(lines)
    parameters = sections.pop("parameters")
    metadata = {k: header.pop(k) for k in _METADATA if k in header}
    metadata |= {f"parameters: {k}": v for k, v in _keyed(parameters).items()}
    facts, infos = _facts(header), header.pop("feature_infos", "")
    facts |= _tail_facts(sections)
    shapes, bounds = _feature_infos(infos)
    head = (
        Field("feature_infos", "bound", Rule.SCALAR, _array(bounds)),
        _importances(sections["feature_importances"], names),
    )
    return Ensemble(count, facts | {"feature_infos": shapes}, (*head, *fields), metadata)


def _check_count(header: Mapping[str, str], count: int) -> None:
    stated = len(header["tree_sizes"].split()) if "tree_sizes" in header else count
    if stated != count:
        raise ValueError(f"it states {stated} trees and holds {count}")


def _facts(header: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the rest of the header: all of it decides, also what a later version adds."""
    return {
        k: tuple(v.split(" ")) if k in _LISTS else (v or "present",)
        for k, v in header.items()
        if k != "feature_infos"
    }


def _tail_facts(sections: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """Return which sections there are, since a file cut between two of them must not pass."""
    facts = {"sections": tuple(s[4:] for s in sections if s.startswith("has "))}
    if "pandas_categorical" in sections:
        value = json.loads(sections["pandas_categorical"][0])
        words = value if isinstance(value, list) else [value]
        facts["pandas_categorical"] = tuple(json.dumps(w, ensure_ascii=False) for w in words)
    return facts


def _keyed(lines: Iterable[str]) -> dict[str, str]:
    """Return ``[num_threads: 2]`` as a name and a value."""
    values: dict[str, str] = {}
    for line in lines:
        key, _, value = line.removeprefix("[").removesuffix("]").partition(":")
        values[key] = value.strip()
    return values


def _feature_infos(text: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the kind of each feature (``none``, categories, a range), and the ranges' bounds."""
    shapes: list[str] = []
    bounds: list[str] = []
    for info in text.split():
        if info.startswith("[") and info.endswith("]"):
            low, found, high = info[1:-1].partition(":")
            if not found:
                raise ValueError(f"feature_infos holds `{info:.40}`")
            bounds += (low, high)
            shapes.append("range")
        else:
            shapes.append(info)
    return tuple(shapes), bounds


def _importances(lines: Iterable[str], names: tuple[str, ...]) -> Field:
    """Return the importances in the order of the features; the file sorts them by size."""
    known = dict.fromkeys(names, "0")
    for line in lines:
        name, _, value = line.rpartition("=")
        if name not in known:
            raise ValueError(f"feature_importances names no feature: `{line:.40}`")
        known[name] = value
    values = _array(known.values())
    return Field("feature importance", "feature", Rule.STATISTIC, values)


def _array(words: Iterable[str]) -> Array:
    numbers = Lists("the header or the importances", whole=False)
    numbers.add(" ".join(words))
    return numbers.finish()[0]


def _forest(blocks: Iterator[list[str]], features: int) -> tuple[int, list[Field]]:
    """Return how many trees there are, and the arrays of all, their lengths and links checked."""
    gathered = {name: Lists(name, whole=whole) for name, *_, whole in _FIELDS}
    sizes = {name: Lists(name, whole=True) for name in _SIZES}
    number = -1
    for number, written in enumerate(blocks):
        tree = text_model.tree(written, number, _KNOWN)
        stump = tree["num_leaves"] == "1"
        for name, words in sizes.items():
            words.add(tree.get(name, "0"))
        for name, _, _, rule, _ in _FIELDS:
            # LightGBM 3 wrote no statistics for a tree without a split.
            skipped = stump and rule is Rule.STATISTIC
            gathered[name].add("" if skipped else tree.get(name, _ABSENT.get(name, "")))
    leaves, categories = (_one_each(name, words, number + 1) for name, words in sizes.items())
    fields = {}
    for name, shown, unit, rule, _ in _FIELDS:
        values, starts = gathered.pop(name).finish()
        fields[name] = Field(shown, unit, rule, values, starts)
    _check_lengths(fields, leaves, categories)
    _check_links(fields, leaves, features)
    return number + 1, list(_without_roots(fields))


def _one_each(name: str, words: Lists, trees_count: int) -> Array:
    values, starts = words.finish()
    if len(starts) != trees_count + 1 or len(values) != trees_count:
        raise ValueError(f"a tree states not one {name}")
    return values


def _check_lengths(fields: Mapping[str, Field], leaves: Array, categories: Array) -> None:
    import numpy as np  # noqa: PLC0415  as above

    if len(leaves) and (leaves.min() < 1 or categories.min() < 0):
        raise ValueError("a tree states no leaves, or less than no categories")
    for name, wanted in _wanted(fields, leaves, categories):
        found = fields[name].lengths(len(leaves))
        if not np.array_equal(found, wanted):
            at = int((found != wanted).argmax())
            raise ValueError(f"tree {at} has {found[at]} of {name} where {wanted[at]} belong")


def _wanted(
    fields: Mapping[str, Field], leaves: Array, categories: Array
) -> Iterator[tuple[str, Array]]:
    """Yield how many values each tree must have."""
    import numpy as np  # noqa: PLC0415  as above

    linear = fields["leaf_const"].lengths(len(leaves)) > 0
    yield "cat_boundaries", np.where(categories > 0, categories + 1, 0)
    yield "is_linear", np.ones_like(leaves)
    yield "shrinkage", np.ones_like(leaves)
    for name, _, unit, rule, _ in _FIELDS:
        if unit:
            wanted = leaves - (unit == "split")
            if name in ("num_features", "leaf_const"):
                wanted = np.where(linear, wanted, 0)
            yield name, np.where(leaves == 1, 0, wanted) if rule is Rule.STATISTIC else wanted


def _check_links(fields: Mapping[str, Field], leaves: Array, features: int) -> None:
    """Check that every feature exists and that every split and leaf hangs on exactly one split."""
    import numpy as np  # noqa: PLC0415  as above

    feature = fields["split_feature"].values
    if feature.size and not (feature.min() >= 0 and feature.max() < features):
        raise ValueError("a split asks for a feature that is not there")
    splits = leaves - 1
    tree = np.repeat(np.arange(len(leaves)), splits)
    slots = np.concatenate([[0], np.cumsum(2 * splits)]).astype(np.int64)
    links = []
    for side in ("left_child", "right_child"):
        child = fields[side].values
        inner = child >= 0
        reach = np.where(inner, (child >= 1) & (child < splits[tree]), ~child < leaves[tree])
        if not reach.all():
            raise ValueError(f"tree {tree[int(reach.argmin())]} has a {side} that is not there")
        links.append(slots[tree] + np.where(inner, child - 1, splits[tree] - 1 + ~child))
    if (np.bincount(np.concatenate(links), minlength=int(slots[-1])) != 1).any():
        raise ValueError("a split or leaf hangs on two splits, or on none")
    _check_categories(fields)
    _check_linear(fields, features)


def _check_categories(fields: Mapping[str, Field]) -> None:
    import numpy as np  # noqa: PLC0415  as above

    boundaries, sets = fields["cat_boundaries"], fields["cat_threshold"]
    kinds, thresholds = fields["decision_type"].values, fields["threshold"].values
    trees_count = len(fields["shrinkage"].values)
    limits = np.maximum(boundaries.lengths(trees_count) - 1, 0)
    limit = np.repeat(limits, fields["threshold"].lengths(trees_count))
    which = thresholds[(kinds & 1) == 1]
    if not ((which >= 0) & (which < limit[(kinds & 1) == 1]) & (which == np.floor(which))).all():
        raise ValueError("a categorical split names a set of categories that is not there")
    for i in np.flatnonzero(limits):
        edges = boundaries.segment(int(i))
        if edges[0] != 0 or (np.diff(edges) < 0).any() or edges[-1] != sets.lengths(trees_count)[i]:
            raise ValueError(f"tree {i} has cat_boundaries that do not fit its cat_threshold")


def _check_linear(fields: Mapping[str, Field], features: int) -> None:
    import numpy as np  # noqa: PLC0415  as above

    counts, used = fields["num_features"], fields["leaf_features"]
    if counts.values.size and counts.values.min() < 0:
        raise ValueError("a leaf has fewer than no features")
    if used.values.size and not (used.values.min() >= 0 and used.values.max() < features):
        raise ValueError("a linear leaf asks for a feature that is not there")
    totals = np.concatenate([[0], np.cumsum(counts.values)])[counts.edges]
    for name in ("leaf_features", "leaf_coeff"):
        if not np.array_equal(np.diff(totals), fields[name].lengths(len(totals) - 1)):
            raise ValueError(f"num_features does not fit {name}")


def _without_roots(fields: Mapping[str, Field]) -> Iterator[Field]:
    """Yield the fields, the root's value and weight as notes of their own."""
    import numpy as np  # noqa: PLC0415  as above

    for name, a in fields.items():
        if name not in _ROOT:
            yield a
            continue
        lengths = np.diff(a.edges)
        roots = a.edges[:-1][lengths > 0]
        ends = np.concatenate([[0], np.cumsum(lengths > 0)])
        yield Field(f"root's {a.name}", "split", Rule.NOTE, a.values[roots], ends)
        inner = a.values.copy()
        inner[roots] = 0.0
        yield Field(a.name, a.unit, a.rule, inner, a.starts)
