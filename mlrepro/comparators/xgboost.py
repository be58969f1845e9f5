"""XGBoost: its JSON and UBJSON models; one model in both forms has the same content.

No content, and so metadata or canonicalised: ``version``, ``sum_hessian`` and ``loss_changes``, an
empty ``cats``, the spelling of ``base_score`` (``5E-1``, ``[5E-1]``), the mark that scikit-learn's
interface leaves among the attributes, what stands in a column where it means nothing (the default
direction of a leaf, the condition of a categorical split), the root's parent (-1, 2147483647), and
the ``Config`` that a pickled Booster holds beside its model (what it did shows in the trees).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrepro.comparators import trees, ubjson
from mlrepro.comparators.base import Comparator
from mlrepro.comparators.ensembles import Ensemble, Field, Rule
from mlrepro.drift import Difference, Tolerance
from mlrepro.errors import ComparisonError

if TYPE_CHECKING:
    from mlrepro.comparators.ensembles import Array

_JSON = re.compile(rb'\s*\{.*?"learner"\s*:\s*\{\s*"(attributes|feature_names)"', re.DOTALL)
_UBJSON = re.compile(rb"\{[iUIlL].{0,8}(learner|Config)\{", re.DOTALL)
_FRACTION = re.compile(r"[-+]?\d+(\.\d+([eE][-+]?\d+)?|[eE][-+]?\d+)")
_WHOLE = (
    "left_children",
    "right_children",
    "parents",
    "split_indices",
    "split_type",
    "default_left",
)
_CATEGORIES = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_REAL = ("split_conditions", "base_weights", "sum_hessian", "loss_changes", "leaf_weights")
_ALL = {*_WHOLE, *_CATEGORIES, *_REAL}
_LATER = ("leaf_weights", "split_type", *_CATEGORIES)  # fields that older versions do not write
_LEARNER = {
    "attributes",
    "feature_names",
    "feature_types",
    "gradient_booster",
    "learner_model_param",
    "objective",
}


def recognises(_path: Path, head: bytes) -> bool:
    """Know a model by its first key, in either form."""
    return bool(_JSON.match(head[:512]) or _UBJSON.match(head))


def compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    """Compare two models, of which one may be JSON and the other UBJSON."""
    return measure(read(recorded), read(rebuilt), tolerance)


def measure(a: Ensemble, b: Ensemble, tolerance: Tolerance) -> Difference:
    """Compare two parsed models."""
    if [f.name for f in a.fields] != [f.name for f in b.fields]:  # another kind of booster
        a, b = (Ensemble(e.trees, e.facts, (), e.metadata) for e in (a, b))
    return trees.measure(a, b, tolerance)


def read(path: Path) -> Ensemble:
    """Read a JSON or UBJSON model.

    Raises
    ------
    ComparisonError
        If it is truncated, inconsistent, or its numbers are none.
    """
    return parse(path.read_bytes(), path.name)


def parse(data: bytes, name: str) -> Ensemble:
    """Read the bytes of a model, which may have lain inside a pickle; `name` for errors."""
    try:
        binary = _UBJSON.match(data[:64])
        return _model(ubjson.read(data) if binary else json.loads(data, object_pairs_hook=_unique))
    except KeyError as error:
        raise ComparisonError(f"`{name}` is no sound XGBoost model: it lacks {error}") from error
    except (ValueError, OverflowError, RecursionError) as error:
        raise ComparisonError(f"`{name}` is no sound XGBoost model: {error}") from error


COMPARATOR = Comparator("xgboost", recognises, compare)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    if "left_children" in found:
        # At once: a Python number takes 32 bytes, and a forest has millions of them.
        for key in found.keys() & _ALL:
            if isinstance(found[key], list):
                found[key] = _array(found[key], whole=key not in _REAL)
    return found


def _model(data: Any) -> Ensemble:
    top = dict(_dict(data, "model"))
    if top.keys() == {"Config", "Model"}:  # as a pickled Booster holds it
        found = _model(top["Model"])
        asked = {k: " ".join(v) for k, v in _flat(top["Config"], "config").items()}
        return replace(found, metadata={**found.metadata, **asked})
    learner, version = _dict(top.pop("learner"), "learner"), top.pop("version", [])
    facts, scalars = _attributes(_dict(learner.get("attributes", {}), "attributes"))
    facts |= {k: _words(learner.get(k, []), k) for k in ("feature_names", "feature_types")}
    facts |= _flat(learner["objective"], "objective")
    parameters = dict(_dict(learner["learner_model_param"], "learner_model_param"))
    base = _base_score(parameters.pop("base_score"))
    facts |= _flat(parameters, "learner_model_param")
    facts |= _flat({k: v for k, v in learner.items() if k not in _LEARNER}, "learner")
    facts |= _flat(top, "model")
    booster = _dict(learner["gradient_booster"], "gradient_booster")
    more, fields, count = _booster(booster, _integer(parameters.get("num_feature", 0)))
    metadata = {"version": ".".join(map(str, _numbers(version, "version")))}
    named = facts.pop("attributes: scikit_learn", ())
    metadata |= {"scikit_learn": " ".join(named)} if named else {}
    head = (
        Field("base_score", "target", Rule.SCALAR, base),
        Field("attributes", "attribute", Rule.SCALAR, _array(scalars, whole=False, single=False)),
    )
    return Ensemble(count, facts | more, head + fields, metadata)


def _attributes(found: Mapping[str, Any]) -> tuple[dict[str, tuple[str, ...]], list[float]]:
    """Return the attributes as facts; of those that are fractions (``best_score``), the values."""
    facts: dict[str, tuple[str, ...]] = {}
    scalars: list[float] = []
    for key, value in sorted(found.items()):
        if _FRACTION.fullmatch(str(value)):
            scalars.append(float(value))
            facts[f"attributes: {key}"] = ("a number",)
        else:
            facts[f"attributes: {key}"] = (str(value),)
    return facts, scalars


def _booster(
    booster: Mapping[str, Any], features: int
) -> tuple[dict[str, tuple[str, ...]], tuple[Field, ...], int]:
    name = str(booster["name"])
    facts: dict[str, tuple[str, ...]] = {"gradient_booster": (name,)}
    if name == "gblinear":
        model = dict(_dict(booster["model"], "model"))
        weights = _array(_numbers(model.pop("weights"), "weights"), whole=False)
        return facts | _flat(model, name), (Field("weight", "weight", Rule.SPREAD, weights),), 0
    drops: tuple[Field, ...] = ()
    if name == "dart":
        weights = _array(_numbers(booster["weight_drop"], "weight_drop"), whole=False)
        drops = (Field("weight_drop", "tree", Rule.SCALAR, weights),)
        booster = _dict(booster["gbtree"], "gbtree")
    elif name != "gbtree":
        raise ValueError(f"the booster `{name:.40}` is not known")
    model = dict(_dict(booster["model"], "model"))
    forest = _list(model.pop("trees"), "trees")
    if drops and len(drops[0].values) != len(forest):
        raise ValueError("weight_drop has not one value for each tree")
    parameters = dict(_dict(model.pop("gbtree_model_param"), "gbtree_model_param"))
    _check_forest(model, _integer(parameters["num_trees"]), len(forest))
    if not _is_empty(cats := model.pop("cats", {})):
        facts["cats"] = tuple(f"{k}: {' '.join(v)}" for k, v in _flat(cats, "cats").items())
    facts |= _flat(parameters, "gbtree_model_param") | _flat(model, "model")
    forest = [_dict(tree, "tree") for tree in forest]
    return facts | _unknown(forest), (*drops, *_fields(forest, features)), len(forest)


def _unknown(forest: Sequence[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:
    """Return what else the trees hold, word for word: a later version's field must not pass."""
    found: dict[str, tuple[str, ...]] = {}
    known = {*_ALL, "id", "tree_param"}
    for key in sorted({k for tree in forest for k in tree} - known):
        found[f"trees: {key}"] = tuple(str(tree.get(key)) for tree in forest)
    params = [_dict(tree["tree_param"], "tree_param") for tree in forest]
    for key in sorted({k for param in params for k in param} - {"num_nodes"}):
        found[f"tree_param: {key}"] = tuple(str(param.get(key)) for param in params)
    return found


def _check_forest(model: Mapping[str, Any], stated: int, count: int) -> None:
    if stated != count:
        raise ValueError(f"it states {stated} trees and holds {count}")
    if len(_array(_numbers(model["tree_info"], "tree_info"), whole=True)) != count:
        raise ValueError("tree_info has not one value for each tree")
    rounds = _numbers(model.get("iteration_indptr", []), "iteration_indptr")
    rounds = _array(rounds, whole=True).tolist()
    if rounds and (rounds[0] != 0 or rounds[-1] != count or rounds != sorted(rounds)):
        raise ValueError("iteration_indptr does not fit the number of trees")


def _is_empty(value: Any) -> bool:
    """Say whether a container of categories holds no category."""
    if isinstance(value, dict):
        return all(_is_empty(v) for k, v in value.items() if k in ("enc", "offsets", "values"))
    if isinstance(value, list):
        return all(_is_empty(v) for v in value)
    return hasattr(value, "size") and not value.size


def _fields(forest: Sequence[dict[str, Any]], features: int) -> Iterator[Field]:
    """Yield the arrays of all trees, with meaningless cells emptied."""
    import numpy as np  # noqa: PLC0415  0.1 s, paid when a model is compared

    columns = {k: _Column.of(forest, k) for k in sorted(_ALL)}
    params = [_dict(tree["tree_param"], "tree_param") for tree in forest]
    nodes = np.array([_integer(p["num_nodes"]) for p in params], dtype=np.int64)
    wide = np.array(
        [max(_integer(p.get("size_leaf_vector", 1)), 1) for p in params], dtype=np.int64
    )
    if nodes.size and (nodes.min() < 1 or nodes.max() > 2**31 or wide.max() > 2**31):
        raise ValueError("a tree states an impossible number of nodes")
    _check_lengths(columns, nodes, wide)
    left = columns["left_children"].values
    leaf = left == -1
    _check_links(columns, np.repeat(nodes, nodes), leaf, features)
    starts = columns["left_children"].starts
    split_type = columns["split_type"]
    categorical = split_type.values == 1 if split_type.values.size else np.zeros(len(left), bool)
    root = np.zeros(len(left), dtype=bool)
    root[starts[:-1]] = True

    def node(key: str, name: str, empty: Array, rule: Rule = Rule.STRUCTURE) -> Field:
        values = np.where(empty, np.zeros(1, columns[key].values.dtype), columns[key].values)
        return Field(name, "node", rule, values, starts)

    yield node("split_indices", "feature", leaf)
    yield node("split_conditions", "threshold", leaf | categorical, Rule.SCALAR)
    if split_type.values.size:
        yield node("split_type", "split_type", leaf)
    else:
        yield Field("split_type", "node", Rule.STRUCTURE, np.zeros(len(left), np.int64), starts)
    yield node("default_left", "default_left", leaf)
    yield Field("left_children", "node", Rule.STRUCTURE, left, starts)
    # Leaves that are vectors keep their place in `leaf_weights` here, since 3.2.
    yield node("right_children", "right_children", leaf & np.repeat(wide > 1, nodes))
    yield node("parents", "parents", root)
    for key in _CATEGORIES:
        yield Field(key, "", Rule.STRUCTURE, columns[key].values, columns[key].starts)
    yield _leaves(columns, leaf, wide, nodes)
    weights = columns["base_weights"]
    yield Field("base_weights", "", Rule.SPREAD, weights.values, weights.starts)
    for key in ("sum_hessian", "loss_changes"):
        yield Field(key, "", Rule.NOTE, columns[key].values, columns[key].starts)


def _leaves(columns: Mapping[str, _Column], leaf: Array, wide: Array, nodes: Array) -> Field:
    """Return the leaf values, which vector leaves keep in another column than single ones."""
    import numpy as np  # noqa: PLC0415  as above

    tree = np.repeat(np.arange(len(nodes)), nodes)
    position = np.arange(len(leaf)) - np.repeat(np.cumsum(nodes) - nodes, nodes)
    which = np.flatnonzero(leaf)
    repeats = wide[tree[which]]
    numbers = np.repeat(position[which], repeats)
    counts = np.bincount(tree[which], weights=repeats, minlength=len(nodes)).astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    if (wide == 1).all():
        values = columns["split_conditions"].values[which]
    elif columns["leaf_weights"].values.size:  # 3.2 and later
        values = columns["leaf_weights"].values
        if len(values) != starts[-1]:
            raise ValueError("leaf_weights has not one vector for each leaf")
    else:
        begins = np.cumsum(nodes * wide) - nodes * wide
        begin = np.repeat(begins[tree[which]] + position[which] * repeats, repeats)
        inside = np.arange(int(repeats.sum())) - np.repeat(np.cumsum(repeats) - repeats, repeats)
        values = columns["base_weights"].values[begin + inside]
    return Field("leaf value", "node", Rule.SPREAD, values, starts, numbers)


class _Column:
    """One key of every tree, end to end."""

    def __init__(self, values: Array, starts: Array) -> None:
        self.values, self.starts = values, starts

    @classmethod
    def of(cls, forest: Sequence[dict[str, Any]], key: str) -> _Column:
        import numpy as np  # noqa: PLC0415  as above

        optional = key in _LATER or key in ("sum_hessian", "loss_changes")
        # Taken out of the tree, so that a model lies in memory once.
        lists = [_numbers(t.pop(key, []) if optional else t.pop(key), key) for t in forest]
        starts = np.cumsum([0, *map(len, lists)], dtype=np.int64)
        whole = key not in _REAL
        parts = [_array(part, whole=whole) if isinstance(part, list) else part for part in lists]
        return cls(_array(np.concatenate(parts) if parts else [], whole=whole), starts)

    def lengths(self) -> Array:
        return self.starts[1:] - self.starts[:-1]


def _check_lengths(columns: Mapping[str, _Column], nodes: Array, wide: Array) -> None:
    for key, column in columns.items():
        found = column.lengths()
        if key == "base_weights":
            good = found == nodes * wide
        elif key in ("split_type", "sum_hessian", "loss_changes"):
            good = (found == nodes) | (found == 0)
        elif key in _WHOLE or key == "split_conditions":
            good = found == nodes
        else:
            continue
        if not good.all():
            raise ValueError(f"tree {int(good.argmin())} has not one value of {key} for each node")
    _check_categories(columns)


def _check_categories(columns: Mapping[str, _Column]) -> None:
    import numpy as np  # noqa: PLC0415  as above

    nodes, segments, sizes, values = (columns[k] for k in (_CATEGORIES[i] for i in (1, 2, 3, 0)))
    split_type = columns["split_type"]
    if split_type.values.size and len(split_type.values) != len(columns["left_children"].values):
        raise ValueError("split_type is there for some trees only")
    counts, ends = nodes.lengths(), values.lengths()
    unequal = (counts != segments.lengths()) | (counts != sizes.lengths())
    if unequal.any():
        raise ValueError(f"tree {int(unequal.argmax())} has categories of unequal lengths")
    begin, size = segments.values, sizes.values
    # Both are held against the length first: their sum may overflow.
    end = np.repeat(ends, counts)
    wrong = (begin < 0) | (size < 0) | (begin > end) | (size > end - begin)
    if wrong.any():
        tree = int(np.repeat(np.arange(len(counts)), counts)[wrong.argmax()])
        raise ValueError(f"tree {tree} names categories that are not there")


def _check_links(columns: Mapping[str, _Column], nodes: Array, leaf: Array, features: int) -> None:
    """Check that the children of every split are nodes of its tree, and that its feature exists."""
    for key in ("left_children", "right_children"):
        child = columns[key].values
        good = leaf | ((child > 0) & (child < nodes))
        if not good.all():
            raise ValueError(f"{key} holds a node that is not there")
    index = columns["split_indices"].values
    if not (leaf | ((index >= 0) & (index < max(features, 1)))).all():
        raise ValueError("a split asks for a feature that is not there")


def _base_score(value: Any) -> Array:
    """Return base_score, which has been a number, text, and a list in text."""
    values = json.loads(value) if isinstance(value, str) else value
    values = values if isinstance(values, list) else [values]
    if len({str(v) for v in values}) == 1:  # one for each class or target, or one for all of them
        values = values[:1]
    return _array(values, whole=False)


def _array(values: Any, *, whole: bool, single: bool = True) -> Array:
    import numpy as np  # noqa: PLC0415  as above

    allowed = {int, bool} if whole else {int, float}
    if isinstance(values, list) and not set(map(type, values)) <= allowed:
        raise ValueError("a number is none")
    if isinstance(values, np.ndarray) and whole and values.dtype.kind not in "iu":
        raise ValueError("a whole number is none")
    if whole:
        return np.array(values, dtype=np.int64)
    return np.array(values, dtype=np.float32 if single else np.float64)


def _flat(value: Any, where: str) -> dict[str, tuple[str, ...]]:
    """Return everything below a dict as facts, however deep."""
    if isinstance(value, dict) and value:
        return {
            k: v for key in sorted(value) for k, v in _flat(value[key], f"{where}: {key}").items()
        }
    if isinstance(value, dict):  # that it is there must not pass unread
        return {where: ()}
    if isinstance(value, list) and not any(isinstance(v, dict) for v in value):
        return {where: tuple(map(str, value))}
    if isinstance(value, list):
        return {k: v for i, x in enumerate(value) for k, v in _flat(x, f"{where}[{i}]").items()}
    return {where: tuple(map(str, value.tolist())) if hasattr(value, "tolist") else (str(value),)}


def _integer(value: Any) -> int:
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        return int(value)
    raise ValueError("a whole number is none")


def _dict(value: Any, where: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError(f"its {where} is no object")


def _list(value: Any, where: str) -> list[Any]:
    if isinstance(value, list):
        return value
    raise ValueError(f"its {where} is no list")


def _numbers(value: Any, where: str) -> Any:
    """Return a list or an array; what stands in it is checked when it becomes an array."""
    if isinstance(value, list) or hasattr(value, "dtype"):
        return value
    raise ValueError(f"its {where} is no list")


def _words(value: Any, where: str) -> tuple[str, ...]:
    return tuple(str(v) for v in _list(value, where))
