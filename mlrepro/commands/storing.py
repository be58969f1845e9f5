"""Storing: the bytes of what a run made and printed, into the object stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mlrepro import manifest
from mlrepro.capture import distributions
from mlrepro.capture.outputs import Output
from mlrepro.capture.work import Work
from mlrepro.errors import MlreproError
from mlrepro.manifest import Artifact, Kept, Package, Role
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


_LARGEST_WHEEL = 10_000_000


def wheels(here: Place, found: Sequence[Package]) -> tuple[Package, ...]:
    """Store the small wheels that packages were installed from by path, while they are there.

    A wheel that holds something else by now than what was installed is left alone.
    """
    return tuple(
        replace(one, kept=_wheel(here, one)) if one.direct.startswith("file:") else one
        for one in found
    )


def _wheel(here: Place, package: Package) -> str:
    path = here.root / package.direct.removeprefix("file:").partition("#")[0]
    try:
        if path.suffix != ".whl" or path.stat().st_size > _LARGEST_WHEEL:
            return ""
        if not package.record or distributions.record_in(path) != package.record:
            return ""
        return str(here.stores.add(path, into_dvc=False).digest)
    except (OSError, MlreproError):  # the lock says that the package has no hash
        return ""


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
