"""Environment: what it costs to record one, to lock it, to make it again and to rebuild in it.

`python benchmarks/environment.py [--pairs 5]`; an environment with LightGBM, XGBoost, scikit-learn
and pandas. It needs a package index once, to fill uv's and pip's caches; *cold* is an empty cache,
so it measures the index and the network, and is measured once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import measure

from mlrepro.capture import environment, locking
from mlrepro.cleanroom import environments
from mlrepro.locks import Lock
from mlrepro.stores import git, ledgerlocks, place, uv

PACKAGES = ("lightgbm", "xgboost-cpu", "scikit-learn", "pandas")
TRAIN = """
import lightgbm, numpy, sklearn.ensemble, pandas, xgboost
rng = numpy.random.default_rng(7)
X, y = rng.normal(size=(2000, 10)), rng.normal(size=2000)
model = lightgbm.train({"verbose": -1, "num_threads": 2}, lightgbm.Dataset(X, y), 20)
model.save_model("model.txt")
"""
USED = (
    "import sys, lightgbm, xgboost, sklearn.ensemble, pandas\n"
    "files = [getattr(m, '__file__', None) for m in list(sys.modules.values())]\n"
    "maps = [line.split()[-1] for line in open('/proc/self/maps') if '.so' in line]\n"
    "found = {f for f in files + maps if isinstance(f, str) and '-packages/' in f}\n"
    "print(*sorted(found), sep='\\n')"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    pairs = parser.parse_args().pairs
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(dir=Path.home()) as scratch:
        here = Path(scratch)
        os.environ["XDG_CACHE_HOME"] = str(here / "cache")  # rooms and environments
        os.environ["UV_CACHE_DIR"] = str(here / "uv")  # on one file system with them
        os.environ["PIP_CACHE_DIR"] = str(here / "pip")
        os.environ["MLREPRO_LOCK"] = "off"
        trainer = first_environment(here)
        root = project(here)
        print(f"{pairs} repetitions, {measure.filesystem(here)}; median seconds [least, most]\n")
        print("| what | wall |\n|---|---|")
        for prefix in (trainer, Path(sys.prefix)):
            facts(prefix, root, pairs)
        lock = locks(trainer, root, here, pairs)
        making(lock, root, here, pairs)
        rebuilding(trainer, root, pairs)


def first_environment(scratch: Path) -> Path:
    """Make the environment that trains, as a user does."""
    prefix = scratch / "trainer"
    program = str(uv.find())
    call(program, "venv", "-q", "--python", sys.executable, str(prefix))
    call(program, "pip", "install", "-q", "--python", str(prefix / "bin/python"), *PACKAGES)
    return prefix


def project(scratch: Path) -> Path:
    root = scratch / "project"
    root.mkdir()
    for command in (
        ("git", "init", "-q"),
        ("git", "config", "user.name", "a"),
        ("git", "config", "user.email", "a@b"),
        (sys.executable, "-m", "dvc", "init", "-q"),
    ):
        call(*command, cwd=root)
    (root / "train.py").write_text(TRAIN)
    call("git", "add", "-A", cwd=root)
    call("git", "commit", "-qm", "start", cwd=root)
    return root


# --- the record


def facts(trainer: Path, root: Path, pairs: int) -> None:
    python = environment.interpreter(str(trainer / "bin/python"))
    used = call(str(trainer / "bin/python"), "-c", USED).splitlines()
    cache = root / "distributions.json"

    def known() -> object:
        return environment.fingerprint(python, cache=cache, root=root, used=used)

    def first() -> object:
        cache.unlink(missing_ok=True)
        return known()

    count = len(environment.fingerprint(python, used=())[1])
    what = f"record of {count} distributions, {len(used)} files used"
    show(f"{what}: the first time", timed(first, pairs))
    show(f"{what}: unchanged (budget 0.02)", timed(known, 4 * pairs))
    everything = timed(lambda: environment.fingerprint(python, cache=cache), pairs)
    show("all modules and libraries against their records", everything)


# --- the lock


def locks(trainer: Path, root: Path, scratch: Path, pairs: int) -> Lock:
    python = environment.interpreter(str(trainer / "bin/python"))
    env, packages = environment.fingerprint(python)

    def made() -> Lock:
        return locking.lock(env, packages, locking.ask(env, packages, root=root))

    with elsewhere("UV_CACHE_DIR", scratch / "empty"):
        cold = timed(made, 1)
    lock = made()
    show(f"lock of {len(lock.requirements)} packages, cold", cold)
    show("the same, warm", timed(made, pairs))
    repo = git.open_repository(root)
    assert env.fingerprint is not None
    fingerprint = env.fingerprint
    ledgerlocks.put(repo, lock)
    known = timed(lambda: ledgerlocks.get(repo, fingerprint), 4 * pairs)
    show("the lock of an unchanged environment (budget 0.02)", known)
    print(f"| packages without a hash | {len(lock.unhashed)} of {len(lock.requirements)} |")
    return lock


# --- the environment


def making(lock: Lock, root: Path, scratch: Path, pairs: int) -> None:
    here = place.find(root)

    def borrowed() -> None:
        with environments.borrow(lock, here=here):
            pass

    def anew() -> None:
        remove(environments.home())
        borrowed()

    pins = [f"{one.name}=={one.version}" for one in lock.requirements]
    other = scratch / "by-pip"

    def by_pip() -> None:
        call(sys.executable, "-m", "venv", str(other))
        pip = (str(other / "bin/python"), "-m", "pip", "install", "-q", "--no-compile")
        call(*pip, "--disable-pip-version-check", "--no-deps", *pins)

    with elsewhere("UV_CACHE_DIR", scratch / "empty"):
        remove(scratch / "empty")
        show("environment from the lock, cold", timed(anew, 1))
    anew()
    by_pip()  # fills pip's cache
    ours, theirs = [], []
    for _ in range(pairs):
        remove(other)
        theirs += timed(by_pip, 1)
        ours += timed(anew, 1)
    show("environment from the lock, warm", ours)
    show("`python -m venv` and pip without byte-compiling, warm", theirs)
    ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
    print(f"| times as fast (goal 5) | {ratio:.1f} |")
    show("environment that is there already (goal: under 1)", timed(borrowed, pairs))


# --- the rebuild


def rebuilding(trainer: Path, root: Path, pairs: int) -> None:
    """Rebuild in the lock's environment, while another one is active."""
    remove(environments.home())
    python = str(trainer / "bin/python")
    mlrepro = (sys.executable, "-m", "mlrepro")
    call(*mlrepro, "run", python, "train.py", cwd=root)
    # The run's own fingerprint: its lock is made as `mlrepro lock` does it.
    call(*mlrepro, "lock", "last", cwd=root)
    rebuild = (*mlrepro, "rebuild", "--yes", "--json", "model.txt")
    environ = {**os.environ, "VIRTUAL_ENV": sys.prefix}
    whole, rest = [], []
    for _ in range(pairs + 1):
        start = time.perf_counter()
        report = json.loads(call(*rebuild, cwd=root, environ=environ))
        whole.append(time.perf_counter() - start)
        rest.append(whole[-1] - report["seconds"])
    what = f"`mlrepro rebuild`, which says {report['verdict']}"
    show(f"{what}: the first, which makes the environment", whole[:1])
    show(f"{what}: the next", whole[1:])
    show("the same less the training in its room (goal 2)", rest[1:])
    print(f"| trained in | {report.get('environment_used', '')} |")


# --- helpers


def call(*command: str, cwd: Path | None = None, environ: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)[:200]} failed:\n{done.stderr[-2000:]}")
    return done.stdout


@contextlib.contextmanager
def elsewhere(name: str, value: Path) -> Iterator[None]:
    before = os.environ[name]
    os.environ[name] = str(value)
    try:
        yield
    finally:
        os.environ[name] = before


def timed(action: Callable[[], object], times: int) -> list[float]:
    found = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return found


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def show(what: str, seconds: list[float]) -> None:
    spread = f" [{min(seconds):.3f}, {max(seconds):.3f}]" if len(seconds) > 1 else ""
    measure.row(what, f"{statistics.median(seconds):.3f}{spread}")


if __name__ == "__main__":
    main()
