"""Expectations: what a rebuild may be expected to give, and the rules that need no file for it.

A rule yields an `Expectation` and a sentence each time; the worst of all is what is expected.
`Expectation.BIT_FOR_BIT` marks what is worth knowing and lowers nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlrepro.capture import blindspots, machine, variables
from mlrepro.commands import causes
from mlrepro.manifest import Change, Fit, Manifest, Platform, Status


class Expectation(enum.IntEnum):
    """What may be expected of a rebuild, best first; the worst of its reasons is the `max`."""

    BIT_FOR_BIT = 0
    NUMBERS_CLOSE = 1
    UNLIKELY = 2
    IMPOSSIBLE = 3

    def __str__(self) -> str:
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True)
class Reason:
    """Why no more than this may be expected: what it is about, a sentence, and what helps."""

    about: str
    expectation: Expectation
    sentence: str
    hint: str = ""


@dataclass(frozen=True)
class Preflight:
    """What may be expected of a rebuild.

    Attributes
    ----------
    run, name : str
        The run.
    expectation : Expectation
        The worst of the reasons.
    reasons : tuple of Reason
        In the order of `preflight.RULES`; those that lower nothing are worth knowing.
    environment : str
        ``lock``, ``current``, or empty: where it would train.
    seconds : float
        What the training took; more where fewer cores have to do the same work.
    bytes : int
        What the clean room will hold: inputs, and what the run made; an environment, which is
        made of links where that can be, not counted.
    """

    run: str
    name: str
    expectation: Expectation
    reasons: tuple[Reason, ...]
    environment: str
    seconds: float
    bytes: int

    @property
    def ok(self) -> bool:
        """Whether it can be rebuilt at all."""
        return self.expectation < Expectation.IMPOSSIBLE


Found = tuple[Expectation, str] | tuple[Expectation, str, str]
"""An expectation, a sentence and maybe a hint."""
NOTE, CLOSE, UNLIKELY, IMPOSSIBLE = Expectation


def of_run(record: Manifest) -> Iterator[Found]:
    """Look at how the run ended, and at what it was fed."""
    run = record.run
    if run.was_stopped:
        yield IMPOSSIBLE, "it was interrupted, and no training can be stopped at the same point"
    elif run.status is not Status.COMPLETED:
        how = f"signal {run.signal}" if run.signal else f"exit code {run.exit_code}"
        yield NOTE, f"the recorded run failed with {how}, and is expected to fail again"
    if run.stdin == "pipe":
        yield UNLIKELY, "its standard input was a pipe, which is not recorded and will be empty"
    for edit in record.code.edits if record.code else ():
        if edit.loaded == "after":
            yield UNLIKELY, f"{edit.path} was edited while the run went on, before it was loaded"


# Field of `Platform` → what a difference means. A kernel is chosen by the CPU's features and its
# model, blocks of a matrix are cut by its caches; libm belongs to the C library.
_MACHINE: Mapping[str, tuple[Expectation, str]] = {
    "machine": (UNLIKELY, "another kind of processor rounds otherwise, and trees split otherwise"),
    "CPU features": (CLOSE, "numerical libraries choose other code by them"),
    "CPU caches": (CLOSE, "some libraries cut matrices to fit them"),
    "C library": (CLOSE, "it brings exp, log and pow"),
}


def of_machine(record: Manifest, here: Platform) -> Iterator[Found]:
    """Compare the recorded machine with this one, as far as numbers may depend on it."""
    if not record.platform.machine:
        yield CLOSE, "the recorded machine is not known"
        return
    found = {change.what: change for change in machine.changes(record.platform, here)}
    for what, (expectation, why) in _MACHINE.items():
        if what in found:
            yield expectation, f"{_moved(found[what])}: {why}"
    if "CPU" in found and not found.keys() & _MACHINE.keys():
        yield _other_model(record, found["CPU"])
    if "GPU" in found and record.platform.gpu:
        yield CLOSE, _moved(found["GPU"])


def _moved(change: Change) -> str:
    name = "processor" if change.what == "machine" else change.what
    return f"{name}: {change.recorded} → {change.current}"


def _other_model(record: Manifest, change: Change) -> Found:
    """Weigh another model of CPU with the same features: BLAS chooses its kernels by model, too."""
    kernels = sorted({pool.kernel for pool in record.threads if pool.kernel})
    fixed = {"OPENBLAS_CORETYPE", "MKL_CBWR"} & record.variables.restored.keys()
    if kernels and not fixed:
        return CLOSE, f"{_moved(change)}: BLAS had its kernels for {', '.join(kernels)}"
    return NOTE, f"{_moved(change)}, with the same features"


def of_threads(record: Manifest, here: Platform, *, restored: bool) -> Iterator[Found]:
    """Compare pools of threads with the cores that are here."""
    usable = here.affinity or here.cores
    most = max((pool.threads for pool in record.threads), default=0)
    if not restored and most and most != usable:
        yield CLOSE, f"the run had {most} threads, and {usable} are used with `--threads current`"
    elif most > usable > 0:
        yield NOTE, f"{most} threads share {usable} cores: the same numbers, but slower"
    if not record.threads and record.platform.affinity not in (0, usable):
        yield (
            CLOSE,
            f"no pool of threads was seen, and {usable} cores are here instead of "
            f"{record.platform.affinity}",
        )
    for fit in record.fits:
        if (fit.threads or 1) > 1 and _races(fit):
            yield CLOSE, f"{fit.call} updates one weight from several threads in no fixed order"


def _races(fit: Fit) -> bool:
    params = fit.params
    return params.get("booster") == "gblinear" and params.get("updater", "shotgun") == "shotgun"


def of_randomness(record: Manifest) -> Iterator[Found]:
    """Name generators that were not seeded, and time budgets."""
    side = causes.of_record(record)
    for sentence in causes.suspects(side, side, record):
        yield UNLIKELY, sentence


# A person's or a terminal's, which every login has otherwise.
_OF_A_PERSON = ("HOME", "USER", "LOGNAME", "SHELL", "TERM", "COLORTERM", "DISPLAY", "HOSTNAME",
                "MAIL")  # fmt: skip
_OF_A_SESSION = ("EDITOR", "PAGER", "XDG_", "SSH_", "GPG_", "DBUS_", "GIT_")


def absent(record: Manifest, environ: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the secrets, and the other variables of note, that were set and are not here."""
    names = variables.absent(record.variables, environ)
    secret = [n for n in names if record.variables.inherited[n] == variables.SECRET]
    others = [n for n in names if n not in {*secret, *_OF_A_PERSON}]
    return secret, [n for n in others if not n.startswith(_OF_A_SESSION)]


def of_variables(record: Manifest, environ: Mapping[str, str]) -> Iterator[Found]:
    """Name the variables that the training took from its machine and that are absent here."""
    secret, others = absent(record, environ)
    if secret:
        yield UNLIKELY, f"not set here, and asked for by the training: {', '.join(secret)}"
    if others:
        yield NOTE, f"set when it was recorded, and not here: {', '.join(others)}"


def of_blind_spots(record: Manifest) -> Iterator[Found]:
    """Name where mlrepro could not look, where a result may depend on it."""
    for sentence in filter(blindspots.matters, record.blind_spots):
        yield CLOSE, sentence


def of_memory(record: Manifest, here: Platform) -> Iterator[Found]:
    """Compare the memory that the training took with that of this machine."""
    if here.memory and record.run.peak_memory > here.memory:
        needed, there = record.run.peak_memory / 2**30, here.memory / 2**30
        yield UNLIKELY, f"it took {needed:.1f} GiB of memory, and {there:.1f} GiB are here"
