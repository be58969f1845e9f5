"""Observers over real runs: what they say was read, written and not seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from mlrepro import probe
from mlrepro.capture import observers
from mlrepro.capture.observation import Observation
from mlrepro.errors import UsageError

NAMES = ["audit+scan", *(["native+scan"] if probe.library() else [])]
every = pytest.mark.parametrize("by", NAMES)
natively = pytest.mark.skipif(probe.library() is None, reason="the library was not built")


@pytest.fixture
def root(tmp_path, monkeypatch) -> Path:
    root = tmp_path / "project"
    (root / ".mlrepro").mkdir(parents=True)
    monkeypatch.chdir(root)
    return root


def observe(
    root: Path,
    *command: str,
    name: str = "audit+scan",
    env: dict[str, str] | None = None,
    log: str = "log",
) -> Observation:
    """Run a command as mlrepro does; return its observation."""
    observer = observers.choose(name, log=root / ".mlrepro" / log, root=root, command=command)
    variables = observer.prepare({**os.environ, **(env or {})})
    subprocess.run(command, cwd=root, env=variables, check=False, capture_output=True)
    return observer.finish()


def observe_script(root: Path, script: str, **options) -> Observation:
    (root / "train.py").write_text(textwrap.dedent(script))
    return observe(root, sys.executable, "train.py", **options)


def writes(seen: Observation) -> dict[str, str]:
    return {os.path.relpath(write.path): write.seen for write in seen.writes}


def reads(seen: Observation) -> dict[str, str]:
    return {os.path.relpath(read.path): read.seen for read in seen.reads}


@every
def test_a_run_is_seen_by_both_observers(root, by):
    (root / "data.csv").write_text("1\n")
    (root / "helper.py").write_text("")

    seen = observe_script(
        root,
        """
        import os, helper
        open("model.txt", "w").write(open("data.csv").read())
        os.system("echo 1 > made-by-a-shell.txt")
        os.environ.get("EPOCHS")
        """,
        name=by,
    )

    first = by.partition("+")[0]
    assert reads(seen) == {"data.csv": first, "helper.py": "import", "train.py": "import"}
    shell = {"audit": "scan", "native": "native+scan"}[first]
    assert writes(seen) == {"made-by-a-shell.txt": shell, "model.txt": by}
    assert seen.name == by
    assert "EPOCHS" in seen.consulted
    assert seen.interpreters[0].argv[1:] == ("train.py",)
    assert seen.interpreters[0].prefix == sys.prefix


@every
def test_the_state_of_an_input_is_that_of_its_opening(root, by):
    (root / "data.csv").write_text("old")
    before = (root / "data.csv").stat()

    seen = observe_script(
        root, "open('data.csv').read()\nopen('data.csv', 'w').write('newer')", name=by
    )

    read = next(read for read in seen.reads if read.path.endswith("data.csv"))
    assert (read.stat.size, read.stat.mtime_ns) == (3, before.st_mtime_ns)
    assert not read.wrote_before
    assert Path(read.copy).read_text() == "old"
    assert "data.csv" in writes(seen)


@every
@pytest.mark.parametrize(
    "change",
    [
        "os.replace('new', 'model')",
        "os.remove('model'); os.rename('new', 'model')",
        "open('model', 'r+').write('x')",
        "os.truncate('model', 0)",
    ],
)
def test_a_warm_start_keeps_what_it_began_with(root, change, by):
    (root / "model").write_text("weights of before")
    (root / "new").write_text("n")

    seen = observe_script(root, f"import os\nopen('model').read()\n{change}", name=by)

    read = next(read for read in seen.reads if read.path.endswith("model"))
    assert Path(read.copy).read_text() == "weights of before"
    assert "model" in writes(seen)


@every
def test_what_the_run_wrote_before_it_read_it_is_no_input(root, by):
    seen = observe_script(
        root,
        """
        import subprocess, sys
        open("features.bin", "w").write("1")
        subprocess.run([sys.executable, "-c", "open('features.bin').read()"], check=True)
        """,
        name=by,
    )

    assert [read.wrote_before for read in seen.reads if "features" in read.path] == [True]


@every
def test_files_that_are_moved_are_known_by_their_last_name(root, by):
    seen = observe_script(
        root,
        """
        import os, tempfile
        open("model.tmp", "w").write("1")
        os.replace("model.tmp", "model.txt")
        os.mkdir("tmp-checkpoint")
        open("tmp-checkpoint/weights", "w").write("1")
        os.rename("tmp-checkpoint", "checkpoint-1")
        with tempfile.NamedTemporaryFile(dir=".") as file:
            file.write(b"1")
        """,
        name=by,
    )

    assert writes(seen) == {"checkpoint-1/weights": by, "model.txt": by}


@every
def test_opening_for_writing_without_writing_makes_no_output(root, by):
    (root / "notes.txt").write_text("1")

    seen = observe_script(
        root, "open('notes.txt', 'a').close(); open('notes.txt', 'r+').close()", name=by
    )

    assert writes(seen) == {}


def test_standard_streams_that_a_shell_redirects_are_seen(root):
    (root / "data.csv").write_text("1\n")
    (root / "train.py").write_text("print(input())")

    seen = observe(root, "sh", "-c", f"{sys.executable} train.py < data.csv > out.txt")

    assert reads(seen)["data.csv"] == "stream"
    assert writes(seen)["out.txt"].startswith("stream")


@every
def test_a_symlink_keeps_its_name_and_a_linked_folder_does_not(root, by, tmp_path):
    (tmp_path / "store").write_text("1")
    (root / "data").mkdir()
    (root / "data" / "link.csv").symlink_to(tmp_path / "store")
    (root / "alias").symlink_to("data")

    seen = observe_script(root, "open('alias/link.csv')", name=by)

    read = next(read for read in seen.reads if read.path.endswith("link.csv"))
    assert read.path == str(root / "data" / "link.csv")
    assert read.stat.ino == (tmp_path / "store").stat().st_ino


@every
def test_reads_by_absolute_path_are_told_apart(root, by):
    (root / "a.csv").write_text("")
    (root / "b.csv").write_text("")

    seen = observe_script(root, f"open('a.csv'); open({str(root / 'b.csv')!r})", name=by)

    relative = {os.path.basename(read.path): read.relative for read in seen.reads}
    assert (relative["a.csv"], relative["b.csv"]) == (True, False)


@every
@pytest.mark.parametrize("folder", ["lib/python3_set", "dist-packages"])
def test_data_in_a_folder_named_like_an_interpreters_is_an_input(root, by, folder):
    data = root / folder / "a.csv"
    data.parent.mkdir(parents=True)
    data.write_text("1")

    seen = observe_script(root, f"open({str(data)!r})", name=by)

    assert f"{folder}/a.csv" in reads(seen)


@every
def test_data_that_was_put_into_memory_for_speed_is_an_input(root, by):
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as data:
        data.write(b"1")
        data.flush()

        seen = observe_script(root, f"open({data.name!r})", name=by)

    assert data.name in [read.path for read in seen.reads]


@every
def test_caches_and_the_interpreters_own_files_are_no_inputs(root, by):
    (root / "helper.py").write_text("")

    seen = observe_script(
        root,
        "import helper, json, sqlite3, zoneinfo\nopen('/etc/hostname')\nopen('/proc/stat')",
        name=by,
    )
    again = observe(
        root, sys.executable, "train.py", env={"PYTHONDONTWRITEBYTECODE": ""}, name=by, log="again"
    )

    assert reads(seen) == {"helper.py": "import", "train.py": "import"}
    assert reads(again) == reads(seen)  # now from the compiled module
    assert writes(again) == {}


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("subprocess.run([sys.executable, '-I', '-c', '1'])", "-I"),
        ("subprocess.run([sys.executable, '-Sc', '1'])", "-S"),
        ("subprocess.run([sys.executable, '-c', '2'], env={})", "environment of its own"),
        ("subprocess.run(['sort', 'train.py'])", "compiled program `sort train.py`"),
        ("os.system('sort train.py')", "only Python's reads are seen"),
        ("subprocess.run(['./train.sh'])", "`train.sh` was started; of the programs"),
        ("os.execv('/bin/cat', ['cat', 'train.py'])", "compiled program `cat train.py`"),
        ("open('log.txt', 'a').write('1')", "`log.txt` was appended to"),
        ("socket.create_connection(server.getsockname())", "service on this machine"),
    ],
)
def test_what_could_not_be_seen_is_said(root, script, words):
    (root / "log.txt").write_text("old")
    (root / "train.sh").write_text("#!/bin/sh\n")
    (root / "train.sh").chmod(0o755)

    seen = observe_script(
        root,
        "import os, socket, subprocess, sys\n"
        f"server = socket.create_server(('127.0.0.1', 0))\n{script}",
    )

    spots = [spot.replace(f"{root}/", "") for spot in seen.blind_spots]
    assert len(spots) == 1
    assert words in spots[0]


def test_files_that_are_named_to_unwatched_programs_are_taken_for_inputs(root):
    for name in ("data.csv", "settings.ini", "untouched.csv", "out.csv"):
        (root / name).write_text("1")
    (root / "tool").write_bytes(Path("/bin/cp").read_bytes())
    (root / "tool").chmod(0o755)

    seen = observe_script(
        root,
        """
        import subprocess
        subprocess.run(["./tool", "data.csv", "out.csv"])
        subprocess.run("sort --files0-from=settings.ini | cat", shell=True)
        """,
        name="audit",
    )

    assert reads(seen) == {
        "data.csv": "argument",
        "settings.ini": "argument",
        "tool": "program",
        "train.py": "import",
    }


def test_a_library_whose_files_nobody_sees_is_a_blind_spot(root):
    (root / "duckdb.py").write_text("")

    seen = observe_script(root, "import duckdb")

    assert "`duckdb` was imported" in seen.blind_spots[0]


@every
def test_a_module_that_lies_compiled_elsewhere_is_known_by_its_source(root, by, tmp_path):
    (root / "helper.py").write_text("")
    env = {"PYTHONPYCACHEPREFIX": str(tmp_path / "cache"), "PYTHONDONTWRITEBYTECODE": ""}
    observe_script(root, "import helper", name=by, env=env)

    seen = observe(root, sys.executable, "train.py", name=by, env=env, log="again")

    assert reads(seen) == {"helper.py": "import", "train.py": "import"}


@every
def test_a_temporary_file_that_was_read_back_leaves_no_trace(root, by):
    seen = observe_script(
        root, "import os\nopen('t', 'w').write('1')\nopen('t').read()\nos.remove('t')", name=by
    )

    assert reads(seen) == {"train.py": "import"}
    assert writes(seen) == {}


@every
def test_watched_children_and_looks_at_the_machine_are_no_blind_spots(root, by):
    seen = observe_script(
        root,
        """
        import subprocess, sys
        subprocess.run([sys.executable, "-c", "1", "with", "arguments"])
        subprocess.run(["uname", "-p"])
        subprocess.run(["git", "rev-parse", "HEAD"])
        try:
            subprocess.run(["no-such-program"])
        except FileNotFoundError:
            pass
        """,
        name=by,
    )

    assert seen.blind_spots == ()
    assert len(seen.interpreters) == 2


def test_a_command_that_is_no_python_is_a_blind_spot(root):
    seen = observe(root, "sort", "-o", "sorted.txt", "/dev/null")

    assert "compiled program `sort -o sorted.txt /dev/null`" in seen.blind_spots[0]
    assert writes(seen) == {"sorted.txt": "scan"}


@every
def test_a_killed_run_is_recovered_from_its_log_alone(root, by):
    (root / "data.csv").write_text("1")
    (root / "train.py").write_text(
        "import time\nopen('data.csv')\nopen('model.txt', 'w').write('1')\n"
        "open('ready', 'w')\nprint('noted', flush=True)\ntime.sleep(60)\n"
    )
    log = root / ".mlrepro" / "log"
    observer = observers.choose(by, log=log, root=root)
    child = subprocess.Popen(
        [sys.executable, "train.py"], cwd=root, env=observer.prepare(dict(os.environ)),
        stdout=subprocess.PIPE,
    )  # fmt: skip
    with child:
        # That `ready` is there says only that it was opened, not that this was noted.
        assert child.stdout.readline() == b"noted\n"
        child.send_signal(signal.SIGKILL)

    seen = observers.recover(log, root)

    assert "data.csv" in reads(seen)
    assert writes(seen) == {"model.txt": by, "ready": by}
    assert seen.name == by


def test_what_changed_long_after_a_killed_run_is_not_claimed(root):
    log = root / ".mlrepro" / "log"
    observer = observers.choose("auto", log=log, root=root)
    observer.prepare(dict(os.environ))
    for path in log.iterdir():
        os.utime(path, (1, 1))
    (root / "later.txt").write_text("somebody else's")

    seen = observers.recover(log, root)

    assert writes(seen) == {}


def test_a_log_of_which_nothing_is_left_is_recovered_as_unknown(root):
    seen = observers.recover(root / "nowhere", root)

    assert (seen.reads, seen.writes) == ((), ())
    assert seen.blind_spots


def test_a_damaged_log_is_read_as_far_as_it_goes_and_said_to_be_incomplete(root):
    observe_script(root, "open('a.txt', 'w').write('1')")
    log = root / ".mlrepro" / "log"
    with next(log.glob("*.log")).open("ab") as file:
        file.write(b"r\t12\taudit\t1\t5")

    seen = observers.recover(log, root)

    assert "a.txt" in writes(seen)
    assert "the log of this run is incomplete: not all of it could be written" in seen.blind_spots


def test_a_folder_that_cannot_be_made_leaves_the_run_unobserved_and_says_so(root):
    (root / "file").write_text("")
    observer = observers.choose("auto", log=root / "file" / "log", root=root)

    variables = observer.prepare({"HOME": "h"})

    assert variables == {"HOME": "h"}
    assert "nothing of this run was observed" in observer.finish().blind_spots[0]


@every
def test_a_folder_that_was_bound_elsewhere_is_told_by_its_own_place(root, by, tmp_path):
    (root / "data.csv").write_text("1")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.symlink_to(root)  # stands for a bind mount: the processes see the other name
    script = f"open('{elsewhere}/data.csv'); open('{elsewhere}/model.txt', 'w').write('1')"
    log = root / ".mlrepro" / "log"
    observer = observers.choose(by, log=log, root=root, shown=str(elsewhere))
    variables = observer.prepare(dict(os.environ))
    subprocess.run([sys.executable, "-c", script], cwd=root, env=variables, check=True)
    elsewhere.unlink()

    seen = observer.finish()

    assert reads(seen) == {"data.csv": by.partition("+")[0]}
    assert writes(seen) == {"model.txt": by}


def test_off_observes_nothing_and_says_so(root):
    seen = observe_script(root, "open('a.txt', 'w')", name="off")

    assert seen.name == "off"
    assert seen.writes == ()
    assert "observer was off" in seen.blind_spots[0]


@pytest.mark.parametrize("name", ["native", "strace"])
def test_an_observer_that_there_is_not_is_refused(root, name, monkeypatch):
    monkeypatch.setattr(probe, "library", lambda: None)
    with pytest.raises(UsageError):
        observers.choose(name, log=root / "log", root=root)


def test_without_its_library_auto_watches_python_and_says_what_that_costs(root, monkeypatch):
    monkeypatch.setattr(probe, "library", lambda: None)
    monkeypatch.setattr(probe, "why_not", lambda: "there was no compiler")

    seen = observe_script(root, "open('a.txt', 'w').write('1')", name="auto")

    assert seen.name == "audit+scan"
    (spot,) = seen.blind_spots
    assert spot.startswith("the native observer is not there: there was no compiler; files that")


@natively
@pytest.mark.parametrize(
    "script",
    [
        "subprocess.run([sys.executable, '-I', '-c', 'open(\"data.csv\").read()'])",
        "subprocess.run([sys.executable, '-SE', '-c', 'open(\"data.csv\").read()'])",
        "subprocess.run(['sort', 'data.csv'])",
        "os.system('cat data.csv | sort > /dev/null')",
        "subprocess.run(['./prepare.sh'])",
        "os.execv('/bin/cat', ['cat', 'data.csv'])",
    ],
)
def test_a_program_that_is_watched_natively_is_no_blind_spot(root, script):
    (root / "data.csv").write_text("1")
    (root / "prepare.sh").write_text("#!/bin/sh\nsort data.csv\n")
    (root / "prepare.sh").chmod(0o755)

    seen = observe_script(root, f"import os, subprocess, sys\n{script}", name="auto")

    assert reads(seen)["data.csv"] == "native"
    assert (seen.name, seen.blind_spots, seen.unwatched) == ("native+scan", (), False)


@natively
def test_a_program_that_cannot_be_watched_is_named_with_the_cause_and_its_files_are_taken(root):
    (root / "data.csv").write_text("1")

    seen = observe_script(
        root,
        """
        import subprocess
        subprocess.run(["sort", "data.csv"], env={"LC_ALL": "C"})
        """,
        name="auto",
    )

    assert reads(seen)["data.csv"] == "argument"
    assert seen.unwatched
    (spot,) = seen.blind_spots
    assert spot.startswith("`sort data.csv` was not watched, since it was started with an")


@natively
def test_what_a_file_held_before_the_run_added_to_it_is_an_input(root):
    (root / "log.txt").write_text("before")

    seen = observe_script(root, "open('log.txt', 'a').write('after')", name="auto")

    read = next(read for read in seen.reads if read.path.endswith("log.txt"))
    assert Path(read.copy).read_text() == "before"
    assert seen.blind_spots == ()


@natively
def test_what_git_looks_at_is_no_input(root):
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    (root / "data.csv").write_text("1")

    seen = observe_script(
        root, "import subprocess\nsubprocess.run(['git', 'add', 'data.csv'])", name="auto"
    )

    assert reads(seen) == {"train.py": "import"}


@natively
def test_a_listed_folder_is_told_by_its_names(root):
    for name in ("b.csv", "a.csv"):
        (root / "data" / name).parent.mkdir(exist_ok=True)
        (root / "data" / name).write_text("")

    listed = [
        next(f for f in seen.listed if f.path.endswith("data"))
        for seen in (
            observe_script(root, "import os\nos.listdir('data')", name="auto", log=f"log{number}")
            for number in range(2)
        )
    ]

    assert listed[0].count == 2
    assert listed[0] == listed[1]


@natively
def test_a_change_without_an_event_is_said(root):
    (root / "notes.txt").write_text("1")
    log = root / ".mlrepro" / "log"
    observer = observers.choose("auto", log=log, root=root)
    variables = observer.prepare(dict(os.environ))
    (root / "notes.txt").write_text("somebody else's")
    subprocess.run([sys.executable, "-c", "1"], cwd=root, env=variables, check=True)

    seen = observer.finish()

    assert seen.blind_spots == (
        "changed during the run, and no program was seen to do it: notes.txt",
    )


def test_the_users_pythonpath_stays_behind_the_probe(root):
    observer = observers.choose("audit", log=root / "log", root=root)

    variables = observer.prepare({"PYTHONPATH": "src:"})

    assert variables["PYTHONPATH"].endswith("/inject:src:")
    assert observer.prepare(variables)["PYTHONPATH"] == variables["PYTHONPATH"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_in_place_of_a_log_is_never_waited_for(tmp_path):
    log = tmp_path / ".mlrepro" / "log"
    observer = observers.choose("auto", log=log, root=tmp_path)
    observer.prepare({})
    for name in ("native.log", "watch.json", "123-1.log"):
        (log / name).unlink(missing_ok=True)
        os.mkfifo(log / name)

    assert not observer.finish().reads
    assert not observers.recover(log, tmp_path).reads
