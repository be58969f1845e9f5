"""The probe inside real Python processes: what it logs, and that nobody notices it."""

from __future__ import annotations

import functools
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mlrepro import probe
from mlrepro.capture import records


@functools.cache
def other_pythons() -> list[str]:
    """The oldest and the newest Python that this machine has beside the running one."""
    found = []
    versions = Path(os.environ.get("PYENV_ROOT", "/nonexistent"), "versions")
    places = os.pathsep.join([*map(str, versions.glob("*/bin")), os.environ["PATH"]])
    for name in ("python3.8", "python3.13"):
        path = shutil.which(name, path=places)
        # A version manager's shim may be there for a version that is not.
        if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0:
            found.append(path)
    return found


@pytest.fixture(params=["running", "others"])
def pythons(request) -> list[str]:
    if request.param == "running":
        return [sys.executable]
    if not other_pythons():
        pytest.skip("no other Python on this machine")
    return other_pythons()


def run(folder: Path, script: str, *, python: str = sys.executable, log: Path | None = None, **env):
    """Run a script under the probe; returns the finished process and the records."""
    log = log or folder / "log"
    log.mkdir(exist_ok=True)
    (folder / "script.py").write_text(textwrap.dedent(script))
    rest = env.pop("PYTHONPATH", "")
    variables = {
        **os.environ,
        "PYTHONPATH": f"{probe.folder()}:{rest}" if rest else str(probe.folder()),
        "MLREPRO_LOG": str(log),
        "PYTHONDONTWRITEBYTECODE": "1",
        **env,
    }
    done = subprocess.run(
        [python, "script.py"], cwd=folder, env=variables, capture_output=True, text=True
    )
    return done, records.read(log)


def paths(log: records.Log, *kinds: str) -> list[str]:
    return [os.path.basename(r.fields[-1]) for r in log.records if r.kind in kinds]


def test_reads_and_writes_of_every_python_are_logged(tmp_path, pythons):
    for python in pythons:
        (tmp_path / "data.csv").write_text("1,2\n")
        (tmp_path / "helper.py").write_text("A = 1\n")

        done, log = run(
            tmp_path,
            """
            import helper
            rows = open("data.csv").read()
            open("model.txt", "w").write(rows)
            open("log.txt", "a").write(rows)
            """,
            python=python,
        )

        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert {"data.csv", "helper.py", "script.py"} <= set(paths(log, "r"))
        assert paths(log, "w") == ["model.txt"]
        assert paths(log, "a") == ["log.txt"]
        assert "z" in [record.kind for record in log.records]
        shutil.rmtree(tmp_path / "log")


def test_the_program_finds_neither_the_folder_nor_another_sitecustomize(tmp_path, pythons):
    for python in pythons:
        done, _ = run(
            tmp_path,
            """
            import os, sys
            print([entry for entry in sys.path if "inject" in entry])
            print("sitecustomize" in sys.modules)
            print(type(os.environ).__name__, isinstance(os.environ, os._Environ))
            """,
            python=python,
        )

        assert done.stdout.splitlines() == ["[]", "False", "_Environ True"]
        assert done.stderr == ""


def test_the_users_own_sitecustomize_and_pythonpath_work(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("print('mine')\nVALUE = 3\n")

    done, _ = run(
        tmp_path,
        """
        import sitecustomize, sys
        print(sitecustomize.VALUE, sitecustomize.__file__.split("/")[-2], sys.path[1][-3:])
        """,
        PYTHONPATH=str(tmp_path / "own"),
    )

    assert done.stdout.splitlines() == ["mine", "3 own own"]


def test_a_failing_sitecustomize_of_the_user_fails_as_it_does_without_us(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("raise RuntimeError('mine')\n")

    done, _ = run(tmp_path, "print('ran')", PYTHONPATH=str(tmp_path / "own"))

    assert done.stdout == "ran\n"
    assert "Error in sitecustomize" in done.stderr
    assert "RuntimeError: mine" in done.stderr


def test_names_with_tabs_newlines_and_bytes_that_are_no_text_survive(tmp_path):
    names = ["a\tb.csv", "a\nb.csv", "a\\n.csv", "ü ☃.csv", os.fsdecode(b"\xff\xfe.csv")]
    for name in names:
        (tmp_path / name).write_text("1")

    _, log = run(tmp_path, "import os\nfor n in os.listdir('.'):\n  os.path.isfile(n) and open(n)")

    assert set(names) <= set(paths(log, "r"))
    assert log.damaged == 0


def test_what_was_logged_before_a_kill_is_there(tmp_path):
    done, log = run(
        tmp_path,
        """
        import os, signal
        open("checkpoint.bin", "wb").write(b"1")
        os.kill(os.getpid(), signal.SIGKILL)
        """,
    )

    assert done.returncode == -9
    assert paths(log, "w") == ["checkpoint.bin"]


def test_forked_and_spawned_children_and_workers_log_for_themselves(tmp_path):
    done, log = run(
        tmp_path,
        """
        import multiprocessing, os, subprocess, sys

        def work(name):
            open(name, "w").write("1")

        if __name__ == "__main__":
            if os.fork() == 0:
                work("forked.txt")
                os._exit(0)
            os.wait()
            for method in ("fork", "spawn", "forkserver"):
                process = multiprocessing.get_context(method).Process(target=work, args=(method,))
                process.start()
                process.join()
            subprocess.run([sys.executable, "-c", "open('child.txt', 'w')"], check=True)
        """,
    )

    assert done.returncode == 0, done.stderr
    assert {"forked.txt", "fork", "spawn", "forkserver", "child.txt"} <= set(paths(log, "w"))
    assert len({record.pid for record in log.records}) >= 5


def test_a_program_that_closes_all_descriptors_loses_nothing_and_gets_no_line_of_ours(tmp_path):
    _, log = run(
        tmp_path,
        """
        import os
        os.closerange(0, 256)
        files = [open(f"{n}.out", "w") for n in range(8)]  # descriptors 0 to 7
        open("last.txt", "w")
        """,
    )

    assert {"0.out", "7.out", "last.txt"} <= set(paths(log, "w"))
    assert [(tmp_path / f"{n}.out").read_bytes() for n in range(8)] == [b""] * 8


def test_a_missing_log_folder_costs_one_line_for_all_processes(tmp_path):
    done, _ = run(
        tmp_path,
        """
        import subprocess, sys
        open("a.txt", "w").write("1")
        subprocess.run([sys.executable, "-c", "open('b.txt', 'w')"], check=True)
        print("done")
        """,
        MLREPRO_LOG=str(tmp_path / "nowhere"),
    )

    assert done.stdout == "done\n"
    assert done.stderr.count("\n") == 1
    assert "cannot be written" in done.stderr
    assert (tmp_path / "b.txt").exists()


def test_records_that_could_not_be_written_are_told_of(tmp_path):
    log = tmp_path / "log"
    log.mkdir()
    done, found = run(
        tmp_path,
        """
        import os, resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = sum(f.stat().st_size for f in os.scandir(os.environ["MLREPRO_LOG"]))
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 30, hard))  # as on a full disk
        open("a.txt", "w").close()
        print("done")
        """,
        log=log,
    )

    assert done.stdout == "done\n"
    assert "cannot be written" in done.stderr
    assert found.damaged


def test_out_of_descriptors_a_record_waits_for_the_next(tmp_path):
    (tmp_path / "data.csv").write_text("1")
    done, log = run(
        tmp_path,
        """
        import os, resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
        held = []
        try:
            while True:
                held.append(os.dup(0))
        except OSError:
            pass
        try:
            open("data.csv")
        except OSError:
            print("refused")
        for descriptor in held:
            os.close(descriptor)
        open("after.txt", "w")
        """,
    )

    assert done.stdout == "refused\n"
    assert done.stderr == ""
    assert "data.csv" in paths(log, "r")
    assert "after.txt" in paths(log, "w")


def test_an_exception_of_the_users_signal_handler_is_not_swallowed(tmp_path):
    done, _ = run(
        tmp_path,
        """
        import os, signal

        class Stop(Exception):
            pass

        def handler(*_):
            global fired
            fired += 1
            raise Stop

        signal.signal(signal.SIGALRM, handler)
        fired = caught = number = 0
        for _ in range(50):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001, 0.05)
                while True:  # most alarms fall into the probe
                    number += 1
                    try:
                        os.listdir(f"/nowhere/{number}")
                    except FileNotFoundError:
                        pass
            except Stop:
                signal.setitimer(signal.ITIMER_REAL, 0)
                caught += 1
        print("swallowed", fired - caught)
        """,
    )

    assert done.stdout == "swallowed 0\n"


def test_consulted_variables_are_noted_and_copies_of_all_are_not(tmp_path, pythons):
    for python in pythons:
        _, log = run(
            tmp_path,
            """
            import os, shutil, subprocess
            os.environ.get("EPOCHS", "3")
            os.getenv("SEED")
            "LR" in os.environ
            copy = dict(os.environ)
            other = {**os.environ, "X": "1"}
            third = os.environ.copy()
            shutil.which("true")
            """,
            python=python,
            LR="0.1",
            UNUSED="1",
        )

        assert [r.fields[0] for r in log.records if r.kind == "e"] == ["EPOCHS", "SEED", "LR"]
        shutil.rmtree(tmp_path / "log")


def test_a_folder_with_a_colon_in_its_path_is_copied_to_a_private_place(tmp_path, monkeypatch):
    installed = tmp_path / "a:b" / "inject"
    shutil.copytree(Path(probe.__file__).parent / "inject", installed)
    monkeypatch.setattr(probe, "__file__", str(tmp_path / "a:b" / "__init__.py"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    first, second = probe.folder(), probe.folder()

    assert first == second
    assert ":" not in str(first)
    assert (first / "sitecustomize.py").is_file()
    assert stat.S_IMODE(first.parent.stat().st_mode) == 0o700


def test_a_runtime_folder_that_others_can_write_is_not_trusted(tmp_path, monkeypatch):
    shutil.copytree(Path(probe.__file__).parent / "inject", tmp_path / "a b" / "inject")
    monkeypatch.setattr(probe, "__file__", str(tmp_path / "a b" / "__init__.py"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "mlrepro").mkdir()
    (tmp_path / "mlrepro").chmod(0o777)

    folder = probe.folder()

    assert not folder.is_relative_to(tmp_path / "mlrepro")
    shutil.rmtree(folder.parent)


@pytest.mark.parametrize(("word", "preload"), [("$$", "libc.so.6"), ("1", "libc.so.6"), ("$$", "")])
def test_files_are_left_to_the_native_observer_where_it_says_that_it_is_here(
    tmp_path, word, preload
):
    (tmp_path / "script.py").write_text(
        "import os\nopen('a.txt', 'w').close()\nprint(os.environ.get('MLREPRO_NATIVE'))\n"
        "print(os.popen('echo $MLREPRO_NATIVE').read().strip() == '')\n"
    )
    (tmp_path / "log").mkdir()
    command = f"MLREPRO_NATIVE={word} LD_PRELOAD={preload} exec {sys.executable} script.py"
    variables = {"PYTHONPATH": str(probe.folder()), "MLREPRO_LOG": str(tmp_path / "log")}

    done = subprocess.run(
        ["sh", "-c", command],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )

    kinds = {record.kind for record in records.read(tmp_path / "log").records}
    assert (done.stdout, done.stderr) == ("None\nTrue\n", "")
    watched_natively = (word, preload) == ("$$", "libc.so.6")
    assert {"i", "e", "z"} <= kinds
    assert kinds.isdisjoint("lw") if watched_natively else kinds.issuperset("lw")


def test_native_readers_and_writers_are_seen_and_keep_their_faces(tmp_path):
    pytest.importorskip("lightgbm")
    pytest.importorskip("xgboost")
    (tmp_path / "train.csv").write_text("".join(f"{i % 2},{i},{i % 7}\n" for i in range(200)))
    (tmp_path / "train.csv.weight").write_text("1\n" * 200)
    (tmp_path / "train.svm").write_text("".join(f"{i % 2} 1:{i} 2:{i % 7}\n" for i in range(200)))

    done, log = run(
        tmp_path,
        """
        import importlib, inspect, pickle, warnings
        warnings.simplefilter("ignore")
        import lightgbm, xgboost

        data = lightgbm.Dataset("train.csv", params={"label_column": 0, "verbose": -1})
        model = lightgbm.train({"objective": "binary", "verbose": -1}, data, 2)
        model.save_model("model.txt")
        lightgbm.Booster(model_file="model.txt").predict("train.csv", validate_features=False)
        data.save_binary("train.bin")
        matrix = xgboost.DMatrix("train.svm?format=libsvm")
        xgboost.train({"objective": "binary:logistic"}, matrix, 1).save_model("model.json")

        assert type(model) is lightgbm.Booster and isinstance(data, lightgbm.Dataset)
        assert pickle.loads(pickle.dumps(model)).num_trees() == 2
        importlib.reload(lightgbm.basic)
        assert lightgbm.basic._LIB.LGBM_BoosterSaveModel._mlrepro
        """,
    )

    assert done.returncode == 0, done.stderr
    assert {"train.csv", "train.csv.weight", "train.svm"} <= set(paths(log, "r"))
    assert {"model.txt", "train.bin", "model.json"} <= set(paths(log, "w"))
    assert {r.fields[0] for r in log.records if r.kind == "t"} >= {"openmp"}


def test_arrow_and_numpy_files_are_seen(tmp_path):
    pytest.importorskip("pyarrow")
    done, log = run(
        tmp_path,
        """
        import inspect, pickle
        import numpy as np, pyarrow as pa, pyarrow.parquet as pq
        import pyarrow.csv, pyarrow.dataset, pyarrow.feather

        table = pa.table({"a": [1, 2]})
        pq.write_table(table, "one.parquet")
        pyarrow.dataset.write_dataset(table, "many", format="parquet")
        pyarrow.csv.write_csv(table, "one.csv")
        pyarrow.feather.write_feather(table, "one.feather")
        pq.read_table("one.parquet"), pq.read_table("many")
        pyarrow.csv.read_csv("one.csv"), pyarrow.feather.read_table("one.feather")
        np.save("one.npy", np.arange(3)), np.arange(3).tofile("raw.bin")
        np.fromfile("raw.bin", dtype=int), np.load("one.npy", mmap_mode="r")

        assert list(inspect.signature(pq.read_table).parameters)[0] == "source"
        assert pickle.loads(pickle.dumps(pq.read_table)) is pq.read_table
        """,
    )

    names = {"one.parquet", "part-0.parquet", "one.csv", "one.feather", "one.npy", "raw.bin"}
    assert done.returncode == 0, done.stderr
    assert names <= set(paths(log, "w"))
    assert names <= set(paths(log, "r"))


def test_files_of_polars_duckdb_and_h5py_are_seen(tmp_path):
    for name in ("polars", "duckdb", "h5py"):
        pytest.importorskip(name)
    done, log = run(
        tmp_path,
        """
        import os
        import duckdb, h5py, polars as pl

        os.mkdir("many")
        frame = pl.DataFrame({"a": [1, 2]})
        frame.write_parquet("one.parquet"), frame.write_csv("one.csv"), frame.write_ipc("one.ipc")
        frame.write_parquet("many/part.parquet")
        pl.read_csv("one.csv"), pl.read_ipc("one.ipc"), pl.scan_parquet("many/*.parquet").collect()
        pl.scan_csv("one.csv").sink_parquet("sunk.parquet")
        duckdb.sql("copy (select * from 'one.parquet' where a <> 5) to 'sold.parquet'")
        duckdb.execute("select * from read_parquet(?)", ["sold.parquet"]).fetchall()
        duckdb.read_csv("one.csv").write_parquet("out.parquet")
        duckdb.connect("base.db").execute("create table t as select 1 as a").close()
        with h5py.File("one.h5", "w") as file:
            file["x"] = [1]
        h5py.File("one.h5").close()
        """,
    )

    assert done.returncode == 0, done.stderr
    assert {"one.csv", "one.ipc", "one.parquet", "part.parquet", "sold.parquet", "one.h5"} <= set(
        paths(log, "r")
    )
    assert {"sunk.parquet", "sold.parquet", "out.parquet", "one.h5"} <= set(paths(log, "w"))
    assert "base.db" in paths(log, "u")
    assert "duckdb" in [r.fields[0] for r in log.records if r.kind == "b"]


def test_a_query_sees_the_variables_of_the_function_that_asks(tmp_path):
    pytest.importorskip("duckdb")
    pytest.importorskip("pandas")
    done, _ = run(
        tmp_path,
        """
        import duckdb, pandas

        outside = pandas.DataFrame({"a": [1, 2]})

        def asked():
            within = pandas.DataFrame({"a": [3, 4]})
            connection = duckdb.connect()
            return [
                duckdb.sql("select sum(a) from within").fetchall(),
                duckdb.execute("select sum(a) from outside").fetchall(),
                connection.execute("select sum(a) from within").fetchall(),
                connection.sql("select sum(a) from outside").fetchall(),
            ]

        print(asked())
        duckdb.sql("selec 1")
        """,
    )

    assert done.stdout == "[[(7,)], [(3,)], [(7,)], [(3,)]]\n"
    assert "ParserException" in done.stderr
    assert done.stderr.count("_mlrepro_probe") == 1  # the traceback has one line of ours


def test_the_table_of_imports_is_that_of_the_readers(monkeypatch):
    monkeypatch.syspath_prepend(str(probe.folder()))
    from _mlrepro_probe import imports, readers

    assert {*readers.NATIVE, *readers.PYTHON, *readers.COMPILED} == imports.FILES
