"""The probe's way into the processes of a run, whatever starts them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from mlrepro import manifest, probe
from tests.probe.watching import NAMES, Bench, interpreters, same, version


@pytest.fixture(params=NAMES)
def bench(request, tmp_path) -> Bench:
    root = tmp_path / "project"
    (root / ".mlrepro").mkdir(parents=True)
    (root / "data.csv").write_text("1\n2\n3\n")
    return Bench(request.param, root)


@pytest.fixture
def workers(bench) -> Bench:
    """A module whose function reads one file and writes another."""
    bench.write(
        "work.py",
        """
        def work(name):
            with open(name + ".csv") as source, open(name + ".out", "w") as target:
                target.write(source.read())
            return name
        """,
    )
    for name in ("a", "b"):
        bench.write(name + ".csv", name)
    return bench


@pytest.mark.parametrize("python", interpreters(), ids=version)
def test_every_python_is_watched_and_says_what_it_says_without_us(bench, python):
    bench.write(
        "train.py",
        """
        import sys, os
        rows = open("data.csv").read().split()
        open("model.txt", "w").write(" ".join(rows))
        print(len(rows), [entry for entry in sys.path[1:] if "mlrepro" in entry], sorted(
            name for name in sys.modules if "custom" in name or "mlrepro" in name[:7]))
        print(sorted(set(os.environ) - {"LD_PRELOAD", "PYTHONPATH", "LC_CTYPE"}) == sorted(
            name for name in os.environ if not name.startswith(("LD_P", "PYTHONPATH", "LC_C"))))
        """,
    )

    bare = bench.bare(python, "train.py")
    done, seen = bench.watch(python, "train.py")

    assert same(bare, done)
    assert "data.csv" in bench.reads(seen)
    assert bench.writes(seen) == {"model.txt"}
    assert [i.version.rpartition(".")[0] for i in seen.interpreters] == [
        subprocess.run(
            [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"],
            capture_output=True,
            text=True,
        ).stdout.strip()
    ]


def test_another_virtual_environment_whose_path_holds_a_space_is_watched(bench, tmp_path):
    place = tmp_path / "Ann Smith" / ".venv"
    venv.EnvBuilder(symlinks=True, with_pip=False).create(place)
    bench.write("train.py", "import sys; open('model.txt', 'w').write(sys.prefix)")

    done, seen = bench.watch(str(place / "bin" / "python"), "train.py")

    assert done.returncode == 0, done.stderr
    assert (bench.root / "model.txt").read_text() == str(place)
    assert [i.prefix for i in seen.interpreters] == [str(place)]
    assert bench.writes(seen) == {"model.txt"}


@pytest.mark.parametrize("place", ["Ann Smith/.venv", "a:b"])
def test_mlrepro_itself_may_lie_at_a_path_with_a_space_or_a_colon(
    bench, tmp_path, monkeypatch, place
):
    installed = tmp_path / place / "probe"
    shutil.copytree(Path(probe.__file__).parent, installed)
    monkeypatch.setattr(probe, "__file__", str(installed / "__init__.py"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    bench.write("train.py", "open('model.txt', 'w').write(open('data.csv').read())")

    done, seen = bench.watch("sh", "-c", "python3 train.py | cat")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "data.csv" in bench.reads(seen)
    assert "model.txt" in bench.writes(seen)


def test_the_users_sitecustomize_and_usercustomize_run_as_ever(bench):
    base = getattr(sys, "_base_executable", sys.executable)  # no user site in a venv
    bench.write("own/sitecustomize.py", "import log\nlog.said('site')\nVALUE = 3\n")
    bench.write("own/usercustomize.py", "import log\nlog.said('user')\n")
    bench.write("own/log.py", "def said(word):\n    print('customized', word)\n")
    bench.write("train.py", "import sitecustomize, usercustomize; print(sitecustomize.VALUE)")
    bench.variables.update(PYTHONPATH=str(bench.root / "own"), PYTHONNOUSERSITE="")

    bare = bench.bare(base, "train.py")
    done, seen = bench.watch(base, "train.py")

    assert bare.stdout == "customized site\ncustomized user\n3\n"
    assert same(bare, done)
    assert len(seen.interpreters) == 1


def test_the_users_own_preload_library_is_loaded_as_ever(bench):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    source = bench.write(
        "own.c",
        """
        #include <stdlib.h>
        int getpagesize(void) { return 12345; }
        __attribute__((constructor)) static void loaded(void) { setenv("OWN", "here", 1); }
        """,
    )
    library = bench.root / "own.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    bench.write(
        "train.py",
        """
        import ctypes, os, subprocess, sys
        print(os.environ["OWN"], ctypes.CDLL(None).getpagesize())
        print(subprocess.check_output([sys.executable, "-c", "import ctypes, os\\n"
            "print(os.environ.get('OWN'), ctypes.CDLL(None).getpagesize())"]).decode())
        open("model.txt", "w").write(open("data.csv").read())
        """,
    )
    bench.variables.update(LD_PRELOAD=str(library))

    bare = bench.bare(sys.executable, "train.py")
    done, seen = bench.watch(sys.executable, "train.py")

    assert bare.stdout.startswith("here 12345\nhere 12345")
    assert same(bare, done)
    assert "data.csv" in bench.reads(seen)


def test_a_script_that_sets_a_preload_library_of_its_own_is_still_watched(bench):
    bench.write("train.py", "open('model.txt', 'w').write(open('data.csv').read())")

    done, seen = bench.watch("sh", "-c", f"exec env LD_PRELOAD= {sys.executable} train.py")

    assert (done.returncode, done.stderr) == (0, "")
    assert "data.csv" in bench.reads(seen)
    assert bench.writes(seen) == {"model.txt"}


def test_the_users_python_path_keeps_its_entries_and_their_order(bench):
    bench.write("train.py", "import sys; print(sys.path)")
    for path in ("", "lib", "lib:", ":lib", f"{bench.root}/a:lib:{bench.root}/b", "zip.zip:x y"):
        bench.variables.update(PYTHONPATH=path)

        bare = bench.bare(sys.executable, "train.py")
        done, _ = bench.watch(sys.executable, "train.py")

        assert same(bare, done), path


def test_no_module_of_the_user_is_shadowed(bench):
    names = sorted(path.stem for path in probe.folder().rglob("*.py") if path.stem != "__init__")
    names = [*dict.fromkeys([*names, "log", "calls", "events", "fits", "facts", "imports"])]
    names.remove("sitecustomize")
    for name in names:
        bench.write(f"{name}.py", f"NAME = 'own {name}'\n")
    bench.write(
        "train.py",
        f"""
        import importlib
        for name in {names}:
            print(importlib.import_module(name).NAME)
        """,
    )

    done, seen = bench.watch(sys.executable, "train.py")

    assert done.stdout.split("\n")[:-1] == [f"own {name}" for name in names]
    assert {f"{name}.py" for name in names} <= bench.reads(seen)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing_are_watched(workers, method):
    workers.write(
        "train.py",
        f"""
        import multiprocessing, work
        if __name__ == "__main__":
            with multiprocessing.get_context("{method}").Pool(2) as pool:
                print(pool.map(work.work, ["a", "b"]))
        """,
    )

    done, seen = workers.watch(sys.executable, "train.py")

    assert (done.stdout, done.stderr) == ("['a', 'b']\n", "")
    assert {"a.csv", "b.csv"} <= workers.reads(seen)
    assert {"a.out", "b.out"} <= workers.writes(seen)


def test_loky_workers_are_watched_and_their_pools_of_threads_known(workers):
    pytest.importorskip("joblib")
    workers.write(
        "train.py",
        """
        import joblib, work

        def blas(name):
            import numpy
            numpy.ones((2, 2)) @ numpy.ones((2, 2))
            return work.work(name)

        if __name__ == "__main__":
            print(joblib.Parallel(n_jobs=2)(joblib.delayed(blas)(n) for n in ("a", "b")))
        """,
    )

    done, seen = workers.watch(sys.executable, "train.py")

    assert (done.stdout, done.stderr) == ("['a', 'b']\n", "")
    assert {"a.csv", "b.csv"} <= workers.reads(seen)
    assert {"a.out", "b.out"} <= workers.writes(seen)
    assert "openblas" in {pool.api for pool in seen.threads}


def test_pools_of_threads_of_a_worker_that_leaves_by_exit_are_known(bench):
    pytest.importorskip("numpy")
    bench.write(
        "train.py",
        """
        import os
        if os.fork() == 0:
            import numpy
            os._exit(3)
        print(os.waitstatus_to_exitcode(os.wait()[1]))
        """,
    )

    done, seen = bench.watch(sys.executable, "train.py")

    assert done.stdout == "3\n"
    assert "openblas" in {pool.api for pool in seen.threads}


def test_a_shell_pipeline_is_watched(bench):
    bench.write("sum.py", "import sys; print(sum(map(int, sys.stdin)))")
    bench.write("add.py", "print(open('data.csv').read() + '4')")

    done, seen = bench.watch("sh", "-c", "python3 add.py | python3 sum.py > out.txt")

    assert (done.returncode, done.stderr) == (0, "")
    assert (bench.root / "out.txt").read_text() == "10\n"
    assert {"data.csv", "add.py", "sum.py"} <= bench.reads(seen)
    assert "out.txt" in bench.writes(seen)


def test_workers_of_a_launcher_are_watched_though_one_fails_and_the_rest_are_killed(bench):
    bench.write(
        "launch.py",
        """
        import os, signal, subprocess, sys, time
        workers = [
            subprocess.Popen([sys.executable, "-u", "train.py"], env={**os.environ, "RANK": str(n)})
            for n in range(3)
        ]
        while all(worker.poll() is None for worker in workers):
            time.sleep(0.01)
        for worker in workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGKILL)
        print(sorted(worker.wait() for worker in workers))
        sys.exit(1)
        """,
    )
    bench.write(
        "train.py",
        """
        import os, sys, time
        rank = os.environ["RANK"]
        rows = open(f"part-{rank}.csv").read()
        with open(f"model-{rank}.txt", "w") as file:
            file.write(rows)
        os.rename(f"model-{rank}.txt", f"done-{rank}.txt")
        others = [f"done-{n}.txt" for n in range(3)]
        while not all(map(os.path.exists, others)):
            time.sleep(0.01)
        if rank == "1":
            sys.exit(7)
        time.sleep(60)
        """,
    )
    for rank in range(3):
        bench.write(f"part-{rank}.csv", "1")

    done, seen = bench.watch(sys.executable, "launch.py")

    assert (done.returncode, done.stdout, done.stderr) == (1, "[-9, -9, 7]\n", "")
    assert {f"part-{rank}.csv" for rank in range(3)} <= bench.reads(seen)
    assert bench.writes(seen) == {f"done-{rank}.txt" for rank in range(3)}
    assert len(seen.interpreters) == 4
    assert "RANK" in seen.consulted


def test_a_notebook_run_by_papermill_is_watched(bench):
    code = "open('model.txt', 'w').write(open('data.csv').read())\nprint('trained')"
    cell = {"cell_type": "code", "source": code, "metadata": {}, "outputs": []}
    notebook = {
        "cells": [{**cell, "execution_count": None, "id": "one"}],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    bench.write("train.ipynb", json.dumps(notebook))

    done, seen = bench.watch(
        *(sys.executable, "-m", "papermill", "--no-progress-bar", "train.ipynb", "out.ipynb")
    )

    assert done.returncode == 0, done.stderr
    assert "trained" in (bench.root / "out.ipynb").read_text()
    assert {"data.csv", "train.ipynb"} <= bench.reads(seen)
    assert {"model.txt", "out.ipynb"} <= bench.writes(seen)


@pytest.mark.parametrize("observer", NAMES)
def test_a_run_inside_a_run_is_recorded_and_the_outer_one_sees_its_own(project, observer):
    project.write("inner.py", "open('inner.txt', 'w').write(open('data.csv').read())")
    project.write(
        "outer.py",
        """
import subprocess, sys
command = [sys.executable, "-m", "mlrepro", "run", "-n", "inner", "python", "inner.py"]
subprocess.run(command, check=True)
open("outer.txt", "w").write(open("inner.txt").read() + open("more.csv").read())
""",
    )
    project.write("data.csv", "1\n")
    project.write("more.csv", "2\n")
    project.commit("nested")

    project.mlrepro("run", "--observer", observer, "-n", "outer", "python", "outer.py", check=True)

    found = {}
    for name in ("inner", "outer"):
        shown = project.mlrepro("show", name, "--json", check=True).stdout
        found[name] = manifest.Manifest.from_dict(json.loads(shown))
    inner, outer = found["inner"], found["outer"]
    assert "data.csv" in {item.path for item in inner.inputs}
    assert "more.csv" not in {item.path for item in inner.inputs}
    assert "inner.txt" in {item.path for item in inner.artifacts}
    assert "more.csv" in {item.path for item in outer.inputs}
    assert "outer.txt" in {item.path for item in outer.artifacts}
