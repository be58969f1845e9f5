"""Progress: what goes on, on standard error; a spinner at a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def shown() -> Iterator[Callable[[str], None]]:
    """Give a function that takes a sentence for each step of something long."""
    if not sys.stderr.isatty():
        yield lambda sentence: print(f"mlrepro: {sentence}", file=sys.stderr)  # noqa: T201  the presenter's own
        return
    from rich.console import Console  # noqa: PLC0415  60 ms, paid at a terminal only

    console = Console(stderr=True, highlight=False)
    with console.status("mlrepro: starting") as status:
        yield lambda sentence: status.update(f"mlrepro: {sentence}")
