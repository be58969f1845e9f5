"""Export script: a rebuild as a plain shell script, with git, DVC and uv and nothing of mlrepro.

It is the cheapest way to be trusted: whoever doubts the verdict can read it and start it. The
record may come from a stranger, so each value is quoted for the shell, and none gets into a comment
or a here-document unchecked.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mlrepro.capture import environment
from mlrepro.cleanroom import interpreter, reach, restore, training
from mlrepro.commands import expectations, exportinputs, exportshell, refs
from mlrepro.commands.deciding import decides
from mlrepro.commands.exportinputs import Source
from mlrepro.commands.exportwords import below, comment, md5, place, quoted, title, word
from mlrepro.errors import MlreproError, RestoreError
from mlrepro.locks import Lock
from mlrepro.manifest import STREAMS, Artifact, Manifest, Role, is_in_tree
from mlrepro.stores import git, ledger
from mlrepro.stores.place import Place, strict

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*")
_OF_SYSTEM = ("/usr", "/usr/local")
_PROJECT = "project:"


@dataclass(frozen=True)
class Script:
    """A script, and what it cannot do as `rebuild` does."""

    text: str
    notes: tuple[str, ...] = ()


def script(
    ref: str,
    *,
    start: Path | None = None,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> Script:
    """Write the rebuild of a run as a script for ``sh``.

    Parameters
    ----------
    ref : str
        An artifact, a manifest or a run.
    start : Path, optional
        Where the user stands.
    notify : callable
        Takes a sentence before something slow.

    Raises
    ------
    UsageError
        If the REF or its manifest cannot be used, or holds what no script can.
    RestoreError
        If the run cannot be rebuilt at all.
    StoreError
        If its code is neither here nor on the remote.
    """
    here = strict((start or Path.cwd()).resolve())
    record = refs.resolve(here, ref, start=start, notify=notify).manifest
    _expect_possible(record)
    source = Source(
        here=here,
        record=record,
        inputs=restore.all_inputs(here, record, notify=notify),
        files=_files(here, record, notify),
        lock=_lock(here, record, notify),
        notify=notify,
    )
    parts = [part for step in STEPS for part in step(source)]
    return Script("".join(parts), tuple(source.notes))


def _lock(here: Place, record: Manifest, notify: Callable[[str], None]) -> Lock | None:
    try:
        return interpreter.lock_of(here, record, notify=notify)
    except RestoreError:
        return None


def _expect_possible(record: Manifest) -> None:
    if record.code is None:
        raise RestoreError(f"run {record.short} recorded no code")
    if record.run.was_stopped:
        raise RestoreError(f"run {record.short} was interrupted, and cannot be repeated by anybody")


def _files(
    here: Place, record: Manifest, notify: Callable[[str], None]
) -> dict[str, git.TreeEntry]:
    """Return the files of the recorded code, which is fetched where it is not here."""
    repo, code, remote = here.repository, record.code, git.default_remote(here.repository)
    if code is None:
        return {}
    if remote and not git.has(repo, f"{code.tree}^{{tree}}"):
        notify(f"fetching the code of run {record.short} from {remote}")
        ledger.fetch_code(repo, remote, code.snapshot)
    return git.files(repo, code.tree)


def _head(source: Source) -> Iterator[str]:
    record, run = source.record, source.record.run
    facts = {
        "name": run.name,
        "message": run.message,
        "command": shlex.join(run.command),
        "recorded": f"{run.started} by {run.author or 'somebody'}, in {run.seconds:.1f} s",
        "python": record.environment.python,
        "machine": f"{record.platform.cpu or record.platform.machine}, {record.platform.system}",
    }
    yield "#!/bin/sh\n"
    yield f"# Run {record.short} again by hand, with git, DVC and uv, and nothing of mlrepro.\n#\n"
    for name, value in facts.items():
        if value:
            yield comment(f"    {name:<9} {value}")
    yield "#\n"
    if record.blind_spots:
        yield "# What could not be seen when it was recorded, and is not repeated:\n"
        yield from (comment(f"    {sentence}") for sentence in record.blind_spots)
        yield "#\n"
    yield exportshell.HEAD


def _code(source: Source) -> Iterator[str]:
    code = source.record.code
    assert code is not None  # noqa: S101  `_expect_possible`
    yield title("The code, as it was when the run began")
    yield exportshell.SHADOW if code.shadow else exportshell.CLONE
    yield exportshell.FOLDER.format(name=quoted(_folder_name(source.record)))
    yield f"\ntree={quoted(code.tree)}\nsnapshot={quoted(code.snapshot)}\n"
    yield f"format={'sha1' if len(code.tree) == 40 else 'sha256'}\n"
    yield "" if code.shadow else exportshell.FETCH
    yield exportshell.CHECKOUT
    if code.commit and not code.shadow:
        yield f"commit={quoted(code.commit)}\n{exportshell.STAND}"


def _folder_name(record: Manifest) -> str:
    name = PurePosixPath(record.run.root).name
    return "project" if name in ("", ".", "..", ".git", "tmp", "env") or "\0" in name else name


def _environment(source: Source) -> Iterator[str]:
    """Yield what makes the recorded environment of its lock, or takes the active one."""
    yield title("The environment")
    lock = source.lock
    if lock is None:
        if source.record.environment.python:
            source.notes.append(
                "there is no lock of its environment: the script takes the active one"
            )
            yield "# There is no lock of it, so the active one is taken. Recorded were:\n"
            known = source.record.environment.packages.items()
            yield comment(f"    Python {source.record.environment.python}")
            yield from (comment(f"    {name} {version}") for name, version in known)
        yield exportshell.ACTIVE
        return
    wheels = list(exportinputs.wheels(source))
    if wheels:
        yield "\n# Wheels that no index has.\n"
        yield from wheels
    yield from _of_lock(lock, kept=bool(wheels))


def _of_lock(lock: Lock, *, kept: bool) -> Iterator[str]:
    for address in lock.indexes:
        yield comment(f"recorded with a further index: {address}")
    spare = [one for one in lock.unhashed if one.name not in environment.WELL_KNOWN]
    needed = lock.without(*(one.name for one in spare))
    text = needed.installable()
    end = "END_OF_LOCK"
    while end in text:
        end += "_"
    hashed = all(one.hashes or one.source[:8] == _PROJECT for one in needed.requirements)
    options = " --require-hashes" * (hashed and bool(text)) + ' --find-links "$work/wheels"' * kept
    made = exportshell.MAKE.format(
        end=end, lock=text, python=quoted(f"{lock.implementation}@{lock.python}"), options=options
    )
    yield made.removesuffix("fi\n")
    for one in spare:
        yield exportshell.SPARE.format(pin=quoted(one.pin))
    for one in needed.requirements:
        if one.source.startswith(_PROJECT):
            yield exportshell.EDITABLE.format(place=place(one.source.removeprefix(_PROJECT)))
    yield "fi\n"


def _variables(source: Source) -> Iterator[str]:
    yield title("The variables")
    yield exportshell.CLEAR
    secret, others = expectations.absent(source.record, {})
    for name in filter(_NAME.fullmatch, (*secret, *others)):
        told = quoted(f"note: {name} was set when it was recorded")
        yield f'[ -n "${{{name}+set}}" ] || echo {told}\n'


def _assignments(record: Manifest) -> Iterator[str]:
    """Yield options of `env`: a recorded name must not become a variable of the script's own."""
    for name in filter(_NAME.fullmatch, record.variables.unset):
        yield f"-u {name}"
    for name, value in sorted(training.recorded_variables(record, {}, threads=True).items()):
        if _NAME.fullmatch(name):
            yield f"{name}={quoted(value)}"


def _train(source: Source) -> Iterator[str]:
    record, run = source.record, source.record.run
    yield title("The training")
    read = {one.path for one in source.inputs}
    old = [a.path for a in record.artifacts if a.path in source.files and a.path not in read]
    if old:
        yield "\n# Only what the training writes counts; these the code has from earlier.\n"
        yield from (f'rm -f -- "$project"/{quoted(path)}\n' for path in old)
    inner = below(record.environment.prefix, run.root)
    if inner:
        yield "\n# The environment lay inside the project.\n"
        yield f'mkdir -p -- "$(dirname -- {place(inner)})"\n'
        yield f'[ -e {place(inner)} ] || ln -s "${{bin%/bin}}" {place(inner)}\n'
    streamed = [i.path for i in source.inputs if "stream" in i.seen.split("+")]
    fed = streamed[0] if run.stdin == "file" and len(streamed) == 1 else ""
    if run.stdin == "pipe":
        source.notes.append("the run had a pipe as its standard input, which is not recorded")
    stdin = place(fed) if fed and not fed.startswith("/") else quoted(fed or "/dev/null")
    words = [_first(record), *(word(one, run.root) for one in run.command[1:])]
    yield exportshell.TRAIN.format(
        folder=place(run.directory), variables=" \\\n    ".join(["env", *_assignments(record)]),
        command=" ".join(words), stdin=stdin, expected=int(run.exit_code or 0),
    )  # fmt: skip


def _first(record: Manifest) -> str:
    """Return the program: one of the recorded environment is looked for in the new one."""
    program = reach.named(record)
    prefix = record.environment.prefix
    inside = below(program, prefix)
    is_python = _PYTHON.fullmatch(PurePosixPath(program).name) is not None
    if program == record.environment.executable or (inside and is_python):
        return '"$bin"/python'
    if inside and prefix not in _OF_SYSTEM:
        return f'"${{bin%/bin}}"/{quoted(inside)}'
    return word(program, record.run.root)


def _compare(source: Source) -> Iterator[str]:
    artifacts = source.record.artifacts
    yield title("The comparison, byte by byte: mlrepro would also tell how far numbers moved")
    yield exportshell.COMPARE + "\n"
    streams = {STREAMS[Role.STDOUT]: "stdout", STREAMS[Role.STDERR]: "stderr"}
    for one in sorted(artifacts, key=lambda a: not decides(a.path, a.role, artifacts)):
        if one.path in streams:
            yield f'show {md5(one.digest)} "$work/{streams[one.path]}" {quoted(one.path)}\n'
        elif not is_in_tree(one.path):
            source.notes.append(f"{one.path}, which the training did not save, is not compared")
        else:
            yield from _compared(source, one)
    yield exportshell.END


def _compared(source: Source, one: Artifact) -> Iterator[str]:
    weighs = decides(one.path, one.role, source.record.artifacts)
    try:
        members = exportinputs.members(source, one.digest, one.path)
    except MlreproError:
        source.notes.append(
            f"{one.path} is a folder whose listing is not here, and is not compared"
        )
        return
    for path, digest in members.items():
        if weighs:
            yield f"decide {md5(digest)} {quoted(path)}\n"
        else:
            yield f'show {md5(digest)} "$project"/{quoted(path)} {quoted(path)}\n'


Step = Callable[[Source], Iterator[str]]

STEPS: Sequence[Step] = (
    _head,
    _code,
    exportinputs.inputs,
    exportinputs.folders,
    _environment,
    _variables,
    _train,
    _compare,
)
