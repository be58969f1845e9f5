"""Terminal: what a descriptor is, and pseudo-terminals that look like the real one."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import termios
from pathlib import Path
from typing import Any

TERMINAL, PIPE, FILE, NULL, CLOSED = "terminal", "pipe", "file", "null", "closed"

_UNKNOWN_SIZE = struct.pack("HHHH", 24, 80, 0, 0)


def kind(descriptor: int) -> str:
    """Return what a descriptor is: ``terminal``, ``pipe``, ``file``, ``null`` or ``closed``."""
    try:
        facts = os.fstat(descriptor)
        # Nothing is inherited through exec with this flag: what has it was opened by ourselves
        # into a number that was free, and a child would find it closed.
        if fcntl.fcntl(descriptor, fcntl.F_GETFD) & fcntl.FD_CLOEXEC:
            return CLOSED
    except OSError:
        return CLOSED
    if os.isatty(descriptor):
        return TERMINAL
    if stat.S_ISFIFO(facts.st_mode) or stat.S_ISSOCK(facts.st_mode):
        return PIPE
    if stat.S_ISCHR(facts.st_mode) and facts.st_rdev == Path(os.devnull).stat().st_rdev:
        return NULL
    return FILE


def open_pair(like: int | None) -> tuple[int, int]:
    """Open a pseudo-terminal of the size and settings of `like`; return its two ends.

    Bytes pass unchanged (no ``OPOST``): the real terminal does the processing, once. Neither end
    becomes the controlling terminal, so Ctrl-C and job control stay with the real one.

    Parameters
    ----------
    like : int or None
        A terminal; None for 80 columns and 24 lines.

    Returns
    -------
    tuple of int
        The end that is read, and the end that is the child's descriptor.

    Raises
    ------
    OSError
        If there is none to be had.
    """
    ours, childs = os.openpty()
    try:
        settings = _settings(childs if like is None else like) or termios.tcgetattr(childs)
        settings[1] &= ~termios.OPOST
        termios.tcsetattr(childs, termios.TCSANOW, settings)
        fcntl.ioctl(ours, termios.TIOCSWINSZ, _size(like) or _UNKNOWN_SIZE)
    except (OSError, termios.error) as error:
        os.close(ours)
        os.close(childs)
        raise OSError(errno.ENXIO, "no pseudo-terminal is to be had") from error
    return ours, childs


def resize(ours: int, like: int) -> bool:
    """Give a pseudo-terminal the size of `like`; return whether that changed anything."""
    size = _size(like)
    if size is None or size == _size(ours):
        return False
    fcntl.ioctl(ours, termios.TIOCSWINSZ, size)
    return True


def _settings(descriptor: int) -> list[Any] | None:
    try:
        return termios.tcgetattr(descriptor)
    except termios.error:  # hung up in the meantime
        return None


def _size(descriptor: int | None) -> bytes | None:
    if descriptor is None:
        return None
    try:
        return fcntl.ioctl(descriptor, termios.TIOCGWINSZ, bytes(8))
    except OSError:
        return None
