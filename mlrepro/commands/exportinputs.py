"""Exportinputs: what a rebuild by hand has to bring beside the code, as lines of its script."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mlrepro.capture import checkedout
from mlrepro.cleanroom import making, restore
from mlrepro.commands import exportshell
from mlrepro.commands.exportwords import md5, place, quoted, title
from mlrepro.errors import RestoreError
from mlrepro.locks import Lock
from mlrepro.manifest import Digest, Input, Manifest, is_in_tree
from mlrepro.manifest import Source as From
from mlrepro.stores import git
from mlrepro.stores.place import Place


@dataclass(frozen=True)
class Source:
    """What the script is written from."""

    here: Place
    record: Manifest
    inputs: tuple[Input, ...]
    files: dict[str, git.TreeEntry]
    lock: Lock | None
    notify: Callable[[str], None]
    notes: list[str] = field(default_factory=list)


def inputs(source: Source) -> Iterator[str]:
    """Yield what brings the inputs that do not come with the code."""
    _expect_digests(source.inputs)
    lines = [line for one in source.inputs for line in _input(source, one)]
    lines += [f"take {md5(d)} {quoted(p)}\n" for p, d in sorted(_edited(source).items())]
    kept = list(wheels(source))
    yield title("What it read")
    if any(line.startswith(("take ", "pull ")) for line in (*lines, *kept)):
        yield exportshell.OBJECTS
    if any(line.startswith("pull ") for line in lines):
        yield exportshell.PULL
    if any(line.startswith(("need ", "lend ", "secret ")) for line in lines):
        yield exportshell.NEED
    yield "\n" if lines else "\n# All of it comes with the code.\n"
    yield from lines


def _expect_digests(inputs: Iterable[Input]) -> None:
    unknown = [i.path for i in inputs if i.digest is None and not restore.is_secret_input(i)]
    if unknown:
        raise RestoreError(f"no digest was recorded of {', '.join(unknown[:5])}")


def _input(source: Source, one: Input) -> Iterator[str]:
    path = quoted(one.path)
    if one.source is From.CODE:
        return
    if one.digest is None:
        yield f"secret {path}\n"
    elif one.path.startswith("/"):
        yield f"need {md5(one.digest)} {path}\n"
    elif one.source is From.ELSEWHERE:
        yield f"lend {md5(one.digest)} {path}\n"
    else:
        pointed = one.source is From.DVC and _has_pointer(source, one.path)
        yield f"pull {quoted(f'{one.path}.dvc')}\n" if pointed else ""
        for name, found in members(source, one.digest, one.path).items():
            yield f"{'have' if pointed else 'take'} {md5(found)} {quoted(name)}\n"
    if one.seen == "program" and not one.path.startswith("/"):
        yield f'chmod u+x -- "$project"/{path}\n'


def _has_pointer(source: Source, path: str) -> bool:
    return f"{path}.dvc" in source.files and ".dvc/config" in source.files


def members(source: Source, digest: Digest, path: str) -> dict[str, Digest]:
    """Return the files of an object with their paths: a folder's listing is read, or fetched."""
    if not digest.is_dir:
        return {path: digest}
    restore.fetch(source.here, [digest], notify=source.notify)
    listed = source.here.stores.listing(digest)
    return {f"{path}/{name}": found for name, found in listed.items()}


def _edited(source: Source) -> dict[str, Digest]:
    """Return the inputs that were read with other bytes than the code's snapshot has."""
    blobs = {p: e.name for p, e in source.files.items() if e.mode.startswith("100")}
    read = {i.path: i.digest for i in source.inputs if i.source is From.CODE and i.digest}
    files = {path: one for path, one in read.items() if not one.is_dir and path in blobs}
    return {p: files[p] for p in checkedout.differing(source.here.repository, blobs, files)}


def wheels(source: Source) -> Iterator[str]:
    """Yield what brings the wheels that no index has, into a folder of their own."""
    for one in source.lock.requirements if source.lock else ():
        if one.source.startswith("object:"):
            digest = Digest.parse(one.source.removeprefix("object:"))
            restore.fetch(source.here, [digest], notify=source.notify)
            try:
                name = making.wheel_name(one, source.here.stores.find(digest) or Path())
            except (OSError, KeyError, StopIteration, zipfile.BadZipFile) as error:
                raise RestoreError(f"the kept wheel of {one.pin} is not here") from error
            yield f'take {md5(digest)} "$work"/wheels/{quoted(name)}\n'


def folders(source: Source) -> Iterator[str]:
    """Yield what makes the folders that the run found empty, or wrote to."""
    record = source.record
    made = (PurePosixPath(a.path).parent for a in record.artifacts if is_in_tree(a.path))
    wanted = {str(folder) for folder in made} | {*record.folders, record.run.directory}
    names = sorted(wanted - {"", "."})
    if names:
        yield "\n# Folders that the run found, or wrote to.\n"
        yield from (f"mkdir -p -- {place(name)}\n" for name in names)
