"""Lists: lines of numbers gathered into one array, fast, and as strictly as Python reads each.

numpy's own reader takes 0.3 µs for a number, a Python object for each takes three times as long and
fifty bytes of memory. But it forgives: it stops at what is no number, reads ``1-2`` as two, and
takes a whole number beyond 64 bits for the largest. So its answer holds only where it has read as
many numbers as there are words; every other batch is read again, word by word.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_BATCH = 1 << 18
"""So many characters are read at once."""

_END = "-7"


class Lists:
    """Lines of numbers, end to end.

    Parameters
    ----------
    name : str
        What they hold, for the words of an error.
    whole : bool
        Whether they are integers of 64 bits, or floats of 64 bits.
    """

    def __init__(self, name: str, *, whole: bool) -> None:
        self.name = name
        self.whole = whole
        self._lines: list[str] = []
        self._size = 0
        self._values: list[Array] = []
        self._lengths: list[int] = []

    def add(self, line: str) -> None:
        """Take in the next line; a word that is no number is a ValueError, now or later."""
        self._lines.append(line)
        self._size += len(line)
        if self._size > _BATCH:
            self._read()

    def finish(self) -> tuple[Array, Array]:
        """Return all values, and where each line begins among them, and the end."""
        import numpy as np  # noqa: PLC0415  0.1 s, paid when a model is compared

        self._read()
        values = np.concatenate(self._values)
        self._values = []
        starts = np.concatenate([[0], np.cumsum(self._lengths, dtype=np.int64)])
        return values, starts.astype(np.int64)

    def _read(self) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        lengths = [line.count(" ") + 1 if line else 0 for line in lines]
        values = _fast(" ".join([line for line in lines if line]), sum(lengths), whole=self.whole)
        if values is None:
            values, lengths = self._strictly(lines)
        self._values.append(values)
        self._lengths += lengths

    def _strictly(self, lines: list[str]) -> tuple[Array, list[int]]:
        import numpy as np  # noqa: PLC0415  as above

        values: list[float] = []
        lengths = []
        for line in lines:
            if "_" in line or not line.isascii():  # Python would read 1_0 as ten
                raise ValueError(f"{self.name} has an underscore or no ASCII: `{line:.40}`")
            words = line.split()
            values += map(int if self.whole else float, words)
            lengths.append(len(words))
        try:
            return np.array(values, dtype=np.int64 if self.whole else np.float64), lengths
        except OverflowError as error:
            raise ValueError(f"{self.name} holds a number beyond 64 bits") from error


def _fast(text: str, count: int, *, whole: bool) -> Array | None:
    """Return the numbers of a text, if there is exactly one for each of `count` words."""
    import numpy as np  # noqa: PLC0415  as above

    kind: Any = np.int64 if whole else np.float64
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it stopped early: see below
            values = np.fromstring(f"{text} {_END}", dtype=kind, sep=" ")
    except ValueError:
        return None
    # A reader that stopped has not read the end; one that has, and read a word as two, has more.
    if len(values) != count + 1 or values[-1] != float(_END):
        return None
    limits = np.iinfo(np.int64)
    if whole and ((values == limits.max) | (values == limits.min)).any():
        return None  # beyond 64 bits it gives the largest
    return values[:-1]
