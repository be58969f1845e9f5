"""`mlrepro rebuild --dry-run`: what can be expected, said before any training."""

import json
import shutil
import sys
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import pytest

from mlrepro import manifest
from mlrepro.commands import expectations, preflight, sharing, surroundings
from mlrepro.commands.expectations import CLOSE, IMPOSSIBLE, NOTE, UNLIKELY, Expectation, Reason
from mlrepro.commands.preflight import Preflight
from mlrepro.errors import UvMissingError
from mlrepro.locks import Lock, Requirement
from mlrepro.manifest import (
    Change,
    CodeState,
    Edit,
    Environment,
    Fit,
    Generator,
    Manifest,
    Platform,
    Run,
    Status,
    ThreadPool,
    Variables,
)
from mlrepro.present import text
from mlrepro.stores import ledgerlocks, uv
from mlrepro.stores.place import strict
from tests.commands.test_run import TRAIN


@pytest.fixture
def trained(project):
    project.write("train.py", TRAIN)
    project.write("data.csv", "1\n2\n3\n")
    project.commit("training")
    project.mlrepro("run", "-n", "base", "python", "train.py", check=True)
    project.commit("model")
    return project


def dry(project, *arguments, **options):
    done = project.mlrepro("rebuild", "--dry-run", *arguments, "--json", **options)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def about(found: Preflight, what: str) -> list[tuple[Expectation, str]]:
    return [(r.expectation, r.sentence) for r in found.reasons if r.about == what]


def state(root: Path) -> dict[str, bytes]:
    """All files but mlrepro's and DVC's own caches, which may be lost at any time."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and not {".mlrepro", "tmp"} & set(path.relative_to(root).parts)
    }


def test_where_it_was_trained_bit_for_bit_is_expected(trained):
    before, refs = state(trained.root), trained.git("for-each-ref")

    code, found = dry(trained, "model.pkl")

    assert code == 0
    assert found["expectation"] == "bit for bit"
    assert {r["expectation"] for r in found["reasons"]} <= {"bit for bit"}
    assert found["ok"]
    assert found["seconds"] > 0
    assert found["bytes"] > 0
    assert state(trained.root) == before
    assert trained.git("for-each-ref") == refs
    assert not (trained.root.parent / "home/.cache/mlrepro/rooms").exists()


def test_what_it_prints_fits_the_terminal_and_shows_nothing_of_a_stranger(trained):
    reasons = (
        Reason("machine", CLOSE, "CPU features: avx512f → none besides: " + "word " * 20),
        Reason("inputs", IMPOSSIBLE, "not to be had: \x1b[2Kevil", "Ask \x07 for it."),
        Reason("environment", NOTE, "the active environment is the recorded one"),
    )
    found = Preflight("3f9a" * 16, "base", IMPOSSIBLE, reasons, "current", 4000.0, 3_400_000_000)

    narrow = text.render(found, width=60).splitlines()
    wide = text.render(found, width=120).splitlines()
    piped = text.render(found).splitlines()

    assert max(map(len, narrow)) <= 60
    assert max(map(len, wide)) <= 120
    assert len(piped) == 7
    for lines in (narrow, wide, piped):
        assert "\x1b" not in "".join(lines)
        assert lines[1].startswith("expected: impossible")
        assert "impossible" in lines[2]  # the worst reason comes first
    assert "67 min" in piped[-1]
    assert "3.4 GB" in piped[-1]


def test_an_input_that_is_nowhere_makes_it_impossible(trained):
    trained.write("extra.csv", "4\n")
    trained.write(".gitignore", "/extra.csv\n/model.pkl\n")
    trained.write("train.py", "open('extra.csv').read()\n" + TRAIN)
    trained.commit("extra")
    trained.mlrepro("run", "python", "train.py", check=True)
    trained.write("extra.csv", "5\n")
    edited = preflight.preflight("last")
    (trained.root / "extra.csv").unlink()
    shutil.rmtree(trained.root / ".dvc" / "cache")

    lost = preflight.preflight("last")
    code, shown = dry(trained, "last")

    assert edited.expectation is NOTE
    assert about(lost, "inputs") == [(IMPOSSIBLE, "not to be had: extra.csv")]
    assert "model.pkl" in about(lost, "artifacts")[0][1]
    assert code == 125
    assert shown["expectation"] == "impossible"


def test_a_fresh_clone_is_told_all_and_keeps_its_refs(trained, tmp_path):
    trained.call("git", "init", "-q", "--bare", str(tmp_path / "origin"))
    trained.git("remote", "add", "origin", "../origin")
    config = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {tmp_path}/store\n"
    trained.write(".dvc/config", config)
    trained.write("train.py", "# not committed\n" + TRAIN)
    trained.mlrepro("run", "-n", "base", "python", "train.py", check=True)
    trained.git("checkout", "train.py")
    trained.commit("model")
    trained.git("push", "-q", "origin", "main")
    clone = tmp_path / "clone"
    trained.call("git", "clone", "-q", str(tmp_path / "origin"), str(clone))
    before = preflight.preflight("model.pkl", start=clone)
    sharing.push(confirm=lambda _files: True)
    refs = trained.git("for-each-ref", cwd=clone)

    by_path, by_name = (preflight.preflight(ref, start=clone) for ref in ("model.pkl", "base"))

    assert "neither here nor on origin" in about(before, "code")[0][1]
    assert before.expectation is IMPOSSIBLE
    assert by_path == by_name
    assert by_path.expectation is NOTE
    assert about(by_path, "environment")[-1][1].startswith("the active environment is the recorded")
    assert trained.git("for-each-ref", cwd=clone) == refs
    assert trained.git("status", "--porcelain", cwd=clone) == ""


def test_of_several_the_worst_decides_and_an_unknown_one_is_a_usage_error(trained):
    trained.mlrepro("run", "-n", "failed", "python", "-c", "raise SystemExit(3)")

    code, found = dry(trained, "base", "failed")
    shown = trained.mlrepro("rebuild", "--dry-run", "base").stdout
    unknown = trained.mlrepro("rebuild", "--dry-run", "nobody")

    assert code == 0
    assert [one["name"] for one in found] == ["base", "failed"]
    assert "exit code 3" in found[1]["reasons"][0]["sentence"]
    assert "expected: bit for bit" in shown
    assert unknown.returncode == 2


def test_where_nothing_can_be_shown_absolute_paths_make_it_impossible(
    project, tmp_path, monkeypatch
):
    data = tmp_path / "warehouse" / "x.csv"
    data.parent.mkdir()
    data.write_text("1\n")
    moved = tmp_path / "nas" / "x.csv"
    script = (
        f"open({str(data)!r}).read()\nopen({str(project.root)!r} + '/m.json', 'w').write('1')\n"
    )
    project.write("train.py", script)
    project.commit("training")
    project.mlrepro("run", "python", "train.py", check=True)
    asked = []
    monkeypatch.setattr(preflight.mounts, "refusal", lambda binds: asked.append({*binds}) or "no")

    named = preflight.preflight("last")
    moved.parent.mkdir()
    data.rename(moved)
    project.write("mlrepro.toml", f'[paths]\n"{data.parent}" = "{moved.parent}"\n')
    mapped = preflight.preflight("last")

    assert asked == [{str(project.root)}, {str(project.root), str(data)}]
    assert about(named, "paths")[0][0] is IMPOSSIBLE
    assert about(mapped, "inputs") == []


def test_other_code_of_head_is_named(trained):
    trained.write("train.py", "import random\nrandom.random()\n" + TRAIN)
    trained.commit("unseeded")

    head, recorded = (preflight.preflight("base", head=head) for head in (True, False))

    assert about(head, "code") == [(UNLIKELY, "HEAD has other code: train.py")]
    assert recorded.expectation is NOTE


# -- rules that look at the record and the machine alone -----------------------------------------


def record(**fields) -> Manifest:
    run = Run(command=("python", "t.py"), started="2026-01-01T00:00:00Z", status=Status.COMPLETED)
    return Manifest(**{"run": run, "code": CodeState("a" * 40, "b" * 40), **fields})


HERE = Platform(
    machine="x86_64", cpu="A", cpu_features=("avx2", "fma"), caches=("L1d 32K",), libc="glibc 2.36",
    cores=8, affinity=8, memory=2**34,
)  # fmt: skip


@pytest.mark.parametrize(
    ("there", "expected", "word"),
    [
        ({}, None, ""),
        ({"host": "other", "kernel": "5.4", "system": "Fedora 44"}, None, ""),
        ({"cpu": "B"}, NOTE, "with the same features"),
        ({"cpu": "B", "cpu_features": ("avx2",)}, CLOSE, "CPU features"),
        ({"caches": ("L1d 48K",)}, CLOSE, "CPU caches"),
        ({"libc": "glibc 2.17"}, CLOSE, "C library"),
        ({"machine": "aarch64", "cpu_features": ("asimd",)}, UNLIKELY, "processor"),
        ({"gpu": ("H200 550",)}, CLOSE, "GPU"),
        ({"machine": ""}, CLOSE, "not known"),
    ],
)
def test_another_machine_means_what_its_difference_means(there, expected, word):
    old = record(platform=replace(HERE, **there))

    found = list(expectations.of_machine(old, HERE))

    assert max((e for e, *_ in found), default=None) == expected
    assert word in " ".join(sentence for _, sentence, *_ in found)


def test_a_blas_that_chooses_its_kernels_by_the_model_is_named_unless_it_is_told_which():
    pool = ThreadPool("openblas", "libopenblas.so", 8, "SkylakeX")
    old = record(platform=replace(HERE, cpu="B"), threads=(pool,))
    told = manifest.replace(old, variables=Variables({"OPENBLAS_CORETYPE": "Haswell"}))

    found, fixed = (list(expectations.of_machine(one, HERE)) for one in (old, told))

    assert found == [(CLOSE, "CPU: B → A: BLAS had its kernels for SkylakeX")]
    assert fixed[0][0] == NOTE


def test_threads_matter_only_where_they_are_not_restored():
    old = record(threads=(ThreadPool("openmp", "libgomp.so", 16),))
    race = Fit("xgboost.train", {"booster": "gblinear"}, threads=4)

    restored = list(expectations.of_threads(old, HERE, restored=True))
    current = list(expectations.of_threads(old, HERE, restored=False))
    racing = list(expectations.of_threads(record(fits=(race,)), HERE, restored=True))

    assert [e for e, *_ in restored] == [NOTE]
    assert CLOSE in [e for e, *_ in current]
    assert "no fixed order" in racing[0][1]


def test_what_no_rebuild_can_repeat_is_unlikely():
    budget = Fit("flaml AutoML.fit", budget="time_budget=60")
    old = record(
        fits=(budget,),
        generators=(Generator("numpy default_rng", seeded=False, where="train.py:12"),),
    )
    run = replace(old.run, stdin="pipe")
    code = CodeState("a" * 40, "b" * 40, edits=(Edit("model.py", "after"), Edit("x.py", "before")))

    random = list(expectations.of_randomness(old))
    fed = list(expectations.of_run(record(run=run, code=code)))

    assert [e for e, *_ in random] == [UNLIKELY, UNLIKELY]
    assert "train.py:12" in random[1][1]
    assert [e for e, *_ in fed] == [UNLIKELY, UNLIKELY]
    assert "model.py" in fed[1][1]


def test_an_interrupted_run_is_impossible():
    stopped = replace(record().run, status=Status.INTERRUPTED, signal=2)

    assert [e for e, *_ in expectations.of_run(record(run=stopped))] == [IMPOSSIBLE]


def test_an_absent_secret_is_named_and_a_terminals_variables_are_not():
    inherited = {"TERM": "0", "API_TOKEN": "secret", "CUDA_VISIBLE_DEVICES": "0", "HOME": "0"}
    old = record(variables=Variables(inherited=inherited))

    found = list(expectations.of_variables(old, {"HOME": "/root"}))

    assert [e for e, *_ in found] == [UNLIKELY, NOTE]
    assert "API_TOKEN" in found[0][1]
    assert found[1][1].endswith("CUDA_VISIBLE_DEVICES")


def test_blind_spots_count_where_a_result_may_depend_on_them():
    old = record(
        blind_spots=(
            "the network was used (example.org); what came from there is not recorded",
            "changed during the run, and no program was seen to do it: notes.txt",
        )
    )

    found = list(expectations.of_blind_spots(old))

    assert [e for e, *_ in found] == [CLOSE]
    assert "example.org" in found[0][1]


def test_too_little_memory_is_said():
    run = replace(record().run, peak_memory=2**35)

    assert "32.0 GiB" in next(expectations.of_memory(record(run=run), HERE))[1]


def test_too_little_space_makes_it_impossible(trained, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _p: usage(10, 10, 1))

    found = preflight.preflight("last")

    assert found.expectation is IMPOSSIBLE is max(r.expectation for r in found.reasons)
    assert found.reasons[-1].about == "disk"
    assert len({name for name, _ in preflight.RULES}) == len(preflight.RULES)


# -- the environment -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (Change("package xgboost", "3.2.0", "3.4.0"), UNLIKELY),
        (Change("package numpy", "1.26.4", "2.0.1"), CLOSE),
        (Change("content of numpy 2.0.1", "aa", "bb"), CLOSE),
        (Change("package requests", "2.0", "2.1"), NOTE),
        (Change("package requests", "not installed", "2.1"), None),
        (Change("package xgboost", "3.2.0", "not installed"), UNLIKELY),
        (Change("package lightgbm", "4.6.0", "not installed"), IMPOSSIBLE),
    ],
)
def test_a_package_counts_by_what_it_does(change, expected):
    old = record(fits=(Fit("lightgbm.train"),))

    found = list(surroundings._of_packages(old, (change,)))

    assert [e for e, *_ in found] == ([] if expected is None else [expected])


@pytest.fixture
def elsewhere(project):
    """A run that was recorded in another environment, whose lock is kept."""
    here = strict(project.root)
    digest = manifest.Digest("sha256", "0" * 64)
    pins = (
        Requirement("numpy", "1.26.4", ("sha256:" + "1" * 64,)),
        Requirement("torch", "2.4.0+cu121", unhashed="not on the index"),
        Requirement("mlrepro", "0.1.0", unhashed="local file"),
    )
    ledgerlocks.put(here.repository, Lock(digest, "3.11.0", "cpython", pins))
    return here, record(environment=Environment(digest, "3.11.0", "cpython"))


def surroundings_of(elsewhere, env="lock"):
    here, old = elsewhere
    return surroundings.of(here, old, env, notify=lambda _s: None)


def test_a_lock_is_taken_and_what_has_no_hash_is_named(elsewhere, monkeypatch):
    monkeypatch.setattr(uv, "find", lambda: Path("/uv"))
    monkeypatch.setattr(uv, "python", lambda *_a: Path("/python"))
    monkeypatch.setattr(uv, "rehearse", lambda *_a, **_k: 1)

    found = surroundings_of(elsewhere)

    assert found.source == "lock"
    assert "2 packages, will be made from its lock, after 1 download" in found.found[0][1]
    assert found.found[1][0] is CLOSE
    assert "torch" in found.found[1][1]
    assert "not on the index" in found.found[1][1]
    assert len(found.found) == 2


@pytest.mark.parametrize(
    ("nearest", "source", "expected"),
    [("3.11.1", "lock", NOTE), ("3.9.2", "lock", CLOSE), (None, "current", NOTE)],
)
def test_the_nearest_python_is_named(elsewhere, monkeypatch, nearest, source, expected):
    monkeypatch.setattr(uv, "find", lambda: Path("/uv"))
    monkeypatch.setattr(uv, "python", lambda *_a: None)
    monkeypatch.setattr(uv, "nearest", lambda *_a: (Path("/p"), nearest) if nearest else None)
    monkeypatch.setattr(uv, "rehearse", lambda *_a, **_k: 0)

    found = surroundings_of(elsewhere)
    told = next(one for one in found.found if len(one) > 2)

    assert found.source == source
    assert told[0] is expected
    assert "3.11.0" in told[1]
    assert "uv python install 3.11.0" in told[2]


def has_uv() -> bool:
    try:
        return uv.find().exists()
    except UvMissingError:
        return False


@pytest.mark.skipif(not has_uv(), reason="no uv here")
def test_a_package_that_nobody_has_is_named_by_a_real_uv(elsewhere, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    monkeypatch.setattr(uv, "python", lambda *_a: Path(sys.executable))

    found = surroundings_of(elsewhere)

    assert found.source == "current"
    assert "cannot be made: numpy 1.26.4" in found.found[0][1]
    assert "--env current" in found.found[0][2]


def test_without_uv_or_without_a_lock_the_active_environment_is_weighed(elsewhere, monkeypatch):
    def missing():
        raise UvMissingError("uv is not installed")

    monkeypatch.setattr(uv, "find", missing)
    here, old = elsewhere
    other = replace(old.environment, fingerprint=manifest.Digest("sha256", "f" * 64))

    no_uv = surroundings_of(elsewhere)
    no_lock = surroundings_of((here, manifest.replace(old, environment=other)))
    asked = surroundings_of(elsewhere, "current")

    assert (no_uv.source, no_lock.source, asked.source) == ("current",) * 3
    assert "uv is not installed" in no_uv.found[0][1]
    assert no_uv.found[0][2] == UvMissingError.hint
    assert "lock is not in the ledger" in no_lock.found[0][1]
    assert "lock" not in asked.found[0][1]


def test_a_run_without_python_promises_less(project):
    old = record(environment=Environment())

    found = surroundings.of(strict(project.root), old, "lock", notify=lambda _s: None)

    assert found.source == ""
    assert found.found[0][0] is CLOSE
