"""UV: the one door to uv: hashes of what an index holds, interpreters, environments.

Every call is one process of uv's. Settings of the user's that name indexes and certificates hold;
those that would change what is asked for (constraints, overrides) do not.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlrepro.errors import UvError, UvMissingError
from mlrepro.stores import indexes

_LIMIT = 1800.0
"""Seconds after which a call of uv is given up."""
_OTHERS = (
    "UV_CONSTRAINT", "UV_OVERRIDE", "UV_EXCLUDE", "UV_BUILD_CONSTRAINT", "UV_PYTHON",
    "UV_CUSTOM_COMPILE_COMMAND", "UV_REQUIRE_HASHES", "UV_PROJECT_ENVIRONMENT", "UV_OUTPUT_FILE",
    "UV_SYSTEM_PYTHON", "UV_TARGET", "UV_PREFIX", "UV_RESOLUTION", "UV_NO_VERIFY_HASHES",
    "UV_VENV_SEED", "UV_COMPILE_BYTECODE", "VIRTUAL_ENV", "CONDA_PREFIX", "PYTHONHOME",
    "PYTHONPATH", "LD_PRELOAD",
)  # fmt: skip


def _silent(_sentence: str) -> None:
    """Tell nobody."""


def find() -> Path:
    """Return uv: the one on the PATH, else that of the `uv` package beside mlrepro.

    Raises
    ------
    UvMissingError
        If there is neither.
    """
    if named := shutil.which("uv"):
        return Path(named)
    try:
        from uv import find_uv_bin  # noqa: PLC0415  it may be absent

        return Path(find_uv_bin())
    except (ImportError, FileNotFoundError) as error:
        sentence = "uv is not installed, so environments can be neither locked nor made"
        raise UvMissingError(sentence) from error


@dataclass(frozen=True)
class Hashed:
    """What an index holds of some pins.

    Attributes
    ----------
    hashes : mapping of str to tuple of str
        Name → the hashes of all files of that version.
    reasons : mapping of str to str
        Name → why there are none, in a few words.
    reached : bool
        Whether an index answered at all.
    """

    hashes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    reached: bool = True


def hashes(
    uv: Path,
    pins: Sequence[str],
    *,
    python: str,
    where: Path,
    variables: Mapping[str, str] | None = None,
    background: bool = False,
    notify: Callable[[str], None] = _silent,
    started: Callable[[subprocess.Popen[str]], None] = lambda _process: None,
) -> Hashed:
    """Ask the index for the hashes of pins: of all at once, then without those that it lacks.

    Parameters
    ----------
    uv : Path
        From `find`.
    pins : sequence of str
        ``name==version`` each.
    python : str
        For which version of Python.
    where : Path
        The project, whose ``pyproject.toml`` or ``uv.toml`` may name indexes.
    variables : mapping, optional
        What uv is told beside the user's own variables: the indexes that only pip knows.
    background : bool
        Whether it must not take processors from a training.
    notify : callable
        Takes a sentence while several attempts are needed.
    started : callable
        Takes each process, so that another thread can end it.

    Raises
    ------
    UvError
        If uv cannot be started, or was ended.
    """
    asked = _Asked(uv, python, where, variables or {}, background, notify, started)
    return asked.answer(tuple(pins))


_UNREACHED = re.compile(
    "dns error|tcp connect error|client error \\(Connect\\)|error trying to connect|"
    "operation timed out|Network is unreachable|network (?:was|connectivity is) disabled",
    re.IGNORECASE,
)
_REASONS: Sequence[tuple[re.Pattern[str], str]] = tuple(
    (re.compile(pattern, re.IGNORECASE), words)
    for pattern, words in (
        # Said as a hint behind "was not found".
        ("40[13] |forbidden|unauthorized|credentials", "the index refuses it"),
        ("was not found in the (?:package registry|provided)", "not on the index"),
        ("there (?:is|are) no versions? of", "this version is not on the index"),
        (
            "no wheels? with a matching|not supported by|no usable wheels",
            "no file fits this machine",
        ),
        ("failed to build|build backend|failed to prepare", "it cannot be built here"),
        ("depends on Python|Requires-Python|does not satisfy Python", "not for this Python"),
    )
)


def pylock(uv: Path, pins: Sequence[str], *, python: str, where: Path) -> str:
    """Return a `pylock.toml` (PEP 751) of pins, from the index of this machine.

    Raises
    ------
    UvError
        If a pin is not to be had, or this uv is too old to write one.
    """
    done = call(
        (str(uv), "pip", "compile", "-", "--no-deps", "--format=pylock.toml", "--no-header",
         "--quiet", "--color=never", "--no-python-downloads", f"--python-version={python}"),
        data="".join(f"{pin}\n" for pin in pins),
        where=where,
        variables=indexes.configured(where).variables,
    )  # fmt: skip
    if done.returncode:
        raise UvError(f"no pylock.toml could be written: {_sentence(done.stderr)}")
    return done.stdout


@dataclass
class _Asked:
    """One search for hashes, by as few calls as it takes."""

    uv: Path
    python: str
    where: Path
    variables: Mapping[str, str]
    background: bool
    notify: Callable[[str], None]
    started: Callable[[subprocess.Popen[str]], None]
    reached: bool = True

    def answer(self, pins: Sequence[str]) -> Hashed:
        found: dict[str, tuple[str, ...]] = {}
        reasons: dict[str, str] = {}
        self._search(pins, found, reasons)
        return Hashed(found, reasons, self.reached)

    def _search(
        self, pins: Sequence[str], found: dict[str, tuple[str, ...]], reasons: dict[str, str]
    ) -> None:
        if not pins:
            return
        text, complaint = self._compile(pins)
        if not complaint:
            found.update(_parsed(text))
            return
        if _UNREACHED.search(complaint):
            self._search_cache(pins, found, reasons)
            return
        if len(pins) == 1:
            reasons[_name(pins[0])] = _reason(complaint)
            return
        suspects = [pin for pin in pins if _is_named(pin, complaint)]
        if not reasons:
            self.notify(f"the index lacks some of {len(pins)} packages; asking for them apart")
        parts = (suspects, [p for p in pins if p not in suspects]) if suspects else _halves(pins)
        if len(suspects) == len(pins):
            parts = _halves(pins)
        for part in parts:
            self._search(part, found, reasons)

    def _search_cache(
        self, pins: Sequence[str], found: dict[str, tuple[str, ...]], reasons: dict[str, str]
    ) -> None:
        """Ask the same of what uv fetched before; where that lacks one, all wait for the index."""
        self.reached = False
        text, complaint = self._compile(pins, "--offline")
        if complaint:
            reasons.update({_name(pin): "no index was reached" for pin in pins})
        else:
            found.update(_parsed(text))

    def _compile(self, pins: Sequence[str], *options: str) -> tuple[str, str]:
        """Return what uv wrote, and what it complained of if it failed."""
        command = [
            str(self.uv), "pip", "compile", "-", "--no-deps", "--generate-hashes", "--no-annotate",
            "--no-header", "--no-python-downloads", "--color=never", "--quiet", "--no-progress",
            f"--python-version={self.python}", *options,
        ]  # fmt: skip
        done = call(
            command,
            data="".join(f"{pin}\n" for pin in pins),
            where=self.where,
            variables=self.variables,
            background=self.background,
            started=self.started,
        )
        return done.stdout, (done.stderr or "uv failed") if done.returncode else ""


def _reason(complaint: str) -> str:
    text = " ".join(complaint.split())
    known = (words for pattern, words in _REASONS if pattern.search(text))
    return next(known, "uv could not resolve it")


def call(
    command: Sequence[str],
    *,
    data: str = "",
    where: Path | None = None,
    variables: Mapping[str, str] | None = None,
    background: bool = False,
    started: Callable[[subprocess.Popen[str]], None] = lambda _process: None,
    limit: float = _LIMIT,
) -> subprocess.CompletedProcess[str]:
    """Run uv once, far from settings that would change what it is asked for.

    Raises
    ------
    UvError
        If it cannot be started, or takes longer than the limit.
    """
    environ = {name: value for name, value in os.environ.items() if name not in _OTHERS}
    if background and (nice := shutil.which("nice")):
        command = (nice, "-n", "10", *command)
    try:
        process = subprocess.Popen(
            command,
            cwd=where,
            env={**environ, **(variables or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Ctrl-C is for the training; who asked for the lock ends it.
            start_new_session=background,
        )
    except OSError as error:
        raise UvError(f"uv could not be started: {error.strerror}") from error
    started(process)
    with process:
        try:
            out, complaint = process.communicate(data, timeout=limit)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise UvError(f"uv did not end within {limit:.0f} s") from error
    if process.returncode < 0:
        raise UvError("uv was ended")
    return subprocess.CompletedProcess(command, process.returncode, out, complaint)


_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==\S+")
_HASH = re.compile(r"--hash=(sha256:[0-9a-f]{64})")


def _parsed(text: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        if match := _LINE.match(line):
            name = _normal(match[1])
            found[name] = []
        if name:
            found[name] += _HASH.findall(line)
    return {name: tuple(sorted(values)) for name, values in found.items() if values}


def _halves(pins: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    middle = len(pins) // 2
    return pins[:middle], pins[middle:]


def _is_named(pin: str, complaint: str) -> bool:
    """Say whether uv speaks of a package: ``foo``, ``foo==1.0`` or ``foo-1.0``."""
    pattern = rf"(?<![\w.-]){re.escape(_name(pin))}(?![\w]|-[a-z])"
    return re.search(pattern, complaint, re.IGNORECASE) is not None


def _name(pin: str) -> str:
    return pin.partition("==")[0]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def python(uv: Path, version: str, implementation: str = "cpython") -> Path | None:
    """Return an interpreter of exactly that version on this machine; nothing is downloaded."""
    done = call(
        (str(uv), "python", "find", "--system", "--no-project", "--no-config",
         "--no-python-downloads", "--color=never", f"{implementation}@{version}"),
        limit=60,
        variables={"UV_PYTHON_SEARCH_PATH": _search_path()},
    )  # fmt: skip
    return Path(done.stdout.strip()) if done.returncode == 0 and done.stdout.strip() else None


def nearest(uv: Path, version: str, implementation: str = "cpython") -> tuple[Path, str] | None:
    """Return the interpreter whose version is nearest, and its version; None where there is none.

    The same minor version first: wheels are made for one.
    """
    known = [(path, found) for path, found in installed(uv, implementation) if _numbers(found)]
    wanted = _numbers(version)
    return min(known, key=lambda one: _distance(wanted, _numbers(one[1])), default=None)


def _distance(wanted: Sequence[int], found: Sequence[int]) -> tuple[int, ...]:
    apart = [abs(a - b) for a, b in zip(wanted, found, strict=False)]
    # Of two equally far away the newer.
    return (*apart, *(-number for number in found))


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", version)
    return tuple(map(int, found.groups())) if found else ()


def installed(uv: Path, implementation: str = "cpython") -> list[tuple[Path, str]]:
    """Return the interpreters of this machine, no virtual environments, with their versions.

    Raises
    ------
    UvError
        If uv cannot say.
    """
    done = call(
        (str(uv), "python", "list", "--only-installed", "--no-python-downloads", "--no-config",
         "--all-versions", "--output-format=json"),
        limit=60,
        variables={"UV_PYTHON_SEARCH_PATH": _search_path()},
    )  # fmt: skip
    if done.returncode:
        raise UvError(f"uv cannot list the interpreters: {_sentence(done.stderr)}")
    found = [
        (Path(one["path"]), str(one["version"]))
        for one in _records(done.stdout)
        if one.get("implementation") == implementation and one.get("variant") == "default"
    ]
    return [(path, version) for path, version in found if not _is_virtual(path)]


def _records(text: str) -> list[dict[str, Any]]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise UvError("uv says nothing of the interpreters that can be read") from error
    return [one for one in data if isinstance(one, dict) and one.get("path")]


def _search_path() -> str:
    """Return where interpreters lie: the PATH, and what pyenv has built, not its stand-ins."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    built = [str(path) for path in sorted(root.glob("versions/*/bin"))]
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join([*(f for f in folders if Path(f).name != "shims"), *built])


def _is_virtual(python: Path) -> bool:
    """Say whether it is a virtual environment's."""
    return (python.parent.parent / "pyvenv.cfg").exists()


def create(uv: Path, target: Path, *, python: Path) -> None:
    """Make an empty virtual environment that may be moved.

    Raises
    ------
    UvError
        If it cannot be made.
    """
    _must(
        (str(uv), "venv", "--quiet", "--no-config", "--no-project", "--relocatable",
         "--no-python-downloads", f"--python={python}", str(target)),
        f"no environment could be made with `{python}`",
        limit=300,
    )  # fmt: skip


def sync(
    uv: Path,
    target: Path,
    requirements: str,
    *,
    find_links: Iterable[Path | str] = (),
    where: Path | None = None,
    notify: Callable[[str], None] = _silent,
) -> None:
    """Fill an environment with exactly these requirements, by links to uv's cache.

    Parameters
    ----------
    uv, target : Path
        uv, and the virtual environment.
    requirements : str
        As `Lock.installable` returns them; where all have hashes, all are demanded.
    find_links : iterable of Path or str
        Folders with wheels that no index has.
    where : Path, optional
        The project whose settings of uv count; the working directory's otherwise.
    notify : callable
        Takes a sentence before it begins.

    Raises
    ------
    UvError
        If a package cannot be had, or its file has another hash.
    """
    pins = [line for line in requirements.splitlines() if line[:1] not in ("", " ", "#")]
    notify(f"installing {len(pins)} packages with uv")
    command = [
        str(uv), "pip", "sync", "-", f"--python={target / 'bin' / 'python'}", "--quiet",
        "--color=never", "--no-progress", "--no-compile-bytecode", "--link-mode=hardlink",
        "--no-python-downloads", "--allow-empty-requirements",
        *(["--require-hashes"] if _all_hashed(requirements) else []),
        *(f"--find-links={folder}" for folder in find_links),
    ]  # fmt: skip
    _must(
        command, "the packages could not be installed",
        data=requirements, variables=indexes.configured(where).variables, where=where,
    )  # fmt: skip


def rehearse(uv: Path, requirements: str, *, python: Path, where: Path | None = None) -> int:
    """Return how many files `sync` would have to fetch; nothing is made, and no file fetched.

    What uv fetched before is asked first, in 30 ms; the index where that is not enough.

    Raises
    ------
    UvError
        If a package cannot be had.
    """
    with tempfile.TemporaryDirectory(prefix="mlrepro-") as target:
        for apart in (("--offline",), ()):
            command = [
                str(uv), "pip", "sync", "-", "--dry-run", f"--python={python}",
                f"--target={target}", "--color=never", "--no-progress", "--no-python-downloads",
                "--allow-empty-requirements", *apart,
                *(["--require-hashes"] if _all_hashed(requirements) else []),
            ]  # fmt: skip
            variables = indexes.configured(where).variables
            done = call(command, data=requirements, variables=variables, where=where)
            absent = _ABSENT.search(done.stderr)
            if done.returncode == 0 and not absent:
                return 0
    if done.returncode:
        raise UvError(f"the packages cannot be had: {_sentence(done.stderr)}")
    return int(absent[1]) if absent else 0


_ABSENT = re.compile(r"Would download (\d+)")


def _all_hashed(requirements: str) -> bool:
    lines = requirements.splitlines()
    return bool(lines) and all(line.endswith("\\") or "--hash=" in line for line in lines)


def _must(
    command: Sequence[str],
    sentence: str,
    *,
    data: str = "",
    variables: Mapping[str, str] | None = None,
    where: Path | None = None,
    limit: float = _LIMIT,
) -> None:
    done = call(command, data=data, variables=variables, where=where, limit=limit)
    if done.returncode:
        raise UvError(f"{sentence}: {_sentence(done.stderr)}")


def _sentence(complaint: str) -> str:
    """Return what uv complained of in one line, without its drawing and without credentials."""
    words = " ".join(complaint.split()).translate(dict.fromkeys(map(ord, "×│╰─▶"), " "))
    text = re.sub(r"(?<=://)[^/@\s]+@", "", " ".join(words.split()))
    return text.removeprefix("error: ").rstrip(".")[:400] or "uv did not say why"
