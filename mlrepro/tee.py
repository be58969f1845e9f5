"""Tee: the streams of the child, passed on at once and kept in files."""

from __future__ import annotations

import errno
import os
import re
import select
import threading
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from mlrepro import terminal

_CHUNK = 64 * 1024
# Milliseconds without a byte, after which a stream that somebody else (`server &`) still holds
# open is given up.
_GRACE = 300
# Milliseconds to wait for what was written earlier to the other stream, but arrives later: where it
# may have been, and where it certainly was.
_PERHAPS = 1
_SURELY = 20
# A progress bar that was wiped away and is drawn again; a line on which the other may write.
_WIPED = re.compile(rb"\r +\r(?=\r)")
_FREE = re.compile(rb"(?:\n|\r +\r)\Z")
# So many bytes of what was written last are looked at: a wide line.
_LINE = 1024
_RELAY = ("/bin/sh", "-c", "cat <&3 3<&- 2>/dev/null &")


class Copy:
    """A file that holds the first bytes of a stream; where that fails, it says why and goes on."""

    def __init__(self, path: Path, *, largest: int) -> None:
        self.lost = ""
        self.truncated = False
        self._room = largest
        self._file = -1
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        except OSError as error:
            self.lost = f"{path.name}: {error.strerror}"
        self._name = path.name

    def keep(self, data: bytes) -> None:
        """Write what fits."""
        if self._file < 0:
            return
        if len(data) > self._room:
            self.truncated = True
            data = data[: self._room]
        self._room -= len(data)
        try:
            write_all(self._file, data)
        except OSError as error:
            self.lost = f"{self._name}: {error.strerror}"
            self.close()

    def close(self) -> None:
        """Close the file; once is enough."""
        if self._file >= 0:
            file, self._file = self._file, -1
            try:
                os.close(file)
            except OSError as error:  # a quota may speak up only here
                self.lost = self.lost or f"{self._name}: {error.strerror}"


class Tee:
    """One stream of the child.

    Parameters
    ----------
    source : int or None
        The reading end of the pipe, or our end of the pseudo-terminal; closed by `close`;
        None where there is nothing to read.
    sink : int or None
        Where every byte is passed on to at once; None: nowhere.
    copy : Copy
        Where the first bytes are kept.
    like : int or None
        The real terminal whose size a pseudo-terminal follows.
    """

    def __init__(
        self, source: int | None, sink: int | None, copy: Copy, *, like: int | None
    ) -> None:
        self.copy = copy
        self.left_open = False
        # -1: there is nothing (more) to read, or nothing is passed on.
        self.source = -1 if source is None else source
        self.sink = -1 if sink is None else sink
        self._like = like
        self._lock = threading.Lock()

    @property
    def destination(self) -> object:
        """What the sink is: equal for two streams that a reader sees interleaved."""
        if self.sink < 0:
            return self
        facts = os.fstat(self.sink)
        return facts.st_dev, facts.st_ino, facts.st_rdev

    def resize(self) -> bool:
        """Follow the real terminal's size; return whether it had changed."""
        with self._lock:
            if self.source < 0 or self._like is None:
                return False
            return terminal.resize(self.source, self._like)

    def close(self) -> None:
        """End the reading. A child that writes on finds its stream broken, as ours is."""
        with self._lock:
            if self.source >= 0:
                os.close(self.source)
            self.source = -1
        self.copy.close()

    def leave(self, mask: AbstractSet[int]) -> None:
        """Leave the stream to a `cat`, for a process that outlived the child."""
        self.left_open = True
        if self.sink >= 0:
            self._leave_relay(mask)
        self.close()

    def ready(self, wait: int = 0) -> bool:
        """Tell whether there is something to read within so many milliseconds."""
        poll = select.poll()
        poll.register(self.source, select.POLLIN)
        return bool(poll.poll(wait))

    def read(self) -> bytes:
        """Return what is there; nothing at the end."""
        try:
            return os.read(self.source, _CHUNK)
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: the last holder of a pseudo-terminal has gone
                self.copy.lost = self.copy.lost or f"reading failed: {error.strerror}"
            return b""

    def deliver(self, data: bytes) -> bool:
        """Pass on and keep; return whether it could be passed on."""
        passed = self._pass_on(data)
        self.copy.keep(data)
        return passed

    def _pass_on(self, data: bytes) -> bool:
        if self.sink < 0:
            return True
        try:
            write_all(self.sink, data)
        except OSError:  # closed pipe, full device: the child is told by the closed source
            return False
        return True

    def _leave_relay(self, mask: AbstractSet[int]) -> None:
        try:
            relay = os.posix_spawn(
                _RELAY[0],
                _RELAY,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self.source, 3),
                    (os.POSIX_SPAWN_DUP2, self.sink, 1),
                ],
                setsigmask=mask,
            )
            os.waitpid(relay, 0)
        except OSError as error:
            self.copy.lost = (
                self.copy.lost or f"a process left behind was cut off: {error.strerror}"
            )


class Group:
    """Streams that go to the same place, so that their order can be seen.

    The kernel does not tell which of two was written to first. So the screen decides: a line that
    one stream left unfinished is finished before the other speaks, and where it wiped a progress
    bar away, the other speaks before the bar is drawn again (`tqdm.write`).

    Parameters
    ----------
    tees : sequence of Tee
        One or two.
    over : int
        The reading end of a pipe that is hung up when the child has ended; from then on a
        process that is silent for 0.3 s is no longer waited for. It is not cut off: a `cat`
        stays behind and passes on what it will write, as if we had never stood between.
    mask : set of int
        Signal mask for that `cat`.
    """

    def __init__(self, tees: Sequence[Tee], over: int, mask: AbstractSet[int]) -> None:
        self._tees = tees
        self._alive = [tee for tee in tees if tee.source >= 0]
        self._over = over
        self._mask = mask
        self._poll = select.poll()
        self._last: Tee | None = None
        self._tail = b"\n"
        self._poll.register(self._over, 0)
        for tee in self._alive:
            self._poll.register(tee.source, select.POLLIN)
            if tee.sink >= 0:
                self._poll.register(tee.sink, 0)  # tells when the reader behind us has gone

    def run(self) -> None:
        """Pass on and keep until nobody writes any more."""
        patience = None
        while self._alive and (ready := {number for number, _ in self._poll.poll(patience)}):
            if self._over in ready:
                self._poll.unregister(self._over)
                patience = _GRACE
            for tee in self._in_order([tee for tee in self._alive if tee.source in ready]):
                self._serve(tee)
            for tee in [tee for tee in self._alive if tee.sink in ready]:
                # At once: the child's next write then fails as it would without us.
                self._end(tee)
        for tee in self._alive:
            tee.leave(self._mask)
        for tee in self._tees:
            tee.close()

    def _in_order(self, ready: list[Tee]) -> list[Tee]:
        last = self._last
        if last not in self._alive or last is None or len(self._alive) == 1:
            return ready
        if _FREE.search(self._tail):
            return sorted(ready, key=lambda tee: tee is last)
        if last not in ready and last.ready(_PERHAPS):
            ready = [last, *ready]
        return sorted(ready, key=lambda tee: tee is not last)

    def _serve(self, tee: Tee) -> None:
        # It may have been served, or ended, out of turn.
        if tee not in self._alive or (len(self._alive) > 1 and not tee.ready()):
            return
        data = tee.read()
        cut = self._wiped(tee, data) if len(self._alive) > 1 else None
        if cut is not None:
            if cut:
                self._deliver(tee, data[:cut])
            for other in [other for other in self._alive if other is not tee]:
                if other.ready(_SURELY):
                    self._deliver(other, other.read())
        self._deliver(tee, data[cut:])

    def _wiped(self, tee: Tee, data: bytes) -> int | None:
        """Return where in `data` a wiped line waits for the other stream to speak."""
        before = self._tail if tee is self._last else b""
        ends = (found.end() - len(before) for found in _WIPED.finditer(before + data))
        return next((end for end in ends if end >= 0), None)

    def _deliver(self, tee: Tee, data: bytes) -> None:
        if tee not in self._alive:
            return
        if not data or not tee.deliver(data):
            self._end(tee)
        else:
            self._tail = (self._tail if tee is self._last else b"") + data
            self._tail = self._tail[-_LINE:]
            self._last = tee

    def _end(self, tee: Tee) -> None:
        self._alive.remove(tee)
        self._poll.unregister(tee.source)
        if tee.sink >= 0:
            self._poll.unregister(tee.sink)
        tee.close()


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte, also where the descriptor does not block."""
    rest = memoryview(data)
    while rest:
        rest = rest[_write_some(descriptor, rest) :]


def _write_some(descriptor: int, data: memoryview) -> int:
    try:
        return os.write(descriptor, data)
    except BlockingIOError:  # whoever shares it with us made it so
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        poll.poll()
        return 0
