"""Queries: find the files that a SQL text names, as duckdb reads and writes them.

A best effort: a text is searched for literals, it is not parsed. That duckdb was used at all stays
a blind spot of the run.
"""

import os
import re

_LITERAL = re.compile(r"""'((?:[^']|'')*)'|"((?:[^"]|"")*)\"""")
_TARGET = re.compile(r"\bto\s*(?:\(\s*)?$", re.IGNORECASE)
_ATTACHED = re.compile(r"\battach\s+(?:database\s+)?(?:if\s+not\s+exists\s+)?$", re.IGNORECASE)
_EXPORTED = re.compile(r"\bexport\s+database\s+$", re.IGNORECASE)
_WRITES = re.compile(r"\bcopy\b", re.IGNORECASE)
_PATTERN = re.compile(r"\.\w+$|/\*+$")


def files(text, parameters=()):
    """Yield kind of use (``r``, ``w``, ``u``, ``tree``) and path of each file of a query."""
    writes = _WRITES.search(text) is not None
    for match in _LITERAL.finditer(text):
        path = (match.group(1) or match.group(2) or "").replace("''", "'")
        if not path or len(path) > 4096 or "\n" in path or "\0" in path:
            continue
        before = text[max(0, match.start() - 64) : match.start()]
        if _EXPORTED.search(before):
            yield "tree", path
        elif _ATTACHED.search(before):
            yield "u", path
        elif writes and _TARGET.search(before):
            yield "w", path
        else:
            for one in _existing(path):
                yield "r", one
    values = parameters.values() if isinstance(parameters, dict) else parameters or ()
    for value in values:
        if value.__class__ is str and len(value) <= 4096 and "\0" not in value:
            for one in _existing(value):
                yield "r", one


def _existing(path):
    """A literal is a file's name where there is such a file; most are words of the data."""
    path = os.path.expanduser(path[7:] if path.startswith("file://") else path)
    if os.path.isfile(path):
        return (path,)
    if any(sign in path for sign in "*?[") and _PATTERN.search(path):
        import glob

        return glob.iglob(path, recursive=True)
    return ()
