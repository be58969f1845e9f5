"""Guesses: files that a run needs though no observer saw them being opened.

The kernel opens programs and the loader opens libraries; a program that could not be watched
opens what it was told to. Such a file is taken to have been read if it was there before the run
and the run left it alone: it can only make a rebuild possible that would fail without it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mlrepro.capture import grading
from mlrepro.capture.children import LAUNCHERS, Program
from mlrepro.capture.observation import Read
from mlrepro.capture.territory import Territory

_MOST = 200
"""So many words of one command line are looked at."""


@dataclass(frozen=True)
class Guesser:
    """Looks for the files of a run.

    Attributes
    ----------
    territory : Territory
        The project.
    since : int
        When the run began, in ns since the epoch by the clock of the project's file system; 0
        where that is not known: then nothing is guessed.
    directory : str
        Where the run's command was started.
    skipped : tuple of str
        Beginnings of paths that belong to interpreters.
    """

    territory: Territory
    since: int
    directory: str = ""
    skipped: tuple[str, ...] = ()

    def programs(self, started: Iterable[Program]) -> Iterator[Read]:
        """Yield the project's own programs among those that were started."""
        for program in started:
            found = shutil.which(self._place(program.arguments[0]))
            yield from self._read(found or "", "program", program.time)

    def libraries(self, mapped: Mapping[str, tuple[int, int]]) -> Iterator[Read]:
        """Yield the project's own native libraries among those that were loaded."""
        for path, (_dev, ino) in mapped.items():
            for read in self._read(path, "library", 0):
                if read.stat and read.stat.ino == ino:
                    yield read

    def arguments(self, unwatched: Iterable[Program]) -> Iterator[Read]:
        """Yield the project's files that are named on command lines of unwatched programs."""
        for program in unwatched:
            for word in _words(program):
                path = self._place(word, always=True)
                yield from self._read(path, "argument", program.time)

    def _place(self, word: str, *, always: bool = False) -> str:
        if word.startswith("/") or not ("/" in word or always):
            return word
        return os.path.normpath(f"{self.directory or self.territory.root}/{word}")

    def _read(self, path: str, seen: str, time: int) -> Iterator[Read]:
        if not path.startswith(f"{self.territory.root}/") or not self.territory.holds(path):
            return
        if path.startswith(self.skipped) or not _is_regular(path):
            return
        found = grading.state(path)
        if found and 0 < found.ctime_ns < self.since:
            yield Read(path, found, seen, time=time)


def _words(program: Program) -> Iterator[str]:
    """Yield what could name a file on a command line; of a shell, in the command as well."""
    words = list(program.arguments[1 : _MOST + 1])
    if program.arguments[0].rpartition("/")[2] in LAUNCHERS and "-c" in words[:-1]:
        lexer = shlex.shlex(words[words.index("-c") + 1], posix=True, punctuation_chars=True)
        with suppress(ValueError):  # quotes that do not close
            words += list(lexer)
    for word in words[: 2 * _MOST]:
        if word and "\0" not in word and len(word) < 4096:
            yield word
            if "=" in word:
                yield word.partition("=")[2]


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(Path(path).stat().st_mode)
    except (OSError, ValueError):
        return False
