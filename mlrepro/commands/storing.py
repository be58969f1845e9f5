"""Storing: the bytes of what a run made and printed, into the object stores."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from mlrepro import manifest, paths
from mlrepro.capture import distributions
from mlrepro.capture.outputs import Output
from mlrepro.capture.work import Work
from mlrepro.errors import MlreproError, StoreError
from mlrepro.manifest import Artifact, Digest, Kept, Package, Role
from mlrepro.stores import dvc
from mlrepro.stores.objects import Stored
from mlrepro.stores.place import Place
from mlrepro.stores.statcache import StatCache


def artifacts(
    here: Place, found: Sequence[Output], kept: Mapping[str, Kept], cache: StatCache
) -> tuple[list[Artifact], list[str]]:
    """Store what a run made; return the artifacts, and a sentence for each that was lost."""
    made, lost = [], []
    for output in found:
        how = kept[output.path]
        try:
            stored = _stored(here, here.root / output.path, how, cache)
        except (OSError, MlreproError) as error:
            lost.append(f"{output.path} could not be stored: {sentence(error)}")
            continue
        made.append(
            Artifact(
                output.path, output.role, stored.digest, stored.size, how, stored.files, output.seen
            )
        )
    return made, lost


def _stored(here: Place, path: Path, how: Kept, cache: StatCache) -> Stored:
    pointed = how is Kept.POINTER
    ignore = dvc.ignore_rules(here.root) if pointed and path.is_dir() else None
    return here.stores.add(path, into_dvc=pointed, ignore=ignore, cache=cache)


def models(here: Place, found: Sequence[tuple[str, Path]]) -> tuple[list[Artifact], list[str]]:
    """Store the models that the program trained and did not save, from the log's folder."""
    kept, lost = [], []
    for name, path in found:
        try:
            stored = here.stores.add(path, into_dvc=False)
        except (OSError, MlreproError) as error:
            lost.append(f"{name}, which was not saved, could not be stored: {sentence(error)}")
            continue
        kept.append(Artifact(name, Role.WEIGHTS, stored.digest, stored.size, seen="fit"))
    return kept, lost


_LARGEST = 10_000_000
_OF_INDEX_OR_GIT = ("", "git", "worktree")


def wheels(
    here: Place, found: Sequence[Package], *, path: Sequence[str], known: Path
) -> tuple[Package, ...]:
    """Store wheels of the small packages that neither an index nor git has.

    The file that one was installed from, while it is there; else what lies there is packed again.

    Parameters
    ----------
    found : sequence of Package
    path : sequence of str
        As ``sys.path``.
    known : Path
        A file that spares packing again what is kept already.
    """
    wanted = [p for p in found if p.record and p.direct.partition(":")[0] not in _OF_INDEX_OR_GIT]
    if not wanted:
        return tuple(found)
    before = _known(known)
    kept = {p.name: _kept(here, p, path, before) for p in wanted if not p.editable}
    after = {_content(p): kept[p.name] for p in wanted if kept.get(p.name)}
    if not after.items() <= before.items():
        with suppress(OSError):
            paths.write_beside(known, json.dumps({**before, **after}))
    return tuple(replace(p, kept=kept[p.name]) if p.name in kept else p for p in found)


def _content(package: Package) -> str:
    return f"{package.name} {package.version} {package.record} {package.tag}"


def _known(known: Path) -> dict[str, str]:
    try:
        return {str(k): str(v) for k, v in json.loads(known.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def _kept(here: Place, package: Package, path: Sequence[str], known: Mapping[str, str]) -> str:
    """Return the digest of a package's wheel in the store; empty where it cannot be kept."""
    with suppress(MlreproError):
        digest = Digest.parse(known.get(_content(package)))
        if here.stores.find(digest):
            return str(digest)
    try:
        with tempfile.TemporaryDirectory() as folder:
            packed = _file(here, package) or _packed(package, path, Path(folder, "packed.whl"))
            return str(here.stores.add(packed, into_dvc=False).digest)
    except (OSError, ValueError, MlreproError):  # the lock says that it has no hash
        return ""


def _file(here: Place, package: Package) -> Path | None:
    """Return the wheel that a package was installed from, if it is there and the same one."""
    name = package.direct.removeprefix("file:").partition("#")[0]
    if package.direct == name or not name.endswith(".whl"):
        return None
    path = here.root / name
    with suppress(OSError):
        if path.stat().st_size <= _LARGEST and (distributions.record_in(path) == package.record):
            return path
    return None


def _packed(package: Package, path: Sequence[str], target: Path) -> Path:
    from mlrepro.capture import repack  # noqa: PLC0415  8 ms, for what is not kept yet

    repack.wheel(distributions.info_of(package, path), target)
    if distributions.record_in(target) != package.record:
        raise StoreError(f"the wheel of {package.name} would hold something else")
    return target


def streams(here: Place, work: Work) -> tuple[list[Artifact], list[str]]:
    """Store what a run printed."""
    printed, lost = [], []
    for role, path in ((Role.STDOUT, work.stdout), (Role.STDERR, work.stderr)):
        name = manifest.STREAMS[role]
        try:
            if not path.exists() or path.stat().st_size == 0:
                continue
            stored = here.stores.add(path, into_dvc=False)
        except (OSError, MlreproError) as error:
            lost.append(f"{name} could not be stored: {sentence(error)}")
            continue
        printed.append(Artifact(name, role, stored.digest, stored.size, Kept.LEDGER))
    return printed, lost


def sentence(error: Exception) -> str:
    """Say in a few words what went wrong."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
