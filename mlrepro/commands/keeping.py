"""Keeping: which artifacts get a pointer and a manifest in the working tree, and writing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from mlrepro import manifest
from mlrepro.capture.outputs import Output
from mlrepro.errors import MlreproError
from mlrepro.manifest import SUFFIX, Digest, Kept, Manifest, Role
from mlrepro.stores import dvc, git
from mlrepro.stores.objects import Stored
from mlrepro.stores.place import Place


def decide(here: Place, found: Sequence[Output], *, keep: bool) -> dict[str, Kept]:
    """Say for each output where its bytes are kept beside the ledger.

    Weights get a pointer, unless git tracks them, a stage of `dvc.yaml` owns them, or git ignores
    the place where the pointer would stand (``dvc add`` refuses there too).
    """
    weights = [o.path for o in found if o.role is Role.WEIGHTS]
    if not here.has_git or here.repo is None:
        return {o.path: Kept.LEDGER for o in found}
    try:
        tracked = git.tracked(here.repo, [o.path for o in found])
        ignored = git.ignored(here.repo, [p + s for p in weights for s in (".dvc", SUFFIX)])
        owned = dvc.owned(here.root) if here.has_dvc else frozenset()
    except MlreproError:
        return {o.path: Kept.LEDGER for o in found}

    def one(output: Output) -> Kept:
        if output.path in owned:
            return Kept.DVC_YAML
        if output.path in tracked or output.role in (Role.METRICS, Role.TEXT):
            return Kept.GIT
        hidden = {output.path + ".dvc", output.path + SUFFIX} & ignored
        if output.role is not Role.WEIGHTS or not keep or hidden or not here.has_dvc:
            return Kept.LEDGER
        return Kept.LEDGER if dvc.obstacle(here.root, here.root / output.path) else Kept.POINTER

    return {o.path: one(o) for o in found}


def keep(
    here: Place, record: Manifest, *, troubles: list[str], notify: Callable[[str], None]
) -> tuple[tuple[str, ...], bool]:
    """Write the pointers and manifests of a run's weights.

    Returns
    -------
    kept : tuple of str
        Files that `git add` should take, relative to the root.
    staged : bool
        Whether they were staged, as DVC's ``core.autostage`` asks.
    """
    weights = [a for a in record.artifacts if a.role is Role.WEIGHTS]
    pointed = [a for a in weights if a.kept is Kept.POINTER]
    beside = [a for a in weights if a.kept in (Kept.POINTER, Kept.GIT)]
    if not beside or record.run.status is not manifest.Status.COMPLETED:
        return (), False
    try:
        stored = {here.root / a.path: Stored(a.digest, a.size, a.files) for a in pointed}
        changed = dvc.keep(here.root, stored, notify=notify) if stored else []
        for artifact in beside:
            path = manifest.beside(here.root / artifact.path)
            manifest.write(path, record)
            changed.append(path)
    except (OSError, MlreproError) as error:
        sentence = getattr(error, "strerror", None) or str(error)
        troubles.append(f"the model's pointer could not be written: {sentence}")
        return (), False
    return _to_add(here, record, changed)


def _to_add(here: Place, record: Manifest, changed: Iterable[Path]) -> tuple[tuple[str, ...], bool]:
    names = [str(path.relative_to(here.root)) for path in changed]
    names += [a.path for a in record.artifacts if a.kept is Kept.GIT]
    unique = tuple(dict.fromkeys(names))
    ignored = git.ignored(here.repository, unique)
    unique = tuple(name for name in unique if name not in ignored)
    if dvc.setting(here.root, "core.autostage") != "true":
        return unique, False
    git.call(here.repository, "add", "--", *unique)
    return unique, True


def pointers(here: Place, files: Iterable[str]) -> Mapping[str, Digest]:
    """Return what the `.dvc` files of the working tree name: path → digest."""
    named = {}
    for name in files:
        try:
            pointer = dvc.read_pointer(here.root / name)
        except (OSError, MlreproError):
            continue
        named[str(PurePosixPath(name).parent / pointer.path)] = pointer.digest
    return named
