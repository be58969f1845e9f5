"""Keeping: which artifacts get a pointer and a manifest in the working tree, and writing them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mlrepro import manifest
from mlrepro.capture.outputs import Output
from mlrepro.errors import MlreproError
from mlrepro.manifest import SUFFIX, Digest, Kept, Manifest, Role
from mlrepro.stores import dvc, git
from mlrepro.stores.objects import Stored
from mlrepro.stores.place import Place


@dataclass(frozen=True)
class Choice:
    """Where the bytes of each output are kept beside the ledger, and why some have no pointer.

    Attributes
    ----------
    kept : mapping of str to Kept
        By path.
    reasons : mapping of str to str
        Weights that would have had a pointer: what is in its way, and what would help.
    ignored : collection of str or None
        Those of the outputs and pointers that git ignores; None where it was not asked.
    """

    kept: Mapping[str, Kept]
    reasons: Mapping[str, str] = field(default_factory=dict)
    ignored: Collection[str] | None = None


def decide(here: Place, found: Sequence[Output], *, keep: bool) -> Choice:
    """Say for each output where its bytes are kept beside the ledger.

    Weights get a pointer, unless git tracks them, a stage of `dvc.yaml` owns them, or git ignores
    the place where the pointer would stand (``dvc add`` refuses there too).
    """
    in_ledger = {o.path: Kept.LEDGER for o in found}
    weights = [o.path for o in found if o.role is Role.WEIGHTS]
    if not here.has_git or here.repo is None:
        return Choice(in_ledger, dict.fromkeys(weights, "there is no git repository here"))
    try:
        tracked = git.tracked(here.repo, [o.path for o in found])
        beside = [path + suffix for path in weights for suffix in (".dvc", SUFFIX)]
        others = [o.path for o in found if o.role in (Role.METRICS, Role.TEXT)]
        ignored = git.ignored(here.repo, [*beside, *others])
        owned = dvc.owned(here.root) if here.has_dvc else frozenset()
    except MlreproError:
        return Choice(in_ledger)
    kept, reasons = {}, {}
    for output in found:
        path = output.path
        if path in owned:
            kept[path] = Kept.DVC_YAML
        elif path in tracked or output.role in (Role.METRICS, Role.TEXT):
            kept[path] = Kept.GIT
        elif output.role is not Role.WEIGHTS or not keep:
            kept[path] = Kept.LEDGER
        elif reason := _in_the_way(here, path, ignored):
            kept[path], reasons[path] = Kept.LEDGER, reason
        else:
            kept[path] = Kept.POINTER
    return Choice(kept, reasons, ignored)


def _in_the_way(here: Place, path: str, ignored: Collection[str]) -> str:
    if not here.has_dvc:
        folders = PurePosixPath(path).parents
        below = next((f for f in folders if (here.root / f / ".dvc").is_dir()), None)
        where = f"DVC is set up in {below} only" if below else "DVC is not initialised here"
        return f"{where}; `mlrepro init` at the top of the repository does it"
    if path + ".dvc" in ignored or path + SUFFIX in ignored:
        return _rules(here, PurePosixPath(path))
    return dvc.obstacle(here.root, here.root / path)


def _rules(here: Place, path: PurePosixPath) -> str:
    """Offer the lines that let a pointer stand where git ignores it."""
    above = [str(folder) for folder in path.parents][:-1]
    hidden = git.ignored(here.repository, above)
    folder = next((f for f in reversed(above) if f in hidden), None)
    if folder is None:
        lines = [f"!/{path.name}{suffix}" for suffix in (".dvc", SUFFIX)]
        file = path.parent / ".gitignore"
    else:
        top = PurePosixPath(folder)
        inside = [f"!/{top.name}/**/{name}" for name in ("", "*.dvc", f"*{SUFFIX}")]
        lines = [f"!/{top.name}/", f"/{top.name}/**", *inside]
        file = top.parent / ".gitignore"
    return f"git ignores it; to keep it, end {file} with the lines {' '.join(lines)}"


def keep(
    here: Place,
    record: Manifest,
    *,
    troubles: list[str],
    notify: Callable[[str], None],
    ignored: Collection[str] | None = None,
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
    try:
        return _to_add(here, record, changed, ignored)
    except MlreproError as error:  # the files are there; only git was in the way
        troubles.append(f"nothing was staged: {error}")
        return tuple(dict.fromkeys(str(path.relative_to(here.root)) for path in changed)), False


def _to_add(
    here: Place, record: Manifest, changed: Iterable[Path], ignored: Collection[str] | None
) -> tuple[tuple[str, ...], bool]:
    names = [str(path.relative_to(here.root)) for path in changed]
    names += [a.path for a in record.artifacts if a.kept is Kept.GIT]
    unique = tuple(dict.fromkeys(names))
    ignored = git.ignored(here.repository, unique) if ignored is None else ignored
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
