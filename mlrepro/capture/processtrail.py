"""Process trail: which programs a run started, and what they told of themselves."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlrepro.capture.children import Program, Started
from mlrepro.capture.observation import Fitted, Interpreter
from mlrepro.capture.records import Record
from mlrepro.manifest import ThreadPool

_TOOLS = frozenset({"git", "git-lfs", "dvc", "hg", "svn"})
"""They look at all files to tell whether they changed: what they read decides no result."""


class ProcessTrail:
    """What the records up to now amount to; `tools` are the processes that run one of ours.

    Parameters
    ----------
    log : Path
        The folder in which the models that were trained and not saved lie.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.interpreters: list[Interpreter] = []
        self.threads: dict[tuple[str, str], ThreadPool] = {}
        self.consulted: set[str] = set()
        self.asked: dict[str, set[str]] = {}
        self.programs: list[Program] = []
        self.started: list[Started] = []
        self.tools: set[int] = set()
        self._running: dict[int, str] = {}
        self.connections: dict[str, None] = {}
        self.names: dict[str, None] = {}
        self.compiled: dict[str, None] = {}
        self.libraries: dict[str, tuple[int, int]] = {}
        self.seedings: list[Mapping[str, Any]] = []
        self.imported: set[str] = set()
        self._fits: dict[str, Fitted] = {}
        self._saved: set[str] = set()
        self.verbs: Mapping[str, Callable[[Record], None]] = {
            "i": self._interpret,
            "t": self._pool,
            "e": self._consult,
            "x": self._run,
            "s": self._start,
            "n": self._connect,
            "b": self._import,
            "l": self._map,
            "f": self._fit,
            "p": self._save,
            "y": self._seed,
            "g": self._imported,
        }

    def fits(self) -> tuple[Fitted, ...]:
        """Return the fits in the order of their ends, and which models were saved."""
        return tuple(
            dataclasses.replace(fit, saved=True) if identity in self._saved else fit
            for identity, fit in self._fits.items()
        )

    def looked_up(self, is_own: Callable[[str], bool]) -> tuple[str, ...]:
        """Return the environment variables that decide something.

        The names that Python code asks for, and those that a program of the project's own asks
        for. Interpreters and libraries ask for some 150 names by themselves, whatever they do:
        of these only the ones that are set.

        Parameters
        ----------
        is_own : callable
            Says whether a program's path belongs to the project rather than to the system.
        """
        native = (
            name
            for name, programs in self.asked.items()
            if name in os.environ or any(path and is_own(path) for path in programs)
        )
        return tuple(sorted({*self.consulted, *native}))

    def _interpret(self, record: Record) -> None:
        pid, parent, executable, prefix, base, version, implementation, build = record.fields[:8]
        count = int(record.fields[9])
        rest = record.fields[10:]
        self.interpreters.append(
            Interpreter(
                pid=int(pid),
                argv=rest[:count],
                executable=executable,
                prefix=prefix,
                base_prefix=base,
                version=version,
                implementation=implementation,
                path=rest[count:],
                build=build,
                parent=int(parent),
                random_hashes=record.fields[8] == "1",
            )
        )

    def _pool(self, record: Record) -> None:
        api, library, threads, kernel = record.fields
        known = self.threads.get((api, library))
        if known is None or known.threads < int(threads):
            self.threads[api, library] = ThreadPool(api, library, int(threads), kernel)

    def _consult(self, record: Record) -> None:
        name, *who = record.fields
        if who == ["native"]:
            self.asked.setdefault(name, set()).add(self._running.get(record.pid, ""))
        else:
            self.consulted.add(name)

    def _run(self, record: Record) -> None:
        executable, word, *arguments = record.fields
        self.programs.append(Program((executable, *arguments[1:]), word, record.pid, record.time))

    def _start(self, record: Record) -> None:
        parent, executable, *arguments = record.fields
        self.started.append(Started(record.pid, int(parent), executable, tuple(arguments)))
        self._running[record.pid] = executable
        tool = executable.rpartition("/")[2] in _TOOLS
        (self.tools.add if tool else self.tools.discard)(record.pid)

    def _connect(self, record: Record) -> None:
        word, address = record.fields
        (self.connections if word == "connect" else self.names)[address] = None

    def _import(self, record: Record) -> None:
        self.compiled[record.fields[0]] = None

    def _map(self, record: Record) -> None:
        path, dev, ino = record.fields
        if path.startswith("/"):
            self.libraries[path] = (int(dev), int(ino))

    def _fit(self, record: Record) -> None:
        told = _object(record.fields[0])
        name = told.get("model")
        model = ""
        if isinstance(name, str) and name and "/" not in name and (self.log / name).is_file():
            model = str(self.log / name)
        identity = str(told.get("id") or f"{record.pid} {record.time}")
        self._fits[identity] = Fitted(record.pid, record.time, told, model)

    def _save(self, record: Record) -> None:
        self._saved.add(record.fields[0])

    def _seed(self, record: Record) -> None:
        self.seedings.append({**_object(record.fields[0]), "pid": record.pid})

    def _imported(self, record: Record) -> None:
        folder, names = record.fields
        if folder.startswith("/"):
            self.imported.update(folder + name for name in names.split("\0"))


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError(f"no JSON object: {text[:40]}")
    return found
