"""Aside: the runs of others and their code, fetched into a folder that goes again.

A question must not change the repository that it is asked about, not even its refs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from mlrepro.errors import StoreError
from mlrepro.stores import git, gitcall, ledger
from mlrepro.stores.place import Place


@contextlib.contextmanager
def fetched(here: Place, *, notify: Callable[[str], None]) -> Iterator[Place]:
    """Lend a project whose ledger is this clone's and its remote's; the same where there is none.

    Parameters
    ----------
    here : Place
        The project; nothing is written to its repository.
    notify : callable
        Takes a sentence before the remote is asked, and where it does not answer.
    """
    remote = git.default_remote(here.repository)
    if not remote or here.repository.shadow:
        yield here
        return
    with tempfile.TemporaryDirectory(prefix="mlrepro-", ignore_cleanup_errors=True) as folder:
        repo = _beside(here.repository, Path(folder), remote)
        notify(f"looking for runs on {remote}")
        try:
            ledger.pull(repo, remote)
        except StoreError as error:
            notify(f"{remote} did not answer: {error}")
        yield Place(here.root, repo)


def code(there: Place, snapshot: str, *, notify: Callable[[str], None]) -> None:
    """Fetch the code of one run into a project that `fetched` lends."""
    remote = git.default_remote(there.repository)
    if remote:
        notify(f"looking for the code on {remote}")
        with contextlib.suppress(StoreError):
            ledger.fetch_code(there.repository, remote, snapshot)


def _beside(repo: git.Repository, folder: Path, remote: str) -> git.Repository:
    """Make a repository that reads the objects of another and has its remotes."""
    kind = git.call(repo, "rev-parse", "--show-object-format").decode().strip()
    made = ("git", "init", "--quiet", "--bare", "--template=", f"--object-format={kind}", "git")
    gitcall.run(made, cwd=folder)
    root, inner = folder / "tree", folder / "git"
    root.mkdir()
    there = git.Repository(root, inner, inner, explicit=True)
    (inner / "objects/info").mkdir(exist_ok=True)
    objects = os.fsencode(repo.common_dir / "objects")
    (inner / "objects/info/alternates").write_bytes(objects + b"\n")
    if (repo.common_dir / "shallow").exists():
        shutil.copyfile(repo.common_dir / "shallow", inner / "shallow")
    # Whatever reaches the remote: its address, its ssh command, its credential helper.
    shutil.copyfile(repo.common_dir / "config", inner / "config")
    git.call(there, "config", "core.bare", "false")
    git.call(there, "config", "--unset-all", "core.worktree", check=False)
    _absolute(repo, there, remote)
    known = git.refs(repo, "refs/mlrepro/")
    lines = "".join(f"create {ref} {name}\n" for ref, name in known.items())
    git.call(there, "update-ref", "--stdin", data=os.fsencode(lines), check=False)
    (inner / "HEAD").write_bytes((repo.git_dir / "HEAD").read_bytes())
    return there


def _absolute(repo: git.Repository, there: git.Repository, remote: str) -> None:
    """Let the address of a remote that is a relative path lead from another folder, too."""
    address = git.setting(repo, f"remote.{remote}.url")
    if address and (repo.root / address).exists():
        target = os.path.abspath(repo.root / address)
        git.call(there, "config", "--replace-all", f"remote.{remote}.url", target)
