"""Codechanges: the files in which two trees differ as code."""

from __future__ import annotations

from collections.abc import Mapping

from mlrepro.capture import code
from mlrepro.drift import Change
from mlrepro.manifest import Manifest
from mlrepro.stores import git, ledger
from mlrepro.stores.place import Place


def between(here: Place, a: str, b: str, *records: Manifest) -> tuple[Change, ...]:
    """Name the files of code that differ, with what they are on either side.

    What any run that is known here has made is no code, though git may track it; nor is DVC's
    own folder.

    Parameters
    ----------
    here : Place
        The project.
    a, b : str
        Trees.
    records : Manifest
        Runs that the ledger may not know.
    """
    repo = here.repository
    if a == b:
        return ()
    if not (git.has(repo, a) and git.has(repo, b)):
        return (Change("code tree", a[:12], b[:12]),)
    made = {path for entry in ledger.entries(repo) for path, _ in entry.artifacts}
    made |= {artifact.path for record in records for artifact in record.artifacts}
    left, right = git.files(repo, a), git.files(repo, b)
    return tuple(
        Change(path, _blob(left, path), _blob(right, path))
        for path in code.equal_code(repo, a, b, made)
        if ".dvc" not in path.split("/")[:-1]
    )


def _blob(files: Mapping[str, git.TreeEntry], path: str) -> str:
    return files[path].name[:12] if path in files else "absent"
