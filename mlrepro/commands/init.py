"""Init: make a folder ready: git, DVC, the hook; say what was done, and do nothing twice."""

from __future__ import annotations

from pathlib import Path

from mlrepro import probe
from mlrepro.commands import hook
from mlrepro.errors import MlreproError
from mlrepro.stores import dvc, git


def init(start: Path | None = None, *, with_hook: bool = True) -> tuple[str, ...]:
    """Make the project around a folder ready for mlrepro.

    Nothing is written to git's configuration: a fetch refspec for the ledger would let ``git fetch
    --prune`` delete it, a push refspec would take over a bare ``git push``.

    Parameters
    ----------
    start : Path, optional
        The folder; the current one otherwise.
    with_hook : bool
        Whether to install the git hook.

    Returns
    -------
    tuple of str
        One sentence for each thing that was done, or that this installation lacks; empty where all
        was ready.

    Raises
    ------
    NotARepositoryError
        In a bare repository.
    """
    start = (start or Path.cwd()).resolve()
    done = []
    repo = git.find(start)
    if repo is None:
        git.create(start)
        repo = git.open_repository(start)
        done.append("made a git repository")
    if not dvc.is_initialised(repo.root):
        dvc.init(repo.root)
        done.append("set up DVC (`.dvc/`, `.dvcignore`)")
    if with_hook:
        done += _install_hook(repo.root)
    if lacking := probe.why_not():
        done.append(f"what native libraries read is seen only in part: {lacking}")
    return tuple(done)


def _install_hook(root: Path) -> list[str]:
    try:
        installed = hook.install(root)
    except MlreproError as error:
        return [f"left the git hook out: {error}"]
    return [f"installed the git hook `{name}`" for name in installed]
