"""Checkedout: which files were read with other bytes than a checkout of the code would give."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from mlrepro.manifest import Digest
from mlrepro.stores import git

_ASKED = 50
"""So many files with other bytes are checked out in mind; a process each."""
_LFS = b"version https://git-lfs.github.com/spec/"


def differing(
    repo: git.Repository, blobs: Mapping[str, str], read: Mapping[str, Digest]
) -> frozenset[str]:
    """Return the files whose recorded digest is not that of their blob as git checks it out.

    A file was edited between the snapshot and its reading, or has other line ends than its
    attributes say.

    Parameters
    ----------
    repo : git.Repository
        Holds the blobs.
    blobs : mapping of str to str
        Path → object name, of the code's tree.
    read : mapping of str to Digest
        Path → digest (md5) of the bytes that were read.

    Raises
    ------
    GitError
        If the blobs cannot be read.
    """
    names = [path for path in read if path in blobs]
    found: set[str] = set()
    contents = git.read_objects(repo, [blobs[path] for path in names])
    for path, content in zip(names, contents, strict=True):
        if content is None or content.startswith(_LFS) or _is(content, read[path]):
            continue
        found.add(path)
    converted = sorted(found)[:_ASKED]
    return frozenset(found) - {p for p in converted if _is(_filtered(repo, p, blobs[p]), read[p])}


def holds(repo: git.Repository, blob: str, digest: Digest) -> bool:
    """Say whether a blob is there and has exactly these bytes.

    Raises
    ------
    GitError
        If the blobs cannot be read.
    """
    content = next(iter(git.read_objects(repo, [blob])), None)
    return content is not None and _is(content, digest)


def _filtered(repo: git.Repository, path: str, blob: str) -> bytes:
    return git.call(repo, "cat-file", "--filters", f"--path={path}", blob)


def _is(content: bytes, digest: Digest) -> bool:
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == digest.value
