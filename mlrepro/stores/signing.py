"""Signing: bytes signed as git signs a commit, by the user's own configuration, and checked so.

What is signed is a commit without parents and files, whose message is the bytes. So every way that
git knows works (``gpg.format`` ssh, openpgp or x509, agents, hardware keys), and whoever has git
checks it with ``git verify-commit``. The commit travels as its raw text; it is in no history.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mlrepro.errors import GitError
from mlrepro.stores import git

_HINT = (
    "Tell git by what to sign: `git config user.signingkey KEY`, and for an SSH key"
    " `git config gpg.format ssh`."
)


@dataclass(frozen=True)
class Signature:
    """What git says of a signature.

    Attributes
    ----------
    good : bool
        Whether ``git verify-commit`` takes it here.
    signer : str
        Whom the key belongs to, as git knows it here; empty where it does not know the key.
    key : str
        The key's fingerprint; empty where it could not be read.
    """

    good: bool
    signer: str = ""
    key: str = ""


def sign(repo: git.Repository, message: bytes) -> bytes:
    """Return the raw commit that holds a message and git's signature over it.

    Raises
    ------
    GitError
        If git cannot sign: no key, no agent, a refused passphrase.
    """
    person, _, address = git.author(repo).rstrip(">").partition(" <")
    stamp = f"{int(time.time())} +0000"
    names = {"NAME": person, "EMAIL": address, "DATE": stamp}
    identity = {f"GIT_{who}_{k}": v for who in ("AUTHOR", "COMMITTER") for k, v in names.items()}
    with _apart() as objects:
        variables = {**identity, **objects}
        tree = git.call(repo, "hash-object", "-t", "tree", "-w", "--stdin", variables=variables)
        # Git's last line alone says too little: the program that signs tells the cause before it.
        done = git.attempt(
            repo, "-c", "i18n.commitEncoding=UTF-8", "commit-tree", "-S", tree.decode().strip(),
            data=message, variables=variables,
        )  # fmt: skip
        if done.returncode:
            raise GitError(f"git cannot sign: {_cause(done.stderr)}", hint=_HINT)
        name = done.stdout.decode().strip()
        return git.call(repo, "cat-file", "commit", name, variables=variables)


def check(repo: git.Repository) -> None:
    """Sign something of no consequence, so that what is in the way is known before a training.

    Raises
    ------
    GitError
        As `sign`.
    """
    sign(repo, b"a trial of mlrepro's; it means nothing\n")


def verify(repo: git.Repository, commit: bytes) -> Signature:
    """Say what git makes of the signature of a raw commit, which may come from a stranger."""
    with _apart() as variables:
        write = ("hash-object", "-t", "commit", "-w", "--stdin")
        named = git.attempt(repo, *write, data=commit, variables=variables)
        if named.returncode:
            return Signature(False)
        name = named.stdout.decode().strip()
        if git.attempt(repo, "verify-commit", name, variables=variables).returncode:
            return Signature(False)
        told = git.attempt(
            repo, "log", "-1", "--no-show-signature", "--format=%GS%x00%GF", name,
            variables=variables,
        )  # fmt: skip
    signer, _, key = told.stdout.decode(errors="replace").strip("\n").partition("\0")
    return Signature(True, _line(signer), _line(key))


def message(commit: bytes) -> bytes:
    """Return what a raw commit says, all of it signed."""
    return commit.partition(b"\n\n")[2]


@contextmanager
def _apart() -> Iterator[dict[str, str]]:
    """Lend variables by which git keeps its objects in a folder that is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="mlrepro-sign-") as folder:
        yield {"GIT_OBJECT_DIRECTORY": folder}


def _cause(stderr: bytes) -> str:
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines()]
    told = [line for line in lines if line and "[GNUPG:]" not in line and not _VAGUE.match(line)]
    said = [re.sub(r"^(?:error|fatal): (?:gpg failed to sign the data:?)? ?", "", x) for x in told]
    return _line("; ".join(dict.fromkeys(filter(None, said)))).rstrip(".?") or _UNTOLD


_UNTOLD = "its signing program failed, most likely for want of a key"
_VAGUE = re.compile(r"(?:error|fatal): (?:gpg failed to sign the data|failed to write commit)")


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:300]
