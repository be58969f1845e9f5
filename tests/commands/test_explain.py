"""`mlrepro rebuild --explain`: each planted cause is named, and a search can be gone on with."""

from __future__ import annotations

import itertools
import json
import math
import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro.capture import machine
from mlrepro.cleanroom.factors import Factors
from mlrepro.commands import bisection, explainstate, locktoggle, signatures
from mlrepro.commands.explaining import Progress, Search, explain
from mlrepro.commands.locktoggle import Between
from mlrepro.commands.rebuild import rebuild
from mlrepro.commands.refs import Target
from mlrepro.commands.remaking import How
from mlrepro.commands.trials import Context
from mlrepro.drift import ArtifactDrift, Change, Difference, DriftReport, Verdict
from mlrepro.errors import InconclusiveError, RestoreError, TrainingFailedError
from mlrepro.evidence import Attribution, Tried
from mlrepro.locks import Lock, Requirement
from mlrepro.manifest import (
    Digest,
    Fit,
    Generator,
    Manifest,
    Platform,
    Role,
    Run,
    Status,
    ThreadPool,
    Variables,
)
from mlrepro.present import data as json_form
from mlrepro.present import text
from mlrepro.stores import git, ledgerlocks
from mlrepro.stores.place import Place
from tests.cleanroom import wheels

RUN = Run(("python", "train.py"), "2026-11-21T12:00:00Z", Status.COMPLETED, seconds=10.0)
SEEDED = Variables({"PYTHONHASHSEED": "7"})
BASE = Path(os.path.realpath(sys.executable))


@dataclass
class Lab:
    """A training that is made up: what it makes is what `train` says of a `How`."""

    root: Path
    train: object
    record: Manifest = field(default_factory=lambda: Manifest(RUN, variables=SEEDED))
    recorded: str = "recorded"
    facts: dict = field(default_factory=dict)
    made: list = field(default_factory=list)
    told: list = field(default_factory=list)

    def attempt(self, how: How) -> DriftReport:
        assert how.brief
        self.made.append(how)
        return self.report(how)

    def report(self, how: How) -> DriftReport:
        content = self.train(how)
        verdict = content if isinstance(content, Verdict) else Verdict.DRIFTED
        verdict = Verdict.IDENTICAL if content == self.recorded else verdict
        found = Difference("model.txt", verdict, "", comparator="lightgbm", first=str(content))
        model = ArtifactDrift("model.txt", Role.WEIGHTS, True, found, rebuilt=str(content))
        return DriftReport(self.record.id, "", (model,), seconds=10.0, **self.facts)

    def explain(self, how: How | None = None, max_time: float | None = None) -> Attribution | None:
        how = how or How()
        report = self.report(how)
        target = Target(self.record)
        here, search = Place(self.root, None), Search(max_time)
        return explain(here, target, how, report, self.attempt, search, notify=self.told.append)


def lab(tmp_path, train, **record) -> Lab:
    facts = record.pop("facts", {})
    return Lab(tmp_path, train, Manifest(RUN, **{"variables": SEEDED, **record}), facts=facts)


def tried(found: Attribution) -> list[tuple[str, str, bool]]:
    return [(one.factor, str(one.verdict), one.restores) for one in found.tried]


def forced(how: How, *keys: str):
    value = how.factors.forced
    for key in keys:
        value = value.get(key, {})
    return value


def test_there_is_nothing_to_explain_where_no_number_moved(tmp_path):
    assert lab(tmp_path, lambda _how: "recorded").explain() is None
    assert lab(tmp_path, lambda _how: Verdict.EQUIVALENT).explain() is None
    assert lab(tmp_path, lambda _how: Verdict.CLOSE).explain() is not None


def test_the_recorded_thread_count_is_the_first_that_is_tried(tmp_path):
    one = lab(
        tmp_path,
        lambda how: "recorded" if how.threads else "other",
        threads=(ThreadPool("openmp", "libgomp.so", 8),),
    )

    found = one.explain(How(threads=False))

    assert found.cause == "thread count"
    assert found.sentence == "thread count: with the recorded 8 threads the model is identical"
    assert tried(found) == [("repeat", "drifted", False), ("threads", "identical", True)]
    assert found.tried[0].note == "the same as before: it repeats itself on this machine"
    assert found.finished
    assert one.told[0].startswith("explain 1 of about 3: repeat: once more, nothing changed (about")
    assert one.told[1].startswith("explain 2 of about 3: threads: 8, as recorded (about")


def test_a_fit_that_asks_for_all_cores_is_told_the_recorded_count(tmp_path):
    one = lab(
        tmp_path,
        lambda how: "recorded" if forced(how, "lightgbm", "num_threads") == 8 else "other",
        fits=(
            Fit(
                "LGBMClassifier.fit",
                threads=8,
                params={"force_col_wise": True, "deterministic": True},
            ),
        ),
        facts={"training": (Change("LGBMClassifier.fit: threads", "8", "2"),)},
    )

    found = one.explain()

    assert found.sentence == "thread count: with the recorded 8 threads the model is identical"
    assert len(found.tried) == 2


def test_most_of_a_drift_is_said_to_be_most_of_it(tmp_path):
    one = lab(
        tmp_path,
        lambda how: Verdict.CLOSE if how.threads else "other",
        threads=(ThreadPool("openmp", "libgomp.so", 8),),
    )

    found = one.explain(How(threads=False))

    assert found.sentence == (
        "thread count: with the recorded 8 threads the model is close instead of drifted, so that"
        " is most of it"
    )


def test_the_code_of_head_is_the_cause_where_the_recorded_code_brings_the_result_back(tmp_path):
    one = lab(
        tmp_path,
        lambda how: "other" if how.head else "recorded",
        facts={"code": (Change("train.py", "1", "2"),)},
    )

    found = one.explain(How(head=True))

    assert found.sentence == "code: with the recorded code of train.py the model is identical"


@pytest.mark.parametrize("way", ["row", "col"])
def test_row_and_column_wise_histograms_are_tried_where_lightgbm_chose_by_itself(tmp_path, way):
    def train(how):
        return "recorded" if forced(how, "lightgbm", f"force_{way}_wise") is True else "other"

    one = lab(tmp_path, train, fits=(Fit("lightgbm.train", threads=2),))

    assert one.explain().sentence == (
        f"LightGBM row- or column-wise: with force_{way}_wise=true the model is identical"
    )
    told = Fit("lightgbm.train", threads=2, params={"force_row_wise": True})
    one = lab(tmp_path, train, fits=(told,))
    assert one.explain().cause == "unattributed"
    assert not [how for how in one.made if forced(how, "lightgbm", f"force_{way}_wise") is True]


def test_what_may_be_chance_is_tried_more_than_once(tmp_path):
    flips = iter("aabaaaaaaaaaaa")
    one = lab(tmp_path, lambda _how: next(flips), fits=(Fit("lightgbm.train", threads=2),))
    one.recorded = "b"

    found = one.explain()

    assert [(t.factor, str(t.verdict)) for t in found.tried[:2]] == [
        ("repeat", "drifted"),
        ("repeat", "identical"),
    ]
    assert found.tried[1].note.startswith("not the same as before")
    assert "adds up in the order in which they finish" in found.signatures[0]


def test_what_came_back_once_and_not_again_is_no_cause(tmp_path):
    flips = iter("aaaaba")
    one = lab(tmp_path, lambda _how: next(flips), fits=(Fit("lightgbm.train", threads=2),))
    one.recorded = "b"

    found = one.explain()

    assert found.cause == "unattributed"
    assert "brought the recorded result back once, and not again" in found.sentence


def counter():
    """Return something that is another one each time."""
    numbers = iter(range(1000))
    return lambda: f"other {next(numbers)}"


def test_an_unseeded_generator_is_named_with_its_line(tmp_path):
    chance = counter()
    one = lab(
        tmp_path,
        lambda how: f"seeded {seed}" if (seed := forced(how, "seed")) else chance(),
        generators=(Generator("numpy", True), Generator("numpy default_rng", False,
                                                        where="train.py:12")),
    )  # fmt: skip

    found = one.explain()

    assert found.cause == "unseeded generator"
    assert found.sentence.startswith(
        "unseeded generator: numpy default_rng at train.py:12 was not seeded; with a seed the"
        " training repeats itself"
    )
    assert [one.factor for one in found.tried] == ["repeat", "seeds", "seeds"]
    assert found.tried[0].note.startswith("not the same as before")
    assert (found.tried[2].restores, found.tried[2].note) == (True, "the same twice")


def test_a_hash_seed_that_was_not_recorded_is_the_cause_where_a_fixed_one_ends_the_drift(tmp_path):
    chance = counter()
    one = lab(
        tmp_path,
        lambda how: "fixed" if "PYTHONHASHSEED" in how.factors.variables else chance(),
        variables=Variables({"PYTHONHASHSEED": "random"}),
    )

    assert one.explain().sentence.startswith(
        "hash-seed order: with a fixed PYTHONHASHSEED the training repeats itself; it was random"
    )


def test_a_race_is_the_cause_where_one_thread_ends_the_drift(tmp_path):
    chance = counter()
    one = lab(
        tmp_path,
        lambda how: "alone" if how.factors.variables.get("OMP_NUM_THREADS") == "1" else chance(),
        fits=(Fit("xgboost.train", threads=4, params={"booster": "gblinear"}),),
    )

    found = one.explain()

    assert found.sentence == (
        "race between threads: with 1 thread the training repeats itself, with 4 it does not"
    )
    assert forced(one.made[-1], "xgboost") == {"nthread": 1}
    assert "gblinear with the updater shotgun is a race" in found.signatures[0]


def test_several_sources_of_randomness_are_said_to_be_several(tmp_path):
    chance = counter()

    def train(how):
        single = how.factors.variables.get("OMP_NUM_THREADS") == "1"
        return "fixed" if single and forced(how, "seed") else chance()

    found = lab(tmp_path, train, generators=(Generator("python", False),)).explain()

    assert found.cause == "several sources of randomness"


def test_a_training_that_never_repeats_itself_is_unattributed_and_says_so(tmp_path):
    chance = counter()
    fit = Fit("flaml AutoML.fit", budget="time_budget=60", threads=1)
    found = lab(tmp_path, lambda _how: chance(), fits=(fit,)).explain()

    assert found.cause == "unattributed"
    assert "does not repeat itself on this machine" in found.sentence
    assert "time_budget=60" in found.sentence
    assert any("the clock, by which flaml AutoML.fit" in one for one in found.unrestored)


NAMES = ("numpy", "pandas", "scikit-learn", "tqdm", "joblib")


def environments() -> Between:
    def requirements(version):
        return tuple(Requirement(name, version) for name in NAMES)

    nowhere = Digest("sha256", "0" * 64)
    recorded = Lock(nowhere, "3.11.7", "cpython", (*requirements("1.0"), Requirement("six", "1")))
    present = {one.name: one for one in requirements("2.0")}
    return Between(recorded, present, "3.11.7", NAMES, dict.fromkeys(NAMES, "2.0"))


def packaged(tmp_path, monkeypatch, guilty: set[str]) -> Lab:
    def train(how):
        if how.factors.lock is None:
            return "other"
        had = {one.name: one.version for one in how.factors.lock.requirements}
        assert had["six"] == "1"
        return "recorded" if all(had[name] == "1.0" for name in guilty) else "other"

    monkeypatch.setattr(locktoggle, "_between", lambda _ctx: environments())
    changes = tuple(Change(f"package {name}", "1.0", "2.0") for name in NAMES)
    return lab(tmp_path, train, facts={"environment": changes})


@pytest.mark.parametrize("name", NAMES)
def test_one_package_among_five_is_found_by_bisection(tmp_path, monkeypatch, name):
    one = packaged(tmp_path, monkeypatch, {name})

    found = one.explain(How(env="current"))

    assert found.cause == f"package {name}"
    assert found.sentence == (
        f"package {name}: with the recorded {name} 1.0 instead of 2.0 the model is identical"
    )
    assert len(found.tried) <= 1 + 1 + math.ceil(math.log2(5)) + 1
    shown = next(one for one in found.tried if one.restores)
    assert shown.what == f"{name} 1.0, as recorded, the other 4 as they are here"


def test_packages_that_matter_together_are_named_together(tmp_path, monkeypatch):
    found = packaged(tmp_path, monkeypatch, {"numpy", "tqdm"}).explain(How(env="current"))

    assert found.sentence == (
        "packages numpy and tqdm: with the recorded numpy 1.0, tqdm 1.0 together the model is"
        " identical, and with no fewer of them"
    )


def test_files_that_were_edited_here_are_told_from_other_versions(tmp_path, monkeypatch):
    for guilty, cause in (({"numpy"}, "files of numpy"), ({"tqdm"}, "package tqdm")):
        one = packaged(tmp_path / cause, monkeypatch, guilty - {"numpy"})
        between = environments()
        present = {**between.present, "numpy": Requirement("numpy", "1.0")}
        versions = {**between.versions, "numpy": "1.0"}
        edited = replace(between, present=present, versions=versions)
        monkeypatch.setattr(locktoggle, "_between", lambda _ctx, it=edited: it)

        found = one.explain(How(env="current"))

        assert found.cause == cause
    assert found.sentence.startswith("package tqdm: with the recorded tqdm 1.0 instead of 2.0")


def test_where_all_recorded_packages_do_not_help_no_single_one_is_tried(tmp_path, monkeypatch):
    one = packaged(tmp_path, monkeypatch, set())
    one.recorded = "something else"

    found = one.explain(How(env="current"))

    assert found.cause == "unattributed"
    assert [t.factor for t in found.tried].count("packages") == 1
    assert not found.unrestored, "they were brought back, in vain"


def test_a_lock_that_is_not_to_be_had_is_said_to_be_missing(tmp_path, monkeypatch):
    def none(_ctx):
        raise RestoreError("its lock is not in the ledger")

    one = packaged(tmp_path, monkeypatch, {"numpy"})
    monkeypatch.setattr(locktoggle, "_between", none)

    found = one.explain(How(env="current"))

    assert found.unrestored == ("the recorded packages: its lock is not in the ledger",)
    assert found.sentence.endswith(": its lock is not in the ledger")


def test_an_older_processor_is_put_on_by_variables(tmp_path, monkeypatch):
    now = Platform(machine="x86_64", cpu_features=("avx", "avx2", "avx512f", "fma"))
    monkeypatch.setattr(machine, "platform", lambda: now)
    pools = (ThreadPool("mkl", "libmkl_rt.so", 1),)

    def train(how):
        return "recorded" if "GLIBC_TUNABLES" in how.factors.variables else "other"

    one = lab(
        tmp_path,
        train,
        platform=Platform(machine="x86_64", cpu_features=("avx", "fma")),
        threads=pools,
        facts={"environment": (Change("openblas kernel", "Nehalem", "Haswell"),)},
    )

    found = one.explain()

    given = one.made[1].factors.variables
    assert given["OPENBLAS_CORETYPE"] == "Nehalem"
    assert given["NPY_DISABLE_CPU_FEATURES"] == "AVX2 X86_V3 AVX512F X86_V4"
    assert given["GLIBC_TUNABLES"].startswith("glibc.cpu.hwcaps=-AVX2,")
    assert given["MKL_CBWR"] == "AVX"
    assert found.cause == "CPU features"
    assert found.sentence.startswith("CPU features: with GLIBC_TUNABLES=")
    assert found.sentence.endswith("as the recorded processor the model is identical")


def test_what_a_newer_processor_had_cannot_be_put_on(tmp_path, monkeypatch):
    now = Platform(machine="x86_64", cpu_features=("avx",))
    monkeypatch.setattr(machine, "platform", lambda: now)
    change = Change("CPU features", "avx512f", "none besides")
    had = Platform(machine="x86_64", cpu_features=("avx", "avx512f"))
    one = lab(tmp_path, lambda _how: "other", platform=had, facts={"environment": (change,)})

    found = one.explain()

    assert found.cause == "unattributed"
    assert found.unrestored == ("CPU features: avx512f → none besides",)
    assert found.sentence == (
        "unattributed: the training repeats itself on this machine, and none of 2 changes brought"
        " the recorded result back; not restored: CPU features: avx512f → none besides"
    )


def test_a_trial_that_fails_is_told_and_is_not_the_end(tmp_path):
    def train(how):
        if forced(how, "lightgbm", "force_row_wise") is True:
            raise TrainingFailedError("the training failed", hint="It said:\nValueError: no")
        return "recorded" if forced(how, "lightgbm") else "other"

    one = lab(tmp_path, train, fits=(Fit("lightgbm.train", threads=1),))

    found = one.explain()

    assert tried(found)[1:] == [
        ("row- or column-wise", "None", False),
        ("row- or column-wise", "identical", True),
    ]
    assert found.tried[1].note == "the training failed: ValueError: no"


def test_a_training_that_fails_each_further_time_is_not_said_to_repeat_itself(tmp_path):
    made = []

    def train(_how):
        made.append(1)
        if len(made) > 1:
            raise TrainingFailedError("the training failed")
        return "other"

    found = lab(tmp_path, train, threads=(ThreadPool("openmp", "x", 1),)).explain()

    assert found.sentence == (
        "unattributed: the training could not be repeated here, and no factor could be changed"
    )
    assert [one.verdict for one in found.tried] == [None]


def stopping(one: Lab, after: int) -> Lab:
    """Let a search be killed in the middle of a trial."""
    train = one.train

    def killed(how):
        if len(one.made) > after:
            raise KeyboardInterrupt
        return train(how)

    return replace(one, train=killed, made=one.made)


def test_a_search_that_was_killed_goes_on_from_there(tmp_path, monkeypatch):
    one = packaged(tmp_path, monkeypatch, {"tqdm"})
    with pytest.raises(KeyboardInterrupt):
        stopping(one, 3).explain(How(env="current"))
    before = list(one.made)
    one.made.clear()

    found = one.explain(How(env="current"))

    assert found.cause == "package tqdm"
    assert len(before) == 4
    assert len(before) - 1 + len(one.made) == len(found.tried)
    one.made.clear()
    assert one.explain(How(env="current")) == found, "whoever asks again is told at once"
    assert not one.made


def test_another_environment_begins_anew_and_so_does_a_damaged_file(tmp_path):
    one = lab(tmp_path, lambda _how: "other")
    one.explain()
    number = len(one.made)
    one.explain(How(env="current"))
    assert len(one.made) == 2 * number
    one.facts = {"environment": (Change("cores", "2", "4"),)}
    one.explain()
    assert len(one.made) == 3 * number

    files = list((tmp_path / ".mlrepro/explain").iterdir())
    assert len(files) == 3
    for damage in ("", "{", "[]", '{"form": 1}', '{"form": 1, "trials": {"a": {"verdict": 99}}}',
                   '{"form": 1, "trials": {"a": {"verdict": 1, "prints": 3}}}'):  # fmt: skip
        for path in files:
            path.write_text(damage)
        one.made.clear()
        assert one.explain().cause == "unattributed"
        assert len(one.made) == number, damage


def test_two_searches_at_once_keep_what_both_have_tried(tmp_path):
    one = lab(tmp_path, lambda _how: "other")
    arguments = Place(tmp_path, None), Target(one.record), How(), one.report(How())
    first, second = explainstate.opened(*arguments), explainstate.opened(*arguments)

    first.add("a", Context(*arguments, print).first)
    second.add("b", Context(*arguments, print).first)

    assert set(explainstate.opened(*arguments).outcomes) == {"a", "b"}
    assert set(second.outcomes) == {"a", "b"}


def test_no_training_begins_that_would_end_too_late(tmp_path):
    one = lab(tmp_path, lambda _how: "other", fits=(Fit("lightgbm.train", threads=2),))

    found = one.explain(max_time=5.0)  # it takes 10 s

    assert not one.made
    assert (found.finished, found.cause) == (False, "unattributed")
    assert found.sentence == (
        "not finished: time ran out after 0 of about 7 trials, each of about 12 s; the same command"
        " goes on from there"
    )
    assert one.explain(max_time=3600.0).finished


def test_a_search_that_ends_while_it_narrows_says_what_it_has_found(tmp_path, monkeypatch):
    one = packaged(tmp_path, monkeypatch, {"numpy"})
    clock, spent = time.monotonic, itertools.count(0, 20)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + next(spent))

    found = one.explain(How(env="current"), max_time=85.0)

    assert not found.finished
    back = next(tried for tried in found.tried if str(tried.verdict) == "identical")
    assert found.sentence.endswith(f"goes on from there; so far: packages: {back.what}: identical")


def test_the_trial_that_goes_on_stays_in_sight_while_it_trains():
    told = []
    progress = Progress(told.append)

    progress.begin("explain 2 of about 4: packages: numpy 1.0 (about 9 s left)")
    for step in ("making the recorded environment", "training (it took 3 s when it was recorded)"):
        progress.within(step)

    assert told == [
        "explain 2 of about 4: packages: numpy 1.0 (about 9 s left)",
        "explain 2 of about 4: making the recorded environment",
        "explain 2 of about 4: packages: numpy 1.0 (about 9 s left)",
    ]


def test_an_environment_that_cannot_be_made_is_tried_again_the_next_time(tmp_path, monkeypatch):
    one = packaged(tmp_path, monkeypatch, {"numpy"})
    train = one.train

    def offline(how):
        if how.factors.lock:
            raise InconclusiveError("no index answers")
        return train(how)

    one.train = offline
    found = one.explain(How(env="current"))
    assert found.unrestored == ("the recorded packages: no index answers",)

    one.train = train
    assert one.explain(How(env="current")).cause == "package numpy"


def narrowed(asking, guilty: set[int], asked: list) -> tuple[int, ...]:
    try:
        part = next(asking)
        while True:
            asked.append(part)
            part = asking.send(guilty <= set(part))
    except StopIteration as stop:
        return stop.value


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_bisection_finds_exactly_what_is_needed(sizes):
    number, guilty = sizes
    guilty = guilty or {number - 1}
    asked = []
    found = narrowed(bisection.smallest(range(number)), guilty, asked)

    assert set(found) == guilty
    assert len(set(asked)) == len(asked)
    if len(guilty) == 1:
        assert len(asked) <= math.ceil(math.log2(number)) + 1


GOSS = "LightGBM's GOSS depends on the thread count, even with deterministic=true"


@pytest.mark.parametrize(
    ("fit", "words"),
    [
        (Fit("lightgbm.train", params={"boosting": "goss", "deterministic": True}), GOSS),
        (Fit("LGBMRegressor.fit", params={"data_sample_strategy": "goss"}), GOSS),
        (Fit("lightgbm.train", params={"use_quantized_grad": "true"}), "quantised gradients"),
        (Fit("lightgbm.train", params={"deterministic": True, "force_col_wise": True}),
         "deterministic and column-wise here: the thread count does not matter"),
        (Fit("lightgbm.train", threads=4), "deterministic=true and force_col_wise=true"),
        (Fit("XGBRegressor.fit", params={"booster": "gblinear"}), "shotgun is a race"),
        (Fit("xgboost.train", params={"tree_method": "hist"}), "changed in 3.3: 3.2.0 → 3.4.1"),
        (Fit("xgboost.train"), "depends on the order of rows"),
        (Fit("optuna Study.optimize", budget="timeout=60"), "time budget (timeout=60)"),
    ],
)  # fmt: skip
def test_signatures_are_known_without_a_trial(tmp_path, fit, words):
    one = lab(
        tmp_path,
        lambda _how: "other",
        fits=(fit,),
        facts={"environment": (Change("package xgboost", "3.2.0", "3.4.1"),)},
    )
    ctx = Context(Place(tmp_path, None), Target(one.record), How(), one.report(How()), print)

    assert any(words in found.sentence for found in signatures.of(ctx))


def test_no_signature_is_told_of_what_it_is_not(tmp_path):
    fits = (
        Fit("xgboost.train", params={"booster": "gblinear", "updater": "coord_descent"}),
        Fit("xgboost.train", params={"tree_method": "exact"}),
        Fit("lightgbm.train", threads=1),
        Fit("sklearn Ridge.fit"),
    )
    one = lab(tmp_path, lambda _how: "other", fits=fits)
    ctx = Context(Place(tmp_path, None), Target(one.record), How(), one.report(How()), print)

    assert signatures.of(ctx) == ()


ATTRIBUTION = Attribution(
    "thread count",
    "thread count: with the recorded 8 threads the model is identical",
    (
        Tried("repeat", "once more, nothing changed", Verdict.DRIFTED, 5.25, note="the same"),
        Tried("packages", "numpy 1.0, as recorded", None, 1.0, note="no index answers"),
        Tried("threads", "8, as recorded", Verdict.IDENTICAL, 4.5, restores=True),
    ),
    (GOSS,),
    ("CPU: one → \x1b[2Jother",),
)


@pytest.mark.parametrize("width", [60, 120, None])
def test_what_was_tried_is_a_table_and_ends_in_the_sentence(tmp_path, width):
    report = replace(lab(tmp_path, lambda _how: "x").report(How()), attribution=ATTRIBUTION)

    shown = text.render(report, width=width)

    lines = [line.strip() for line in shown.splitlines()]
    flat = " ".join(lines)
    assert f"why: {ATTRIBUTION.sentence}" in flat
    assert GOSS in flat
    assert "not made" in flat
    assert "no index answers" in flat
    assert "\x1b" not in shown
    assert flat.index("8, as recorded") < flat.index("this is it") < flat.index("why:")
    if width == 120:
        assert [line.split() for line in lines if line.startswith("threads")] == [
            ["threads", "8,", "as", "recorded", "identical", "4.5", "s"]
        ]
    assert width is None or max(map(len, shown.splitlines())) <= width


def test_the_json_has_the_attribution(tmp_path):
    report = replace(lab(tmp_path, lambda _how: "x").report(How()), attribution=ATTRIBUTION)

    data = json.loads(json_form.to_json(report))["attribution"]

    assert data["cause"] == "thread count"
    assert [one["verdict"] for one in data["tried"]] == ["drifted", None, "identical"]


# From here on trainings are real, and causes are planted in them.


def explained(project, *, how: How | None = None) -> Attribution:
    how = replace(how or How(), brief=True)
    report = rebuild("last", start=project.root, how=how, search=Search())
    assert report.attribution, report
    return report.attribution


# Without what LightGBM imports for its guests alone, it is there in a fifth of the time.
ALONE = """
import sys
sys.modules.update(dict.fromkeys(("sklearn", "pandas", "pyarrow", "dask", "matplotlib")))
"""
SAMPLED = f"""{ALONE}
import lightgbm, numpy
x = numpy.random.default_rng(0).normal(size=(4000, 10))
params = dict(verbosity=-1, learning_rate=0.5, data_sample_strategy="goss", deterministic=True)
lightgbm.train(params, lightgbm.Dataset(x, x[:, 0]), 6).save_model("model.txt")
"""


def test_goss_under_another_count_of_threads_is_named(project, monkeypatch):
    project.write("train.py", SAMPLED)
    project.commit()
    recorded = {"OMP_WAIT_POLICY": "passive", "OMP_NUM_THREADS": "4"}
    project.mlrepro("run", "python", "train.py", check=True, env=recorded)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the machine that rebuilds

    found = explained(project, how=How(threads=False))

    assert found.sentence == "thread count: with the recorded 4 threads the model is identical"
    assert GOSS in found.signatures
    assert [one.factor for one in found.tried] == ["repeat", "threads"]


# LightGBM 4.7 gives the same numbers by rows and by columns, so they are made to matter.
WISE = f"""{ALONE}
import json, lightgbm, numpy
x = numpy.random.default_rng(0).normal(size=(100, 3))
model = lightgbm.train(dict(verbosity=-1, num_threads=1), lightgbm.Dataset(x, x[:, 0]), 2)
columns = "[force_col_wise: 1]" in model.model_to_string()
json.dump([0.25 if columns else 0.75], open("metrics.json", "w"))
"""


def test_columns_where_the_run_had_columns_and_the_rebuild_rows_are_named(project):
    project.write("train.py", WISE)
    project.commit()
    columns = json.dumps({"lightgbm": {"force_col_wise": True}})
    project.mlrepro("run", "python", "train.py", check=True, env={"MLREPRO_FORCE": columns})
    rows = Factors(forced={"lightgbm": {"force_row_wise": True, "force_col_wise": False}})

    found = explained(project, how=How(factors=rows))

    assert found.sentence == (
        "LightGBM row- or column-wise: with force_col_wise=true the result is identical"
    )
    assert [one.factor for one in found.tried] == ["repeat", "row- or column-wise"]


HASHED = """
import json
weights = {"a": 0.1, "b": 0.7, "c": 1e-17, "d": 0.3, "e": 3.3e-3, "f": 1e16, "g": -1e16}
json.dump({"order": [weights[name] for name in set(weights)]}, open("model.json", "w"))
"""


def test_the_order_of_sets_is_named(project):
    project.write("train.py", HASHED)
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True, env={"PYTHONHASHSEED": "random"})

    found = explained(project)

    assert found.cause == "hash-seed order"
    assert "it was random when it was recorded" in found.sentence


def test_an_unseeded_generator_of_numpy_is_named(project):
    project.write(
        "train.py",
        "import json\nimport numpy\n\nrng = numpy.random.default_rng()\n"
        "json.dump(rng.normal(size=9).tolist(), open('model.json', 'w'))\n",
    )
    project.commit()
    project.mlrepro("run", "python", "train.py", check=True)

    found = explained(project)

    assert found.cause == "unseeded generator"
    assert "numpy default_rng at train.py:4 was not seeded" in found.sentence


CAPPED = """
import numpy
rng = numpy.random.default_rng(0)
x = rng.normal(size=(200, 30)); y = x @ rng.normal(size=30)
numpy.save("model.npy", numpy.linalg.solve(x.T @ x, x.T @ y))
"""
# Set in C, where no Python sees it: as if the processor had had nothing better.
OLDER = 'import ctypes; ctypes.CDLL(None).setenv(b"OPENBLAS_CORETYPE", b"Nehalem", 1)\n'


def test_the_kernels_of_an_older_processor_are_named(project, tmp_path):
    if "avx" not in machine.platform().cpu_features:
        pytest.skip("this processor has no newer kernels than the planted ones")
    (tmp_path / "older").mkdir()
    (tmp_path / "older/sitecustomize.py").write_text(OLDER)
    project.write("train.py", CAPPED)
    project.commit()
    older = {"PYTHONPATH": str(tmp_path / "older")}
    project.mlrepro("run", "python", "train.py", check=True, env=older)

    found = explained(project)

    assert found.cause == "CPU features"
    assert "with OPENBLAS_CORETYPE=Nehalem, the recorded kernel, instead of" in found.sentence
    assert found.sentence.endswith("the result is identical")


FIVE = ("alib", "blib", "numlib", "ylib", "zlib2")


def test_a_package_downgrade_among_five_changed_ones_is_named(project, tmp_path, monkeypatch):
    links = tmp_path / "wheels"
    for version in ("1.0", "2.0"):
        for name in FIVE:
            weight = f"WEIGHT = {version if name == 'numlib' else '1.0'}\n"
            wheels.wheel(links, name, version, {f"{name}.py": weight})
    prefixes = [
        wheels.made(tmp_path / who, *(f"{name}=={version}" for name in FIVE), links=links,
                    python=BASE)
        for who, version in (("ann", "2.0"), ("other", "1.0"))
    ]  # fmt: skip
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(links))
    path = os.environ["PATH"].split(os.pathsep, 1)[1]
    imported = "\n".join(f"import {name}; total += {name}.WEIGHT" for name in FIVE)
    project.write("train.py", f"import json\ntotal = 0\n{imported}\n"
                  "json.dump([total], open('model.json', 'w'))\n")  # fmt: skip
    project.commit()
    for prefix in reversed(prefixes):
        active = {"VIRTUAL_ENV": str(prefix), "PATH": f"{prefix}/bin:{path}"}
        if prefix is prefixes[0]:
            project.mlrepro("run", "python", "train.py", check=True, env=active)
    ledgerlocks.put(git.open_repository(project.root), wheels.lock_of(prefixes[0], links))
    for name, value in {
        "VIRTUAL_ENV": str(prefixes[1]),
        "PATH": f"{prefixes[1]}/bin:{path}",
    }.items():
        monkeypatch.setenv(name, value)

    found = explained(project, how=How(env="current"))

    assert found.cause == "package numlib"
    assert found.sentence == (
        "package numlib: with the recorded numlib 2.0 instead of 1.0 the result is identical"
    )
    assert len(found.tried) <= 6
