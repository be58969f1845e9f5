"""Progress: what goes on, on standard error; a spinner at a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def shown() -> Iterator[Callable[[str], None]]:
    """Give a function that takes a sentence for each step of something long.

    An empty sentence takes the spinner away, until the next one: before a question or a report.
    """
    if not sys.stderr.isatty():
        yield _line
        return
    from rich.console import Console  # noqa: PLC0415  60 ms, paid at a terminal only
    from rich.markup import escape  # noqa: PLC0415

    console = Console(stderr=True, highlight=False)
    status = console.status("")

    def notify(sentence: str) -> None:
        if sentence:
            status.update(f"mlrepro: {escape(sentence)}")
            status.start()
        else:
            status.stop()

    try:
        yield notify
    finally:
        status.stop()


def _line(sentence: str) -> None:
    if sentence:
        print(f"mlrepro: {sentence}", file=sys.stderr)  # noqa: T201  the presenter's own
