"""The child does not notice us: terminals, pipes, signals, daemons and full disks."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from mlrepro import process
from mlrepro.process import CannotStartError, Streams

_DRIVER = """
import dataclasses, json, os, pathlib, sys
from mlrepro import process

folder = pathlib.Path(os.environ["FOLDER"])
options = json.loads(os.environ.get("OPTIONS", "{}"))
if "streams" in options:
    options["streams"] = process.Streams(*options["streams"])
(folder / "pid").write_text(str(os.getpid()))
ended = process.execute(
    sys.argv[1:], cwd=folder, variables=os.environ, stdout=folder / "out", stderr=folder / "err",
    started=lambda pid: (folder / "child").write_text(str(pid)), **options,
)
(folder / "ended.json").write_text(json.dumps(dataclasses.asdict(ended)))
sys.exit(ended.status_for_shell)
"""

# Runs a command in a group of its own in the terminal's foreground, as an interactive shell does.
_SHELL = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
def alone():
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
job = subprocess.Popen(sys.argv[1:], preexec_fn=alone)
while True:
    _, status = os.waitpid(job.pid, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    os.tcsetpgrp(0, os.getpgrp())
    print(f"<stopped by {os.WSTOPSIG(status)}>", flush=True)
    input()
    os.tcsetpgrp(0, job.pid)
    os.killpg(job.pid, signal.SIGCONT)
job.returncode = os.waitstatus_to_exitcode(status)
print(f"<exit {job.returncode}>", flush=True)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    root = str(Path(process.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", root)
    monkeypatch.setenv("FOLDER", str(tmp_path))
    monkeypatch.delenv("OPTIONS", raising=False)
    return tmp_path


def driver(*command: str) -> list[str]:
    return [sys.executable, "-c", _DRIVER, *command]


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def ended(folder: Path) -> dict:
    return json.loads((folder / "ended.json").read_text())


def execute(folder: Path, *command: str, **options) -> process.Ended:
    options = {"cwd": folder, "variables": dict(os.environ), "quiet": True, **options}
    return process.execute(command, stdout=folder / "out", stderr=folder / "err", **options)


def until(condition, seconds: float = 20):
    end = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)
    return result


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


class Screen:
    """A real terminal, with a program in it."""

    def __init__(self, command: list[str], *, columns: int = 77, lines: int = 33, **descriptors):
        pid, self.master = pty.fork()
        if not pid:
            try:
                for number, other in descriptors.items():
                    os.dup2(other, {"stdout": 1, "stderr": 2}[number])
                fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
                os.execvp(command[0], command)
            finally:
                os._exit(99)
        self.pid = pid
        self.seen = b""

    def read_until(self, words: str) -> None:
        while words.encode() not in self.seen:
            assert self._read(), f"{words} did not come: {self.seen!r}"

    def _read(self) -> bool:
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += data
        return bool(data)

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def end(self) -> int:
        while self._read():
            pass
        os.close(self.master)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_bytes_are_passed_on_and_kept_unchanged(folder):
    code = "import os; os.write(1, bytes(range(256)) * 999); os.write(2, b'\\xff\\r\\n'); exit(3)"

    done = subprocess.run(driver(*python(code)), capture_output=True)

    assert done.returncode == 3
    assert done.stdout == (folder / "out").read_bytes() == bytes(range(256)) * 999
    assert done.stderr == (folder / "err").read_bytes() == b"\xff\r\n"
    assert ended(folder)["exit_code"] == 3
    assert ended(folder)["streams"]["stdout"] == "pipe"


def test_cost_and_end_are_told(folder):
    result = execute(folder, *python("x = bytearray(50_000_000); sum(range(300_000))"))

    assert result.exit_code == 0
    assert result.cpu_seconds > 0
    assert result.peak_memory > 50_000_000
    assert result.seconds > 0
    assert not result.lost


def test_a_deadly_signal_is_told_as_a_shell_does(folder):
    result = execute(folder, "sh", "-c", "kill -9 $$")

    assert (result.exit_code, result.signal) == (None, 9)
    assert result.status_for_shell == 137


def test_the_child_is_in_our_group_and_session_with_our_stdin(folder):
    code = "import os; print(os.getpgrp(), os.getsid(0), input())"

    done = subprocess.run(driver(*python(code)), input="typed", capture_output=True, text=True)

    assert done.stdout == f"{os.getpgrp()} {os.getsid(0)} typed\n"


def test_the_child_gets_signals_as_they_were(folder):
    code = """
facts = dict(line.split(":") for line in open("/proc/self/status") if line[:3] == "Sig")
# Every posix_spawn of glibc, popen's too, ignores its two internal signals.
print(facts["SigBlk"], hex(int(facts["SigIgn"], 16) & ~0x180000000))
"""
    alone = subprocess.run(python(code), capture_output=True, text=True).stdout
    under_us = subprocess.run(driver(*python(code)), capture_output=True, text=True).stdout

    assert under_us == alone != ""


def test_inheritable_descriptors_stay_open(folder):
    reading, writing = os.pipe()

    subprocess.run(
        driver(*python(f"import os; os.write({writing}, b'job')")), pass_fds=[writing], check=True
    )

    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert pipe.read() == "job"


def test_a_progress_bar_looks_as_without_us(folder):
    # The order of two streams is only kept where they are apart: hence the moment between them.
    code = """
import os, sys, time
for i in range(50):
    sys.stderr.write(f"\\r{i:3}% {'#' * i}")
time.sleep(0.3)
terminals = [f.isatty() for f in (sys.stdin, sys.stdout, sys.stderr)]
print("\\ndone", os.get_terminal_size(), terminals)
"""
    alone = Screen(python(code))
    under_us = Screen(driver(*python(code)))

    assert alone.end() == under_us.end() == 0
    assert under_us.seen == alone.seen
    assert b"columns=77, lines=33) [True, True, True]\r\n" in under_us.seen
    assert "\r 49%" in (folder / "err").read_bytes().decode()
    assert (folder / "out").read_bytes().endswith(b"True]\n")
    assert ended(folder)["streams"] == dict.fromkeys(("stdin", "stdout", "stderr"), "terminal")


@pytest.mark.parametrize("piped", ["stdout", "stderr"])
def test_each_stream_keeps_its_own_kind(folder, piped):
    reading, writing = os.pipe()
    code = "import os; print(os.isatty(0), os.isatty(1), os.isatty(2))"

    screen = Screen(driver(*python(code)), **{piped: writing})
    os.close(writing)
    status = screen.end()

    os.close(reading)
    assert status == 0
    kept = (folder / "out").read_text()
    assert kept == f"True {piped == 'stderr'} {piped == 'stdout'}\n"
    assert ended(folder)["streams"][piped] == "pipe"


def test_a_new_size_of_the_terminal_reaches_the_child(folder):
    code = """
import os, signal
print("ready", flush=True)
def tell(*_):
    size = os.get_terminal_size(1)
    print("size", *size, flush=True)
    if size.columns == 60:
        os._exit(0)
signal.signal(signal.SIGWINCH, tell)
print("set", flush=True)
while True:
    signal.pause()
"""
    screen = Screen(driver(*python(code)))
    screen.read_until("set")
    screen.resize(100, 20)
    screen.read_until("size 100 20")
    screen.resize(60, 20)

    assert screen.end() == 0
    assert b"size 60 20" in screen.seen


_COUNTING = """
import signal, sys, time
names = []
def note(number, frame):
    names.append(signal.Signals(number).name)
for number in (2, 3, 10, 12, 15):
    signal.signal(number, note)
print("ready", flush=True)
while not names:
    time.sleep(0.02)
time.sleep(0.3)
print(*names)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1", "SIGQUIT"])
def test_a_signal_sent_to_us_alone_reaches_the_child_once(folder, name):
    job = subprocess.Popen(driver(*python(_COUNTING)), stdout=subprocess.PIPE, text=True)
    assert job.stdout.readline() == "ready\n"
    job.send_signal(signal.Signals[name])

    assert job.communicate()[0] == f"{name}\n"
    assert job.returncode == 0


@pytest.mark.parametrize(("key", "name"), [(b"\x03", "SIGINT"), (b"\x1c", "SIGQUIT")])
def test_a_key_of_the_terminal_reaches_the_child_once(folder, key, name):
    screen = Screen(driver(*python(_COUNTING)))
    screen.read_until("ready")
    screen.type(key)

    assert screen.end() == 0
    assert (folder / "out").read_text() == f"ready\n{name}\n"


def test_a_child_that_an_interrupt_ends_is_still_told(folder):
    screen = Screen(driver("sh", "-c", "echo ready; sleep 60"))
    screen.read_until("ready")
    screen.type(b"\x03")

    assert screen.end() == 130
    assert ended(folder)["signal"] == signal.SIGINT


def test_a_hangup_that_is_ignored_stays_ignored(folder):
    job = subprocess.Popen(
        ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *driver("sh", "-c", "echo ready; read x")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert job.stdout.readline() == "ready\n"
    child = until(lambda: text(folder / "child"))
    job.send_signal(signal.SIGHUP)
    os.kill(int(child), signal.SIGHUP)
    job.communicate("\n")

    assert job.returncode == 0


def test_ctrl_z_and_fg_work_as_without_us(folder):
    code = "print('ready', flush=True); print('got', input())"
    screen = Screen(python(_SHELL) + driver(*python(code)))
    screen.read_until("ready")
    screen.type(b"\x1a")
    screen.read_until(f"<stopped by {int(signal.SIGTSTP)}>")
    until(lambda: _state(int(text(folder / "child"))) == "T")
    screen.type(b"\n")
    until(lambda: _state(int(text(folder / "child"))) == "S")
    screen.type(b"word\n")
    screen.read_until("<exit 0>")
    screen.end()

    assert (folder / "out").read_text() == "ready\ngot word\n"


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def test_head_ends_the_child_as_without_us(folder):
    job = subprocess.Popen(driver("yes"), stdout=subprocess.PIPE)
    assert job.stdout.readline() == b"y\n"
    job.stdout.close()

    assert job.wait() == 128 + signal.SIGPIPE
    assert ended(folder)["signal"] == signal.SIGPIPE


def test_a_reader_that_has_gone_is_noticed_before_the_next_write(folder):
    code = """
import os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
print("ready", flush=True)
input()
import select
poll = select.poll(); poll.register(1, 0); poll.poll(20_000)
try:
    os.write(1, b"x")
except BrokenPipeError:
    sys.exit(7)
"""
    job = subprocess.Popen(driver(*python(code)), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert job.stdout.readline() == b"ready\n"
    job.stdout.close()
    job.stdin.write(b"\n")
    job.stdin.close()

    assert job.wait() == 7


def test_a_full_device_behind_us_fails_the_child(folder):
    with open("/dev/full", "wb") as full:
        done = subprocess.run(driver("yes"), stdout=full)

    assert done.returncode != 0
    assert ended(folder)["exit_code"] != 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_stay_closed(folder, closed):
    command = ["sh", "-c", f'exec "$@" {closed}', "sh"]
    probe = [
        "sh",
        "-c",
        "for n in 0 1 2; do [ -e /proc/$$/fd/$n ] && printf 1 >>f || printf 0 >>f; done",
    ]

    done = subprocess.run(command + driver(*probe), capture_output=True)

    expected = "".join("0" if c in closed else "1" for c in ("<&-", " >&-", "2>&-"))
    if closed == ">&-":
        expected = "101"
    assert done.returncode == 0, done.stderr
    assert (folder / "f").read_text() == expected


def test_copies_that_cannot_be_written_do_not_stop_the_child(folder, capfdbinary):
    result = process.execute(
        ["sh", "-c", "echo trained; echo noise >&2"],
        cwd=folder,
        variables=dict(os.environ),
        stdout=Path("/dev/full"),
        stderr=folder / "absent" / "err",
    )

    assert result.exit_code == 0
    assert capfdbinary.readouterr() == (b"trained\n", b"noise\n")
    assert "full: No space left on device" in result.lost
    assert "err: No such file or directory" in result.lost


def test_keeping_stops_at_the_limit_and_passing_on_does_not(folder, capfdbinary):
    result = execute(folder, "seq", "1", "50000", quiet=False, largest=1000)

    assert result.truncated
    assert (folder / "out").stat().st_size == 1000
    assert capfdbinary.readouterr().out.endswith(b"\n50000\n")


def test_a_stream_that_nobody_reads_does_not_hold_up_the_other(folder):
    code = "import os; os.write(2, b'e' * 10); os.write(1, b'x' * 150_000); os.write(2, b'last')"
    job = subprocess.Popen(driver(*python(code)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with job.stderr as stream:
        errors = stream.read(14)
    job.communicate()

    assert errors == b"e" * 10 + b"last"


def test_a_reader_that_never_reads_can_be_given_up_with_a_signal(folder):
    code = "import os; os.write(1, b'x' * 150_000)"
    job = subprocess.Popen(driver(*python(code)), stdout=subprocess.PIPE)
    child = int(until(lambda: text(folder / "child")))
    until(lambda: not Path(f"/proc/{child}").exists())
    job.terminate()

    assert job.wait() == 0
    job.stdout.close()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_daemon_is_not_waited_for_and_goes_on_printing(folder, terminal):
    command = driver("sh", "-c", "(read x <fifo; echo late) & echo early")
    os.mkfifo(folder / "fifo")
    if terminal:
        # Somebody must hold the terminal while the daemon lives.
        screen = Screen(["sh", "-c", '"$@"; echo over; exec cat', "sh", *command])
        screen.read_until("over")
        (folder / "fifo").write_text("\n")
        screen.read_until("late")
        screen.type(b"\x04")
        screen.end()
    else:
        job = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert job.wait() == 0
        (folder / "fifo").write_text("\n")
        assert job.communicate()[0] == b"early\nlate\n"

    assert (folder / "out").read_text() == "early\n"
    assert ended(folder)["left_open"]


def test_the_recorded_kind_of_stream_is_used_and_nothing_is_passed_on(folder, capfd):
    code = "import os; print([os.isatty(n) for n in (1, 2)], os.get_terminal_size(1).columns)"

    result = execute(folder, *python(code), streams=Streams("null", "terminal", "pipe"))

    assert (folder / "out").read_text() == "[True, False] 80\n"
    assert result.streams == Streams("null", "terminal", "pipe")
    assert capfd.readouterr() == ("", "")


def test_what_was_closed_and_null_is_so_again(folder):
    result = execute(
        folder, "sh", "-c", "cat; [ -e /proc/$$/fd/2 ]", streams=Streams("null", "file", "closed")
    )

    assert result.exit_code == 1
    assert (folder / "err").read_bytes() == b""


def test_work_meanwhile_gets_the_pid_and_its_error_is_handed_over(folder):
    pids = []

    def started(pid: int) -> None:
        pids.append(pid)
        raise ValueError("the recording failed")

    result = execute(folder, "sh", "-c", "echo $$", started=started)

    assert (folder / "out").read_text() == f"{pids[0]}\n"
    assert result.exit_code == 0
    assert str(result.failure) == "the recording failed"


def test_kill_9_of_us_leaves_what_was_printed(folder):
    job = subprocess.Popen(
        driver("sh", "-c", "echo first; read x; echo second"), stdin=-1, stdout=-1
    )
    assert job.stdout.readline() == b"first\n"
    until(lambda: text(folder / "out"))
    job.kill()
    job.communicate(b"\n")

    assert (folder / "out").read_text() == "first\n"


def _script(folder: Path, text: str | bytes, mode: int = 0o755) -> Path:
    path = folder / "train"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return path


def test_a_script_without_a_first_line_is_run_by_the_shell(folder):
    _script(folder, 'echo "$0 $1"\n')

    execute(folder, "./train", "a b", cwd=folder)

    assert (folder / "out").read_text() == "./train a b\n"


def test_the_variables_own_path_is_searched(folder):
    _script(folder, "#!/bin/sh\necho found\n")

    execute(folder, "train", variables={"PATH": f"/nonexistent:{folder}"})

    assert (folder / "out").read_text() == "found\n"


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("nonsense-command", 127, "was not found"),
        ("./absent", 127, "was not found"),
        ("", 127, "no command"),
        ("./folder", 126, "it is a folder"),
        ("./binary", 126, "Exec format error"),
        ("./bad", 126, "interpreter"),
        ("./plain", 126, "Permission denied"),
    ],
)
def test_what_cannot_start_says_why_with_the_shells_status(folder, command, code, words):
    (folder / "folder").mkdir()
    _script(folder, b"\x7fXX\0\0").rename(folder / "binary")
    _script(folder, "#!/nonexistent/python\n").rename(folder / "bad")
    _script(folder, "#!/bin/sh\n", mode=0o644).rename(folder / "plain")
    before = len(os.listdir("/proc/self/fd"))

    with pytest.raises(CannotStartError, match=words) as caught:
        execute(folder, command)

    assert caught.value.exit_code == code
    assert len(os.listdir("/proc/self/fd")) == before
    assert not (folder / "out").exists()


def test_a_missing_folder_is_told(folder):
    with pytest.raises(CannotStartError, match="cannot change into"):
        execute(folder, "true", cwd=folder / "absent")


def test_nothing_of_ours_changes(folder):
    def facts():
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return os.getcwd(), mask, len(os.listdir("/proc/self/fd"))

    before = facts()
    execute(folder, "sh", "-c", "pwd; sleep 0.05 & true")

    assert facts() == before
    assert (folder / "out").read_text() == f"{folder}\n"


def test_a_terminal_that_cannot_be_had_is_no_reason_to_stop(folder, capfd, monkeypatch):
    def refuse():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "openpty", refuse)
    result = execute(folder, "echo", "x", quiet=False, streams=Streams("file", "terminal", "pipe"))

    assert result.exit_code == 0
    assert capfd.readouterr().out == "x\n"
    assert "stream 1 is not kept" in result.lost


def test_lines_between_a_wiped_and_a_new_bar_stay_there(folder):
    code = """
import os, time
for i in range(20):
    os.write(2, b"\\r%3d%% ####" % i)
    time.sleep(0.005)
    os.write(2, b"\\r" + b" " * 9)
    os.write(2, b"\\r")
    os.write(1, b"line %d\\n" % i)
    os.write(2, b"\\r%3d%% ####" % i)
"""
    alone = Screen(python(code))
    under_us = Screen(driver(*python(code)))

    assert alone.end() == under_us.end() == 0
    assert under_us.seen == alone.seen
