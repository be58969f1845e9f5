"""Probe: see what a Python process reads and writes; runs inside the user's program.

Law of this package: standard library only, Python 3.8 and later, nothing heavy at the start,
nothing is ever raised into the user's program, nothing is printed but one line where the log
cannot be written.
"""

import sys


def start(here):
    """Begin to watch this process, if ``MLREPRO_LOG`` names the folder for its log."""
    from os import environ

    native = _native(environ)
    folder = environ.get("MLREPRO_LOG")
    if not folder:
        return
    from . import environment, facts, imports
    from .log import Log

    log = Log(folder)
    facts.interpreter(log, here)
    facts.at_exit(log, native)
    if "MLREPRO_FORCE" in environ:
        _force(environ["MLREPRO_FORCE"])
    watch = None
    if not native:
        from . import events

        watch = events.Watch(log, (here, folder))
        watch.standard_streams()
    imports.install(log, watch)
    if watch is not None:
        sys.addaudithook(watch.hook())
    environment.install(log)


def _force(text):
    """A rebuild changes something on purpose."""
    from . import forcing, patches

    force = forcing.start(text)
    if force is not None:
        patches.FORCED.append(force)


def _native(environ):
    """Whether the preload library watches this process: then it sees the files, and we do not.

    It says so at the process's start. The word of another process that was handed down, or of a
    program that this one replaced without the library, does not count.
    """
    from os import getpid

    word = environ.pop("MLREPRO_NATIVE", "")
    return word == str(getpid()) and bool(environ.get("LD_PRELOAD"))
