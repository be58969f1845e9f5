"""Hook code: where a commit's code is not its models', or leaves its model behind."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from mlrepro import manifest
from mlrepro.commands import staged
from mlrepro.commands.hooknames import shown
from mlrepro.commands.staged import Change
from mlrepro.errors import ManifestError
from mlrepro.manifest import SUFFIX, Manifest, Source
from mlrepro.stores import git
from mlrepro.stores.dvcfiles import SUFFIX as DVC
from mlrepro.stores.git import Repository

_PROSE = frozenset((".md", ".rst", ".adoc", SUFFIX, DVC))
_OURS = (SUFFIX, DVC, ".gitignore", ".dvcignore")
_MOST_RUNS = 20


def warnings(
    repo: Repository, changes: Sequence[Change], recorded: Mapping[str, Manifest]
) -> Iterator[tuple[str, str]]:
    """Compare the staged code with the code of the runs around it.

    Parameters
    ----------
    repo : Repository
        Where.
    changes : sequence of Change
        What is staged.
    recorded : dict of str to Manifest
        The staged models, by path, and the records of their runs.

    Yields
    ------
    tuple of str
        A sentence and a hint.
    """
    runs = {record.id: record for record in recorded.values()}
    for record in runs.values():
        names = ", ".join(f"`{shown(p)}`" for p, r in recorded.items() if r.id == record.id)
        yield from _differing(repo, record, names)
    code = {c.path: c.blob for c in changes if c.is_file and _is_code(c.path)}
    if code:
        yield from _left_behind(repo, code, runs)


def _differing(repo: Repository, record: Manifest, models: str) -> Iterator[tuple[str, str]]:
    code = record.code
    if code is None or code.shadow or not git.has(repo, code.tree):
        return
    made = [a.path for a in record.artifacts]
    # What the tree lacks is no code of the run; what the index lacks or has otherwise, is.
    names = [
        c.path
        for c in staged.changes(repo, code.tree)
        if c.before and _is_code(c.path) and not _is_one_of(c.path, made)
    ]
    if names:
        yield (
            f"{_listed(names)} is not committed as it was when run {record.short} made {models}",
            f"Stage the code as it ran (`mlrepro show {record.short}` names it), or train again.",
        )


def _left_behind(
    repo: Repository, code: Mapping[str, str], staged_runs: Collection[str]
) -> Iterator[tuple[str, str]]:
    unstaged = staged.matching(
        repo, "ls-files", "-z", "-m", "-o", "--exclude-standard", "--", f"*{SUFFIX}", f"*{DVC}"
    )
    models: dict[str, list[str]] = {}
    manifests = [name for name in unstaged if name.endswith(SUFFIX)]
    for name in manifests[:_MOST_RUNS]:
        try:
            record = manifest.read(repo.root / name)
        except ManifestError:
            continue  # it is not staged, so this commit is not the place to say so
        if record.id in staged_runs or not _used(repo, record, code):
            continue
        pointer = name.removesuffix(SUFFIX) + DVC
        models.setdefault(record.id, []).extend([pointer] * (pointer in unstaged) + [name])
    for run, files in models.items():
        yield (
            f"the code of run {run[:12]} is committed without its model: unstaged {_listed(files)}",
            "Run `git add " + " ".join(shown(file) for file in files) + "`.",
        )


def _used(repo: Repository, record: Manifest, code: Mapping[str, str]) -> bool:
    """Say whether a run had some of the staged files, just as they are staged, for its code."""
    if record.code is None:
        return False
    own = {*record.code.modified, *record.code.untracked}
    own |= {i.path for i in record.inputs if i.source is Source.CODE}
    wanted = own & code.keys()
    if not wanted or not git.has(repo, record.code.tree):
        return False
    return any(
        code[path] == blob for path, blob in staged.in_tree(repo, record.code.tree, wanted).items()
    )


def _is_code(path: str) -> bool:
    if path.startswith((".dvc/", ".mlrepro/")) or path.endswith(_OURS):
        return False
    return PurePosixPath(path).suffix.lower() not in _PROSE


def _is_one_of(path: str, made: Sequence[str]) -> bool:
    return any(path == one or path.startswith(one + "/") for one in made)


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{shown(name)}`" for name in names[:most]) + more
