"""Opcodes: a pickle machine that calls nothing; what a pickle would make becomes inert nodes.

It follows protocols 0 to 5. Frames are held to their stated lengths, as Python's own reader does;
long text and bytes stay in the file. `Machine.call`, `build` and `persistent` are what a format
that goes beyond the pickle (joblib, torch) overrides.
"""

from __future__ import annotations

from typing import Any

from mlrepro.comparators.blobs import Blob, Source
from mlrepro.comparators.known import called, settled
from mlrepro.comparators.objects import Object, Persistent
from mlrepro.comparators.optable import HANDLERS, MARK

_AHEAD = 256 * 1024
_STOP = 0x2E

MOST = 5_000_000
"""So many opcodes of one file are followed; each may hold about 160 bytes of memory."""


class Machine:
    """Reads one pickle that begins at `at`; `Machine.at` is its end afterwards.

    Raises `ValueError`, `IndexError`, `KeyError`, `TypeError`, `AttributeError`, `OverflowError`,
    `struct.error` and `UnicodeError` for what is no pickle; the comparator translates them.
    """

    def __init__(self, source: Source, at: int = 0, *, most: int = MOST) -> None:
        self.source = source
        self.base = at
        self.buffer = b""
        self.pos = 0
        self.frame: int | None = None
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.protocol = 0
        self.left = most

    @property
    def at(self) -> int:
        """Where the next byte is read."""
        return self.base + self.pos

    def seek(self, at: int) -> None:
        """Go on at another place."""
        if not 0 <= at <= self.source.size:
            raise ValueError("it ends too early")
        self.base, self.buffer, self.pos = at, b"", 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        end = self.pos + count
        if end > len(self.buffer):
            return self._refilled(count)
        found = self.buffer[self.pos : end]
        self.pos = end
        return found

    def _refilled(self, count: int) -> bytes:
        self.seek(self.at)
        wanted = min(max(count, _AHEAD), self.source.size - self.base)
        self.buffer = self.source.read(self.base, max(wanted, count))
        self.pos = count
        return self.buffer[:count]

    def line(self) -> bytes:
        """Return the bytes up to the next line feed."""
        found = b""
        while not found.endswith(b"\n"):
            if self.pos >= len(self.buffer):
                found += self.take(1)
                continue
            end = self.buffer.find(b"\n", self.pos) + 1 or len(self.buffer)
            found += self.buffer[self.pos : end]
            self.pos = end
        return found[:-1]

    def blob(self, count: int, kind: str = "bytes") -> Blob:
        """Return the next bytes where they lie."""
        blob = Blob(self.source, self.at, count, kind)
        if count < 0:
            raise ValueError("a length is negative")
        self.seek(self.at + count)
        return blob

    def run(self) -> Any:
        """Read to the end of the pickle and return what it would have made."""
        handlers = HANDLERS
        while True:
            if self.pos < len(self.buffer):  # `take(1)`, without the call: half of the time is here
                op = self.buffer[self.pos]
                self.pos += 1
            else:
                op = self.take(1)[0]
            if op == _STOP:
                return self._stopped()
            handler = handlers[op]
            if handler is None:
                raise ValueError(f"byte {self.at - 1}: no opcode is {op:#04x}")
            handler(self)
            self.left -= 1
            if self.left < 0:
                raise ValueError("it holds more objects than are read here")
            if self.frame is not None and self.base + self.pos >= self.frame:
                self._close_frame()

    def _close_frame(self) -> None:
        if self.at != self.frame:
            raise ValueError(f"byte {self.frame}: a frame ends within an object")
        self.frame = None

    def _stopped(self) -> Any:
        if self.frame is not None:
            self._close_frame()
        if len(self.stack) != 1 or self.stack[0] is MARK:
            raise ValueError("it ends with objects that belong nowhere")
        return self.stack.pop()

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take a value off the stack."""
        value = self.stack.pop()
        if value is MARK:
            raise ValueError(f"byte {self.at - 1}: a mark stands where a value belongs")
        return value

    def top(self) -> Any:
        """Return the value on top of the stack."""
        if self.stack[-1] is MARK:
            raise ValueError(f"byte {self.at - 1}: a mark stands where a value belongs")
        return self.stack[-1]

    def marked(self) -> list[Any]:
        """Take off all that lies above the last mark, and the mark."""
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is MARK:
                found = self.stack[i + 1 :]
                del self.stack[i:]
                return found
        raise ValueError(f"byte {self.at - 1}: no mark is there")

    def call(self, maker: Any, args: list[Any]) -> Any:
        """Return the node of a call."""
        return called(maker, args)

    def build(self, target: Any, state: Any) -> None:
        """Give a node its state."""
        if type(target) is not Object:
            raise ValueError(f"byte {self.at - 1}: a state is given to what has none")
        target.states.append(state)
        settled(target)

    def persistent(self, id: Any) -> Any:  # noqa: A002  as pickle calls it
        """Return the node of what is kept elsewhere."""
        return Persistent(id)

    def get(self, index: int) -> None:
        """Push what was kept under a number."""
        self.stack.append(self.memo[index])

    def put(self, index: int) -> None:
        """Keep the value on top of the stack under a number."""
        if index < 0:
            raise ValueError("a memo number is negative")
        self.memo[index] = self.top()
