"""Doctor: whether a machine and a repository are fit for what mlrepro does; one line for each.

`CHECKS` is the whole of it. A check yields what it found; what it raises is a failure in its own
words. Nothing is repaired.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path

from mlrepro import probe
from mlrepro.capture import work
from mlrepro.cleanroom import interpreter, mounts
from mlrepro.cleanroom import room as rooms
from mlrepro.commands import hookscripts
from mlrepro.commands.health import Check, Found, Health, State
from mlrepro.comparators import plugins
from mlrepro.errors import GitError, MlreproError, NotARepositoryError, UvMissingError
from mlrepro.manifest import Digest
from mlrepro.stores import dvc, dvcconfig, git, gitcall, ledger, place, reflink, uv, writers
from mlrepro.stores.place import Place

_OLDEST_GIT = (2, 31)  # `git config --show-scope --get-all`, `GIT_CONFIG_COUNT`
_LITTLE, _NONE = 5 * 10**9, 2 * 10**8
_SKEW = 2.0
# The md5 of nothing: a question that every remote can answer.
_ANY = Digest("md5", "d41d8cd98f00b204e9800998ecf8427e")
_ALOOF = {"GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "SSH_ASKPASS": "true"}
"""Lets git fail where it would ask a person."""


OK, WARN, FAIL = State.OK, State.WARN, State.FAIL


@dataclass(frozen=True)
class _Patient:
    start: Path

    @cached_property
    def here(self) -> Place | None:
        try:
            return place.strict(self.start)
        except (NotARepositoryError, GitError):
            return None


def doctor(start: Path | None = None) -> Health:
    """Look at this machine, and at the repository around a folder.

    Parameters
    ----------
    start : Path, optional
        Where the user stands.
    """
    patient = _Patient((start or Path.cwd()).resolve())
    return Health(
        tuple(check for about, look in CHECKS for check in _checked(about, look, patient))
    )


def _checked(about: str, look: Look, patient: _Patient) -> list[Check]:
    try:
        return [Check(about, *found) for found in look(patient)]
    except MlreproError as error:
        return [Check(about, FAIL, str(error), error.hint or "")]
    except OSError as error:
        where = f" `{error.filename}`" if error.filename else ""
        return [Check(about, FAIL, f"{error.strerror or error}{where}")]


def _git(patient: _Patient) -> Iterator[Found]:
    said = gitcall.run(("git", "--version"), cwd=patient.start).stdout.decode(errors="replace")
    version = re.search(r"\d+(?:\.\d+)+", said)
    number = version[0] if version else "of an unknown version"
    known = tuple(map(int, number.split(".")[:2])) if version else (0,)
    if known < _OLDEST_GIT:
        wanted = ".".join(map(str, _OLDEST_GIT))
        yield FAIL, f"git {number} is too old", f"Install git {wanted} or later."
    else:
        yield OK, f"git {number}", ""
    asked = ("git", "var", "GIT_AUTHOR_IDENT")
    if gitcall.run(asked, cwd=patient.start, check=False).returncode:
        hint = "Set them: `git config --global user.name NAME`, and `user.email`."
        yield WARN, "git knows neither your name nor your address", hint


def _repository(patient: _Patient) -> Iterator[Found]:
    if patient.here is None:
        try:
            place.strict(patient.start)
        except NotARepositoryError:
            sentence = "no git repository here: only the machine was looked at"
            yield WARN, sentence, "Change into the project, or run `mlrepro init`."
        return
    if not patient.here.has_git:
        yield WARN, "no git here: code is kept in .mlrepro/code.git, for this machine alone", _INIT
        return
    yield OK, f"git repository `{patient.here.root}`", ""
    yield from _git_remote(patient.here)


_INIT = "Run `mlrepro init`."


def _git_remote(here: Place) -> Iterator[Found]:
    remote = git.default_remote(here.repository)
    if not remote:
        hint = "Add one with `git remote add origin ADDRESS`."
        yield WARN, "no git remote: nobody else can have these runs", hint
        return
    variables = dict(_ALOOF)
    if "GIT_SSH_COMMAND" not in os.environ and not git.setting(here.repository, "core.sshCommand"):
        variables["GIT_SSH_COMMAND"] = "ssh -o BatchMode=yes -o ConnectTimeout=10"
    asked = git.attempt(
        here.repository, "ls-remote", "--quiet", remote, f"{writers.LOG}*", variables=variables
    )
    if asked.returncode:
        told = git.sentence(asked.stderr) or "it did not say why"
        yield FAIL, f"the git remote `{remote}` does not answer: {told}", "See `git remote -v`."
        return
    logs = len(asked.stdout.splitlines())
    yield OK, f"the git remote `{remote}` answers, and has runs of {_counted(logs, 'clone')}", ""


def _dvc(patient: _Patient) -> Iterator[Found]:
    here = patient.here
    if here is None:
        return
    if not here.has_dvc:
        yield WARN, "DVC is not set up here: models are kept, but get no pointer", _INIT
        return
    default = dvc.setting(here.root, "core.remote")
    if not default:
        hint = "Set one with `dvc remote add -d NAME ADDRESS`."
        yield WARN, "no default DVC remote: `mlrepro push` cannot send models", hint
    names = dict.fromkeys([*([default] if default else []), *dvcconfig.remotes(here.root)])
    for name in names:
        yield _dvc_remote(here, name, is_default=name == default)


def _dvc_remote(here: Place, name: str, *, is_default: bool) -> Found:
    which = f"the default DVC remote `{name}`" if is_default else f"the DVC remote `{name}`"
    try:
        dvc.verify_remote(here.root, [_ANY], remote=name)
    except MlreproError as error:
        return (FAIL if is_default else WARN), str(error), error.hint or "See `dvc remote list`."
    address = dvc.setting(here.root, f"remote.{name}.url") or ""
    if address.startswith("/") and not Path(address).is_dir():
        return WARN, f"{which} is a folder that does not exist yet", "`mlrepro push` makes it."
    return OK, f"{which} answers", ""


def _uv(_patient: _Patient) -> Iterator[Found]:
    try:
        program = uv.find()
    except UvMissingError as error:
        yield WARN, str(error), error.hint or ""
        return
    done = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, timeout=30
    )
    if done.returncode:
        yield FAIL, f"`{program}` does not start", "Install uv again."
    else:
        yield OK, f"{' '.join(done.stdout.split()[:2])} at `{program}`", ""


def _python(_patient: _Patient) -> Iterator[Found]:
    chosen = interpreter.choose(os.environ)
    env = chosen.environment
    told = f"`{chosen.executable}`: Python {env.python}, {_counted(env.count, 'package')}"
    yield OK, f"`--env current` is {told}", ""


def _observer(_patient: _Patient) -> Iterator[Found]:
    library = probe.library()
    if library is None:
        hint = "Python's own reading is seen; native libraries' only in part."
        yield WARN, probe.why_not(), hint
        return
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ""], env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True, text=True, errors="replace", check=False, timeout=30,
    )  # fmt: skip
    if done.returncode or "cannot be preloaded" in done.stderr:
        told = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        yield FAIL, f"the native observer does not load: {told}", "Use `--observer audit`."
    else:
        yield OK, "the native observer loads: all programs of a run are watched", ""


def _namespaces(_patient: _Patient) -> Iterator[Found]:
    if mounts.available():
        yield OK, "clean rooms can be shown at the recorded places (namespaces)", ""
    else:
        hint = "Code with absolute paths cannot be rebuilt here; all else can."
        yield WARN, "clean rooms cannot be shown elsewhere: no user namespaces", hint


def _reflinks(patient: _Patient) -> Iterator[Found]:
    """Try to clone a file from DVC's cache to the place of the clean rooms."""
    here = patient.here
    if here is None:
        return
    cache, target = _existing(dvc.cache_dir(here.root)), _existing(rooms.cache_home())
    with (
        tempfile.TemporaryFile(dir=cache) as old,
        tempfile.TemporaryFile(dir=target) as new,
    ):
        old.write(b"mlrepro")
        old.flush()
        cloned = reflink.clone(old.fileno(), new.fileno())
    if cloned:
        yield OK, "clean rooms share blocks with the cache (reflinks)", ""
    else:
        told = "clean rooms get copies of their inputs: no reflinks from the cache to them"
        yield OK, told, ""


def _ledger(patient: _Patient) -> Iterator[Found]:
    """Read every record, and let git walk the newest commits of each log; not the old ones."""
    here = patient.here
    if here is None:
        return
    found = ledger.read(here.repository)
    tips = [ref for ref in git.refs(here.repository, "refs/mlrepro/") if writers.of_ref(ref)]
    if found.damaged:
        named = ", ".join(name[:12] for name in found.damaged[:3])
        told = f"{_counted(len(found.damaged), 'record')} of the ledger cannot be read: {named}"
        yield FAIL, told, "`mlrepro pull` brings them again, if they were pushed."
    walked = git.attempt(here.repository, "rev-list", "--objects", "-n", "100", "--quiet", *tips)
    if tips and walked.returncode:
        yield FAIL, f"the ledger lacks objects: {git.sentence(walked.stderr)}", "See `git fsck`."
    elif not found.damaged:
        clones = len({writers.of_ref(ref) for ref in tips})
        counts = f"{_counted(len(found.entries), 'run')} of {_counted(clones, 'clone')}"
        yield OK, f"the ledger is whole: {counts}", ""


def _writer(patient: _Patient) -> Iterator[Found]:
    here = patient.here
    if here is None:
        return
    name = writers.existing(here.repository)
    if name:
        yield OK, f"this clone writes as `{name}`", ""
    else:
        yield OK, "this clone has recorded nothing yet, or is a copy: its next run names it", ""


def _hook(patient: _Patient) -> Iterator[Found]:
    here = patient.here
    if here is None or not here.has_git:
        return
    absent, old = hookscripts.state(here.root)
    again = "Run `mlrepro hook install`."
    if absent:
        yield WARN, f"the git hook is not installed: {', '.join(absent)}", again
    if old:
        yield WARN, f"the git hook is another installation's or was edited: {', '.join(old)}", again
    if not absent and not old:
        yield OK, "the git hook is installed", ""


def _remains(patient: _Patient) -> Iterator[Found]:
    """Look for runs that were killed, and for clean rooms that were left or kept."""
    if patient.here and work.left(patient.here.root):
        hint = "The next `mlrepro run`, `push` or `rebuild` records what is known of them."
        yield WARN, "runs were killed before they were recorded", hint
    folder = rooms.cache_home() / "rooms"
    left = [one for one in folder.iterdir() if one.is_dir()] if folder.is_dir() else []
    if left:
        told = f"{_counted(len(left), 'clean room')} in `{folder}`: in use, kept or left"
        yield WARN, told, "Remove those that you do not need."
    else:
        yield OK, "no clean room was left behind", ""


def _disk(patient: _Patient) -> Iterator[Found]:
    places = {"the user's cache": _existing(rooms.cache_home())}
    if patient.here:
        places["DVC's cache"] = _existing(dvc.cache_dir(patient.here.root))
        places["the project"] = patient.here.root
    seen = set()
    for what, folder in places.items():
        device, free = folder.stat().st_dev, shutil.disk_usage(folder).free
        if device in seen:
            continue
        seen.add(device)
        told = f"{free / 1e9:.1f} GB are free for {what}"
        state = FAIL if free < _NONE else WARN if free < _LITTLE else OK
        yield state, told, "" if state is OK else "Free some space: models and rooms need it."
        if not os.access(folder, os.W_OK):
            yield FAIL, f"`{folder}` cannot be written", "Its owner has to permit it."


def _clock(patient: _Patient) -> Iterator[Found]:
    """Compare the clock with the files' and with the newest run."""
    with tempfile.NamedTemporaryFile(dir=_existing(patient.start)) as file:
        apart = abs(os.fstat(file.fileno()).st_mtime - time.time())
    if apart > _SKEW:
        told = f"files get times that are {apart:.0f} s from this machine's clock"
        yield WARN, told, "Whether an input changed during a run is told by them: set the clocks."
        return
    newest = ledger.entries(patient.here.repository)[-1:] if patient.here else ()
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    if newest and newest[0].started[:19] > now:
        told = f"the newest run began in the future: {newest[0].started}"
        yield WARN, told, "Set the clock: `last` and the order of runs depend on it."
    else:
        yield OK, "the clock agrees with the files", ""


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    while not folder.is_dir():
        folder = folder.parent
    return folder


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


Look = Callable[[_Patient], Iterator[Found]]


def _comparators(_: _Patient) -> Iterator[Found]:
    plugins.comparators()  # one that cannot be loaded is an error
    names = [f"{name} of {origin}" for name, origin, _load in plugins.found()]
    yield OK, f"of other packages: {', '.join(names) or 'none'}", ""


CHECKS: Sequence[tuple[str, Look]] = (
    ("git", _git),
    ("repository", _repository),
    ("DVC", _dvc),
    ("uv", _uv),
    ("python", _python),
    ("observer", _observer),
    ("namespaces", _namespaces),
    ("reflinks", _reflinks),
    ("ledger", _ledger),
    ("writer", _writer),
    ("hook", _hook),
    ("remains", _remains),
    ("comparators", _comparators),
    ("disk", _disk),
    ("clock", _clock),
)
