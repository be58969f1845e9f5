"""DVC's voice: its log and progress bars, kept off the terminal and heard for the one sentence."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("dvc", "dvc_data", "dvc_objects")
_PROGRESS = ("dvc.progress", "dvc_data.callbacks")
# DVC shows a progress bar where the level of that module's logger is at most ERROR.


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[object] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self.heard.append(error or record.getMessage())


@contextmanager
def quiet() -> Iterator[list[object]]:
    """Let DVC print nothing; yield the list that the errors go to which it would have printed."""
    listener = _Listener()
    before = []
    for name in (*_LOGGERS, *_PROGRESS):
        logger = logging.getLogger(name)
        before.append((logger, logger.handlers, logger.propagate, logger.level))
        logger.handlers, logger.propagate = [listener], False
    for name in _PROGRESS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of DVC's own dependencies, to its developers
            yield listener.heard
    finally:
        for logger, handlers, propagate, level in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)
