"""Attributiontable: what was tried to explain a drift, and the answer, as text."""

from __future__ import annotations

from rich.console import Console

from mlrepro.drift import Attribution


def write(console: Console, found: Attribution) -> None:
    """Write the factors that were tried, and the one sentence that they end in."""
    del console, found
