"""The preload library inside real programs: what it notes, and that nobody notices it."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from mlrepro import probe
from mlrepro.capture import nativelog
from mlrepro.capture.nativelog import NativeLog
from mlrepro.capture.records import Record
from mlrepro.probe import native

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "mlrepro/probe/preload.c"
TOOLBOX = Path(__file__).with_name("toolbox.c")
FLAGS = ("-O2", "-fPIC", "-shared", "-std=gnu11", "-Wall", "-Wextra", "-fvisibility=hidden")

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("gcc") is None,
    reason="needs Linux and a C compiler",
)


@dataclass(frozen=True)
class Bench:
    """Compiled programs, and a folder to act in."""

    tools: Path
    place: Path
    library: Path

    @property
    def toolbox(self) -> str:
        return str(self.tools / "toolbox")

    @property
    def log(self) -> Path:
        return self.place.parent / "log"

    def compiled(self, name: str, source: str, *flags: str) -> str:
        """Compile a program; skips the test where the machine cannot."""
        target = self.place.parent / name
        text = self.place.parent / f"{name}.c"
        text.write_text(source)
        done = subprocess.run(["gcc", "-o", target, text, *flags], capture_output=True)
        if done.returncode:
            pytest.skip(f"gcc cannot build with {flags}")
        return str(target)

    def write(self, name: str, text: str = "old\n") -> Path:
        path = self.place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def variables(self, **more: str) -> dict[str, str]:
        given = {**os.environ, probe.LOG: str(self.log), **more}
        return native.preload(given, self.library)

    def start(self, *command: str, **more: str) -> subprocess.Popen[str]:
        if not self.log.exists():
            self.log.mkdir()
            native.create(self.log)
        return subprocess.Popen(
            command,
            cwd=self.place,
            env=self.variables(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        with self.start(*command, **more) as process:
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def seen(self, *command: str, **more: str) -> Seen:
        """Run a program that must end well and say nothing on stderr; return what was noted."""
        done = self.run(*command, **more)
        assert (done.returncode, done.stderr) == (0, "")
        return self.noted()

    def use(self, *words: str) -> Seen:
        return self.seen(self.toolbox, *words)

    def noted(self) -> Seen:
        return Seen(nativelog.read(self.log), self.place)


@dataclass(frozen=True)
class Seen:
    """The records of a run; paths are shown relative to its folder."""

    whole: NativeLog
    place: Path

    def of(self, kinds: str) -> list[Record]:
        return [record for record in self.whole.records if record.kind in kinds]

    def files(self, kinds: str = "rwaumk") -> list[str]:
        """Uses of files in the run's folder, in their order: ``r data.csv``."""
        found = []
        for record in self.of(kinds):
            paths = record.fields[1:] if record.kind == "m" else record.fields[-1:]
            if all(path.startswith(f"{self.place}/") for path in paths):
                shown = " ".join(os.path.relpath(path, self.place) for path in paths)
                found.append(f"{record.kind} {shown}")
        return found

    def one(self, kinds: str) -> Record:
        (found,) = (r for r in self.of(kinds) if r.fields[-1].startswith(f"{self.place}/"))
        return found


@pytest.fixture(scope="session")
def tools(tmp_path_factory) -> Path:
    """The library from the sources as they are, and the programs that try it."""
    folder = tmp_path_factory.mktemp("tools")
    library = ["gcc", *FLAGS, "-Werror", str(SOURCE), "-o", str(folder / "preload.so"), "-ldl"]
    toolbox = ["gcc", "-O1", "-w", str(TOOLBOX), "-o", str(folder / "toolbox"), "-lpthread"]
    for command in (library, toolbox):
        done = subprocess.run(command, capture_output=True, text=True)
        assert not done.returncode, done.stderr
    return folder


@pytest.fixture
def bench(tools, tmp_path, monkeypatch) -> Bench:
    monkeypatch.setattr(native, "LARGEST", 8 * 2**20)  # pytest keeps its folders for a while
    place = tmp_path / "place"
    place.mkdir()
    for name in [n for n in os.environ if n.startswith(("MLREPRO_", "LD_"))]:
        monkeypatch.delenv(name)
    return Bench(tools, place, tools / "preload.so")


@functools.cache
def pythons() -> tuple[str, ...]:
    """One Python of each version from 3.8 on that this machine has."""
    versions = Path(os.environ.get("PYENV_ROOT", "/nonexistent"), "versions")
    places = os.pathsep.join([*map(str, versions.glob("3.*/bin")), os.environ["PATH"]])
    found = (shutil.which(f"python3.{minor}", path=places) for minor in range(8, 16))
    return tuple(path for path in found if path and _starts(path))


def _starts(path: str) -> bool:  # a version manager's shim may be there for one that is not
    return subprocess.run([path, "-c", ""], capture_output=True).returncode == 0


# --- what is noted


@pytest.mark.parametrize(
    ("words", "noted"),
    [
        ("r old", ["r old"]),
        ("open64 old", ["r old"]),
        ("fopen-r old", ["r old"]),
        ("freopen old", ["r old"]),
        ("w new", ["w new"]),
        ("w old", ["w old"]),
        ("x new", ["w new"]),
        ("creat new", ["w new"]),
        ("fopen-w new", ["w new"]),
        ("link old new", ["w new"]),
        ("symlink old new", ["w new"]),
        ("a new", ["a new"]),
        ("fopen-a new", ["a new"]),
        ("u new", ["u new"]),
        ("mv old new", ["m old new"]),
        ("r old r old r ./old", ["r old", "r old"]),
        ("w new w new", ["w new"]),
        ("w new r new", ["w new", "r new"]),
        ("w new mv new newer w new", ["w new", "m new newer", "w new"]),
        ("folder sub openat inner", ["r sub/inner"]),
        ("folder sub openat-w new", ["u sub/new"]),
        ("folder sub mvat inner outer", ["m sub/inner sub/outer"]),
        ("cd sub r inner", ["r sub/inner"]),
        ("cd sub cd .. r old", ["r old"]),
        ("folder sub fcd r inner", ["r sub/inner"]),
        ("r sub/../old", ["r old"]),
        ("r .//sub/./inner", ["r sub/inner"]),
        ("r old _exit 0", ["r old"]),
        ("w new cd sub w new", ["w new", "w sub/new"]),
        ("w new rm new cd sub w new", ["w new", "w sub/new"]),
    ],
)
def test_each_use_of_a_file_is_noted_with_its_path(bench, words, noted):
    bench.write("old")
    bench.write("sub/inner")

    assert bench.use(*words.split()).files() == noted


@pytest.mark.parametrize(
    "words", ["a old", "u old", "fopen-u old", "truncate old"], ids=lambda w: w.split()[0]
)
def test_a_file_that_is_changed_in_place_is_copied_before(bench, words):
    before = bench.write("old")

    seen = bench.use(*words.split())

    kept, used = seen.one("k"), seen.one("au")
    assert (bench.log / kept.fields[5]).read_text() == "old\n"
    assert kept.fields[:5] == used.fields[2:7]
    assert kept.fields[6] == used.fields[7] == str(before)


@pytest.mark.parametrize("words", ["w old", "creat old", "fopen-w old", "rm old", "remove old"])
def test_a_file_that_was_read_is_copied_before_it_changes(bench, words):
    bench.write("old")

    seen = bench.use("r", "old", *words.split())

    assert (bench.log / seen.one("k").fields[5]).read_text() == "old\n"
    assert seen.one("k").fields[:5] == seen.one("r").fields[2:7]


def test_a_read_tells_the_state_of_the_file(bench):
    status = bench.write("old").stat()

    (read,) = bench.use("r", "old").of("r")

    state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    assert read.fields == ("native", "1", *map(str, state), str(bench.place / "old"))


def test_whether_a_path_was_relative_is_noted(bench):
    path = bench.write("old")

    seen = bench.use("r", str(path), "w", "new", "folder", ".", "openat", "old")

    assert [record.fields[1] for record in seen.of("rw")] == ["0", "1", "1"]


def test_temporary_files_are_noted_under_the_name_they_got(bench):
    (name,) = bench.use("mkstemp", "work-XXXXXX").files()

    assert name.startswith("w work-")
    assert "XXXX" not in name


def test_what_fails_is_not_noted(bench):
    done = bench.run(bench.toolbox, "r", "missing")

    assert done.returncode == 99
    assert bench.noted().files() == []


def test_standard_streams_that_are_files_are_noted(bench):
    bench.write("data")

    seen = bench.seen("sh", "-c", f"{bench.toolbox} say hello < data > result")

    streams = [r for r in seen.of("rw") if r.fields[0] == "stream"]
    assert [(r.kind, os.path.basename(r.fields[-1])) for r in streams] == [
        ("r", "data"),
        ("w", "result"),
    ]


def test_variables_that_are_looked_up_are_noted(bench):
    done = bench.run(bench.toolbox, "getenv", "MODEL_SEED", "getenv", "NOT_SET", MODEL_SEED="7")

    assert done.stdout == "7\n(none)\n"
    asked = [record.fields for record in bench.noted().of("e")]
    assert ("MODEL_SEED", "native") in asked
    assert ("NOT_SET", "native") in asked


def test_connections_and_names_are_noted(bench):
    seen = bench.use("connect", "/nonexistent/socket", "lookup", "localhost")

    told = [record.fields for record in seen.of("n")]
    assert ("connect", "/nonexistent/socket") in told
    assert ("name", "localhost") in told


def test_mapped_libraries_are_noted_at_the_end(bench):
    libraries = [record.fields for record in bench.use().of("l")]

    assert any("libc" in path and int(inode) for path, _dev, inode in libraries)
    assert str(bench.library) not in [path for path, *_ in libraries]


@pytest.mark.parametrize("words", ["", "exit 0", "_exit 0", "fork _exit 0"])
def test_an_orderly_end_is_noted_once_for_each_process(bench, words):
    ends = [record.pid for record in bench.use(*words.split()).of("z")]

    assert len(ends) == len(set(ends)) == (2 if "fork" in words else 1)


def test_an_end_by_a_signal_leaves_no_orderly_end(bench):
    done = bench.run(bench.toolbox, "w", "new", "abort")

    assert done.returncode == -signal.SIGABRT
    assert bench.noted().files() == ["w new"]
    assert not bench.noted().of("z")


# --- folders

_REVERSED = r"""
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <string.h>
static struct dirent kept[64];
static int count = -1;
struct dirent *readdir(DIR *folder) {
    struct dirent *(*next)(DIR *) = (struct dirent * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir");
    struct dirent *one;
    if (count < 0)
        for (count = 0; count < 64 && (one = next(folder)); count++) kept[count] = *one;
    return count ? &kept[--count] : NULL;
}
"""


def test_a_listed_folder_is_told_by_its_names_and_their_order(bench):
    for name in ("a", "b", "c"):
        bench.write(f"one/{name}")
        bench.write(f"two/{name}")
    reverse = bench.compiled("reverse.so", _REVERSED, "-shared", "-fPIC", "-ldl")

    (straight,) = bench.use("ls", "one").of("d")
    other = bench.seen(bench.toolbox, "ls", "one", LD_PRELOAD=reverse).of("d")[-1]

    assert straight.fields[:2] == (str(bench.place / "one"), "3")
    assert len(straight.fields[2]) == len(straight.fields[3]) == 16
    assert other.fields[2] == straight.fields[2]
    assert other.fields[3] != straight.fields[3]


def test_other_names_have_another_digest(bench):
    bench.write("one/a")
    bench.write("two/b")

    one, two = bench.use("ls", "one", "ls", "two").of("d")

    assert one.fields[1] == two.fields[1] == "1"
    assert one.fields[2] != two.fields[2]


def test_a_folder_that_was_not_read_to_its_end_has_no_count(bench):
    bench.write("one/a")

    (listed,) = bench.use("look", "one").of("d")

    assert listed.fields == (str(bench.place / "one"), "-1", "", "")


def test_folders_that_python_lists_are_noted(bench):
    bench.write("one/a")

    seen = bench.seen(sys.executable, "-S", "-c", "import os; os.listdir('one'); os.scandir('.')")

    listed = {r.fields[0]: r.fields[1] for r in seen.of("d")}
    assert listed[str(bench.place / "one")] == "1"
    assert str(bench.place) in listed


def test_a_folder_that_libc_lists_by_itself_is_noted(bench):
    bench.write("one/a")
    program = bench.compiled(
        "scans",
        "#include <dirent.h>\nint main(void) {"
        ' struct dirent **names; return scandir("one", &names, 0, alphasort) == 3 ? 0 : 1; }',
    )

    (listed,) = bench.seen(program).of("d")

    assert listed.fields == (str(bench.place / "one"), "-1", "", "")


# --- processes


def test_started_programs_tell_whose_children_they_are(bench):
    seen = bench.seen("sh", "-c", f"{bench.toolbox} say one; true")

    shell, tool = seen.of("s")
    assert tool.fields[0] == str(shell.pid)
    assert tool.fields[1] == bench.toolbox
    assert tool.fields[2:] == (bench.toolbox, "say", "one")


@pytest.mark.parametrize("way", ["execv", "execvp", "execl", "spawn", "vfork", "fork execv"])
def test_each_way_to_start_a_program_is_noted(bench, way):
    bench.write("old")

    seen = bench.use(*way.split(), bench.toolbox, "r", "old")

    (start,) = seen.of("x")
    assert start.fields == (bench.toolbox, "1", bench.toolbox, "r", "old")
    assert seen.files() == ["r old"]
    assert len(seen.of("s")) == 2


def test_what_a_shell_starts_for_a_program_is_noted(bench):
    bench.write("old")

    seen = bench.use("system", f"{bench.toolbox} r old; true")

    assert ("/bin/sh", "1", "sh", "-c", f"{bench.toolbox} r old; true") in [
        record.fields for record in seen.of("x")
    ]
    assert seen.files() == ["r old"]


def test_a_forked_child_reads_under_its_own_number_and_folder(bench):
    bench.write("sub/inner")

    seen = bench.use("cd", "sub", "fork", "r", "inner")

    assert seen.files() == ["r sub/inner"]
    assert seen.one("r").pid != seen.of("s")[0].pid


def test_a_child_that_python_starts_in_another_folder_is_followed(bench):
    bench.write("sub/inner")
    script = f"import subprocess; subprocess.run(['{bench.toolbox}', 'r', 'inner'], cwd='sub')"

    assert bench.seen(sys.executable, "-S", "-c", script).files() == ["r sub/inner"]


def test_programs_of_all_kinds_are_watched(bench):
    bench.write("old")
    if shutil.which("perl") is None:
        pytest.skip("no perl here")
    script = """
        cp old copied
        cat old > shell.txt
        perl -e 'open F, "<", "copied"; open G, ">", "perl.txt"; rename "perl.txt", "moved.txt"'
        while read line; do echo $line; done < shell.txt >> appended
    """

    files = bench.seen("sh", "-c", script).files()

    assert files.index("r old") < files.index("r copied")
    assert {"r copied", "w perl.txt", "m perl.txt moved.txt", "a appended"} <= {*files}
    assert {"w shell.txt", "r shell.txt"} <= {*files}
    assert any(use.endswith(" copied") and use[0] in "wu" for use in files)


def test_what_one_process_wrote_and_another_read_is_in_order(bench):
    files = bench.seen("sh", "-c", "echo a > made; cat made; cat made > again").files()

    assert [use for use in files if "again" not in use][:2] == ["w made", "r made"]


@pytest.mark.parametrize(
    "change", ["echo new > old", "mv other old", "rm old", "cp other old", ": > old"]
)
def test_what_one_process_read_is_copied_before_another_changes_it(bench, change):
    bench.write("old")
    bench.write("other", "new\n")

    seen = bench.seen("sh", "-c", f"cat old > /dev/null; {change}")

    kept = next(r for r in seen.of("k") if r.fields[-1].endswith("/old"))
    assert (bench.log / kept.fields[5]).read_text() == "old\n"
    assert (kept.fields[:5]) == next(r for r in seen.of("r")).fields[2:7]


def test_what_the_run_wrote_itself_is_not_copied(bench):
    seen = bench.seen("sh", "-c", "echo a > made; cat made; echo b > made; rm made")

    assert not seen.of("k")


def test_a_file_made_beside_and_renamed_into_place_is_noted(bench):
    assert bench.use("w", "new.tmp", "mv", "new.tmp", "new").files() == [
        "w new.tmp",
        "m new.tmp new",
    ]


# --- nobody notices it


def test_all_that_a_killed_process_noted_can_be_read(bench):
    process = bench.start(bench.toolbox, "place", ".", "storm")
    while len(os.listdir(bench.place)) < 300:
        time.sleep(0.01)
        assert process.poll() is None
    process.kill()
    process.communicate()

    made = {f"w {name}" for name in os.listdir(bench.place)}
    noted = {*bench.noted().files("w")}

    assert noted <= made
    assert len(made - noted) <= 1  # the last was made, and not yet noted
    assert bench.noted().whole.damaged <= 1


def test_signal_handlers_may_open_files_at_any_moment(bench):
    seen = bench.seen(bench.toolbox, "place", ".", "timer", "400")

    files = [use for use in seen.files("w") if use != "w"]
    assert {f"w main{number}" for number in range(400)} <= {*files}
    assert {"w signal0", "w signal1", "w signal2"} <= {*files}
    assert seen.whole.damaged == 0


def test_forks_among_threads_end_well(bench):
    seen = bench.seen(bench.toolbox, "place", ".", "threads", "40")

    assert {f"w ./child{number}".replace("./", "") for number in range(40)} <= {*seen.files()}
    assert len(seen.of("z")) == 41


def test_a_daemon_that_closes_all_descriptors_is_still_watched(bench):
    bench.write("old")
    bench.run(bench.toolbox, "daemon", "r", "old", "w", "done")
    for _ in range(500):
        if bench.noted().of("z"):  # its parent's end is within libc
            break
        time.sleep(0.01)

    assert bench.noted().files() == ["r old", "w done"]


def test_errno_is_what_it_is_without_the_library(bench, tmp_path):
    plain = subprocess.run(
        [bench.toolbox, "errno"], cwd=bench.place, capture_output=True, text=True
    )

    assert bench.run(bench.toolbox, "errno").stdout == plain.stdout
    assert len(plain.stdout.splitlines()) > 20


NULLS = """
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <unistd.h>
extern char **environ;
int main(int count, char **arguments) {
    pid_t child;
    char *none = count > 5 ? arguments[0] : NULL;
    printf("%d %d\\n", closedir((DIR *)none), errno);
    printf("%d %d\\n", unlink(none), errno);
    printf("%d %d\\n", rename(none, none), errno);
    printf("%d %d\\n", fopen(none, "w") != NULL, errno);
    printf("%d %d\\n", execve(none, NULL, NULL), errno);
    printf("%d\\n", posix_spawn(&child, none, NULL, NULL, arguments, environ));
    return 0;
}
"""


def test_nothing_in_place_of_an_argument_is_what_it_is_without_the_library(bench, tmp_path):
    program = bench.compiled("nulls", NULLS, "-O0", "-w")
    plain = subprocess.run([program], cwd=tmp_path, capture_output=True, text=True)

    assert not plain.returncode
    assert bench.run(program).stdout == plain.stdout


LOCKS = """
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
    fcntl(open("locked", O_RDONLY), F_SETLK, &lock);
    int again = open("locked", O_RDWR);
    if (!fork()) {
        lock.l_type = F_WRLCK;
        fcntl(again, F_GETLK, &lock);
        _exit(lock.l_type == F_UNLCK);
    }
    int status;
    wait(&status);
    return WEXITSTATUS(status);
}
"""


def test_a_lock_of_the_programs_is_not_lost_to_a_copy(bench):
    bench.write("locked")

    bench.seen(bench.compiled("locks", LOCKS))

    assert bench.noted().files("k") == []


def test_a_full_log_counts_what_is_lost_and_harms_nobody(bench):
    bench.log.mkdir()
    native.create(bench.log)
    with (bench.log / native.NAME).open("r+b") as file:
        size = struct.unpack_from("<Q", file.read(4096), 16)[0]
        file.seek(48)
        file.write(struct.pack("<Q", size - 64))

    done = bench.run(bench.toolbox, "place", ".", "many", "20", "say", "fine", "exit", "3")

    assert (done.returncode, done.stdout, done.stderr) == (3, "fine\n", "")
    assert bench.noted().whole.lost >= 20


@pytest.mark.parametrize("number", [0, 1, 2**63, 2**64 - 8])
def test_a_log_that_is_spoilt_while_it_is_written_harms_nobody(bench, number):
    bench.write("old")
    program = (
        f"import os, struct; file = open({str(bench.log / native.NAME)!r}, 'r+b'); "
        f"file.seek(8); file.write(struct.pack('<II5Q', 1, 4096, *[{number}] * 5)); file.flush(); "
        "[open(name).close() for name in ['old'] * 3]; os.rename('old', 'new'); print('fine')"
    )

    done = bench.run(sys.executable, "-I", "-S", "-c", program)

    assert (done.returncode, done.stdout, done.stderr) == (0, "fine\n", "")
    assert bench.noted().whole.damaged


@pytest.mark.parametrize("harm", ["no folder", "no file", "empty", "foreign", "cut off"])
def test_a_log_that_is_not_there_costs_one_line(bench, harm):
    if harm != "no folder":
        bench.log.mkdir()
    file = bench.log / native.NAME
    if harm == "empty":
        file.touch()
    elif harm == "foreign":
        file.write_bytes(bytes(2**20))
    elif harm == "cut off":
        native.create(bench.log)
        os.truncate(file, 2**20)
    done = subprocess.run(
        ["sh", "-c", f"{bench.toolbox} say fine; {bench.toolbox} say again; exit 4"],
        env=bench.variables(),
        capture_output=True,
        text=True,
    )

    assert (done.returncode, done.stdout) == (4, "fine\nagain\n")
    assert len(done.stderr.splitlines()) == 1
    assert "log" in done.stderr


def test_the_log_takes_no_memory_of_a_program_that_has_a_limit(bench):
    bench.run("true")
    limit = 3 * (bench.log / native.NAME).stat().st_size // 1024

    done = bench.run("sh", "-c", f"ulimit -v {limit}; {bench.toolbox} say fine")

    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert done.stderr == ""
    assert [record.fields[1].rpartition("/")[2] for record in bench.noted().of("s")] != []
    assert bench.toolbox not in [record.fields[1] for record in bench.noted().of("s")]


def test_without_a_log_variable_nothing_happens(bench):
    variables = native.preload(os.environ, bench.library)

    done = subprocess.run([bench.toolbox, "say", "fine"], env=variables, capture_output=True)

    assert (done.stdout, done.stderr) == (b"fine\n", b"")


def test_every_python_starts_and_works_under_it(bench):
    bench.write("old")
    for python in pythons():
        script = "import ctypes, json, ssl, subprocess, threading; print(open('old').read())"
        done = bench.run(python, "-I", "-c", script)
        assert (done.returncode, done.stdout.strip()) == (0, "old"), done.stderr
    assert "r old" in bench.noted().files()
    assert pythons()


def test_python_is_told_that_its_process_is_watched(bench):
    script = "import os; print(os.environ.get('MLREPRO_NATIVE') == str(os.getpid()))"

    assert bench.run(sys.executable, "-S", "-c", script).stdout == "True\n"


def test_imported_modules_are_noted_by_their_sources(bench):
    bench.write("helper.py", "A = 1\n")
    script = "import helper"
    bench.run(sys.executable, "-c", script)
    shutil.rmtree(bench.log)

    seen = bench.seen(sys.executable, "-c", script)

    read = seen.one("r")
    assert (read.fields[0], read.fields[-1]) == ("import", str(bench.place / "helper.py"))
    assert int(read.fields[3]) == (bench.place / "helper.py").stat().st_ino


# --- programs that cannot be watched


def test_a_cleared_environment_is_noted_and_works(bench):
    bench.write("old")

    seen = bench.seen("env", "-i", bench.toolbox, "r", "old")

    assert seen.files() == []
    assert (bench.toolbox, "0", bench.toolbox, "r", "old") in [r.fields for r in seen.of("x")]


def test_a_static_program_runs_unharmed_and_is_noted(bench):
    program = bench.compiled(
        "static", '#include <stdio.h>\nint main(void) { puts("ran"); return 5; }', "-static"
    )

    done = bench.run("sh", "-c", f"{program}; exit $?")

    assert (done.returncode, done.stdout, done.stderr) == (5, "ran\n", "")
    assert program in [r.fields[0] for r in bench.noted().of("x") if r.fields[1] == "static"]
    assert native.unfit(program) == "static"


def test_a_sanitized_program_runs_unharmed_and_is_noted(bench):
    program = bench.compiled(
        "sanitized",
        '#include <stdio.h>\nint main(void) { puts("ran"); return 5; }',
        "-fsanitize=address",
    )

    done = bench.run("sh", "-c", f"{program}; exit $?", ASAN_OPTIONS="detect_leaks=0")

    assert (done.returncode, done.stdout, done.stderr) == (5, "ran\n", "")
    assert program in [r.fields[0] for r in bench.noted().of("x") if r.fields[1] == "sanitizer"]
    assert native.unfit(program) == "sanitizer"


def test_what_the_user_preloads_himself_stays(bench):
    own = bench.compiled(
        "own.so",
        "#include <unistd.h>\n"
        '__attribute__((constructor)) static void hello(void) { (void)!write(1, "own\\n", 4); }',
        "-shared",
        "-fPIC",
    )
    bench.write("old")

    done = bench.run(bench.toolbox, "r", "old", LD_PRELOAD=own)

    assert done.stdout == "own\n"
    assert bench.noted().files() == ["r old"]


def test_what_a_library_asks_for_while_it_is_loaded_is_noted(bench):
    library = bench.compiled(
        "libasks.so",
        "#include <stdlib.h>\nint threads;\n__attribute__((constructor)) static void ask(void) {"
        ' threads = getenv("ASKS_THREADS") ? atoi(getenv("ASKS_THREADS")) : 1; }',
        "-shared",
        "-fPIC",
    )
    program = bench.compiled(
        "asks", "extern int threads;\nint main(void) { return threads; }", library
    )

    done = bench.run(program, ASKS_THREADS="7")

    assert done.returncode == 7
    assert "ASKS_THREADS" in [record.fields[0] for record in bench.noted().of("e")]


@pytest.mark.parametrize("first", [False, True])
def test_a_users_own_getenv_answers_as_ever(bench, first):
    own = bench.compiled(
        "own.so",
        "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <string.h>\n"
        "char *getenv(const char *name) { char *(*next)(const char *) = "
        '(char *(*)(const char *))dlsym(RTLD_NEXT, "getenv");'
        'return strcmp(name, "MODEL_SEED") ? next(name) : "own"; }',
        "-shared",
        "-fPIC",
        "-ldl",
    )
    command = (bench.toolbox, "getenv", "MODEL_SEED")
    if first:
        inner = f'LD_PRELOAD="{own}:$LD_PRELOAD" exec "$@"'
        done = bench.run("sh", "-c", inner, "sh", *command)
    else:
        done = bench.run(*command, LD_PRELOAD=own)

    assert (done.returncode, done.stdout, done.stderr) == (0, "own\n", "")


def test_a_handler_on_a_small_stack_has_as_much_of_it_as_ever(bench):
    program = bench.compiled("small", SMALL_STACK)
    bench.write("old")

    used = int(subprocess.run([program], cwd=bench.place, capture_output=True).stdout)
    watched = bench.run(program)

    assert int(watched.stdout) < used + 1500
    assert bench.noted().files() == ["r old", "k old", "a old"]


SMALL_STACK = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static char stack[65536];
static int here;
static void handler(int number) {
    (void)number;
    close(open("old", O_RDONLY));
    close(openat(here, "old", O_WRONLY | O_APPEND));
}
int main(void) {
    stack_t other = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
    size_t free = 0;
    here = open(".", O_RDONLY | O_DIRECTORY);
    memset(stack, 0x55, sizeof stack);
    sigaltstack(&other, NULL);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    while (free < sizeof stack && stack[free] == 0x55) free++;
    printf("%zu\\n", sizeof stack - free);
    return 0;
}
"""


def test_the_library_stands_before_the_users_own_and_only_once():
    library = Path("/x/preload.so")
    once = native.preload({"LD_PRELOAD": "a.so b.so:", "HOME": "/h"}, library)

    assert once == {"LD_PRELOAD": "/x/preload.so:a.so:b.so", "HOME": "/h"}
    assert native.preload(once, library) == once
    assert native.preload({}, library) == {"LD_PRELOAD": "/x/preload.so"}


# --- which programs cannot, told from their first bytes


def elf(*parts: tuple[int, bytes], bits: int = 2, machine: int | None = None) -> bytes:
    """An ELF file of this machine with program headers (type, contents)."""
    own = native.machine(sys.executable)
    assert own is not None
    table, contents, place = b"", b"", 64 + 56 * len(parts)
    for kind, content in parts:
        table += struct.pack("<IIQQQQQQ", kind, 4, place, place, place, *[len(content)] * 2, 1)
        contents += content
        place += len(content)
    head = struct.pack("<4sBBB9x", b"\x7fELF", bits, 1, 1)
    head += struct.pack(
        "<HHIQQQIHHHHHH", 2, machine or own[2], 1, 0, 64, 0, 0, 64, 56, len(parts), 0, 0, 0
    )
    return head + table + contents


LOADER = (3, b"/lib64/ld-linux-x86-64.so.2\0")
GO = (4, struct.pack("<III4s8s", 4, 8, 4, b"Go\0\0", b"buildid\0"))


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (elf(LOADER), ""),
        (elf((4, b"")), "static"),
        (elf(GO), "go"),
        (elf(LOADER, GO), "go"),
        (elf((3, b"/lib/ld-musl-x86_64.so.1\0")), "musl"),
        (elf(LOADER, machine=8), "foreign"),
        (elf(LOADER, bits=1), "foreign"),
        (b"\x7fELF", "foreign"),
        (elf(LOADER)[:70], "static"),
        (b"#!/bin/sh\n", ""),
        (b"#! \n", ""),
        (b"", ""),
        (b"echo\n", ""),
    ],
)
def test_unfit_programs_are_told_by_their_headers(tmp_path, content, word):
    program = tmp_path / "program"
    program.write_bytes(content)
    program.chmod(0o755)

    assert native.unfit(str(program)) == word


def test_a_script_is_as_unfit_as_its_interpreter(tmp_path):
    interpreter, script = tmp_path / "interpreter", tmp_path / "script"
    interpreter.write_bytes(elf((4, b"")))
    script.write_text(f"#! {interpreter} -x\n")
    for path in (interpreter, script):
        path.chmod(0o755)

    assert native.unfit("script", path=str(tmp_path)) == "static"
    assert native.unfit("no-such-program") == ""


def test_a_program_with_anothers_rights_is_unfit(tmp_path):
    if os.getuid():
        pytest.skip("needs to give a file away")
    program = tmp_path / "program"
    program.write_bytes(elf(LOADER))
    os.chown(program, 12345, 0)
    program.chmod(0o4755)

    assert native.unfit(str(program)) == "setuid"


# --- where it lies


def test_the_library_is_copied_to_a_place_that_the_loader_can_name(
    tools, tmp_path, monkeypatch, bench
):
    installed = tmp_path / "a b:c"
    installed.mkdir()
    shutil.copy(tools / "preload.so", installed / "_preload.so")
    monkeypatch.setattr(probe, "__file__", str(installed / "__init__.py"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "runtime").mkdir()

    library = probe.library()

    assert library is not None
    assert library.parent == tmp_path / "runtime/mlrepro"
    assert probe.library() == library
    assert probe.why_not() == ""
    bench.write("old")
    assert Bench(tools, bench.place, library).use("r", "old").files() == ["r old"]


def test_a_library_that_may_not_be_executed_is_copied_elsewhere(tools, tmp_path, monkeypatch):
    shutil.copy(tools / "preload.so", tmp_path / "_preload.so")
    monkeypatch.setattr(probe, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    (tmp_path / "runtime").mkdir()
    really = probe._is_loadable
    # Mounting a folder with noexec needs rights that a test has not.
    monkeypatch.setattr(
        probe, "_is_loadable", lambda path: path.parent.name.startswith("mlrepro") and really(path)
    )

    library = probe.library()

    assert library is not None
    assert library != tmp_path / "_preload.so"


def test_why_there_is_no_library_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(probe, "__file__", str(tmp_path / "__init__.py"))
    assert probe.library() is None
    assert "C compiler" in probe.why_not()

    (tmp_path / "_preload.so").write_bytes(elf(LOADER, machine=8))
    assert probe.library() is None
    assert "another architecture" in probe.why_not()
