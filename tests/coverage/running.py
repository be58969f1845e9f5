"""Running: lay out a case's files, run it under an observer and beside it the scan, and judge."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mlrepro.capture import inputs, observers
from mlrepro.capture.inputs import Known
from mlrepro.capture.observation import Observation, Read
from mlrepro.manifest import Grade
from mlrepro.stores import objects
from tests.coverage.case import Case

OBSERVERS = ("native", "audit")
_CHOSEN = {"native": "auto", "audit": "audit"}
"""What `mlrepro run` is told; the best observer is not asked for by its name."""

_TICK = 0.012
"""A file that is read within a tick of its last change has a doubtful digest; a project's is older."""
_SCRIPTS = {"python": "train.py", "perl": "train.pl", "node": "train.js"}
_COMPILERS = {
    "c": ("gcc", "-O1", "-w", "-x", "c"),
    "c++": ("g++", "-O1", "-w", "-x", "c++"),
    "rust": ("rustc", "-A", "warnings"),
}


def observer_of(name: str) -> str:
    """Return the observer that a manifest's ``native+scan`` stands for."""
    return name.partition("+")[0]


class NotHereError(Exception):
    """The compiler or interpreter that a case needs is not installed."""


@dataclass
class Workshop:
    """What all cases of a session share: the files that they read, the programs compiled once."""

    folder: Path
    _programs: dict[Case, Path] = field(default_factory=dict)

    def files(self) -> Path:
        """Return the folder with the files of `files.py`."""
        folder = self.folder / "files"
        if not folder.exists():
            folder.mkdir(parents=True)
            script = Path(__file__).with_name("files.py")
            subprocess.run([sys.executable, script], cwd=folder, check=True, capture_output=True)
        return folder

    def command(self, case: Case, root: Path) -> list[str]:
        """Write or compile the program, and return the words that start it."""
        if case.language == "command":
            return shlex.split(case.source)
        if case.language in _SCRIPTS:
            script = _SCRIPTS[case.language]
            (root / script).write_text(case.text)
            program = sys.executable if case.language == "python" else _find(case.language)
            return [program, script]
        program = str(self._compiled(case))
        if not case.child:
            return [program]
        (root / "train.py").write_text(
            f"import subprocess\nsubprocess.run([{program!r}], check=True)\n"
        )
        return [sys.executable, "train.py"]

    def _compiled(self, case: Case) -> Path:
        key = hashlib.sha256(repr((case.source, case.flags)).encode()).hexdigest()[:12]
        program = self.folder / f"program-{key}"
        if not program.exists():
            compiler, *options = _COMPILERS[case.language]
            source = program.with_suffix(".source")
            source.write_text(case.source)
            words = [_find(compiler), *options, *case.flags, str(source), "-o", str(program)]
            subprocess.run(words, check=True, capture_output=True, cwd=self.folder)
        return program


def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise NotHereError(f"{program} is not installed")
    return found


@dataclass(frozen=True)
class Outcome:
    """What an observer saw of a case.

    Attributes
    ----------
    missed, missed_by_scan : str
        Which of ``R`` and ``W`` were not seen.
    guessed : bool
        Whether a read is only known from the command line of a program that was not watched.
    named : bool
        Whether a blind spot holds the words of the case.
    wrong : tuple of str
        What must never be, one sentence each: a digest of other bytes, an input that was none.
    refused : tuple of str
        Reads without a digest.
    blind_spots : tuple of str
    """

    missed: str
    missed_by_scan: str
    guessed: bool
    named: bool
    wrong: tuple[str, ...]
    refused: tuple[str, ...]
    blind_spots: tuple[str, ...]


def run(case: Case, observer: str, workshop: Workshop, folder: Path) -> Outcome:
    """Run a case in a fresh folder.

    Raises
    ------
    NotHereError
        If its compiler or interpreter is not installed.
    AssertionError
        If the program did not do its work.
    """
    root = folder / "project"
    (root / ".mlrepro").mkdir(parents=True)
    digests = lay_out(case, root, workshop)
    command = workshop.command(case, root)
    logs = root / ".mlrepro"
    watcher = observers.choose(_CHOSEN[observer], log=logs / "log", root=root, command=command)
    scan = observers.choose("scan", log=logs / "scan", root=root, command=command)
    with _inside(root):
        variables = watcher.prepare(scan.prepare({**os.environ, "OMP_NUM_THREADS": "1"}))
    execute(case, command, root, variables)
    seen, changed = watcher.finish(), scan.finish()
    return _judge(case, observer, root, digests, seen, changed)


@contextmanager
def _inside(root: Path) -> Iterator[None]:
    """Be where `mlrepro run` is: there it starts the command."""
    before = Path.cwd()
    os.chdir(root)
    try:
        yield
    finally:
        os.chdir(before)


def lay_out(case: Case, root: Path, workshop: Workshop) -> dict[str, str]:
    """Make the case's files; return the digests of those that it reads."""
    for name, text in case.texts.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    for name in (*case.reads, *case.also, *case.files):
        if name not in case.texts and name not in case.links:
            (root / name).parent.mkdir(exist_ok=True)
            shutil.copyfile(workshop.files() / name.removeprefix("../"), root / name)
    for name, target in case.links.items():
        (root / name).symlink_to(target)
    time.sleep(_TICK)
    return {
        name: hashlib.md5((root / name).read_bytes()).hexdigest()
        for name in (*case.reads, *case.also)
    }


def execute(
    case: Case, command: list[str], root: Path, variables: dict[str, str] | None = None
) -> None:
    """Run the program, with its standard input and what happens meanwhile; it must do its work."""
    stdin = (root / case.stdin).open() if case.stdin else subprocess.PIPE
    with subprocess.Popen(
        command,
        cwd=root,
        env=variables,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        if case.stdin:
            stdin.close()
        if case.meanwhile:
            assert process.stdout.readline(), process.stderr.read()
            case.meanwhile(root)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == case.status, errors


def _judge(
    case: Case,
    observer: str,
    root: Path,
    digests: dict[str, str],
    seen: Observation,
    changed: Observation,
) -> Outcome:
    reads = {_name(root, read.path): read for read in seen.reads if not read.wrote_before}
    writes = [_name(root, write.path) for write in seen.writes if write.seen != "scan"]
    scanned = [_name(root, write.path) for write in changed.writes]
    folders = {_name(root, getattr(one, "path", one)) for one in seen.listed}
    read_all = set(case.reads) <= reads.keys() and set(case.listed) <= folders
    missed = "R" * (not read_all) + "W" * (not _all(case.writes, writes))
    words = case.named.get(observer, "")
    return Outcome(
        missed="".join(kind for kind in missed if kind in case.kinds),
        missed_by_scan="R" * ("R" in case.kinds) + "W" * (not _all(case.writes, scanned)),
        guessed=any(name in reads and reads[name].seen == "argument" for name in case.reads),
        named=bool(words) and any(words in spot for spot in seen.blind_spots),
        wrong=(
            *_surplus(case, reads, writes),
            *_wrong_digests(root, digests, seen),
        ),
        refused=tuple(sorted(_refused(root, digests, seen))),
        blind_spots=seen.blind_spots,
    )


def _name(root: Path, path: str) -> str:
    return os.path.relpath(path, root)


def _all(patterns: tuple[str, ...], names: list[str]) -> bool:
    return all(fnmatch.filter(names, pattern) for pattern in patterns)


def _surplus(case: Case, reads: dict[str, Read], writes: list[str]) -> Iterator[str]:
    """Name what was no input or output: a file that nobody read, a temporary name."""
    scripts = {*_SCRIPTS.values()}
    for name, read in sorted(reads.items()):
        if name not in (*case.reads, *case.also, *scripts) and read.seen not in (
            "program",
            "library",
        ):
            yield f"{name} was read, says the observer"
    for name in writes:
        if not any(fnmatch.fnmatch(name, pattern) for pattern in case.writes):
            yield f"{name} was written, says the observer"


def _inputs(root: Path, seen: Observation) -> dict[str, inputs.Input]:
    stores = objects.stores(root / ".mlrepro" / "objects")
    found = inputs.find(seen, Known(root), stores).inputs
    return {_name(root, str(root / one.path)): one for one in found}


def _wrong_digests(root: Path, digests: dict[str, str], seen: Observation) -> Iterator[str]:
    for name, one in _inputs(root, seen).items():
        if one.digest is None and one.grade in (Grade.VERIFIED, Grade.BEFORE_WRITE):
            yield f"{name} has no digest and is {one.grade.value}"
        elif one.digest and name in digests and one.digest.value != digests[name]:
            yield f"{name} has the digest of bytes that were not read"


def _refused(root: Path, digests: dict[str, str], seen: Observation) -> Iterator[str]:
    found = _inputs(root, seen)
    return (name for name in digests if name in found and found[name].digest is None)
