"""Lines: one printed line taken apart into words, numbers that are results, and what is neither."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from mlrepro.comparators.pairing import STAMP, UUID
from mlrepro.comparators.values import is_time_name

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_DURATION = rf"{_NUMBER}\s?(?:seconds?|secs?|ms|µs|us|ns|minutes?|mins|hours?|hrs?|s)"
_THINGS = (
    r"(?:it|iter|iters|iterations|steps?|samples?|rows?|images?|imgs?|tokens?|batch(?:es)?|trials?|"
    r"examples?|items?|records?|epochs?|rounds?|[KMG]?i?B|ex)"
)
_MONTHS = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*"
_DAYS = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*"

# In this order at every place of a line; the first that fits wins. Everything but `number` and
# `special` is set aside.
_KINDS = (
    (
        "progress",
        r"(?:\d+%\s?)?\|[ █▏▎▍▌▋▊▉#=>\-.·]*[█▏▎▍▌▋▊▉#=>][ █▏▎▍▌▋▊▉#=>\-.·]*\|"
        r"(?:\s*\d[\d.]*[kMG]?/\d[\d.]*[kMG]?)?"
        r"(?:\s*\[[\d:?]+<[\d:?]+,\s*[\d.?]+\s?[A-Za-z]*/[A-Za-z]+)?"
        r"|\d+%\|\s*\|\s*\d+/\d+(?:\s*\[[\d:?]+<[\d:?]+,\s*[\d.?]+\s?[A-Za-z]*/[A-Za-z]+)?"
        r"|\d+[a-z]*\s?\[\d+:\d\d(?::\d\d)?,\s*[\d.?]+\s?[A-Za-z]*/[A-Za-z]+\]"
        r"|\[[=>.]{5,}\]|[━╸╺]{3,}",
    ),
    ("uuid", rf"(?<![\w-]){UUID}(?![\w-])"),
    ("address", r"\b0x[0-9a-fA-F]{6,}\b|\b(?:localhost|\d{1,3}(?:\.\d{1,3}){3}):\d+\b"),
    (
        "date",
        rf"(?<![\d.]){STAMP}(?![\d])"
        rf"|\b(?:{_DAYS},?\s+)?{_MONTHS}\s+\d{{1,2}}(?:,)?(?:\s+\d\d:\d\d:\d\d(?:\s+[A-Z]{{3,4}})?)?(?:\s+\d{{4}})?\b"
        rf"|\b(?:{_DAYS},?\s+)?\d{{1,2}}\s+{_MONTHS}\s+\d{{4}}\b"
        r"|(?<!\d)\d{1,2}[./]\d{1,2}[./](?:19|20)\d\d(?!\d)"
        r"|(?<![\d.])1[5-9]\d{8}(?:\.\d+)?(?![\d.])",
    ),
    (
        "rate",
        rf"(?<![\w.]){_NUMBER}\s?(?:(?:s|ms|us|µs|ns|sec|secs|seconds)\s?/\s?{_THINGS}"
        rf"|{_THINGS}\s?/\s?(?:s|sec|second)|{_THINGS} per (?:second|minute))(?!\w)"
        r"|\?\s?it/s",
    ),
    (
        "duration",
        r"(?<![\d:.])\d+:\d\d:\d\d(?:[.,]\d+)?(?![\d:])|(?<![\d:.])\d\d+:\d\d(?:\.\d+)?(?![\d:])"
        r"|(?<![\w.])\d+(?:\.\d+)?h\s?\d+m(?:\s?\d+(?:\.\d+)?s)?|(?<![\w.])\d+m\s?\d+(?:\.\d+)?s"
        rf"|(?<![\w.])\d+\.\d+(?:m|min|h)(?!\w)|(?<![\w.])[-+]?{_DURATION}(?!\w)",
    ),
    (
        "memory size",
        rf"(?:(?<=[:= (])|^)(?i:memory|mem|rss|vram|ram|heap)[^\d\n]{{0,24}}{_NUMBER}"
        r"\+?\s?(?i:[kmgt]?i?b|bytes)?(?!\w)",
    ),
    ("process id", r"(?i:\bpid[ :=]*|\bprocess[ #:=]+)\d+\b"),
    (
        "path",
        r"(?<![\w./~<>\-])(?:file://|~)?/(?=[A-Za-z_.])[^\s'\"`:;,()\[\]{}<>|]*(?:(?<=\.py):\d+)?"
        r"|(?<![\w])[A-Z]:\\[^\s'\"]+",
    ),
    ("special", r"(?<![\w.])[-+]?(?:nan|NaN|NAN|inf|Inf|INF|Infinity)(?![\w])"),
    ("number", rf"(?<![\w.])[-+]?{_NUMBER}(?!\w)(?!\.\d)"),
)
_SCAN = re.compile("|".join(f"(?P<{name.replace(' ', '_')}>{pattern})" for name, pattern in _KINDS))
# Four times as fast, for lines in which every kind that is there begins with a digit.
_PLAIN = frozenset({"date", "duration", "number"})
_SCAN_PLAIN = re.compile(
    r"(?=[-+.\d])(?:"
    + "|".join(f"(?P<{name}>{pattern})" for name, pattern in _KINDS if name in _PLAIN)
    + ")"
)
_RARE = re.compile(
    r"[|/\\━╸╺?]|0x|\[[=>.]{5}|[0-9a-f]{8}-| per "
    r"|[Mm]em|MEM|RSS|[Rr]ss|RAM|[Rr]am|[Hh]eap|[Pp]id|PID|[Pp]rocess|[Nn]an|N[Aa]N|[Ii]nf|INF|localhost"
    r"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
)
_SPLIT = re.compile(r"[,;|\t(){}\[\]]|\s{2,}")
_PLACEHOLDER = re.compile(r"(?<!<)(?:<<)*<[a-z ]+>")
_SPACES = re.compile(r"\s+")
# A number in one of these has a time's name or a verb of time before it: `took 3.2`.
_TOOK = re.compile(r"(?i)\b(?:took|taken|finished in|done in|completed in)\W*$")


@dataclass(frozen=True)
class Number:
    """A number that is a result."""

    text: str
    label: str

    @property
    def value(self) -> float:
        """The number; whole ones as int, so that they are exact."""
        try:
            return int(self.text)
        except ValueError:
            return float(self.text)


@dataclass(frozen=True)
class Line:
    """One line: what it says without its numbers, its results, and what is set aside."""

    text: str
    number: int
    masked: str
    numbers: tuple[Number, ...]
    asides: tuple[tuple[str, str], ...]

    @property
    def is_aside(self) -> bool:
        """Whether nothing is left of the line once times, bars and paths are set aside."""
        words = _PLACEHOLDER.sub("", self.masked)
        return bool(self.asides) and not self.numbers and not any(map(str.isalpha, words))


Parts = tuple[str, tuple[Number, ...], tuple[tuple[str, str], ...]]


def scan(text: str, number: int, *, known: dict[str, Parts]) -> Line:
    """Take a line apart, unless it is `known`: most rebuilt lines are equal to a recorded one."""
    parts = known.get(text)
    if parts is None:
        parts = known[text] = _scan(text)
    return Line(text, number, *parts)


def _scan(text: str) -> Parts:
    masked: list[str] = []
    numbers: list[Number] = []
    asides: list[tuple[str, str]] = []
    at = 0
    pattern = _SCAN if _RARE.search(text) else _SCAN_PLAIN
    for match in pattern.finditer(text):
        before = text[at : match.start()]
        at = match.end()
        kind = (match.lastgroup or "").replace("_", " ")
        if kind in ("number", "special"):
            label, timed = _meaning(before)
            kind = "duration" if timed else "number"
        masked += (_escaped(before), f"<{kind}>")
        if kind == "number":
            numbers.append(Number(match[0], label))
        else:
            asides.append((_PLURALS.get(kind, f"{kind}s"), match[0]))
    masked.append(_escaped(text[at:]))
    return _SPACES.sub(" ", "".join(masked)).strip(), tuple(numbers), tuple(asides)


def _escaped(text: str) -> str:
    """Return a text in which `<number>` is no placeholder."""
    return text.replace("<", "<<")


_PLURALS = {"address": "addresses", "progress": "progress bars"}


def _label(before: str) -> str:
    """Return the name that stands before a number: ``auc`` of ``…, val auc = ``."""
    words = _SPLIT.split(before.rstrip(" \t:=([{"))[-1].split()
    return " ".join(words[-3:]).strip(" '\"`:=-")


@functools.lru_cache(maxsize=1 << 12)
def _meaning(before: str) -> tuple[str, bool]:
    """Return the label of the number that follows, and whether it is a time by that label."""
    label = _label(before)
    return label, bool(_TOOK.search(before)) or (bool(label) and is_time_name(label))
