"""Log: append whole records to this process's own file, whatever the program does meanwhile.

A record is one line of fields between tabs that ends with ``\\t.\\n``; in a field, backslash, tab
and newline are escaped; names of files are the bytes that the system knows. The file is opened
anew for each record: programs close all descriptors, and a descriptor that was kept could by then
be one of the user's files (3 system calls, about 5 µs, and each path is logged once).
"""

import os
import sys
from posix import (  # not through `os`, whose functions a program may have replaced
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_NOFOLLOW,
    O_WRONLY,
    close,
    fstat,
    getpid,
    open,
    rename,
    write,
)
from time import monotonic_ns

_FLAGS = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW
_PENDING = 2000
_RECURSION_IS_FATAL = sys.version_info < (3, 9, 2)
# Code that the probe itself calls; an error from anywhere else is not the probe's.
_OURS = (__file__.rpartition("/")[0], os.__file__.rpartition("/")[0], "<frozen ")


class Log:
    """The log of one process; a forked child gets its own file with its first record."""

    def __init__(self, folder):
        self.folder = folder.rstrip("/") or "/"
        self.pending = []
        self.said = False
        self.lost = False
        self.missed = False  # set by who could not write a record
        try:
            self.stderr = fstat(2)[1:3]  # inode and device, to know it again
        except OSError:
            self.stderr = None
        self._name()
        os.register_at_fork(after_in_child=self._forked)

    def _name(self):
        self.path = "%s/%d-%d.log" % (self.folder, getpid(), monotonic_ns())

    def _forked(self):
        self._name()
        self.pending = []
        self.lost = self.missed = False

    def write(self, kind, *fields):
        """Append one record; one that cannot be written waits for the next."""
        self._put(_line(kind, fields))

    def write_all(self, kind, rows):
        """Append many records of one kind at once."""
        lines = b"".join([_line(kind, fields) for fields in rows])
        if lines:
            self._put(lines)

    def _put(self, line):
        if self.missed:
            self._mark_lost()
        pending = self.pending
        if pending:
            pending.append(line)
            line = b"\n" + b"".join(pending)  # the newline ends a record that was cut off
        try:
            self._append(line)
            if pending:
                self.pending = []
        except OSError as error:
            self._failed(error, line, pending)

    def _append(self, line):
        descriptor = open(self.path, _FLAGS, 0o600)
        try:
            written = write(descriptor, line)
        finally:
            close(descriptor)
        if written != len(line):
            raise OSError(28, "No space left on device")

    def _failed(self, error, line, pending):
        if not pending:
            pending.append(line)
        elif len(pending) > _PENDING:
            del pending[:-1]
            self._mark_lost()
        if error.errno in (24, 23):  # out of descriptors: the next record will take these along
            return
        self._mark_lost()
        self._say(error)

    def _mark_lost(self):
        """Say so in the file's name: renaming works on a full disk."""
        if not self.lost:
            self.lost = True
            path = self.path[:-4] + ".lost.log"
            try:
                rename(self.path, path)
                self.path = path
            except OSError:
                pass

    def _say(self, error):
        if self.said or self.stderr is None or os.environ.get("MLREPRO_LOG_SAID"):
            return
        self.said = True
        try:
            if fstat(2)[1:3] == self.stderr:  # else descriptor 2 is a file of the user's by now
                text = "mlrepro: the log of this run cannot be written (%s); the run goes on\n"
                write(2, (text % error.strerror).encode())
            os.environ["MLREPRO_LOG_SAID"] = "1"  # once for a run, not for each process
        except OSError:
            pass


def _line(kind, fields):
    return b"%s\t%d\t%s\t.\n" % (kind, monotonic_ns(), b"\t".join(map(_field, fields)))


def _field(value):
    if value.__class__ is int:
        return b"%d" % value
    data = value if value.__class__ is bytes else os.fsencode(str(value))
    if b"\\" in data or b"\t" in data or b"\n" in data:
        data = data.replace(b"\\", b"\\\\").replace(b"\t", b"\\t").replace(b"\n", b"\\n")
    return data


def swallow(error):
    """Forget an error of the probe's own; what a signal handler of the user's raised goes on.

    So does a recursion error where the interpreter aborts if the program goes deeper after one
    (https://bugs.python.org/issue42500).
    """
    if _RECURSION_IS_FATAL and isinstance(error, RecursionError):
        raise error
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None and not trace.tb_frame.f_code.co_filename.startswith(_OURS):
        raise error
