"""Trust: whose commands may be run again without asking."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from mlrepro import paths
from mlrepro.errors import InconclusiveError
from mlrepro.manifest import Manifest
from mlrepro.stores import ledger
from mlrepro.stores.place import Place

_FILE = "mlrepro-trusted"


def require(here: Place, record: Manifest, confirm: Callable[[Manifest], bool]) -> None:
    """Ask before a command that somebody else recorded is run for the first time in this clone.

    Raises
    ------
    InconclusiveError
        If the answer is no; nothing was run.
    """
    if is_mine(here, record) or record.id in _trusted(here):
        return
    if not confirm(record):
        raise InconclusiveError(
            f"run {record.short} was not rebuilt: it was recorded elsewhere and not confirmed",
            hint="Read its command with `mlrepro show`, then repeat with `--yes`.",
        )
    with suppress(OSError):
        known = "\n".join(sorted({*_trusted(here), record.id}))
        paths.write_beside(here.repository.common_dir / _FILE, known + "\n")


def is_mine(here: Place, record: Manifest) -> bool:
    """Whether this clone recorded the run."""
    return any(e.mine and e.id == record.id for e in ledger.entries(here.repository))


def _trusted(here: Place) -> frozenset[str]:
    try:
        return frozenset((here.repository.common_dir / _FILE).read_text().split())
    except OSError:
        return frozenset()
