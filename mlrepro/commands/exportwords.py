"""Export words: values of a record as words and comments of a shell, whoever wrote them."""

from __future__ import annotations

import os
import re
import shlex

from mlrepro.errors import ManifestError
from mlrepro.manifest import Digest

_LAYOUT = frozenset("\n\t")


def word(word: str, root: str) -> str:
    """Quote a word; where it names the recorded folder, the new one stands there instead."""
    if not root.startswith("/") or root == "/":
        return quoted(word)
    pieces = re.split(re.escape(root) + r"(?=/|$)", word)
    return '"$project"'.join(quoted(piece) if piece else "" for piece in pieces) or "''"


def below(path: str, folder: str) -> str:
    """Return `path` relative to `folder`; empty where it does not lie below."""
    if not folder.strip("/") or not path.startswith(folder.rstrip("/") + "/"):
        return ""
    relative = os.path.normpath(path[len(folder.rstrip("/")) + 1 :])
    return "" if relative.startswith("..") else relative


def place(path: str) -> str:
    """Return a path of the new project's folder as a word."""
    return '"$project"' if path in (".", "") else f'"$project"/{quoted(path)}'


def title(text: str) -> str:
    """Return the heading of a part."""
    return f"\n# --- {text} {'-' * max(3, 70 - len(text))}\n"


def md5(digest: Digest) -> str:
    """Return the hex digits of a digest, which is a DVC object's name."""
    if digest.algorithm != "md5":
        raise ManifestError(f"an object that no DVC cache has: {digest}")
    return digest.value


def quoted(value: str) -> str:
    """Quote a value for the shell; control characters are written out, so that none can hide."""
    if all(c.isprintable() or c in _LAYOUT for c in value):
        return shlex.quote(value)
    if "\0" in value or value.endswith("\n"):
        raise ManifestError(f"a value that no script can hold: {value!r:.80}")
    octal = "".join(f"\\{byte:03o}" for byte in os.fsencode(value))
    return f"\"$(printf '{octal}')\""


def comment(text: str) -> str:
    """Return a line of comment: nothing of a stranger's leads out of it."""
    return f"# {''.join(c if c.isprintable() else '?' for c in text)}\n"
