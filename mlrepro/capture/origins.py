"""Origins: where a distribution came from, without the credentials that it took to get it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mlrepro.manifest import Package
from mlrepro.stores import gitcall


def of(text: str) -> tuple[str, str]:
    """Return the folder of an editable install, and the origin of any other (PEP 610)."""
    try:
        data = json.loads(text) if text else {}
        url = str(data["url"]) if isinstance(data["url"], str) else ""
        if not url:
            return "", ""
        if "vcs_info" in data:
            return "", _of_vcs(url, data)
        if "dir_info" in data:
            folder = _local(url)
            return (folder, "") if data["dir_info"].get("editable") else ("", f"file:{folder}")
        return "", _of_archive(url, data.get("archive_info") or {})
    except (ValueError, KeyError, TypeError, AttributeError):  # damaged: nobody vouches for it
        return "", ""


def _of_vcs(url: str, data: dict[str, Any]) -> str:
    kind, commit = str(data["vcs_info"]["vcs"]), str(data["vcs_info"]["commit_id"])
    below = data.get("subdirectory")
    inside = f"#subdirectory={below}" if isinstance(below, str) and below else ""
    return f"{kind}:{gitcall.without_credentials(url.removeprefix(f'{kind}+'))}@{commit}{inside}"


def _of_archive(url: str, info: dict[str, Any]) -> str:
    hashes = info.get("hashes") or {}
    old = str(info.get("hash", "")).partition("=")
    digest = str(hashes.get("sha256", "")) or (old[2] if old[0] == "sha256" else "")
    known = f"#sha256={digest}" if re.fullmatch("[0-9a-f]{64}", digest) else ""
    if url.startswith("file:"):
        return f"file:{_local(url)}{known}"
    return f"archive:{gitcall.without_tokens(url)}{known}"


def _local(url: str) -> str:
    """Return the path of a ``file:`` address, or the address itself without credentials."""
    if not url.startswith("file:"):
        return gitcall.without_credentials(url)
    return unquote(url.removeprefix("file://").removeprefix("file:").partition("#")[0])


def placed(package: Package, root: Path | None, used: Sequence[str]) -> Package:
    """Tell paths in the project relative to it: they travel with its code."""
    if root is None:
        return package
    if package.editable:
        inside = _relative(package.editable, root)
        if inside:
            return replace(package, editable=inside)
        start = f"{package.editable.rstrip('/')}/"
        is_used = any(path.startswith(start) for path in used)
        return replace(package, direct=_worktree(Path(package.editable))) if is_used else package
    if package.direct.startswith("file:"):
        path, mark, digest = package.direct.removeprefix("file:").partition("#")
        inside = _relative(path, root)
        return replace(package, direct=f"file:{inside}{mark}{digest}") if inside else package
    return package


def _relative(path: str, root: Path) -> str:
    """Return a path relative to the project, ``.`` for the project itself; empty outside it."""
    for top in (root, root.resolve()):
        with suppress(ValueError):
            return Path(path).relative_to(top).as_posix()
    with suppress(ValueError, OSError):
        return Path(path).resolve().relative_to(root.resolve()).as_posix()
    return ""


def _worktree(folder: Path) -> str:
    """Return the commit of a folder, if git knows it, and whether files there differ from it."""
    nowhere = "worktree:"
    try:
        repo = gitcall.find(folder)
        if repo is None:
            return nowhere
        commit = gitcall.attempt(repo, "rev-parse", "--verify", "-q", "HEAD").stdout.decode()
        status = gitcall.attempt(repo, "status", "--porcelain", "--", str(folder))
    except Exception:  # noqa: BLE001  somebody else's folder: it never stands in the way
        return nowhere
    changed = "+changed" if status.stdout.strip() or status.returncode else ""
    return f"{nowhere}{commit.strip()}{changed}" if commit.strip() else nowhere
