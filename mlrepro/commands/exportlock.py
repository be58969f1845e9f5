"""Exportlock: the lock of a run's environment as `pylock.toml` (PEP 751), for other installers.

That form holds download addresses, so it is made anew from the index of whoever exports it, and
held against the hashes of the lock.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from mlrepro.commands import lock, opening
from mlrepro.errors import LockError
from mlrepro.locks import Lock
from mlrepro.stores import uv

_HASH = re.compile(r'sha256\s*=\s*"([0-9a-f]{64})"')
_NAME = re.compile(r'^name\s*=\s*"([^"]+)"', re.MULTILINE)


def pylock(
    start: Path | None, ref: str, *, notify: Callable[[str], None] = lambda _sentence: None
) -> str:
    """Return the text of a `pylock.toml`; what it cannot hold stands in comments at its head.

    Parameters
    ----------
    start : Path or None
        Where the user stands.
    ref : str
        The run.
    notify : callable
        Takes a sentence while the index is asked.

    Raises
    ------
    LockError
        If there is no lock and none can be made, or the index has other files than the lock.
    UvError
        If there is no uv, or the index lacks a package.
    """
    here, record = opening.run(ref, start)
    found = lock.honest(here, record) or lock.made(here, record, notify=notify)
    pins = [one.pin for one in found.requirements if one.hashes]
    text = uv.pylock(uv.find(), pins, python=found.python, where=here.root) if pins else ""
    _check(text, found)
    left_out = [one for one in found.requirements if not one.hashes]
    head = [f"# The environment of run {record.id}, exported by mlrepro."]
    head += [f"# left out: {one.pin} ({one.source or one.unhashed})" for one in left_out]
    return "\n".join([*head, text])


def _check(text: str, found: Lock) -> None:
    """Refuse files that the lock does not know: this index has others than the author's had."""
    known = {one.name: {value[7:] for value in one.hashes} for one in found.requirements}
    for part in text.split("[[packages]]")[1:]:
        name = next(iter(_NAME.findall(part)), "")
        if not known.get(name, set()) >= set(_HASH.findall(part)):
            raise LockError(
                f"the index here has files of {name} that the lock does not know",
                hint="Ask the author for the index; `mlrepro show` names the run's machine.",
            )
