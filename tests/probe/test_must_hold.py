"""What must hold whatever a program does: it says, makes and ends the same as with nobody watching."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys

import pytest

from tests.probe.watching import NAMES, Bench, interpreters, same, version


@pytest.fixture(params=NAMES)
def bench(request, tmp_path) -> Bench:
    root = tmp_path / "project"
    (root / ".mlrepro").mkdir(parents=True)
    (root / "data.csv").write_text("1\n2\n3\n")
    return Bench(request.param, root)


def compiled(bench: Bench, name: str, source: str, *options: str) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    file = bench.write(name + ".c", source)
    target = str(bench.root / name)
    subprocess.run([compiler, "-o", target, file, *options], check=True)
    return target


def in_a_namespace() -> list[str]:
    """Return the words before a command that may mount file systems, or skip the test."""
    words = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*words, "true"]).returncode:
        pytest.skip("no namespaces here")
    return words


def test_a_process_looks_from_inside_as_it_does_with_nobody_watching(bench):
    bench.write(
        "train.py",
        """
        import builtins, gc, io, locale, os, posix, random, signal, sys, threading, warnings
        print(sorted(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")))
        print([signal.getsignal(n) for n in range(1, 32)], signal.pthread_sigmask(0, []))
        umask = os.umask(0)
        print(umask, os.getcwd(), sys.path, sys.flags, sys.getrecursionlimit(), gc.get_threshold())
        print(warnings.filters, locale.setlocale(locale.LC_ALL), threading.active_count())
        print(open is io.open, os.open is posix.open, type(os.environ))
        print(sorted(vars(builtins)), sys.argv, sys.orig_argv, sys.gettrace(), sys.getprofile())
        random.seed(5)
        print(random.random(), hash("x"), os._exit.__name__, os.getpgrp() == os.getpgid(0))
        """,
    )
    bench.variables.update(PYTHONHASHSEED="3")

    bare = bench.bare(sys.executable, "train.py")
    done, _ = bench.watch(sys.executable, "train.py")

    assert bare.returncode == 0, bare.stderr
    assert same(bare, done)


@pytest.mark.parametrize(
    "options",
    [["-W", "error"], ["-bb"], ["-X", "dev", "-W", "error"], ["-OO"], ["-u"], ["-B"]],
    ids=str,
)
def test_an_interpreter_with_strict_options_has_nothing_to_say_of_us(bench, options):
    bench.write(
        "train.py",
        """
        import os, subprocess, sys
        with open("data.csv") as source, open("model.txt", "w") as target:
            target.write(source.read())
        with open(b"data.csv", "rb"):
            pass
        os.environ.get("X"), os.environb.get(b"Y"), os.listdir(b".")
        subprocess.run(["true"], check=True)
        subprocess.run([b"true"], check=True, env={b"PATH": os.environb[b"PATH"]})
        os.rename("model.txt", b"moved.txt")
        """,
    )

    done, _ = bench.watch(sys.executable, *options, "train.py")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_timer_of_half_a_millisecond_disturbs_no_open_and_no_record(bench):
    bench.write(
        "train.py",
        """
        import ctypes, os, signal
        libc = ctypes.CDLL(None)
        fired = 0

        def handler(*_):
            global fired
            fired += 1
            with open("seen-by-handler.txt") as file:
                file.read()

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        wrong = 0
        for number in range(300):
            name = "part-%d.csv" % number
            with open(name, "w") as file:
                file.write(name)
            descriptor = -1
            while descriptor < 0:  # an open that was interrupted
                descriptor = libc.open(name.encode(), 0)
            wrong += os.read(descriptor, 100).decode() != name
            os.close(descriptor)
            with open(name) as file:
                wrong += file.read() != name
        signal.setitimer(signal.ITIMER_REAL, 0)
        print("wrong", wrong, fired > 5)
        """,
    )
    bench.write("seen-by-handler.txt", "1")

    bare = bench.bare(sys.executable, "train.py")
    done, seen = bench.watch(sys.executable, "train.py")

    assert bare.stdout == "wrong 0 True\n"
    assert same(bare, done)
    assert {f"part-{number}.csv" for number in range(300)} <= bench.writes(seen)
    assert "seen-by-handler.txt" in bench.reads(seen)
    assert not [spot for spot in seen.blind_spots if "incomplete" in spot or "lost" in spot]


def test_a_compiled_program_whose_handler_opens_files_is_undisturbed(bench):
    program = compiled(
        bench,
        "timed",
        """
        #include <fcntl.h>
        #include <signal.h>
        #include <stdio.h>
        #include <stdlib.h>
        #include <sys/time.h>
        #include <unistd.h>
        static volatile int fired;
        static void handler(int s) {
            (void)s; int d = open("data.csv", O_RDONLY); if (d >= 0) close(d); fired++;
        }
        int main(void) {
            struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
            struct itimerval half = {{0, 500}, {0, 500}};
            sigaction(SIGALRM, &action, 0);
            setitimer(ITIMER_REAL, &half, 0);
            int wrong = 0;
            for (int i = 0; i < 20000 || fired < 5; i++) {
                FILE *f = fopen("data.csv", "r");
                char line[8];
                if (!f || !fgets(line, sizeof line, f) || line[0] != '1') wrong++;
                if (f) fclose(f);
                free(malloc(100));
            }
            printf("wrong %d\\n", wrong);
            return 5;
        }
        """,
    )

    bare = bench.bare(program)
    done, seen = bench.watch(program)

    assert (bare.returncode, bare.stdout) == (5, "wrong 0\n")
    assert same(bare, done)
    assert "data.csv" in bench.reads(seen) or bench.observer == "audit"


def test_a_daemon_that_closed_all_descriptors_gets_no_byte_of_ours_in_its_files(bench):
    bench.write(
        "train.py",
        """
        import os, sys, time
        if os.fork():
            while not os.path.exists("done.txt"):
                time.sleep(0.01)
            sys.exit(0)
        os.setsid()
        if os.fork():
            os._exit(0)
        os.closerange(0, 256)
        files = [open("%d.out" % number, "w") for number in range(8)]
        rows = open("data.csv").read()
        for file in files:
            file.write(str(file.fileno()) + rows)
            file.close()
        os.rename("7.out", "last.out")
        os.close(os.open("done.txt", os.O_CREAT | os.O_WRONLY))
        """,
    )

    made = []
    for run in (bench.bare, lambda *command: bench.watch(*command)[1]):
        seen = run(sys.executable, "train.py")
        made.append({path.name: path.read_text() for path in bench.root.glob("*.out")})
        for path in (*bench.root.glob("*.out"), bench.root / "done.txt"):
            path.rename(path.with_suffix(".old"))

    assert made[0] == made[1]
    assert made[0]["0.out"] == "01\n2\n3\n"
    assert "data.csv" in bench.reads(seen)


def test_forks_while_threads_open_files_neither_hang_nor_lose_a_child(bench):
    bench.write(
        "train.py",
        """
        import os, sys, threading
        stop = False

        def reader(number):
            while not stop:
                with open("data.csv") as file:
                    file.read()
                os.listdir(".")

        threads = [threading.Thread(target=reader, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        codes = []
        for number in range(12):
            child = os.fork()
            if child == 0:
                with open("child-%d.txt" % number, "w") as file:
                    file.write(str(number))
                if number % 2:
                    os._exit(number)
                os.execv(sys.executable, [sys.executable, "-S", "-c", "raise SystemExit(%d)" % number])
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        stop = True
        for thread in threads:
            thread.join()
        print(codes)
        """,
    )

    done, seen = bench.watch(sys.executable, "-W", "ignore", "train.py")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{list(range(12))}\n"
    assert {f"child-{number}.txt" for number in range(12)} <= bench.writes(seen)


@pytest.mark.parametrize(
    "end",
    [
        "os._exit(9)",
        "os.kill(os.getpid(), 9)",
        "os.abort()",
        "sys.exit('said')",
        "raise KeyboardInterrupt",
        "os.execvp('sh', ['sh', '-c', 'exit 4'])",
        "os._exit('no number')",
        "signal.setitimer(signal.ITIMER_REAL, 0.05); signal.pause()",
        "threading.Thread(target=os._exit, args=(6,)).start(); time.sleep(60)",
        "ctypes.CDLL(None)._exit(8)",
    ],
)
def test_a_program_ends_as_it_would_and_what_it_did_is_known(bench, end):
    bench.write(
        "train.py",
        f"""
        import ctypes, os, resource, signal, sys, threading, time
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open("model.txt", "w") as file:
            file.write(open("data.csv").read())
        print("trained", flush=True)
        {end}
        """,
    )

    bare = bench.bare(sys.executable, "-W", "ignore", "train.py")
    done, seen = bench.watch(sys.executable, "-W", "ignore", "train.py")

    assert (done.returncode, done.stdout) == (bare.returncode, bare.stdout)
    assert done.stderr.splitlines()[-1:] == bare.stderr.splitlines()[-1:]
    assert bench.writes(seen) == {"model.txt"}
    assert "data.csv" in bench.reads(seen)


@pytest.mark.parametrize("python", interpreters(), ids=version)
def test_recursion_ends_where_it_would_within_a_few_frames(bench, python):
    bench.write(
        "train.py",
        """
        import os, sys

        def plain(depth):
            deepest[0] = depth
            plain(depth + 1)

        def opening(depth):
            deepest[0] = depth
            os.close(os.open("data.csv", 0))
            opening(depth + 1)

        def asking(depth):
            deepest[0] = depth
            os.environ.get("NAME-%d" % depth)
            asking(depth + 1)

        def making(depth):
            deepest[0] = depth
            descriptor = os.open("made-%d.txt" % depth, os.O_CREAT | os.O_WRONLY)
            os.write(descriptor, b"1")
            os.close(descriptor)
            making(depth + 1)

        found = []
        for function in (plain, opening, asking, making):
            for _ in range(3):
                deepest = [0]
                try:
                    function(0)
                except RecursionError as error:
                    found.append(deepest[0])

        def onward(depth):
            # Goes on a little after the limit was met, as a parser with a fallback does.
            try:
                os.close(os.open("on-%d.txt" % depth, os.O_CREAT | os.O_WRONLY))
                return onward(depth + 1)
            except RecursionError:
                return depth

        found.append(onward(0))
        open("after.txt", "w").close()
        print(found)
        """,
    )

    bare = bench.bare(python, "train.py")
    done, seen = bench.watch(python, "train.py")

    assert (bare.returncode, done.returncode, done.stderr) == (0, 0, "")
    expected, found = ast.literal_eval(bare.stdout), ast.literal_eval(done.stdout)
    assert max(abs(a - b) for a, b in zip(expected, found, strict=True)) <= 15
    assert {"made-0.txt", "made-500.txt", "after.txt"} <= bench.writes(seen)


@pytest.mark.parametrize(
    "closing", [">&-", ">&- 2>&-", "<&- >&- 2>&-", "| true", "2>&1 | head -n 1"]
)
def test_closed_standard_streams_change_nothing(bench, closing):
    bench.write(
        "train.py",
        """
        open("model.txt", "w").write(open("data.csv").read())
        for number in range(20000):
            print(number)
        """,
    )
    command = f"python3 train.py {closing}; echo $?"

    bare = bench.bare("sh", "-c", command)
    done, seen = bench.watch("sh", "-c", command)

    assert (done.returncode, done.stdout) == (bare.returncode, bare.stdout)
    assert done.stderr == bare.stderr
    assert (bench.root / "model.txt").read_text() == "1\n2\n3\n"
    assert "data.csv" in bench.reads(seen)


TRAIN = """
import os, subprocess, sys
rows = open("data.csv").read()
for number in range(100):
    with open("part-%d.txt" % number, "w") as file:
        file.write(rows)
child = "import os; open('child.txt', 'w').write('1'); os.environ.get('X')"
subprocess.run([sys.executable, "-c", child], check=True)
print("trained", len(rows))
print("careful", file=sys.stderr)
sys.exit(3)
"""


def test_a_full_disk_costs_one_line_and_the_training_is_unharmed(bench):
    namespace = in_a_namespace()
    bench.write("train.py", TRAIN)
    # By the shell alone: another program would say its own line.
    fill = "while echo 0123456789; do :; done 2>&1 > .mlrepro/log/x | :"
    fill = f"mount -t tmpfs -o size=16k none .mlrepro/log && ({fill})"

    bare = bench.bare(sys.executable, "train.py")
    done, _ = bench.watch(*namespace, "sh", "-c", f"{fill}; exec python3 train.py")

    assert (done.returncode, done.stdout) == (bare.returncode, bare.stdout)
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert "mlrepro" in next(line for line in lines if line != "careful")
    assert (bench.root / "part-99.txt").read_text() == "1\n2\n3\n"


def test_a_log_folder_that_vanished_costs_one_line_and_the_training_is_unharmed(bench):
    bench.write("train.py", TRAIN)

    bare = bench.bare(sys.executable, "train.py")
    done, seen = bench.watch("sh", "-c", "rm -r .mlrepro/log; exec python3 train.py")

    assert (done.returncode, done.stdout) == (bare.returncode, bare.stdout)
    lines = done.stderr.splitlines()
    assert len(lines) == 2 or (bench.observer == "native" and lines == ["careful"])
    assert all(line == "careful" or "mlrepro" in line for line in lines)
    assert seen.blind_spots


def test_little_memory_and_few_descriptors_change_nothing(bench):
    bench.write("train.py", TRAIN)
    for limit in ("ulimit -v 400000; ulimit -s 1024", "ulimit -n 12"):
        command = f"{limit}; exec python3 train.py"

        bare = bench.bare("sh", "-c", command)
        done, seen = bench.watch("sh", "-c", command)

        assert same(bare, done), limit
        assert "data.csv" in bench.reads(seen)


def test_an_environment_that_the_program_replaces_or_clears_changes_nothing(bench):
    bench.write(
        "train.py",
        """
        import copy, os, pickle, subprocess
        os.environ["LATER"] = "1"
        print(os.environ.get("LATER"), os.environ.setdefault("NEW", "2"), os.environ.pop("NEW"))
        print("GONE" in os.environ, os.environ.get("GONE", 7), len(dict(os.environ)) > 2)
        print(type(os.environ | {"a": "b"}), type(os.environ.copy()), repr(os.environ)[:8])
        try:
            os.environ["GONE"]
        except KeyError as error:
            print(repr(error))
        os.environ.clear()
        print(os.environ, subprocess.check_output(["/bin/sh", "-c", "echo $LATER"]))
        os.environ = {"PATH": "/bin"}
        print(os.getenv("PATH"))
        with open("model.txt", "w") as file:
            file.write(open("data.csv").read())
        """,
    )

    bare = bench.bare(sys.executable, "train.py")
    done, seen = bench.watch(sys.executable, "train.py")

    assert bare.returncode == 0, bare.stderr
    assert same(bare, done)
    assert bench.writes(seen) == {"model.txt"}
