"""Tee: one stream of the child, passed on at once and kept in a file."""

from __future__ import annotations

import errno
import os
import select
import threading
from collections.abc import Set as AbstractSet
from pathlib import Path

from mlrepro import terminal

_CHUNK = 64 * 1024
# Milliseconds without a byte, after which a stream that somebody else (`server &`) still holds
# open is given up.
_GRACE = 300
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
    """Reads one stream of the child until its end.

    Parameters
    ----------
    source : int or None
        The reading end of the pipe, or our end of the pseudo-terminal; closed by `run`;
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
        self._source = -1 if source is None else source
        self._sink = sink
        self._like = like
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        """Whether there is something to read."""
        return self._source >= 0

    def run(self, over: int, mask: AbstractSet[int]) -> None:
        """Pass on and keep, until nobody writes any more.

        Parameters
        ----------
        over : int
            The reading end of a pipe that is hung up when the child has ended; from then on a
            process that is silent for 0.3 s is no longer waited for. It is not cut off: a `cat`
            stays behind and passes on what it will write, as if we had never stood between.
        mask : set of int
            Signal mask for that `cat`.
        """
        self.left_open = self._flow(over)
        if self.left_open and self._sink is not None:
            self._leave_relay(self._sink, mask)
        with self._lock:
            os.close(self._source)
            self._source = -1
        self.copy.close()

    def resize(self) -> bool:
        """Follow the real terminal's size; return whether it had changed."""
        with self._lock:
            if self._source < 0 or self._like is None:
                return False
            return terminal.resize(self._source, self._like)

    def _flow(self, over: int) -> bool:
        poll = select.poll()
        poll.register(self._source, select.POLLIN)
        poll.register(over, 0)
        if self._sink is not None:
            poll.register(self._sink, 0)  # tells when the reader behind us has gone
        patience = None
        while ready := dict(poll.poll(patience)):
            if over in ready:
                poll.unregister(over)
                patience = _GRACE
            if self._source in ready and not self._step():
                return False
            if self._sink in ready:
                # Closed at once, so that the child's next write fails as it would without us.
                return False
        return True

    def _step(self) -> bool:
        try:
            data = os.read(self._source, _CHUNK)
        except OSError as error:
            if error.errno != errno.EIO:  # EIO: the last holder of a pseudo-terminal has gone
                self.copy.lost = self.copy.lost or f"reading failed: {error.strerror}"
            return False
        if not data:
            return False
        passed = self._pass_on(data)
        self.copy.keep(data)
        return passed

    def _pass_on(self, data: bytes) -> bool:
        if self._sink is None:
            return True
        try:
            write_all(self._sink, data)
        except OSError:  # closed pipe, full device: the child is told by the closed source
            return False
        return True

    def _leave_relay(self, sink: int, mask: AbstractSet[int]) -> None:
        try:
            relay = os.posix_spawn(
                _RELAY[0],
                _RELAY,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, self._source, 3),
                    (os.POSIX_SPAWN_DUP2, sink, 1),
                ],
                setsigmask=mask,
            )
            os.waitpid(relay, 0)
        except OSError as error:
            self.copy.lost = (
                self.copy.lost or f"a process left behind was cut off: {error.strerror}"
            )


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
