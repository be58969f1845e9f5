"""Flips: every byte of a small file of each kind is damaged; nothing passes that should not.

Three laws, held by an oracle of its own that reads the damaged file with another reader:

- *equivalent* only where all that differs is metadata, or the same number spelled otherwise;
- *close* only where all that differs are numbers within the tolerance;
- what cannot be read is a `ComparisonError` or drifted; nothing else is ever raised.
"""

from __future__ import annotations

import csv
import functools
import gzip
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrepro.comparators import compare, lightgbm, ubjson, xgboost
from mlrepro.comparators.values import is_time_name
from mlrepro.drift import Tolerance, Verdict
from mlrepro.errors import ComparisonError

GOLDEN = Path(__file__).parent.parent / "data" / "comparators"
EVERY_BIT = bool(os.environ.get("MLREPRO_EVERY_BIT"))
"""Whether each byte is damaged in all eight ways: minutes, for whoever changes a comparator."""

Oracle = Callable[[bytes, bytes, int], Verdict]
"""The best verdict that damage at a place may have; an exception of a reader is *drifted*."""


def hold(recorded: bytes, name: str, oracle: Oracle, folder: Path) -> dict[Verdict | None, int]:
    """Damage every byte and hold the verdict against the oracle; return how often each came."""
    (folder / "a").write_bytes(recorded)
    counts: dict[Verdict | None, int] = {}
    wrong = []
    for at in range(len(recorded)):
        for mask in _masks(recorded[at], at):
            damaged = recorded[:at] + bytes([recorded[at] ^ mask]) + recorded[at + 1 :]
            verdict = judge(folder, damaged, name)
            counts[verdict] = counts.get(verdict, 0) + 1
            if verdict is not None and verdict < Verdict.DRIFTED:
                best = expected(oracle, recorded, damaged, at)
                if verdict < best:
                    wrong.append((at, mask, damaged[max(at - 40, 0) : at + 20], verdict, best))
    assert not wrong, f"{len(wrong)} wrong: {wrong[:5]}"
    return counts


def _masks(byte: int, at: int) -> tuple[int, ...]:
    """A digit becomes its neighbour; a letter another one, a space or a point no longer one."""
    if EVERY_BIT:
        return tuple(1 << bit for bit in range(8))
    return (0x01,) if chr(byte).isdigit() else (0x10,) if at % 2 else (0x01,)


def judge(folder: Path, damaged: bytes, name: str) -> Verdict | None:
    """Return the verdict; None for a file that the comparator says is damaged."""
    (folder / "b").write_bytes(damaged)
    try:
        found = compare(folder / "a", folder / "b", name=name, tolerance=Tolerance())
    except ComparisonError:
        return None
    assert found.verdict is not Verdict.IDENTICAL
    assert found.compared or found.verdict is Verdict.DRIFTED
    return found.verdict


def expected(oracle: Oracle, recorded: bytes, damaged: bytes, at: int) -> Verdict:
    try:
        return oracle(recorded, damaged, at)
    except (ValueError, KeyError, IndexError, csv.Error, RecursionError):
        return Verdict.DRIFTED


@pytest.fixture
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parse the sound model once: it is compared with thousands of damaged ones."""
    for module in (lightgbm, xgboost):
        monkeypatch.setattr(module, "read", _once(module.read))


def _once(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    kept = functools.cache(read)
    return lambda path: kept(path) if path.name == "a" else read(path)


# LightGBM ---------------------------------------------------------------------------------------


def _lightgbm() -> bytes:
    """Two trees of a real model, and a few of its parameters."""
    text = (GOLDEN / "lightgbm" / "regression-4.7.0.txt").read_text()
    top, *trees = text.partition("\nend of trees\n")[0].split("\nTree=")
    top = re.sub(r"tree_sizes=(\d+ \d+).*", r"tree_sizes=\1", top)
    body = "\nTree=".join([top, *trees[:2]])
    tail = text.partition("\nend of trees\n")[2]
    head, _, rest = tail.partition("parameters:\n")
    kept = "".join(line for line in rest.splitlines(True)[:3])
    end = rest[rest.index("\nend of parameters") :]
    return f"{body}\nend of trees\n{head}parameters:\n{kept}{end}".encode()


LEAVES, SCALARS = ("leaf_value",), ("threshold", "shrinkage", "feature_infos")
STATISTICS = ("split_gain", "leaf_weight", "internal_value", "internal_weight")


def _lightgbm_oracle(recorded: bytes, damaged: bytes, at: int) -> Verdict:
    line, start, key = _line(recorded, at)
    other = damaged[start : start + len(line)]
    if key in ("version", "tree_sizes") and other.startswith(f"{key}=".encode()):
        return Verdict.EQUIVALENT
    begin, end = recorded.index(b"\nparameters:\n") + 13, recorded.index(b"\nend of parameters")
    if begin <= at < end:
        return Verdict.EQUIVALENT
    place = line[: at - start].count(b" ")
    if key in ("internal_value", "internal_weight") and not place:
        float(other.partition(b"=")[2].split()[0])
        return Verdict.EQUIVALENT
    a, b = (_numbers(part) for part in (line, other))
    if len(a) != len(b) or line.partition(b"=")[0] != other.partition(b"=")[0]:
        return Verdict.DRIFTED
    if a == b:
        return Verdict.EQUIVALENT
    spread = _spread(recorded, key)
    close = [abs(x - y) <= _limit(key, x, y, spread) for x, y in zip(a, b, strict=True)]
    return Verdict.CLOSE if all(close) else Verdict.DRIFTED


def _line(data: bytes, at: int) -> tuple[bytes, int, str]:
    start = data.rfind(b"\n", 0, at) + 1
    line = data[start : data.index(b"\n", at)]
    return line, start, line.partition(b"=")[0].decode()


def _numbers(line: bytes) -> list[float]:
    return [float(w) for w in re.split(rb"[ :\[\]]+", line.partition(b"=")[2]) if w]


def _spread(data: bytes, key: str) -> float:
    lines = re.findall(rf"(?m)^{key}=(.*)$".encode(), data)
    values = (
        [float(w) for line in lines for w in line.split()] if key in STATISTICS + LEAVES else []
    )
    return float(np.std(values)) if values else 0.0


def _limit(key: str, x: float, y: float, spread: float) -> float:
    larger = max(abs(x), abs(y))
    if key in LEAVES:
        return 1e-6 * spread
    if key in SCALARS:
        return max(1e-6 * larger, 1e-12)
    # The root's value is set aside, so the spread of the others may be a little larger.
    return max(1e-5 * larger, 2e-6 * spread) if key in STATISTICS else 0.0


def test_every_flipped_byte_of_a_lightgbm_model(read_once, tmp_path):
    counts = hold(_lightgbm(), "model.txt", _lightgbm_oracle, tmp_path)

    assert set(counts) == {None, Verdict.EQUIVALENT, Verdict.CLOSE, Verdict.DRIFTED}


# XGBoost ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def booster() -> Any:
    import xgboost

    random = np.random.RandomState(3)
    x = random.normal(size=(60, 2))
    parameters = {"max_depth": 2, "nthread": 1, "seed": 1, "base_score": 0.5}
    return xgboost.train(parameters, xgboost.DMatrix(x, x[:, 0] * 2 + x[:, 1]), 2)


def _xgboost_oracle(read: Callable[[bytes], Any]) -> Oracle:
    def oracle(recorded: bytes, damaged: bytes, at: int) -> Verdict:
        a, b = _canonical(read(recorded)), _canonical(read(damaged))
        worst = Verdict.EQUIVALENT
        leaves = [v for t in a["trees"] for v, c in zip(t["leaf"], t["is"], strict=True) if c]
        spreads = {
            "leaf": float(np.std(leaves)),
            "base_weights": float(np.std([v for t in a["trees"] for v in t["base_weights"]])),
        }
        for path, x, y in _apart(a, b, ""):
            numbers = all(isinstance(v, float) for v in (x, y))
            close = numbers and abs(x - y) <= _room(path, x, y, spreads)
            worst = max(worst, Verdict.CLOSE if close else Verdict.DRIFTED)
        return worst

    return oracle


def _room(path: str, x: float, y: float, spreads: dict[str, float]) -> float:
    name = path.rsplit(".", maxsplit=1)[-1].partition("[")[0]
    if name in spreads:
        return 1e-6 * spreads[name]
    return max(1e-6 * max(abs(x), abs(y)), 1e-12)


def _canonical(model: Any) -> dict[str, Any]:
    """Return a model without what its comparator documents as metadata, in float32."""
    model = json.loads(json.dumps(model, default=lambda array: array.tolist()))
    del model["version"]
    learner = model["learner"]
    base = json.loads(learner["learner_model_param"].pop("base_score"))
    trees = [_tree(tree) for tree in learner["gradient_booster"]["model"].pop("trees")]
    cats = learner["gradient_booster"]["model"].pop("cats", {})
    kept = {k: v for k, v in cats.items() if k in ("enc", "offsets", "values") and v}
    base = sorted({float(np.float32(v)) for v in (base if isinstance(base, list) else [base])})
    return {"rest": model, "cats": kept, "base": base, "trees": trees}


def _tree(tree: dict[str, Any]) -> dict[str, Any]:
    leaf = [child == -1 for child in tree["left_children"]]
    parents = [0, *tree["parents"][1:]]
    whole = {"parents": parents, "is": leaf, "tree_param": tree["tree_param"]}
    for key in ("left_children", "right_children", "categories", "categories_nodes",
                "categories_segments", "categories_sizes"):  # fmt: skip
        whole[key] = tree[key]
    for key in ("split_indices", "split_type", "default_left"):
        whole[key] = [0 if at else int(v) for at, v in zip(leaf, tree[key], strict=True)]
    conditions = [float(np.float32(v)) for v in tree["split_conditions"]]
    known = {*whole, "split_conditions", "base_weights", "sum_hessian", "loss_changes", "id"}
    return {
        **whole,
        "leaf": [v if at else 0.0 for at, v in zip(leaf, conditions, strict=True)],
        "threshold": [0.0 if at else v for at, v in zip(leaf, conditions, strict=True)],
        "base_weights": [float(np.float32(v)) for v in tree["base_weights"]],
        "more": {k: v for k, v in tree.items() if k not in known},
    }


def _apart(a: Any, b: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield where two documents differ; a thing of one side only has None for its partner."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in {**a, **b}:
            yield from _apart(a.get(key), b.get(key), f"{path}.{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            yield from _apart(x, y, f"{path}[{i}]")
    elif type(a) is not type(b) or not (a == b or (a != a and b != b)):
        yield path, a, b


def test_every_flipped_byte_of_an_xgboost_json(booster, read_once, tmp_path):
    counts = hold(bytes(booster.save_raw("json")), "m.json", _xgboost_oracle(json.loads), tmp_path)

    assert set(counts) >= {None, Verdict.EQUIVALENT, Verdict.DRIFTED}


def test_every_flipped_byte_of_an_xgboost_ubjson(booster, read_once, tmp_path):
    counts = hold(bytes(booster.save_raw("ubj")), "m.ubj", _xgboost_oracle(ubjson.read), tmp_path)

    assert set(counts) >= {None, Verdict.EQUIVALENT, Verdict.CLOSE, Verdict.DRIFTED}


# Numbers, tables, printed text ------------------------------------------------------------------

JSON = b"""{"model": "gbdt", "metrics": {"auc": 0.912345678901, "rows": 1200, "ok": true},
 "history": [0.5, 0.25, 1.25e-3], "best": null, "fit_seconds": 1.25, "saved": "2026-11-21 10:00:00"}
"""
YAML = b"""# what the training found
auc: 0.912345678901
rows: 1200
loss: {train: 0.5, valid: 0.25}
ok: true
best:
  - 1.25e-3
  - words "and" so on
fit_seconds: 1.25
"""
CSV = b"""id,kind,score,fit_time
1,cat,0.912345678901,1.25
2,dog,0.500000000001,1.5
3,"a, b",0.25,1.75
4,,1.25e-3,2
"""
PRINTED = b"""epoch 1: loss = 0.912345678901, rows 1200
epoch 2: loss = 0.5, took 3.25 s
saved to /tmp/run/model.txt
best score 0.25
"""


def _documents(read: Callable[[bytes], Any]) -> Oracle:
    def oracle(recorded: bytes, damaged: bytes, at: int) -> Verdict:
        worst = Verdict.EQUIVALENT
        for path, x, y in _apart(read(recorded), read(damaged), ""):
            key = path.rpartition(".")[2]
            if is_time_name(key) or key == "saved":  # on one side only too
                continue
            worst = max(worst, _scalars(x, y))
        return worst

    return oracle


def _scalars(x: Any, y: Any) -> Verdict:
    real = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in (x, y))
    if real and x == y:
        return Verdict.EQUIVALENT
    if not real or all(isinstance(v, int) for v in (x, y)):
        return Verdict.DRIFTED
    return (
        Verdict.CLOSE if abs(x - y) <= max(1e-6 * max(abs(x), abs(y)), 1e-12) else Verdict.DRIFTED
    )


def _strict_json(data: bytes) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key is there twice")
        return dict(pairs)

    return json.loads(data.decode(), object_pairs_hook=unique)


def _yaml(data: bytes) -> Any:
    import ruamel.yaml

    try:
        return ruamel.yaml.YAML(typ="safe", pure=True).load(data.decode())
    except ruamel.yaml.error.YAMLError as error:
        raise ValueError(str(error)) from error


def _csv_oracle(recorded: bytes, damaged: bytes, at: int) -> Verdict:
    a, b = (
        list(csv.reader(io.StringIO(data.decode("utf-8", "surrogateescape")), strict=True))
        for data in (recorded, damaged)
    )
    assert a[0] == b[0] or set(a[0]) != set(b[0])
    if [len(row) for row in a] != [len(row) for row in b] or a[0] != b[0]:
        return Verdict.DRIFTED
    worst = Verdict.EQUIVALENT
    for name, x, y in zip(a[0], *(zip(*rows[1:], strict=True) for rows in (a, b)), strict=True):
        if name != "fit_time" and x != y:
            worst = max(worst, _columns(name, x, y))
    return worst


def _columns(name: str, x: tuple[str, ...], y: tuple[str, ...]) -> Verdict:
    if name != "score":
        numbers = [[float(v) for v in column] for column in (x, y)]
        return Verdict.EQUIVALENT if numbers[0] == numbers[1] else Verdict.DRIFTED
    left, right = (np.array([float(v) for v in column]) for column in (x, y))
    if (left == right).all():
        return Verdict.EQUIVALENT
    rms = np.sqrt(np.mean((left - right) ** 2)) / min(left.std(), right.std())
    return Verdict.CLOSE if rms <= 1e-6 else Verdict.DRIFTED


def _printed_oracle(recorded: bytes, damaged: bytes, at: int) -> Verdict:
    """Only the seconds and the folder of a path are set aside; spaces are no content."""
    a, b = (data.decode("latin-1") for data in (recorded, damaged))
    for aside in (r"took\s+[\d.]+ ?s\b", r"(?<![\w.])/[a-zA-Z_.]\S*"):
        a, b = re.sub(aside, "<aside>", a), re.sub(aside, "<aside>", b)
    number = r"(?<![\w.])(?:\d+\.?\d*|\.\d+)(?:e-?\d+)?(?!\w)(?!\.\d)"
    if re.sub(number, "#", a).split() != re.sub(number, "#", b).split():
        return Verdict.DRIFTED
    pairs = zip(re.findall(number, a), re.findall(number, b), strict=True)
    return max(_scalars(*(_number(v) for v in pair)) for pair in pairs)


def _number(text: str) -> float:
    return int(text) if text.isdigit() else float(text)


def _gzip_oracle(recorded: bytes, damaged: bytes, at: int) -> Verdict:
    return Verdict.EQUIVALENT if gzip.decompress(damaged) == CSV else Verdict.DRIFTED


PLAIN = [
    pytest.param(JSON, "metrics.json", _documents(_strict_json), id="json"),
    pytest.param(YAML, "metrics.yaml", _documents(_yaml), id="yaml"),
    pytest.param(CSV, "table.csv", _csv_oracle, id="csv"),
    pytest.param(PRINTED, "train.log", _printed_oracle, id="printed"),
    pytest.param(gzip.compress(CSV, mtime=5), "table.csv.gz", _gzip_oracle, id="gzip"),
]


@pytest.mark.parametrize(("data", "name", "oracle"), PLAIN)
def test_every_flipped_byte_of_a_small_file(data, name, oracle, tmp_path):
    counts = hold(data, name, oracle, tmp_path)

    assert counts.get(Verdict.DRIFTED, 0) + counts.get(None, 0) > len(data) / 2


# Other damage -----------------------------------------------------------------------------------

FEW = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@st.composite
def damaged(draw: st.DrawFn, sound: bytes) -> bytes:
    """Cut a piece out, repeat it, move it elsewhere, or write something else over it."""
    begin = draw(st.integers(0, len(sound) - 1))
    end = draw(st.integers(begin + 1, min(len(sound), begin + draw(st.sampled_from([1, 8, 4000])))))
    piece = sound[begin:end]
    kind = draw(st.sampled_from(["truncate", "cut", "repeat", "move", "overwrite", "insert"]))
    at = draw(st.integers(0, len(sound)))
    noise = draw(st.binary(min_size=1, max_size=12) | st.sampled_from([b"\n", b"0", b" ", b"NaN"]))
    return {
        "truncate": sound[:begin],
        "cut": sound[:begin] + sound[end:],
        "repeat": sound[:end] + piece + sound[end:],
        "move": sound[:at] + piece + sound[at:],
        "overwrite": sound[:begin] + noise + sound[begin + len(noise) :],
        "insert": sound[:at] + noise + sound[at:],
    }[kind]


@pytest.mark.parametrize("kind", ["lightgbm", "json", "ubj", "table.csv", "metrics.yaml", "gz"])
@FEW
@given(data=st.data())
def test_other_damage_gives_a_verdict_or_an_error_and_nothing_else(booster, tmp_path, kind, data):
    sound, name = {
        "lightgbm": (_lightgbm(), "model.txt"),
        "table.csv": (CSV, "table.csv"),
        "metrics.yaml": (YAML, "metrics.yaml"),
        "gz": (gzip.compress(CSV), "table.csv.gz"),
    }.get(kind) or (bytes(booster.save_raw(kind)), f"model.{kind}")
    other = data.draw(damaged(sound))
    (tmp_path / "a").write_bytes(sound)
    (tmp_path / "b").write_bytes(other)

    verdicts = []
    for sides in (("a", "b"), ("b", "a")):
        try:
            found = compare(*(tmp_path / s for s in sides), name=name, tolerance=Tolerance())
        except ComparisonError:
            verdicts.append(None)
        else:
            verdicts.append(found.verdict)
            assert found.compared or found.verdict is Verdict.DRIFTED

    assert verdicts[0] == verdicts[1]
    assert (Verdict.IDENTICAL in verdicts) == (sound == other)
