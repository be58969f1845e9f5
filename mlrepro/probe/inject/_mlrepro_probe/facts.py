"""Facts: what the interpreter is at its start, its libraries and pools of threads at its end."""

import os
import sys

LAST = []
"""What is called once when the process ends in an orderly way, before its last records."""


def interpreter(log, here):
    """Log the ``i`` record of this process."""
    arguments = getattr(sys, "orig_argv", None) or _command_line()
    log.write(
        b"i",
        os.getpid(),
        os.getppid(),
        sys.executable or "",
        sys.prefix,
        sys.base_prefix,
        "%d.%d.%d" % sys.version_info[:3] + _release(),
        sys.implementation.name,
        sys.version,
        sys.flags.hash_randomization,
        len(arguments),
        *arguments,
        *(entry for entry in sys.path if entry and entry != here),
    )


def _release():
    level = sys.version_info.releaselevel
    if level == "final":
        return ""
    return {"alpha": "a", "beta": "b", "candidate": "rc"}[level] + str(sys.version_info.serial)


def _command_line():
    """The arguments of the process; `sys.orig_argv` came with Python 3.10."""
    try:
        descriptor = os.open("/proc/self/cmdline", os.O_RDONLY)
        try:
            return [os.fsdecode(part) for part in os.read(descriptor, 2**20).split(b"\0")[:-1]]
        finally:
            os.close(descriptor)
    except OSError:
        return []


def at_exit(log, native):
    """Log pools of threads and libraries when the program ends; registered first, so run last.

    The native observer logs the libraries itself, and a pool comes with NumPy or by ctypes: where
    neither was imported there is nothing to look for.
    """
    import atexit

    leave, ended_in = os._exit, []

    def ended():
        try:
            if os.getpid() not in ended_in:
                ended_in.append(os.getpid())
                for call in LAST:
                    call()
                if not native or "numpy" in sys.modules or "ctypes" in sys.modules:
                    loaded(log, native)
                imported(log)
                log.write(b"z")
        except Exception:  # the program is over; nobody is left to hear of it
            pass

    def _exit(status):
        """Exit to the system with specified status, without normal exit processing."""
        try:
            ended()
        finally:  # whatever a signal handler raises meanwhile
            leave(status)

    _exit.__module__ = "os"  # workers are told of functions by name
    _exit.__qualname__ = "_exit"
    os._exit = _exit
    atexit.register(ended)


def imported(log):
    """Log which installed files are modules of the process: a ``g`` record for each folder.

    A module's attributes are asked for behind its back: a lazy one would load itself.
    """
    found = [entry + "/" for entry in sys.path if entry.endswith(_SITES)]
    folders = {start: [] for start in found}
    for module in list(sys.modules.values()):
        try:
            path = object.__getattribute__(module, "__dict__").get("__file__")
        except Exception:  # anything can be put there
            continue
        if path.__class__ is not str:
            continue
        for start, names in folders.items():
            if path.startswith(start):
                names.append(path[len(start) :])
                break
    for start, names in folders.items():
        if names:
            log.write(b"g", start, "\0".join(names))


_SITES = ("/site-packages", "/dist-packages")


def loaded(log, native=False):
    """Log the libraries that the process has mapped by now, and its pools of threads."""
    maps = _maps()
    mapped = libraries(maps)
    if not native:
        log.write_all(b"l", sorted(_identified(mapped)))
    if any(word in maps for word in _POOLS):
        from . import pools

        for fields in pools.found(mapped):
            log.write(b"t", *fields)


def libraries(maps):
    """Return path → the other words of its line, of each library whose code is mapped."""
    lines = [line for line in maps.splitlines() if b" r-xp " in line and b".so" in line]
    return {parts[5]: parts for parts in (line.split(None, 5) for line in lines)}


def _identified(mapped):
    """Yield path, device and inode of each mapped library."""
    for path, parts in mapped.items():
        major, _, minor = parts[3].partition(b":")
        device, inode = os.makedev(int(major, 16), int(minor, 16)), int(parts[4])
        try:
            status = os.stat(path)
            if status.st_ino == inode:
                device = status.st_dev  # some file systems tell `stat` another one than `maps`
        except OSError:
            pass
        yield path, device, inode


_POOLS = (b"libgomp", b"libomp", b"libiomp", b"openblas", b"libmkl_rt", b"libblis")


def _maps():
    try:
        descriptor = os.open("/proc/self/maps", os.O_RDONLY)
    except OSError:
        return b""
    parts = []
    try:
        while True:
            part = os.read(descriptor, 2**20)
            if not part:
                return b"".join(parts)
            parts.append(part)
    finally:
        os.close(descriptor)
