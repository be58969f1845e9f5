"""Ledgersync: runs to and from a git remote, by refs named in full; no configuration is written."""

from __future__ import annotations

import hashlib
import os
import random
import re
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mlrepro.errors import GitError, ObjectNotFoundError
from mlrepro.stores import git, ledgerindex, writers
from mlrepro.stores.ledgerindex import Entry

_ATTEMPTS = 8


@dataclass(frozen=True)
class Pending:
    """What a push would send for the first time.

    Attributes
    ----------
    entries : tuple of Entry
        Runs that the remote lacks, as far as is known here.
    untracked : tuple of (str, str)
        Run id and path of each code file that git does not track and no pushed run holds.
    """

    entries: tuple[Entry, ...]
    untracked: tuple[tuple[str, str], ...]


def pending(repo: git.Repository, remote: str) -> Pending:
    """Return the local runs that were not pushed yet, and the untracked files among their code."""
    there = _ids(repo, f"{writers.REMOTES}{name_of(remote)}/log/")
    here = _ids(repo, writers.LOG)
    known = ledgerindex.read(repo).entries
    waiting = tuple(entry for entry in known if entry.id in here - there)
    files = [
        (entry.id, path)
        for entry in waiting
        for path in (entry.manifest.code.untracked if entry.manifest.code else ())
    ]
    if not files:
        return Pending(waiting, ())
    sent = {
        path
        for entry in known
        if entry.id in there and entry.manifest.code
        for path in entry.manifest.code.untracked
    }
    told = sent | git.tracked(repo, {path for _, path in files})
    return Pending(waiting, tuple((run, path) for run, path in files if path not in told))


def _ids(repo: git.Repository, prefix: str) -> set[str]:
    tips = set(git.refs(repo, prefix).values())
    return {run for tip in tips for run, _ in ledgerindex.records(repo, tip)}


def push(repo: git.Repository, remote: str) -> int:
    """Send the runs of this clone, with their code; return how many were new there.

    Each writer only goes forward. Where several clones share one (CI), the other's runs are
    merged and the push is tried again.

    Raises
    ------
    GitError
        If the remote does not take them.
    """
    new = _ids(repo, writers.LOG) - _ids(repo, f"{writers.REMOTES}{name_of(remote)}/log/")
    for attempt in range(_ATTEMPTS):
        specs = _to_send(repo, remote)
        try:
            if specs:
                git.push(repo, remote, *specs)
        except GitError as error:
            if attempt == _ATTEMPTS - 1 or not _LOST_RACE.search(str(error)):
                raise
            time.sleep(random.uniform(0.0, 0.2) * attempt)  # noqa: S311  jitter
            _learn(repo, remote)
            continue
        _note(repo, remote, specs)
        break
    return len(new)


_LOST_RACE = re.compile(
    "fetch first|non-fast-forward|cannot lock ref|failed to update ref|stale info|incorrect old"
    "|already exists|but expected|written meanwhile"
)


def _learn(repo: git.Repository, remote: str) -> None:
    """Fetch what the remote has of the writers that this clone wants to send."""
    target = f"{writers.REMOTES}{name_of(remote)}"
    own = [ref.removeprefix(writers.CODE) for ref in git.refs(repo, writers.CODE)]
    # A pattern, since a ref that the remote lacks is no error then.
    codes = [f"+{writers.CODE}{writer}*:{target}/code/{writer}*" for writer in own]
    git.fetch(repo, remote, f"+{writers.LOG}*:{target}/log/*", *codes)


def _to_send(repo: git.Repository, remote: str) -> list[str]:
    """Return refspecs of what the remote lacks; a shared writer's other half is merged first."""
    specs = []
    theirs = git.refs(repo, f"{writers.REMOTES}{name_of(remote)}/")
    for kind, prefix in (("log", writers.LOG), ("code", writers.CODE)):
        for ref, commit in git.refs(repo, prefix).items():
            writer = ref.removeprefix(prefix)
            there = theirs.get(f"{writers.REMOTES}{name_of(remote)}/{kind}/{writer}", "")
            if there == commit or (there and git.is_ancestor(repo, commit, there)):
                continue
            if there and not git.is_ancestor(repo, there, commit):
                specs.append(f"{_merge(repo, ref, commit, there)}:{ref}")
            else:
                specs.append(f"{commit}:{ref}")
    return specs


def _merge(repo: git.Repository, ref: str, ours: str, theirs: str) -> str:
    """Join two halves of one writer's log: every run of both, since none is ever changed."""
    with tempfile.TemporaryDirectory(prefix="mlrepro-") as folder:
        variables = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
        git.call(repo, *git.PLAIN_INDEX, "read-tree", theirs, variables=variables)
        listed = git.call(repo, "ls-tree", "-r", "-z", "--full-tree", ours)
        git.call(
            repo, *git.PLAIN_INDEX, "update-index", "-z", "--add", "--index-info",
            data=listed, variables=variables,
        )  # fmt: skip
        tree = git.write_tree(repo, variables)
    commit = git.commit_tree(
        repo, tree, parents=(theirs, ours), message="Join two clones' runs",
        author=git.author(repo), when=int(time.time()),
    )  # fmt: skip
    if not git.update_ref(repo, ref, commit, ours):
        raise GitError("the ledger was written meanwhile; fetch first")
    return commit


def _note(repo: git.Repository, remote: str, specs: Iterable[str]) -> None:
    """Remember what the remote has now."""
    for spec in specs:
        commit, _, ref = spec.partition(":")
        tail = ref.removeprefix("refs/mlrepro/")
        git.update_ref(repo, f"{writers.REMOTES}{name_of(remote)}/{tail}", commit, None)


def pull(repo: git.Repository, remote: str) -> int:
    """Fetch the runs of others, their records and no code; return how many are new here.

    Raises
    ------
    GitError
        If the remote cannot be read.
    """
    target = f"{writers.REMOTES}{name_of(remote)}"
    before = _ids(repo, "refs/mlrepro/remotes/") | _ids(repo, writers.LOG)
    git.fetch(repo, remote, f"+{writers.LOG}*:{target}/log/*")
    return len((_ids(repo, "refs/mlrepro/remotes/") | before) - before)


def fetch_code(repo: git.Repository, remote: str, commit: str) -> None:
    """Fetch the code of one run by its name; all code where the remote forbids that.

    Raises
    ------
    ObjectNotFoundError
        If the remote does not have it.
    GitError
        If the remote cannot be read.
    """
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", commit):
        raise GitError(f"not the name of a commit: {commit!r:.80}")
    if git.has(repo, f"{commit}^{{tree}}"):
        return
    try:
        git.fetch(repo, remote, commit)
    except GitError as error:
        if not _FORBIDDEN.search(str(error)):
            raise
        target = f"{writers.REMOTES}{name_of(remote)}"
        git.fetch(repo, remote, f"+{writers.CODE}*:{target}/code/*")
    if not git.has(repo, f"{commit}^{{tree}}"):
        raise ObjectNotFoundError(f"the remote `{remote}` does not have the code {commit[:12]}")


_FORBIDDEN = re.compile("unadvertised|not our ref|couldn't find remote ref|does not allow")


def name_of(remote: str) -> str:
    """Return the word under which a remote's runs lie here; an address becomes its hash."""
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", remote):
        return remote
    return "at-" + hashlib.sha256(os.fsencode(remote)).hexdigest()[:12]
