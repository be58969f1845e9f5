"""Case: one way to read or write files, as a small real program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent


@dataclass(frozen=True)
class Case:
    """A program, the files that a manifest must name, and what each observer does not see.

    Attributes
    ----------
    name : str
    source : str
        The program's text, or the command line where `language` is ``command``.
    reads, writes : tuple of str
        Files by their path from the project's folder; of `writes`, patterns.
    also : tuple of str
        Files that an observer may name as inputs: the beginning of one that is appended to.
    listed : tuple of str
        Folders whose listing is read.
    language : str
        ``python``, ``c``, ``c++``, ``rust``, ``perl``, ``node`` or ``command``.
    files : tuple of str
        What lies there before, besides `reads`: names of `files.py`.
    texts, links : mapping
        More files and symlinks that lie there before.
    flags : tuple of str
        For the compiler.
    child : bool
        Whether a Python script starts the compiled program.
    stdin : str
        The file that the caller opens as standard input.
    meanwhile : callable, optional
        What another program, outside of the run, does to the project's folder after the program
        has printed its first line; then the program's standard input ends.
    status : int
        How the program ends.
    missed : mapping of observer to str
        Which of ``R`` and ``W`` it does not see.
    named : mapping of observer to str
        Words of the blind spot that tells of a miss; without them the miss cannot be detected.
    spots : mapping of observer to str
        Words of the blind spot that is said though nothing was missed; no other is said then.
    refused : mapping of observer to tuple of str
        Reads whose digest cannot be given, since what was read is gone.
    counted : bool
        Whether it is one of the 57 that the observer is measured on.
    """

    name: str
    source: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    language: str = "python"
    files: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    child: bool = False
    stdin: str = ""
    meanwhile: Callable[[Path], None] | None = None
    status: int = 0
    missed: Mapping[str, str] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)
    spots: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    counted: bool = True

    @property
    def kinds(self) -> str:
        """What of it is to be seen: ``R``, ``W`` or ``RW``."""
        return "R" * bool(self.reads or self.listed) + "W" * bool(self.writes)

    @property
    def text(self) -> str:
        """The program as a file holds it."""
        return dedent(self.source).strip() + "\n"
