"""Process: the training command as a child that does not notice us."""

from __future__ import annotations

import os
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

from mlrepro import tee
from mlrepro.spawn import CannotStartError, spawn
from mlrepro.streams import Channel, Streams, close, occupied, stdin_action

# What a terminal or a scheduler sends to a training. SIGTSTP, SIGCONT and their kin are left
# alone: ^Z and `fg` reach the whole group, so we stop and go on together with the child.
_FORWARDED = frozenset(
    {
        signal.SIGHUP,
        signal.SIGINT,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGALRM,
        signal.SIGTERM,
    }
)
# After the child's end these stop the waiting for its output to be taken.
_IMPATIENT = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
__all__ = ["CannotStartError", "Ended", "Streams", "execute"]

_MEMORY_UNIT = 1 if sys.platform == "darwin" else 1024


@dataclass(frozen=True)
class Ended:
    """How the child ended and what it cost.

    Attributes
    ----------
    exit_code : int or None
        None where a signal ended it.
    signal : int or None
        The signal that ended it.
    seconds, cpu_seconds : float
        Wall time; user and system time of the child and all that it waited for.
    peak_memory : int
        Largest resident set of any of these processes, in bytes. Linux counts the moment before
        exec too, so it is never below our own.
    streams : Streams
        What ours were; where others were asked for, those.
    truncated : bool
        The kept stdout or stderr is only the beginning.
    left_open : bool
        A process in the background outlived the child; what it writes later is not kept.
    lost : str
        Why stdout or stderr could not be kept whole; empty otherwise.
    failure : Exception or None
        What `started` raised.
    """

    exit_code: int | None
    signal: int | None
    seconds: float
    cpu_seconds: float
    peak_memory: int
    streams: Streams
    truncated: bool = False
    left_open: bool = False
    lost: str = ""
    failure: Exception | None = None

    @property
    def status_for_shell(self) -> int:
        """The exit code, or 128 + signal."""
        if self.signal is not None:
            return 128 + self.signal
        return self.exit_code or 0


def execute(
    command: Sequence[str],
    *,
    cwd: Path,
    variables: Mapping[str, str],
    stdout: Path,
    stderr: Path,
    streams: Streams | None = None,
    quiet: bool = False,
    started: Callable[[int], None] | None = None,
    largest: int = 64 * 2**20,
) -> Ended:
    """Run a command as a shell would have, keep what it prints, and outlive it.

    The child shares our session, process group, stdin and every inheritable descriptor. Stdout
    and stderr come through a pseudo-terminal where ours is a terminal, else through a pipe; what it
    writes to both within a millisecond may change its order. A signal from the
    terminal has reached the child by itself; one that was sent to us is forwarded (the kernel
    tells them apart, but not whether a `kill` was meant for the whole group: then the child gets
    it twice). From the main thread only: signals are held there until the child has ended.

    Parameters
    ----------
    command : sequence of str
        Looked up in the ``PATH`` of `variables`; a script without ``#!`` is given to ``/bin/sh``.
    cwd, variables : Path, mapping
        The child's folder and whole environment.
    stdout, stderr : Path
        Files for the copies. If they cannot be written, the child does not notice.
    streams : Streams, optional
        Kinds that the child shall find instead of ours.
    quiet : bool
        Keep what it prints, pass nothing on.
    started : callable, optional
        Called with the child's pid in a thread of its own, while the child runs; waited for. What
        it raises is in `Ended.failure`. Signals are held in the processes that it starts.
    largest : int
        So many bytes of each stream are kept; all are passed on.

    Raises
    ------
    CannotStartError
        If there is no such command, or it cannot be executed. Nothing is left behind then.
    """
    own = Streams.own()
    wanted = streams or own
    with occupied(), _held() as (watched, mask):
        channels = (
            Channel.open(1, wanted.stdout, None if quiet else own.stdout),
            Channel.open(2, wanted.stderr, None if quiet else own.stderr),
        )
        actions = [stdin_action(wanted, own), *(channel.action for channel in channels)]
        begin = time.monotonic()
        try:
            pid = spawn(
                command,
                cwd=cwd,
                variables=variables,
                mask=mask,
                actions=[action for action in actions if action],
            )
        except BaseException:
            close(channel.source for channel in channels)
            raise
        finally:
            close(channel.target for channel in channels)
        tees = [
            tee.Tee(
                channel.source, channel.sink, tee.Copy(path, largest=largest), like=channel.like
            )
            for channel, path in zip(channels, (stdout, stderr), strict=True)
        ]
        child = _Child(pid, tees, watched=watched, mask=mask)
        failure = child.attend(started)
        seconds = child.ended_at - begin
    return Ended(
        exit_code=child.code if child.code >= 0 else None,
        signal=-child.code if child.code < 0 else None,
        seconds=seconds,
        cpu_seconds=child.usage.ru_utime + child.usage.ru_stime,
        peak_memory=child.usage.ru_maxrss * _MEMORY_UNIT,
        streams=replace(wanted, stdout=channels[0].kind, stderr=channels[1].kind),
        truncated=any(stream.copy.truncated for stream in tees),
        left_open=any(stream.left_open for stream in tees),
        lost="; ".join(filter(None, [*(c.lost for c in channels), *(t.copy.lost for t in tees)])),
        failure=failure,
    )


class _Child:
    """The running child: its streams, its signals, its end."""

    def __init__(
        self,
        pid: int,
        tees: Sequence[tee.Tee],
        *,
        watched: AbstractSet[int],
        mask: AbstractSet[int],
    ) -> None:
        self.pid = pid
        self.code = 0
        self.ended_at = 0.0
        self.usage: resource.struct_rusage
        self._tees = tees
        self._watched = watched
        self._mask = mask
        self._lock = threading.Lock()
        self._ended = False
        self._dismissed = False
        # One entry from each helper that is done; None from a user who does not want to wait.
        self._done: queue.SimpleQueue[object] = queue.SimpleQueue()

    def attend(self, started: Callable[[int], None] | None) -> Exception | None:
        """Serve the child until it has ended and its output is taken; return `started`'s error."""
        failures: list[Exception] = []
        hung_up, over = os.pipe()
        helpers: list[Callable[[], None]] = [
            tee.Group(list(group), hung_up, self._mask).run
            for _, group in groupby(self._tees, key=lambda stream: stream.destination)
        ]
        if started:
            helpers.append(partial(_guarded, started, self.pid, failures))
        for helper in helpers:
            self._help(helper)
        signals = threading.Thread(target=self._forward_signals, daemon=True)
        signals.start()
        self._reap()
        os.close(over)
        # A helper that is never done (a reader that does not read) may keep this pipe.
        if self._wait(len(helpers)):
            os.close(hung_up)
        self._dismiss(signals)
        return failures[0] if failures else None

    def _help(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            finally:
                self._done.put(work)

        threading.Thread(target=run, daemon=True).start()

    def _wait(self, number: int) -> bool:
        return all(self._done.get() is not None for _ in range(number))

    def _reap(self) -> None:
        os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        self.ended_at = time.monotonic()
        with self._lock:  # from here on the pid may be another's
            _, status, self.usage = os.wait4(self.pid, 0)
            self._ended = True
        self.code = os.waitstatus_to_exitcode(status)

    def _forward_signals(self) -> None:
        while True:
            number, by_kernel, sender = _take(self._watched)
            if self._dismissed:
                return
            if number == signal.SIGWINCH:
                self._resize()
            else:
                self._forward(number, to_us_alone=not by_kernel and sender != self.pid)

    def _forward(self, number: int, *, to_us_alone: bool) -> None:
        with self._lock:
            if self._ended:
                if number in _IMPATIENT:
                    self._done.put(None)
            elif to_us_alone:
                with suppress(PermissionError):  # a setuid child: sudo
                    os.kill(self.pid, number)

    def _resize(self) -> None:
        if sum(stream.resize() for stream in self._tees):
            # The kernel told the group before our pseudo-terminals had the new size. We hear this
            # one too, and find nothing changed.
            os.killpg(0, signal.SIGWINCH)

    def _dismiss(self, signals: threading.Thread) -> None:
        self._dismissed = True
        if signals.ident is not None:
            signal.pthread_kill(signals.ident, signal.SIGWINCH)
        signals.join()
        while pending := signal.sigpending() & self._watched:
            signal.sigwait(pending)


def _guarded(started: Callable[[int], None], pid: int, failures: list[Exception]) -> None:
    try:
        started(pid)
    except Exception as error:  # noqa: BLE001  the training goes on; the caller decides
        failures.append(error)


if sys.platform == "linux":

    def _take(watched: AbstractSet[int]) -> tuple[int, bool, int]:
        """Wait for a signal; return its number, whether the kernel sent it, and who else did."""
        info = signal.sigwaitinfo(watched)
        return info.si_signo, info.si_code > 0, info.si_pid

else:

    def _take(watched: AbstractSet[int]) -> tuple[int, bool, int]:
        number = signal.sigwait(watched)
        return number, number in (signal.SIGINT, signal.SIGQUIT), 0


@contextmanager
def _held() -> Iterator[tuple[frozenset[int], set[int]]]:
    """Hold back the signals that are forwarded; give what is held, and the mask as it was."""
    watched = {s for s in _FORWARDED if signal.getsignal(s) is not signal.SIG_IGN}
    watched.add(signal.SIGWINCH)
    # SIGPIPE: a closed stdout is an error for us, whatever the caller made of the signal.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, watched | {signal.SIGPIPE})
    children = signal.getsignal(signal.SIGCHLD)
    if children is signal.SIG_IGN:  # inherited: the kernel would reap the child behind our back
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield frozenset(watched), mask
    finally:
        if children is signal.SIG_IGN:
            signal.signal(signal.SIGCHLD, children)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
