"""Models: the canonical texts of trained models that the program may never save.

A text costs as much as a small training. The first ones of a process, those of long fits and every
2ⁿ-th are written at once; of the others the last few models themselves are held until newer ones
come, and written when the process ends.
"""

import os
from collections import deque

from .asking import forget

LARGEST = 8 * 2**20
"""Models whose text is longer, in bytes, are not kept."""

MOST = 64
"""Models that one process keeps, the last ones."""

FIRST = 8
"""Models that are written at once, whatever they took."""

_HELD = 8

LONG = 0.05
"""A fit that took as long, in seconds, is described in full and its model is written at once."""


class Models:
    """The models of one process."""

    def __init__(self, log):
        self.log = log
        self.start()

    def start(self):
        """Begin anew, at the start of a process and in a forked child."""
        self.written = deque()
        self.held = deque()

    def keep(self, identity, text, objects=()):
        """Write a model's text; return the name of its file in the log's folder, or nothing.

        Parameters
        ----------
        identity : str
            Of the fit that made it.
        text : callable
            Returns the text (str or bytes), or None where there is none or it is too long.
        objects : tuple
            The model's objects, by which `forget` knows it again.
        """
        return self._write(identity, text)

    def hold(self, identity, text, objects):
        """Do so when the process ends, unless newer ones come."""
        self.held.append((identity, text, objects))
        if len(self.held) > _HELD:
            self.held.popleft()
        return "model-" + identity

    def forget(self, identity, model):
        """Do not write a model that the program saved; return its fit's id if it is known."""
        for one in tuple(self.held):
            if one[0] == identity or any(known is model for known in one[2]):
                self.held.remove(one)
                return one[0]
        return identity

    def close(self):
        """Write those that are held; the process ends."""
        while self.held:
            identity, text, _ = self.held.popleft()
            try:
                self._write(identity, text)
            except Exception as error:
                forget(error)

    def _write(self, identity, text):
        data = text()
        if data is None:
            return ""
        if data.__class__ is str:
            data = data.encode("utf-8", "surrogatepass")
        if len(data) > LARGEST:
            return ""
        name = "model-" + identity
        self._put(self.log.folder + "/" + name, data)
        self.written.append(name)
        if len(self.written) > MOST:
            os.unlink(self.log.folder + "/" + self.written.popleft())
        return name

    def _put(self, path, data):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o600)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError:  # half a model is worse than none
            os.unlink(path)
            raise
        finally:
            os.close(descriptor)


def is_told(number, seconds, first):
    """Whether a fit is one of those that are told in full: the first, each 2ⁿ-th, the long ones.

    It is decided by number where it can be, so that a repetition tells the same ones.
    """
    return number <= first or not number & (number - 1) or seconds >= LONG
