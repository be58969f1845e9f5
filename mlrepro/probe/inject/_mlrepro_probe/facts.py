"""Facts: what the interpreter is at its start, and which pools of threads it had at its end."""

import os
import sys


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


def at_exit(log):
    """Log the pools of threads when the program ends; registered first, so it runs last."""
    import atexit

    def ended():
        try:
            maps = _maps()
            if any(word in maps for word in _POOLS):
                from . import pools

                for fields in pools.found(maps):
                    log.write(b"t", *fields)
            log.write(b"z")
        except Exception:  # the program is over; nobody is left to hear of it
            pass

    atexit.register(ended)


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
