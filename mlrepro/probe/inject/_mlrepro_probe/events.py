"""Events: turn what the interpreter's audit hook tells into records of reads and writes.

Kinds of records, with their fields:

========  ==========================================================================
``r``     a file is opened for reading: seen, relative, dev, ino, size, mtime_ns, ctime_ns,
          path
``w``     for writing anew; ``a`` for appending; ``u`` for changing: the same fields,
          of the file that was there before (0 where there was none)
``m``     moved: relative, from, to
``k``     copied before the run changed it: dev, ino, size, mtime_ns,
          ctime_ns, copy, path
``d``     a folder was listed: path, and what the native observer knows of its names
``x``     a program was started: executable, watched, arguments…
``b``     a library was imported whose compiled code opens files: module
``n``     the network: word (connect, name), address
========  ==========================================================================
"""

import os
import sys
from posix import getcwd, readlink, stat

from .log import swallow

# O_DIRECTORY is a part of O_TMPFILE: neither has a name that could be an input or an output.
_NOT_CONTENT = getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_PATH", 0)
# Not all of /dev/: data sets are put into /dev/shm/ for speed.
_NOWHERE = ("/proc/", "/sys/", "/dev/pts/", "/dev/fd/", "/dev/null", "/dev/urandom", "/dev/tty")
_ABSENT = (0, 0, 0, 0, 0)


class Watch:
    """What one process reads and writes; each path is logged once for each kind of use."""

    def __init__(self, log, own):
        self.log = log
        self.done = {kind: set() for kind in (b"r", b"w", b"a", b"u", b"d", b"x", b"n", b"k")}
        self.inputs = set()  # read, and not written before
        self.skipped = _NOWHERE + tuple(path.rstrip("/") + "/" for path in own) + _installed()
        self.cache_prefix = getattr(sys, "pycache_prefix", None)

    def hook(self):
        """Return the audit hook; every event of the interpreter passes it, so it is short."""
        handlers = {
            "open": self._opened,
            "import": self._imported,
            "cpython.run_file": self._ran,
            "os.rename": self._renamed,
            "os.remove": self._removed,
            "os.truncate": self._truncated,
            "os.link": self._linked,
            "os.symlink": self._linked,
            "os.listdir": self._listed,
            "os.scandir": self._listed,
            "sqlite3.connect": self._database,
            "subprocess.Popen": self._started,
            "os.exec": self._replaced,
            "os.posix_spawn": self._replaced,
            "os.system": self._shell,
            "socket.connect": self._connected,
            "socket.getaddrinfo": self._looked_up,
        }
        # Still there when the modules are taken apart.
        errors, too_deep, forget, log = Exception, RecursionError, swallow, self.log

        def hook(event, args):
            if event in handlers:
                try:
                    handlers[event](*args)
                except errors as error:
                    if isinstance(error, too_deep):
                        log.missed = True
                    forget(error)

        return hook

    def standard_streams(self):
        """Log the files that a shell gave as standard input and output: ``< data.csv``."""
        for descriptor, kind in ((0, b"r"), (1, b"w"), (2, b"w")):
            try:
                path = readlink("/proc/self/fd/%d" % descriptor)
                if path[:1] == "/" and not path.endswith(" (deleted)"):  # else it has no name
                    self.file(kind, path, b"stream")
            except OSError:
                pass

    # --- files

    def file(self, kind, path, seen):
        """Log one use of a file, unless it was logged before or belongs to the interpreter."""
        path, relative = absolute(path)
        if path.startswith(self.skipped):
            return
        name, done = hash(path), self.done[kind]
        if name in done:
            return
        try:
            found = stat(path)
        except OSError:
            found = None
        if found is None:
            if kind == b"r":
                return  # it will fail, and may be there the next time
            facts = _ABSENT
        elif found.st_mode & 0o170000 != 0o100000:
            return  # folders, pipes, devices
        else:
            facts = _facts(found)
        self.log.write(kind, seen, relative, *facts, path)
        done.add(name)  # after the write, which a deep recursion may have prevented
        if kind == b"r" and not self._wrote(name):
            self.inputs.add(name)
        elif kind != b"r" and found is not None:
            if kind == b"u" and not self._wrote(name, besides=b"u"):
                self.inputs.add(name)
            self.keep(path, name, facts)

    def _wrote(self, name, besides=b""):
        return any(name in self.done[kind] for kind in (b"w", b"a", b"u") if kind != besides)

    def keep(self, path, name, facts):
        """Copy a file that was read before it is overwritten, moved over or deleted."""
        if name in self.inputs and name not in self.done[b"k"]:
            self.done[b"k"].add(name)
            from . import keep

            copy = keep.copy(path, self.log, facts[2])
            if copy:
                self.log.write(b"k", *facts, copy, path)

    def _opened(self, path, mode, flags):
        if path.__class__ is int or path is None:
            return
        access = flags & 3
        if flags & _NOT_CONTENT:
            return
        if access == 0:
            self._read(path)
        elif flags & os.O_APPEND:
            self.file(b"a", path, b"audit")
        elif access == 2 and not flags & (os.O_TRUNC | os.O_EXCL):
            self.file(b"u", path, b"audit")
        else:
            self.file(b"w", path, b"audit")

    def _read(self, path):
        path = os.fsdecode(path)
        if path.endswith((".pyc", ".py")):
            self.file(b"r", self._source(path), b"import")
        else:
            self.file(b"r", path, b"audit")

    def _source(self, path):
        """The source of a compiled module: that is what a repetition needs."""
        if not path.endswith(".pyc"):
            return path
        folder, _, name = path.rpartition("/")
        if self.cache_prefix and folder.startswith(self.cache_prefix):
            folder = folder[len(self.cache_prefix) :]
        elif folder.endswith("__pycache__"):
            folder = folder[: -len("__pycache__")].rstrip("/") or "."
        else:
            return path
        return folder + "/" + name.partition(".")[0] + ".py"

    def _imported(self, module, path, *_):
        if path is not None:  # a compiled extension; others are opened
            self.file(b"r", path, b"import")

    def _ran(self, path):
        self.file(b"r", path, b"import")

    def _database(self, name):
        name = os.fsdecode(name)
        if name.startswith("file:"):
            name = name[5:].partition("?")[0]
        if name and name != ":memory:":
            self.file(b"u", name, b"audit")

    def _renamed(self, source, target, source_folder=-1, target_folder=-1):
        source, _ = absolute(_from(source_folder, source))
        target, relative = absolute(_from(target_folder, target))
        if source.startswith(self.skipped) and target.startswith(self.skipped):
            return
        self._before_change(target)
        self._before_change(source)
        self.log.write(b"m", relative, source, target)
        for kind in (b"w", b"a", b"u"):  # the next file of that name is another one
            self.done[kind].discard(hash(source))

    def _removed(self, path, folder=-1):
        self._before_change(absolute(_from(folder, path))[0])

    def _before_change(self, path):
        name = hash(path)
        if name in self.inputs:
            self.keep(path, name, _facts(stat(path)))

    def _truncated(self, path, *_):
        if path.__class__ is not int:
            self.file(b"u", path, b"audit")

    def _linked(self, source, target, *folders):
        self.file(b"w", _from(folders[-1] if folders else -1, target), b"audit")

    def _listed(self, path):
        if path is None or path.__class__ is int:
            return
        path, _ = absolute(os.fsdecode(path) or ".")
        if hash(path) not in self.done[b"d"] and not (path + "/").startswith(self.skipped):
            self.log.write(b"d", path, -1, "", "")
            self.done[b"d"].add(hash(path))

    # --- other programs, other machines

    def _started(self, executable, args, cwd, env):
        args = [args] if isinstance(args, (str, bytes, os.PathLike)) else list(args)
        self._program(executable if executable is not None else args[0], args, env)

    def _replaced(self, path, args, env):
        self._program(path, list(args), env)

    def _shell(self, command):
        self._program("/bin/sh", ["sh", "-c", command], None)

    def _program(self, executable, args, env):
        args = [os.fsencode(arg) for arg in args]
        env = os.environ._data if env is None else env
        watched = _has(env, "MLREPRO_LOG") and _has(env, "PYTHONPATH")
        key = hash((os.fsencode(executable), tuple(args), watched))
        if key not in self.done[b"x"]:
            self.log.write(b"x", os.fsencode(executable), int(watched), *args)
            self.done[b"x"].add(key)

    def _connected(self, connection, address):
        if address.__class__ is tuple:
            self._network(b"connect", "%s:%s" % address[:2])
        else:
            self._network(b"connect", os.fsdecode(address))

    def _looked_up(self, host, *_):
        if host:
            self._network(b"name", os.fsdecode(host))

    def _network(self, word, address):
        if hash(word + address.encode("utf-8", "replace")) not in self.done[b"n"]:
            self.log.write(b"n", word, address)
            self.done[b"n"].add(hash(word + address.encode("utf-8", "replace")))


def _facts(found):
    """What tells one state of a file from another."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def absolute(path):
    """Return the path as an absolute one, and whether the program gave it as a relative one."""
    path = os.fsdecode(path)
    relative = path[:1] != "/"
    if relative:
        path = getcwd() + "/" + path
    if "/." in path or "//" in path:
        if "/.." in path:  # only the file system knows what is above a symlink
            folder, _, name = path.rpartition("/")
            path = os.path.realpath(folder) + "/" + name if name != ".." else os.path.realpath(path)
        path = os.path.normpath(path)
    return path, int(relative)


def _from(folder, path):
    path = os.fsdecode(path)
    if folder is None or folder < 0 or path[:1] == "/":
        return path
    return readlink("/proc/self/fd/%d" % folder) + "/" + path


def _has(env, name):
    for key in env:  # text and bytes are not compared: `python -bb` forbids it
        return (os.fsencode(name) if key.__class__ is bytes else name) in env
    return False


def _installed():
    """Folders of the interpreter and its packages: they belong to the environment."""
    library = os.__file__.rpartition("/")[0]
    found = {library}
    for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}:
        if prefix.rstrip("/") not in ("", "/usr"):
            found.update(prefix + name for name in ("/lib", "/lib64", "/bin", "/share", "/include"))
            found.update((prefix + "/etc", prefix + "/ssl", prefix + "/conda-meta"))
    for entry in sys.path:
        if entry.endswith(("/site-packages", "/dist-packages")):
            found.add(entry)
    both = found | {os.path.realpath(path) for path in found}
    return tuple(sorted(path.rstrip("/") + "/" for path in both if path))
