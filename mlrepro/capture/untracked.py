"""Untracked: which files that git does not track are recorded as code, and which never are."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

LARGEST = 10 * 2**20
"""An untracked file above this, in bytes, is data rather than code."""
LARGEST_TOTAL = 100 * 2**20
SECRETS = (
    ".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "credentials*", ".netrc",
    "_netrc", ".pypirc", ".npmrc", ".pgpass", ".htpasswd", ".git-credentials", ".boto", ".s3cfg",
    "secrets", "secrets.*", "*.secret", "*.secrets", "service-account*.json", "token.json",
    "*_credentials.json", "*.credentials", "kaggle.json", ".dockercfg", "*.ovpn",
)  # fmt: skip
"""Names that are never recorded unless git tracks them."""

_FOLDERS_OF_SECRETS = {".ssh", ".aws", ".gnupg", ".azure", ".kube", ".mlrepro"}


def choose(root: Path, paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """Tell the untracked files that are recorded from those that are not, with the reason."""
    chosen, left_out, total = [], [], 0
    for path in paths:
        size = _size(root / path)
        reason = _reason(path, size, total)
        if reason:
            left_out.append(f"{path} ({reason})")
        elif size is not None and not path.startswith(".mlrepro/"):
            chosen.append(path)
            total += size
    return chosen, left_out


def _size(path: Path) -> int | None:
    """Return the size of a readable file or a symlink's; None for what is gone."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_size


def _reason(path: str, size: int | None, total: int) -> str:
    if path.startswith(".mlrepro/") or size is None:
        return ""
    if is_secret(path):
        return "its name says that it is secret"
    if size > LARGEST:
        return f"{size / 2**20:.0f} MiB, more than {LARGEST >> 20}"
    if total + size > LARGEST_TOTAL:
        return f"the untracked files hold more than {LARGEST_TOTAL >> 20} MiB together"
    return ""


def is_secret(path: str) -> bool:
    """Say whether a name is one that keys and passwords usually bear."""
    pure = PurePosixPath(path)
    name = pure.name.lower()
    if name.endswith((".example", ".sample", ".template")):
        return False
    in_folder = not _FOLDERS_OF_SECRETS.isdisjoint(pure.parts)
    return in_folder or any(fnmatch.fnmatchcase(name, pattern) for pattern in SECRETS)
