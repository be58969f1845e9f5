"""Locker: the lock of a run's environment, made beside the training; it never holds up anybody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from mlrepro import paths
from mlrepro.capture import environment, locking
from mlrepro.capture import work as works
from mlrepro.capture.locking import Asked
from mlrepro.capture.observation import Interpreter
from mlrepro.errors import MlreproError
from mlrepro.manifest import Digest, Environment, Manifest
from mlrepro.stores import ledgerlocks
from mlrepro.stores.place import Place

_PATIENCE = 1.0
"""Seconds that the end of a training waits for the index."""
_ATTEMPTS = 3
"""So often it waits for one environment; uv keeps what it fetched, so each attempt is shorter."""
_PAUSE = 0.05
_LONGEST_PAUSE = 5.0
_AGAIN = 3600.0
"""Seconds after which an index that was not reached is asked again."""
_MOST = 50
_BECAME = "became "
_UNFINISHED = "unfinished "
_UNREACHED = "unreached"


@dataclass
class Locker:
    """A thread that asks the index for the hashes of what the training's Python has installed.

    Parameters
    ----------
    here : Place
        The project.
    log : Path
        Where the probe tells which Python runs.
    """

    here: Place
    log: Path
    _known: Digest | None = None
    _asked: Asked | None = None
    _env: Environment | None = None
    _patience: float = field(default_factory=lambda: _PATIENCE)
    _attempts: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _given_up: threading.Event = field(default_factory=threading.Event)
    _process: subprocess.Popen[str] | None = None
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread = threading.Thread(target=self._guarded, daemon=True)
        self._thread.start()

    def finish(self, record: Manifest) -> None:
        """Keep the lock if it is there, or comes within a second; nobody hears of it otherwise."""
        self._over.set()
        try:
            # What is to be written down is little; what git or uv refuse is tried at the next run.
            with suppress(MlreproError, OSError):
                self._finish(record)
        finally:
            self._give_up()

    def _finish(self, record: Manifest) -> None:
        if self._thread is None or self.here.repo is None or not record.environment.fingerprint:
            return
        self._thread.join(self._patience)
        env = record.environment
        if self._known and self._known == env.fingerprint:
            return
        if self._env and self._env.fingerprint != env.fingerprint:
            _note(self.here.root, self._env, f"{_BECAME}{env.fingerprint}")
        if self._asked is None:
            if self._thread.is_alive():
                _note(self.here.root, env, f"{_UNFINISHED}{self._attempts + 1}")
            return
        from mlrepro.commands import packages  # noqa: PLC0415  25 ms, for a new lock alone

        found = packages.recorded(self.here, record, notify=lambda _sentence: None)
        if not found or not env.fingerprint or ledgerlocks.has(self.here.repo, env.fingerprint):
            return
        lock = locking.lock(env, found, self._asked)
        if lock.unhashed and not self._asked.hashed.reached:
            _note(self.here.root, env, _UNREACHED)
            return
        ledgerlocks.put(self.here.repo, lock)

    def _give_up(self) -> None:
        self._given_up.set()
        if self._process and self._process.poll() is None:
            _kill(self._process)

    def _guarded(self) -> None:
        with suppress(Exception):  # the lock can be made later: `mlrepro lock`
            self._work()

    def _work(self) -> None:
        root = self.here.root
        if not locking.is_wanted(root):
            return
        interpreter = self._first_interpreter()
        if interpreter is None:
            return
        cache = root / works.FOLDER / "distributions.json"
        # What the run will have used is not known yet; it seldom makes another fingerprint.
        env, found = environment.fingerprint(interpreter, cache=cache, root=root, used=())
        self._env = env
        tried = _tried(root)
        how = tried.get(str(env.fingerprint), "")
        expected = how.removeprefix(_BECAME) if how.startswith(_BECAME) else str(env.fingerprint)
        if self._is_there(expected) or tried.get(expected) == _UNREACHED:
            self._known = Digest.parse(expected)
            return
        number = tried.get(expected, "").removeprefix(_UNFINISHED)
        self._attempts = int(number) if number.isdecimal() else 0
        if self._attempts >= _ATTEMPTS:
            self._patience = 0.0
        self._asked = locking.ask(env, found, root=root, background=True, started=self._hold)

    def _first_interpreter(self) -> Interpreter | None:
        """Wait for the first Python of the run; look once more when the run is over."""
        pause, over = _PAUSE, False
        while True:
            found = locking.first_interpreter(self.log)
            if found or over:
                return found
            over = self._over.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _is_there(self, expected: str) -> bool:
        repo = self.here.repo
        return repo is not None and ledgerlocks.has(repo, Digest.parse(expected))

    def _hold(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        if self._given_up.is_set():
            _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    """End uv and what it builds with; both are in a session of their own."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def begin(here: Place, log: Path) -> Locker | None:
    """Start to make the lock of what a run's Python has installed; None where nothing is kept."""
    if here.repo is None:
        return None
    locker = Locker(here, log)
    locker.start()
    return locker


def _file(root: Path) -> Path:
    return root / works.FOLDER / "locks-tried.json"


def _tried(root: Path) -> dict[str, str]:
    """Return what was tried of late: the environment's fingerprint → how it ended."""
    try:
        data = json.loads(_file(root).read_text())
        since = time.time() - _AGAIN
        return {str(name): str(how) for name, (when, how) in data.items() if when > since}
    except (OSError, ValueError, TypeError, AttributeError):  # absent or damaged
        return {}


def _note(root: Path, env: Environment, how: str) -> None:
    """Remember an attempt that came to nothing, so that the next run does not wait for it."""
    now = time.time()
    notes = {name: [now, known] for name, known in list(_tried(root).items())[-_MOST:]}
    notes[str(env.fingerprint)] = [now, how]
    with suppress(OSError):
        paths.write_beside(_file(root), json.dumps(notes))
