"""Place: where a command acts: the project's folder, its git repository, its object stores."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlrepro.errors import GitError, NotARepositoryError
from mlrepro.stores import git

if TYPE_CHECKING:
    from mlrepro.manifest import Digest
    from mlrepro.stores.objects import Stores
    from mlrepro.stores.statcache import StatCache


@dataclass(frozen=True)
class Place:
    """A project.

    Attributes
    ----------
    root : Path
        Top of the git working tree; the working directory where there is no git.
    repo : git.Repository or None
        The user's repository, or the shadow repository; None where not even that can be written.
    """

    root: Path
    repo: git.Repository | None

    @cached_property
    def stores(self) -> Stores:
        """The content-addressed stores in DVC's cache, or in `.mlrepro/cache` without DVC."""
        from mlrepro.stores import dvc  # noqa: PLC0415  15 ms, which a run spends beside its child

        return dvc.stores(self.root)

    @cached_property
    def has_dvc(self) -> bool:
        """Whether `dvc init` was done at the root."""
        from mlrepro.stores import dvcconfig  # noqa: PLC0415  as above

        return dvcconfig.is_initialised(self.root)

    @property
    def has_git(self) -> bool:
        """Whether the user has a git repository here."""
        return self.repo is not None and not self.repo.shadow

    def statcache(self) -> StatCache:
        """Return the cache that spares reading large files again; it may be lost at any time."""
        from mlrepro.stores.statcache import StatCache  # noqa: PLC0415  as above

        return StatCache(self.root / ".mlrepro" / "stat.sqlite")

    @property
    def repository(self) -> git.Repository:
        """The repository; raises where there is none, not even a shadow."""
        if self.repo is None:
            raise NotARepositoryError(f"nothing can be recorded in `{self.root}`")
        return self.repo


def find(start: Path) -> Place:
    """Find the project around a folder, with a shadow repository where there is no git."""
    repo = git.find(start)
    root = repo.root if repo else start.resolve()
    if repo is None:
        try:
            repo = git.shadow(root)
        except (OSError, GitError):
            repo = None
    return Place(root, repo)


def strict(start: Path) -> Place:
    """Find the project around a folder for a command that needs its history.

    Raises
    ------
    NotARepositoryError
        If there is neither git nor a shadow repository that a run has left.
    """
    repo = git.find(start)
    if repo is None and (start.resolve() / ".mlrepro" / "code.git").is_dir():
        repo = git.shadow(start.resolve())
    if repo is None:
        repo = git.open_repository(start)
    return Place(repo.root, repo)


def digest(path: Path) -> Digest:
    """Return the digest of a file or folder as it is, without storing it."""
    from mlrepro.stores import objects  # noqa: PLC0415  as above

    return objects.digest_dir(path).digest if path.is_dir() else objects.digest_file(path)
