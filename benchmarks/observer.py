"""Observer: what watching adds to processes, opens, imports, a training and searches.

`python benchmarks/observer.py [--pairs 20] [--only WORD] [--observers native,audit]`

User + system CPU of the watched processes alone, against the bare command, in interleaved pairs;
what `mlrepro run` does before and after is in `overhead.py`. `bare again` is the bare command a
second time: a difference within its interval is noise.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import measure

from mlrepro.capture import observers
from mlrepro.errors import UsageError

DISTINCT, SAME = 3_000, 20_000
# One thread: the CPU time of threads that spin while they wait hides a difference of some percent.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
CONTROL = "bare again"

# Both loops print the CPU seconds of one open; the process's own start is not in them.
PYTHON_OPENS = """
import sys, time
names = [f"many/{i}" for i in range(int(sys.argv[1]))] or ["many/0"] * int(sys.argv[2])
start = time.process_time_ns()
for name in names:
    open(name, "rb").close()
print((time.process_time_ns() - start) / len(names) / 1e9)
"""

C_OPENS = """
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
static double cpu(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}
int main(int argc, char **argv) {
    int distinct = atoi(argv[1]), count = distinct ? distinct : atoi(argv[2]);
    char name[64];
    double start = cpu();
    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof name, "many/%d", distinct ? i : 0);
        int file = open(name, O_RDONLY);
        if (file < 0) return 1;
        close(file);
    }
    printf("%.12f\\n", (cpu() - start) / count);
    return argc != 3;
}
"""

IMPORTS = "import lightgbm, numpy, pandas, scipy.stats, sklearn.ensemble, sklearn.linear_model\n"

TRAINING = """
import lightgbm, numpy
rng = numpy.random.default_rng(0)
x = rng.normal(size=(60_000, 40)); y = x[:, 0] * x[:, 1] + rng.normal(size=60_000)
booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, lightgbm.Dataset(x, y), 120)
booster.save_model("model.txt")
"""

DATA = """
import numpy
rng = numpy.random.default_rng(0)
x = rng.normal(size=(1_000, 10)); y = (x[:, 0] + rng.normal(size=1_000) > 0).astype(int)
"""

SEARCH = f"""{DATA}
from sklearn.model_selection import RandomizedSearchCV
from sklearn.tree import DecisionTreeClassifier
grid = {{"max_depth": list(range(1, 11)), "min_samples_leaf": list(range(1, 51))}}
RandomizedSearchCV(DecisionTreeClassifier(), grid, n_iter=100, cv=5, random_state=0).fit(x, y)
"""

FITS = f"""{DATA}
from sklearn.linear_model import LogisticRegression
for number in range(500):
    LogisticRegression(C=1.0 + number).fit(x, y)
"""

BOOSTERS = f"""{DATA}
import lightgbm
for number in range(500):
    params = {{"verbosity": -1, "num_threads": 1, "learning_rate": 0.1 + number / 1000}}
    lightgbm.train(params, lightgbm.Dataset(x, y), 5)
"""


@dataclass(frozen=True)
class Case:
    """A command to measure.

    Attributes
    ----------
    times : int
        How often it is started for one measurement, where one start is too short.
    prints : bool
        Whether it prints its CPU seconds itself.
    python : bool
        Whether it is Python: the audit hook does nothing to other programs.
    """

    name: str
    command: tuple[str, ...]
    budget: str = ""
    times: int = 1
    prints: bool = False
    python: bool = True


def cases(folder: Path) -> list[Case]:
    """Make the files of all cases, and return the cases."""
    (folder / "many").mkdir()
    for number in range(DISTINCT):
        (folder / "many" / str(number)).write_bytes(b"x")
    opens = script(folder, "opens", PYTHON_OPENS)
    distinct, same = (str(DISTINCT), "0"), ("0", str(SAME))
    found = [
        Case("start of python -c pass", (sys.executable, "-c", "pass"), "2 ms", times=10),
        Case("start of a program", ("/bin/true",), "2 ms", times=40, python=False),
        Case("open in Python, distinct files", (*opens, *distinct), "2 µs", prints=True),
        Case("open in Python, one file", (*opens, *same), "2 µs", prints=True),
    ]
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler:
        source, program = folder / "opens.c", folder / "opens"
        source.write_text(C_OPENS)
        subprocess.run([compiler, "-O2", "-o", program, source], check=True)
        found += [
            Case(f"open in C, {words}", (str(program), *which), "2 µs", prints=True, python=False)
            for words, which in (("distinct files", distinct), ("one file", same))
        ]
    return [
        *found,
        Case("import-heavy script", script(folder, "imports", IMPORTS), "noise"),
        Case("LightGBM training", script(folder, "training", TRAINING), "noise"),
        Case("RandomizedSearchCV, 500 fits", script(folder, "search", SEARCH), "3 %"),
        Case("500 LogisticRegression.fit", script(folder, "fits", FITS), "3 %"),
        Case("500 lightgbm.train of 5 rounds", script(folder, "boosters", BOOSTERS), "3 %"),
    ]


def script(folder: Path, name: str, text: str) -> tuple[str, ...]:
    (folder / f"{name}.py").write_text(text)
    return sys.executable, f"{name}.py"


def once(case: Case, observer: str, folder: Path, *, check: bool = False) -> measure.Cost:
    """Run a case under an observer, and return what one of its commands or opens cost."""
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | ONE_THREAD
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        watcher = None
        if observer not in ("bare", CONTROL):
            log = Path(scratch, "log")
            watcher = observers.choose(observer, log=log, root=folder, command=case.command)
            environ = watcher.prepare(environ)
        cost, printed = spent(case, folder, environ)
        if watcher and check:
            seen = watcher.finish()
            if not (seen.interpreters if case.python else seen.reads or not case.prints):
                sys.exit(f"{case.name}: the observer {seen.name} saw nothing: {seen.blind_spots}")
    if case.prints:
        return measure.Cost(float(printed), float(printed))
    return measure.Cost(cost.wall / case.times, cost.cpu / case.times)


def spent(case: Case, folder: Path, environ: dict[str, str]) -> tuple[measure.Cost, str]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for _ in range(case.times):
        done = subprocess.run(
            case.command, cwd=folder, env=environ, check=True, capture_output=True, text=True
        )
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return measure.Cost(wall, cpu), done.stdout


def available(names: Sequence[str], folder: Path) -> list[str]:
    found = []
    for name in names:
        try:
            observers.choose(name, log=folder / "log", root=folder)
        except UsageError as error:
            print(f"without `{name}`: {error}\n")
        else:
            found.append(name)
    return found


def table(case: Case, names: Sequence[str], folder: Path, pairs: int) -> None:
    """Measure one case under all observers, and print its rows."""
    kinds = ["bare", CONTROL, *(n for n in names if case.python or n != "audit")]
    found: dict[str, list[measure.Cost]] = {kind: [] for kind in kinds}
    for kind in kinds:
        once(case, kind, folder, check=True)
    for _ in range(pairs):
        for kind in random.sample(kinds, len(kinds)):
            found[kind].append(once(case, kind, folder))
    base = found.pop("bare")
    scale, unit = (1e6, "µs") if case.prints else (1e3, "ms")
    bare = statistics.median(cost.cpu for cost in base) * scale
    for kind, costs in found.items():
        more = [value * scale for value in measure.added(costs, base, "cpu")]
        ratio = [value * 100 for value in measure.relative(costs, base, "cpu")]
        measure.row(
            case.name,
            f"{bare:,.2f} {unit}",
            kind,
            f"{more[0]:+,.2f} [{more[1]:+,.2f}, {more[2]:+,.2f}] {unit}",
            f"{ratio[0]:+.1f} [{ratio[1]:+.1f}, {ratio[2]:+.1f}] %",
            case.budget if kind != CONTROL else "",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--observers", default="native,audit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.home()) as scratch:
        folder = Path(scratch).resolve() / "project"
        folder.mkdir()
        names = available(options.observers.split(","), folder)
        print(f"user + system CPU, {options.pairs} interleaved pairs, [95 % interval]\n")
        print("| what | bare | observer | adds | relative | budget |")
        print("|---|---|---|---|---|---|")
        for case in cases(folder):
            if options.only in case.name:
                table(case, names, folder, options.pairs)


if __name__ == "__main__":
    main()
