"""Facts: what a manifest is made of: digests, inputs, artifacts, code, environment, run."""

from __future__ import annotations

import enum
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlrepro.errors import ManifestError

_DIGEST_LENGTH = {"md5": 32, "sha1": 40, "sha256": 64}


@dataclass(frozen=True, order=True)
class Digest:
    """Algorithm and value that name bytes: ``md5:9b2c…``, or ``md5:9b2c….dir`` for a folder.

    A folder's digest is DVC's: the md5 of its sorted JSON listing.
    """

    algorithm: str
    value: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.value}"

    def __plain__(self) -> str:
        return str(self)

    @classmethod
    def __from_plain__(cls, data: Any, where: str) -> Digest:
        try:
            return cls.parse(data)
        except ManifestError as error:
            raise ManifestError(f"{where}: {error}") from error

    @classmethod
    def parse(cls, text: Any) -> Digest:
        """Read ``algorithm:hex``.

        Raises
        ------
        ManifestError
            If it is anything else: a digest becomes a file name, so it is checked here once.
        """
        algorithm, _, value = text.partition(":") if isinstance(text, str) else ("", "", "")
        digits = value.removesuffix(".dir") if algorithm == "md5" else value
        if len(digits) != _DIGEST_LENGTH.get(algorithm) or set(digits) - set("0123456789abcdef"):
            raise ManifestError(f"not a digest: {text!r:.80}")
        return cls(algorithm, value)

    @property
    def is_dir(self) -> bool:
        """Whether it names a folder."""
        return self.value.endswith(".dir")


class Status(enum.Enum):
    """How a run ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Role(enum.Enum):
    """What an artifact is to its run; weights and metrics decide a rebuild's verdict."""

    WEIGHTS = "weights"
    METRICS = "metrics"
    TEXT = "text"
    OTHER = "other"
    STDOUT = "stdout"
    STDERR = "stderr"


class Kept(enum.Enum):
    """Where an artifact's bytes are kept, beside the ledger's own copy."""

    POINTER = "pointer"  # a .dvc pointer and a manifest stand beside it
    GIT = "git"  # git tracks the file, or is meant to (small text)
    DVC_YAML = "dvc.yaml"  # a stage of dvc.yaml owns it
    LEDGER = "ledger"  # only the ledger names it (git-ignored folders, --no-keep, stdout)
    NOWHERE = "nowhere"  # only its digest is known


class Source(enum.Enum):
    """Where a rebuild takes an input from."""

    CODE = "code"  # the recorded code tree
    DVC = "dvc"  # a .dvc pointer of the code tree, from DVC's cache or remote
    STORED = "stored"  # the ledger's objects
    ELSEWHERE = "elsewhere"  # only its digest is known; the machine has to have it


class Grade(enum.Enum):
    """How far an input's digest can be trusted to be that of the bytes that were read."""

    VERIFIED = "verified"  # the file was the same at its first opening and at the end
    BEFORE_WRITE = "verified-before-write"  # the run wrote it later; the digest is of before
    CHANGED = "changed-during-run"  # no digest is given
    GONE = "gone"  # deleted before it could be read; no digest
    TOO_LARGE = "too-large"  # beyond the limit; no digest
    RACY = "racy"  # last changed within a clock tick of being read; no digest
    UNVERIFIED = "unverified"


@dataclass(frozen=True)
class Input:
    """A file or folder that the run read.

    Attributes
    ----------
    path : str
        Relative to the project's root; absolute where the file lies outside it.
    source : Source
        Where a rebuild takes it from.
    digest : Digest or None
        Of the bytes that were read; None where that is not known.
    size : int or None
        In bytes.
    grade : Grade
        How far the digest can be trusted.
    seen : str
        The observer that saw it: ``audit``, ``wrapper``, ``declared`` …
    """

    path: str
    source: Source
    digest: Digest | None = None
    size: int | None = None
    grade: Grade = Grade.UNVERIFIED
    seen: str = ""


@dataclass(frozen=True)
class Artifact:
    """A file or folder that the run made.

    Attributes
    ----------
    path : str
        Relative to the project's root; ``<stdout>`` and ``<stderr>`` for what was printed.
    role : Role
        What it is to the run.
    digest : Digest
        Of its bytes at the end of the run.
    size : int
        In bytes.
    kept : Kept
        Where its bytes are kept.
    files : int or None
        How many files a folder holds.
    seen : str
        The observers that saw it written.
    """

    path: str
    role: Role
    digest: Digest
    size: int
    kept: Kept = Kept.LEDGER
    files: int | None = None
    seen: str = ""


@dataclass(frozen=True)
class Parent:
    """An earlier run, one of whose artifacts this run read."""

    run: str
    path: str


@dataclass(frozen=True)
class Edit:
    """A code file that changed while the run was going on.

    Attributes
    ----------
    path : str
        Relative to the project's root.
    loaded : str
        ``before`` the change, ``after`` it, or ``never``: whether the run had loaded the file.
    """

    path: str
    loaded: str


@dataclass(frozen=True)
class CodeState:
    """The code as it ran.

    Attributes
    ----------
    tree : str
        Git tree of all code: what is tracked, as it was on disk, and untracked files that ran.
    snapshot : str
        A commit without parents that holds the tree; what the ledger pins and `push` sends.
    commit, branch, remote : str
        HEAD at the start, its branch, and the address of its remote without credentials.
    modified : tuple of str
        Tracked files that differed from HEAD.
    untracked : tuple of str
        Files that git did not track and that are in the tree since the run used them.
    edits : tuple of Edit
        Files edited while the run was going on.
    shadow : bool
        True where there was no git repository and the code lies in ``.mlrepro/code.git``.
    """

    tree: str
    snapshot: str
    commit: str = ""
    branch: str = ""
    remote: str = ""
    modified: tuple[str, ...] = ()
    untracked: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    shadow: bool = False


@dataclass(frozen=True)
class Package:
    """An installed distribution.

    Attributes
    ----------
    name, version : str
        As its ``dist-info`` folder says; the name in normal form (PEP 503).
    record : str
        The first 16 hex digits of the sha256 of its ``RECORD``; empty where it has none.
    tag : str
        The wheel's tag, for instance ``cp311-cp311-manylinux_2_28_x86_64``.
    editable : str
        The folder of an editable install: relative to the project's root where it lies in it
        (``.`` for the root itself), absolute elsewhere.
    direct : str
        Where it came from, if not from an index by name (PEP 610), without credentials:
        ``git:<address>@<commit>``, ``archive:<address>#sha256=<hex>``, ``file:<path>``; for an
        editable install outside the project that the run used, ``worktree:<commit>``, with
        ``+changed`` behind it where files there differ from that commit, and without a commit
        where git does not know the folder.
    owner : str
        Who manages it, if not an installer of Python packages: ``conda``, or ``system`` (the
        system's own Python, as Debian's ``dist-packages``).
    changed : dict of str to str
        Files that the run used and that are not as the installer left them, relative to the
        folder of packages → the first 16 hex digits of the sha256 of what they hold now.
    kept : str
        The digest of its wheel, kept as an object of the ledger: of what is small and neither an
        index nor git has.

    A package of conda that is no Python distribution is called ``conda:<name>``; its tag is
    conda's build.
    """

    name: str
    version: str
    record: str = ""
    tag: str = ""
    editable: str = ""
    direct: str = ""
    owner: str = ""
    changed: Mapping[str, str] = field(default_factory=dict)
    kept: str = ""

    @property
    def of_python(self) -> bool:
        """Whether an installer of Python packages could install it by name and version."""
        return not self.name.startswith("conda:")


@dataclass(frozen=True)
class Environment:
    """The software environment of the training process.

    Attributes
    ----------
    fingerprint : Digest or None
        sha256 over the canonical JSON of the interpreter and all distributions.
    python : str
        Version of the interpreter, for instance ``3.11.7``.
    implementation : str
        ``cpython`` …
    build : str
        Compiler and build of the interpreter, as ``sys.version`` says.
    prefix, executable : str
        Where the interpreter lay on the recording machine; mapped, never used, by a rebuild.
    packages : dict of str to str
        Names and versions of the well-known numerical packages among the distributions.
    count : int
        How many distributions there were; the whole list is ``distributions.json``.
    """

    fingerprint: Digest | None = None
    python: str = ""
    implementation: str = ""
    build: str = ""
    prefix: str = ""
    executable: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    count: int = 0


@dataclass(frozen=True)
class ThreadPool:
    """A pool of threads in the training process: ``openblas`` 8, ``openmp`` 8."""

    api: str
    library: str
    threads: int
    kernel: str = ""


@dataclass(frozen=True)
class Platform:
    """The machine.

    Attributes
    ----------
    system, kernel, libc, machine : str
        For instance ``Debian GNU/Linux 12``, ``6.1.0``, ``glibc 2.36``, ``x86_64``.
    cpu : str
        The processor's model name.
    cpu_flags : str
        sha256 of the sorted list of CPU flags, first 16 hex digits.
    cpu_features : tuple of str
        Those of the CPU's flags by which numerical libraries choose their code: ``avx2``, ``fma``,
        ``asimd`` …
    caches : tuple of str
        Size of the first core's caches, ``L1d 32K``: some libraries cut matrices to fit them.
    cores, affinity : int
        Logical processors of the machine, and those the process could use.
    quota : float or None
        CPUs that the cgroup allows; None where it sets no limit.
    memory : int
        In bytes.
    gpu : tuple of str
        Name and driver of each GPU.
    host : str
        Name of the machine.
    """

    system: str = ""
    kernel: str = ""
    libc: str = ""
    machine: str = ""
    cpu: str = ""
    cpu_flags: str = ""
    cores: int = 0
    affinity: int = 0
    quota: float | None = None
    memory: int = 0
    gpu: tuple[str, ...] = ()
    host: str = ""
    cpu_features: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variables:
    """Environment variables in three tables.

    Attributes
    ----------
    restored : dict of str to str
        Set to these values in a rebuild.
    inherited : dict of str to str
        Taken from the rebuilding machine; here only a salted hash, to tell whether they differ.
    derived : tuple of str
        Made anew by the rebuild (``PATH``, ``TMPDIR`` …).
    unset : tuple of str
        Looked up by the program and not set; a rebuild does not set them either.
    """

    restored: Mapping[str, str] = field(default_factory=dict)
    inherited: Mapping[str, str] = field(default_factory=dict)
    derived: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()


_ASKED_TO_END = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGQUIT)


@dataclass(frozen=True)
class Run:
    """One execution.

    Attributes
    ----------
    command : tuple of str
        As it was typed after ``mlrepro run``.
    directory : str
        Working directory relative to the project's root; empty for the root itself.
    root : str
        The project's root on the recording machine; mapped, never used, by a rebuild.
    started : str
        UTC, ISO 8601.
    seconds, cpu_seconds : float
        Wall time, and user + system time of the process tree.
    peak_memory : int
        Largest resident set of any process of the run, in bytes.
    status : Status
        How it ended.
    exit_code : int or None
        None where a signal ended it or it is not known.
    signal : int or None
        The signal that ended it.
    stdin, stdout, stderr : str
        What the descriptors were: ``terminal``, ``pipe``, ``file``, ``null`` or ``closed``.
    name, message : str
        As given with ``-n`` and ``-m``.
    author : str
        ``Name <address>`` as git knows it.
    work : str
        A uuid that named the run while it was going on.
    """

    command: tuple[str, ...]
    started: str
    status: Status
    directory: str = ""
    root: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    exit_code: int | None = None
    signal: int | None = None
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    name: str = ""
    message: str = ""
    author: str = ""
    work: str = ""

    @property
    def was_stopped(self) -> bool:
        """Whether somebody stopped it from outside: no training can end at the same point."""
        asked = self.signal is None or self.signal in _ASKED_TO_END
        return self.status is Status.INTERRUPTED and asked


@dataclass(frozen=True)
class Rounds:
    """How often a model that learns in rounds (trees, epochs, iterations) was improved.

    Attributes
    ----------
    asked : int or None
        The limit that was given, or the library's own.
    trained : int or None
        Those that were run.
    kept : int or None
        Those that the model predicts with; fewer than were run after early stopping.
    stopped_by : str
        ``rounds`` (all that were asked for), ``early stopping``, ``no more gain``, ``tolerance``,
        ``a callback``, ``an error``; empty where it is not known.
    """

    asked: int | None = None
    trained: int | None = None
    kept: int | None = None
    stopped_by: str = ""


@dataclass(frozen=True)
class Fit:
    """One call that trained a model, and what was in effect; calls inside it are counted.

    Attributes
    ----------
    call : str
        For instance ``lightgbm.train`` or ``sklearn GridSearchCV.fit``.
    params : dict
        Parameters that were passed, by their own names, with the values that took effect; the
        ledger's list ``fits`` has all parameters, the defaults too.
    ignored : tuple of str
        Passed, and unknown to the library: a typing error has no other trace.
    aliased : dict of str to str
        Passed under another name → the parameter's own name.
    overridden : dict of str to str
        Passed, but another value took effect → why, in a few words.
    rounds : Rounds or None
        None where the model does not learn in rounds.
    scores : dict
        ``<data> <metric>`` → its last value; the ledger's list has the whole history.
    threads : int or None
        Threads that the library was to use.
    data : tuple of str
        What it learned from: ``X: DataFrame 7000 × 28 float64``.
    inside : dict of str to int
        Calls that trained models inside this one → how many.
    budget : str
        A time budget that was in play, as it was passed: ``timeout=60``; such a search does not
        repeat itself.
    random : dict of str to str
        Global generator → digests of its state at entry and exit, ``3f9a… → 77c0…``; one digest
        where it did not move.
    model : str
        Path of the artifact that holds the model, where the program itself did not save it:
        ``<model 1>``; empty otherwise.
    seconds : float
        Wall time.
    failed : str
        The name of the exception that ended it.
    """

    call: str
    params: Mapping[str, Any] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    aliased: Mapping[str, str] = field(default_factory=dict)
    overridden: Mapping[str, str] = field(default_factory=dict)
    rounds: Rounds | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    threads: int | None = None
    data: tuple[str, ...] = ()
    inside: Mapping[str, int] = field(default_factory=dict)
    budget: str = ""
    random: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    seconds: float = 0.0
    failed: str = ""


@dataclass(frozen=True)
class Generator:
    """A source of randomness that the program used.

    Attributes
    ----------
    name : str
        ``python`` (the `random` module), ``numpy`` (`numpy.random`), ``torch``; or
        ``numpy default_rng`` and the like, for generators that were made without a seed.
    seeded : bool
        Whether the program gave it a seed; one that it did not seed starts anew each time.
    seeds : tuple of str
        The seeds that it was given, in order, the first few.
    count : int
        How often it was seeded, or how many unseeded ones were made.
    where : str
        Where an unseeded one was made first: ``train.py:12``.
    """

    name: str
    seeded: bool
    seeds: tuple[str, ...] = ()
    count: int = 1
    where: str = ""


@dataclass(frozen=True)
class Folder:
    """A folder whose content the program listed.

    Attributes
    ----------
    path : str
        Relative to the project's root; empty for the root itself, absolute outside it.
    count : int
        How many entries it had; -1 where the observer could not see them.
    names : str
        Digest of the names whatever their order, 16 hex digits; empty where not seen.
    order : str
        Digest of the names in the order in which the file system gave them: a program that does
        not sort them depends on it.
    """

    path: str
    count: int = -1
    names: str = ""
    order: str = ""


@dataclass(frozen=True)
class Listing:
    """A long list that lies beside the manifest in the ledger entry, named by its digest."""

    digest: Digest
    count: int


@dataclass(frozen=True)
class Change:
    """One fact that was recorded otherwise than it is now: ``package numpy: 1.26.4 → 2.0.1``."""

    what: str
    recorded: str
    current: str
