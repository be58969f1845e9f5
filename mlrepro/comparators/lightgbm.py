"""LightGBM: its text model, read by a parser of our own, so that it works across versions.

No content, and so metadata: the version line, ``tree_sizes`` (lengths of text), the values of the
``parameters:`` block (what they did shows in the trees), and the root's ``internal_value`` and
``internal_weight``, which LightGBM before 4 wrote as 0. Everything else decides.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mlrepro.comparators import trees
from mlrepro.comparators.base import Comparator
from mlrepro.comparators.ensembles import Ensemble, Field, Rule
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
_KNOWN = {"num_leaves", "num_cat", *(row[0] for row in _FIELDS)}
_NEEDED = ("num_leaves", "leaf_value", "shrinkage")


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
    return parse(path.read_bytes(), path.name)


def parse(data: bytes, name: str) -> Ensemble:
    """Read the bytes of a text model, which may have lain inside a pickle; `name` for errors."""
    try:
        return _parse(data.decode("utf-8", "backslashreplace"))
    except (ValueError, OverflowError, RecursionError) as error:
        raise ComparisonError(f"`{name}` is no sound LightGBM model: {error}") from error


COMPARATOR = Comparator("lightgbm", recognises, compare)


def _parse(text: str) -> Ensemble:
    if not text.endswith("\n"):
        raise ValueError("it ends in the middle of a line")
    body, found, rest = text.replace("\r\n", "\n").partition("\nend of trees\n")
    if not found:
        raise ValueError("it has no `end of trees`, so it is truncated")
    top, *blocks = body.split("\nTree=")
    header = _header(top)
    written = [_block(block, i) for i, block in enumerate(blocks)]
    _check_count(header, len(written))
    sections = _sections(rest)
    names = tuple(header.get("feature_names", "").split(" "))
    parameters = sections.pop("parameters")
    metadata = {k: header.pop(k) for k in _METADATA if k in header}
    metadata |= {f"parameters: {k}": v for k, v in _keyed(parameters).items()}
    facts, infos = _facts(header), header.pop("feature_infos", "")
    facts |= _tail_facts(sections)
    shapes, bounds = _feature_infos(infos)
    fields = (
        Field("feature_infos", "bound", Rule.SCALAR, _array(bounds, whole=False)),
        _importances(sections["feature_importances"], names),
        *_fields(written, len(names)),
    )
    return Ensemble(len(written), facts | {"feature_infos": shapes}, fields, metadata)


def _header(top: str) -> dict[str, str]:
    first, *lines = top.rstrip("\n").split("\n")
    if first != "tree":
        raise ValueError("its first line is not `tree`")
    header: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition("=")  # `average_output` stands without a value
        if not key or key in header:
            raise ValueError(f"its header holds `{line:.40}` twice or without a name")
        header[key] = value
    if not {"num_class", "num_tree_per_iteration", "feature_names"} <= header.keys():
        raise ValueError("its header is not complete")
    return header


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


def _block(text: str, number: int) -> dict[str, str]:
    """Return the lines of one tree by their keys."""
    first, *lines = text.rstrip("\n").split("\n")
    if first != str(number):
        raise ValueError(f"tree {number} is missing or out of place")
    block: dict[str, str] = {}
    for line in lines:
        key, found, value = line.partition("=")
        if not found or key in block or key not in _KNOWN:
            raise ValueError(f"tree {number} holds a line that is not understood: `{line:.40}`")
        if "_" in value:  # Python would read 1_0 as ten
            raise ValueError(f"tree {number} has an underscore in {key}")
        block[key] = value
    if missing := [key for key in _NEEDED if key not in block]:
        raise ValueError(f"tree {number} lacks {', '.join(missing)}")
    return block


def _sections(rest: str) -> dict[str, list[str]]:
    """Return what follows the trees: importances, parameters, pandas_categorical."""
    sections: dict[str, list[str]] = {"feature_importances": [], "parameters": []}
    current = ""
    for line in rest.split("\n"):
        if line in ("feature_importances:", "parameters:") and not current.startswith("par"):
            current = line[:-1]
            sections[f"has {current}"] = []
        elif line == "end of parameters" and current == "parameters":
            current = "end"
        elif line.startswith("pandas_categorical:") and current in ("", "end"):
            sections["pandas_categorical"] = [line.partition(":")[2]]
            current = "end"
        elif line and current not in ("feature_importances", "parameters"):
            raise ValueError(f"a line after the trees is not understood: `{line:.40}`")
        elif line:
            sections[current].append(line)
    if current == "parameters":
        raise ValueError("it has no `end of parameters`, so it is truncated")
    return sections


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
    values = _array(known.values(), whole=False)
    return Field("feature importance", "feature", Rule.STATISTIC, values)


def _array(words: Iterable[str], *, whole: bool) -> Array:
    import numpy as np  # noqa: PLC0415  0.1 s, paid when a model is compared

    if whole:
        return np.array(list(map(int, words)), dtype=np.int64)
    return np.array(list(map(float, words)), dtype=np.float64)


def _fields(blocks: list[dict[str, str]], features: int) -> Iterator[Field]:
    """Yield the arrays of all trees, their lengths and links checked."""
    import numpy as np  # noqa: PLC0415  as above

    words: dict[str, list[list[str]]] = {name: [] for name, *_ in _FIELDS}
    counts = [(int(b["num_leaves"]), int(b.get("num_cat", 0))) for b in blocks]
    for number, (block, (leaves, categorical)) in enumerate(zip(blocks, counts, strict=True)):
        for name, *_, rule, _whole in _FIELDS:
            values = block.get(name, "0" if name == "is_linear" else "").split()
            if leaves == 1 and rule is Rule.STATISTIC:
                values = []  # LightGBM 3 wrote none for a tree without a split
            words[name].append(values)
        _check_lengths(number, {name: len(words[name][-1]) for name in words}, leaves, categorical)
    fields = {}
    for name, shown, unit, rule, whole in _FIELDS:
        lengths = [len(values) for values in words[name]]
        starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
        flat = _array(itertools.chain.from_iterable(words.pop(name)), whole=whole)
        fields[name] = Field(shown, unit, rule, flat, starts)
    _check_links(fields, np.array([leaves for leaves, _ in counts], dtype=np.int64), features)
    yield from _without_roots(fields)


def _check_lengths(number: int, found: Mapping[str, int], leaves: int, categorical: int) -> None:
    if leaves < 1 or categorical < 0:
        raise ValueError(f"tree {number} states {leaves} leaves and {categorical} categories")
    linear = found["leaf_const"] > 0
    for name, _, unit, rule, _ in _FIELDS:
        wanted = {"split": leaves - 1, "leaf": leaves}.get(unit)
        if (name in ("num_features", "leaf_const") and not linear) or (
            leaves == 1 and rule is Rule.STATISTIC
        ):
            wanted = 0
        if name == "cat_boundaries":
            wanted = categorical + 1 if categorical else 0
        if name in ("is_linear", "shrinkage"):
            wanted = 1
        if wanted is not None and found[name] != wanted:
            raise ValueError(f"tree {number} has {found[name]} of {name} where {wanted} belong")


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
