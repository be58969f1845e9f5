"""Reports made by hand: one with all that a page can show, and such as would break a page."""

from __future__ import annotations

import math
import random

from mlrepro.commands.diff import DiffReport
from mlrepro.commands.diffvalues import LineCount
from mlrepro.drift import (
    ArtifactDrift,
    Attribution,
    Change,
    Delta,
    Difference,
    Distribution,
    DriftReport,
    Ensemble,
    Gate,
    History,
    Measure,
    Noise,
    Predicted,
    Repeated,
    Tried,
    Verdict,
)
from mlrepro.facts import Role

DRIFTED, CLOSE, IDENTICAL = Verdict.DRIFTED, Verdict.CLOSE, Verdict.IDENTICAL
ANSWER = "thread count: with the recorded 8 threads the model is identical"
SCRIPT = "<script>document.title='owned'</script>\"'&<img src=x onerror=\"document.title='owned'\">"
TURNED = "نموذج/\u202etxt.exe\x1b[31m\udcff\x00"
LONG = "very/" * 120 + "a-model-with-a-name-that-never-ends" * 4 + ".txt"
ADDRESS = "https://example.org/?q=1"


def course(steps: int, first: int | None, size: float) -> tuple[tuple[float, ...], ...]:
    """Return a score that rises, and another that leaves it at a step."""
    made = random.Random(steps)
    a = [1 - 0.5 * math.exp(-6 * i / steps) + made.gauss(0, 0.002) for i in range(steps)]
    b = [v + size * made.gauss(0, 1) if first and i >= first - 1 else v for i, v in enumerate(a)]
    return tuple(a), tuple(b)


def full() -> DriftReport:
    """Return a drifted rebuild with every section."""
    return DriftReport(
        "aa6016fef72d" + "0" * 52,
        "baseline",
        (
            ArtifactDrift("lightgbm/model.txt", Role.WEIGHTS, True, _trees()),
            ArtifactDrift("lightgbm/metrics.json", Role.METRICS, True, _metrics()),
            ArtifactDrift("runs/21/net.safetensors", Role.WEIGHTS, True, _net(), "runs/22/net"),
            ArtifactDrift("scaler.joblib", Role.OTHER, False, _same("scaler.joblib")),
        ),
        code=(Change("train.py", "sha1:9b2c41", "sha1:77aa01"),),
        environment=(
            Change("package numpy", "1.26.4", "2.0.1"),
            Change("cpu", "AMD EPYC 7763 64-Core Processor", "Intel(R) Xeon(R) Platinum 8480+"),
        ),
        inputs=(Change("data/train.csv", "md5:" + "9e10" * 8, "md5:" + "e4d9" * 8),),
        training=(Change("lightgbm.train: threads", "8", "2"),),
        notes=("the clock was not replayed", "3 values were set aside as times"),
        seconds=2.6,
        recorded_seconds=3.0,
        room="/tmp/mlrepro-room-1a2b",
        environment_used="made from the lock (Python 3.11.7, 42 packages)",
        predictions=(_predicted(),),
        histories=(
            History("lightgbm.train: valid_0 auc", *course(100, 25, 0.01), 25),
            History("lightgbm.train: valid_0 logloss", *course(100, 60, 1e-7), 60),
            History("history.csv: loss", *course(3000, None, 0), None),
        ),
        noise=_noise(),
        gates=(
            Gate("auc", 0.93, 0.98744, 0.0021, "1000 resamples of 4000 rows", True),
            Gate("trustworthiness", 0.5, 0.4904, 0.014, "10 seeds", False),
            Gate("f1", 0.9, 0.91, None, "", True),
        ),
        attribution=_attribution(),
        remarks=("Another model of the same quality.", "Seed 42 is the luckiest of 10."),
        attestation="4f2a9c01d3e7",
    )


def identical() -> DriftReport:
    """Return a rebuild of which there is nothing to tell."""
    artifact = ArtifactDrift("model.txt", Role.WEIGHTS, True, _same("model.txt"))
    return DriftReport("b" * 64, "", (artifact,), seconds=2.0, recorded_seconds=2.1)


def hostile() -> DriftReport:
    """Return a report whose every text was written by somebody who wants to do harm."""
    nasty = (SCRIPT, TURNED, LONG, "x" * 9000, ADDRESS)
    odd = (math.nan, 1.0, math.inf, -1e308, 1e308)
    delta = Delta(SCRIPT, math.nan, 1, math.nan, math.inf, 0, 1)
    return DriftReport(
        "c" * 64,
        SCRIPT,
        tuple(ArtifactDrift(n, Role.METRICS, True, _nasty(n)) for n in nasty),
        code=tuple(Change(n, n, n) for n in nasty),
        notes=nasty,
        remarks=nasty,
        environment_used=SCRIPT,
        room=LONG,
        attestation=SCRIPT,
        histories=tuple(History(n, odd, odd[::-1], 99) for n in nasty),
        predictions=tuple(
            Predicted(n, n, 0, 1, math.nan, math.inf, n, n, 3, math.nan, (delta,)) for n in nasty
        ),
        noise=Noise(
            repeats=2,
            machine=SCRIPT,
            artifacts=(Repeated(SCRIPT, DRIFTED, (Measure(SCRIPT, 1.0),)),),
            ensemble=Ensemble(SCRIPT, (1, 2), None, {SCRIPT: (1.0, math.nan)}, {SCRIPT: math.inf}),
        ),
        gates=tuple(Gate(n, math.nan, 1, 0.0, n, False) for n in nasty),
        attribution=Attribution(
            SCRIPT, LONG, (Tried(SCRIPT, TURNED, None, math.nan, True, LONG),), nasty, nasty, False
        ),
    )


def huge() -> DriftReport:
    """Return 30 models of 10,000 trees, 20 courses of 100,000 steps, and a lot of text."""
    trees = tuple(
        Difference(f"tree {i}", DRIFTED if i > 24 else IDENTICAL, "leaf values differ " + "x" * 300)
        for i in range(10_000)
    )
    sizes = Distribution("of the leaf spread", 0, {i: 10 ** (i + 20) for i in range(-20, 1)})
    model = Difference("", DRIFTED, "", metadata=("m" * 500,) * 5000, children=trees)
    model = Difference(**{**vars(model), "distribution": sizes})
    a, b = course(100_000, 5000, 0.01)
    return DriftReport(
        "d" * 64,
        "huge",
        tuple(ArtifactDrift(f"m{i}.txt", Role.WEIGHTS, True, model) for i in range(30)),
        environment=tuple(Change(f"package p{i}", "1" * 200, "2" * 200) for i in range(5000)),
        histories=tuple(History(f"loss {i}", a, b, 5000) for i in range(20)),
        notes=("n" * 3000,) * 2000,
    )


def compared() -> DiffReport:
    """Return what a diff of two runs says."""
    drift = full()
    return DiffReport(
        "aa6016fef72d (lightgbm)",
        "368d86102e9d (other-seed)",
        drift.artifacts,
        drift.code,
        drift.environment,
        drift.inputs,
        params=(Change("command", "python train.py", "python train.py --seed 8"),),
        metrics=(
            Change("metrics.json: auc", "0.990342", "0.98744"),
            Change("metrics.json: kind", "binary", "regression"),
        ),
        training=drift.training,
        code_lines=(LineCount("train.py", 3, 1),),
        input_drifts=(_table("data/train.csv"), _table("data/valid.csv")),
    )


def _table(path: str) -> Difference:
    sizes = Distribution("of the standard deviation", 380, {-3: 12, -2: 8})
    column = Difference("mean radius", DRIFTED, "20 of 400 values differ", distribution=sizes)
    return Difference(path, DRIFTED, "1 of 31 columns differs", first="row 4", children=(column,))


def _same(path: str) -> Difference:
    return Difference(path, IDENTICAL, "same bytes", comparator="bytes", compared=1)


def _trees() -> Difference:
    first = "tree 24, split 3, threshold: 0.5 → 0.625"
    listed = tuple(
        Difference(f"tree {i}", DRIFTED, "other structure", first=first) for i in range(24, 74)
    )
    return Difference(
        "model.txt",
        DRIFTED,
        "76 of 100 trees differ in structure",
        (
            Measure("trees that differ in structure", 76),
            Measure("leaf values, largest / std", 0.81, where="tree 24, leaf 3"),
            Measure("leaf values, median of those that differ", 3, "ULP"),
        ),
        first,
        tuple(f"parameters: [num_threads: {i}] → [num_threads: 1]" for i in range(12)),
        (
            Difference("structure", DRIFTED, "76 of 100 trees differ in structure", first=first),
            Difference("feature_infos", CLOSE, "2 of 60 values differ"),
            Difference(
                "tree by tree",
                DRIFTED,
                "76 of 100 trees differ, the first is tree 24; 50 are listed",
                children=listed,
                runs=((24, Verdict.EQUIVALENT), (76, DRIFTED)),
            ),
        ),
        "lightgbm",
        3400,
        Distribution("of the leaf spread", 1896, {-16: 80, -15: 201, -9: 3, -3: 122, -2: 300}, 2),
    )


def _net() -> Difference:
    sizes = Distribution("of the standard deviation", 3196, {-9: 400, -8: 500})
    tensors = tuple(
        Difference(f"block.{i}.out.weight", CLOSE, "900 of 4096 values differ", distribution=sizes)
        if i % 7 == 3 or i > 40
        else Difference(f"block.{i}.out.weight", IDENTICAL)
        for i in range(48)
    )
    return Difference("net", CLOSE, "13 of 48 tensors differ", children=tensors, compared=196608)


def _metrics() -> Difference:
    return Difference(
        "metrics.json",
        DRIFTED,
        "2 of 3 values differ",
        children=(
            Difference("auc", DRIFTED, "0.9903420000000001 → 0.98744"),
            Difference("binary_logloss", DRIFTED, "0.117984 → 0.156991"),
        ),
        comparator="numbers",
        compared=3,
    )


def _predicted() -> Predicted:
    deltas = (
        Delta("auc", 0.990342, 0.98744, -0.0049, -0.0009, 0.0021, 1000),
        Delta("logloss", 0.117984, 0.156991, 0.021, 0.058, 0.009, 1000),
        Delta("accuracy", 0.951, 0.9515, -0.0021, 0.0032, 0.0034, 1000),
    )
    rows = "valid_0 of lightgbm.train"
    place = ("row 812", "row 0")
    return Predicted(
        "lightgbm/model.txt", rows, 4000, 1, 0.171, 0.3321, *place, 31, 0.99312, deltas
    )


def _noise() -> Noise:
    made = random.Random(1)
    auc = (*(0.982 + 0.0011 * i for i in range(9)), 0.99034)
    loss = tuple(made.gauss(0.14, 0.012) for _ in range(10))
    names = ("lightgbm/metrics.json: auc", "lightgbm/metrics.json: binary_logloss")
    return Noise(
        repeats=3,
        identical=3,
        machine="AMD EPYC 7763, 8 threads",
        artifacts=(
            Repeated(
                "lightgbm/model.txt", IDENTICAL, (Measure("leaf values, largest / std", 0.0),)
            ),
        ),
        ensemble=Ensemble(
            "params.yaml: train.seed",
            tuple(range(40, 50)),
            42,
            dict(zip(names, (auc, loss), strict=True)),
            dict(zip(names, (0.990342, 0.117984), strict=True)),
        ),
        measured="2026-11-20T10:11:12Z",
    )


def _attribution() -> Attribution:
    repeat = "identical to the first rebuild: the training is deterministic here"
    return Attribution(
        "threads",
        ANSWER,
        (
            Tried("repeat", "the same rebuild once more", DRIFTED, 2.7, False, repeat),
            Tried("threads", "8 threads, as recorded", IDENTICAL, 3.1, True),
            Tried("CPU features", "OPENBLAS_CORETYPE=Haswell", None, note="OpenBLAS is not there"),
        ),
        ("GOSS depends on the thread count, also with deterministic=true",),
        ("the processor: AMD EPYC 7763 → Intel Xeon 8480+",),
    )


def _nasty(text: str) -> Difference:
    below = Difference(text, DRIFTED, f"{text} → {text}", first=text, metadata=(text,))
    measures = (Measure(text, math.nan, text, text), Measure(text, math.inf, text, text))
    sizes = Distribution(text, 1, {-320: 1, 308: 2}, 1)
    return Difference(text, DRIFTED, text, measures, text, (text,), (below,) * 9, text, 1, sizes)
