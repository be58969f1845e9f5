"""Probe: see what a Python process reads and writes; runs inside the user's program.

Law of this package: standard library only, Python 3.8 and later, nothing heavy at the start,
nothing is ever raised into the user's program, nothing is printed but one line where the log
cannot be written.
"""

import sys


def start(here):
    """Begin to watch this process, if ``MLREPRO_LOG`` names the folder for its log."""
    from os import environ

    folder = environ.get("MLREPRO_LOG")
    if not folder:
        return
    from . import environment, events, facts, imports
    from .log import Log

    log = Log(folder)
    facts.interpreter(log, here)
    watch = events.Watch(log, (here, folder))
    watch.standard_streams()
    facts.at_exit(log)
    imports.install(watch)
    sys.addaudithook(watch.hook())
    environment.install(log)
