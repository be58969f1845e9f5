"""Htmlparts: escaped text, tables, lists and badges, the bricks of a page.

All that a report says comes from files that a stranger may have written. Only this module turns
text into HTML, and `Html` is its own type, so that a plain string is escaped wherever it lands.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from mlrepro.verdicts import Verdict

SYMBOLS = {
    Verdict.IDENTICAL: "=",
    Verdict.EQUIVALENT: "≡",
    Verdict.CLOSE: "≈",
    Verdict.DRIFTED: "≠",
    Verdict.MISSING: "∅",
}
"""A sign for each verdict, because colour alone tells nothing to many."""

# Control characters, line separators, half surrogates (they cannot be written as UTF-8), and the
# marks that turn the direction of text: with them `exe.txt` can be shown as `txt.exe`.
_UNFIT = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff"
    "\ud800-\udfff]"
)
_SHORT = 8
"""A table of up to so many rows stays on one sheet of paper."""
_WORD = 16
"""Letters of a word that is never broken."""
_TAG = re.compile(r"<[^>]*>")
_MINUS = "\N{MINUS SIGN}"
_EXPONENT = re.compile(r"e\+?(-?)0*(?=\d)")


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


@dataclass(frozen=True)
class Size:
    """How much of a report has room on its page; what is left out is counted.

    Attributes
    ----------
    rows : int
        Rows of a table, lines of a list.
    letters : int
        Letters of one text.
    plots : int
        Plots of one kind.
    points : int
        Points of a line, cells of a strip.
    """

    rows: int = 200
    letters: int = 600
    plots: int = 12
    points: int = 400

    def text(self, value: str) -> Html:
        """Return text as HTML: cut to its size, and without what a page cannot show."""
        return escaped(value, self.letters)

    def cell(self, value: str) -> Html:
        """Return `value` escaped, or as it is where it is HTML."""
        return value if isinstance(value, Html) else self.text(value)

    def code(self, value: str) -> Html:
        """Return text in a typewriter face."""
        return Html(f"<code>{self.text(value)}</code>")

    def items(self, values: Sequence[str], kind: str = "") -> Html:
        """Return a list of sentences; nothing where there are none."""
        if not values:
            return Html("")
        lines = [f"<li>{self.cell(value)}</li>" for value in values[: self.rows]]
        if len(values) > self.rows:
            lines.append(f"<li class='more'>{more(len(values) - self.rows)}</li>")
        return Html(f"<ul{_class(kind)}>{''.join(lines)}</ul>")

    def table(
        self,
        caption: str,
        heads: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        numeric: Collection[int] = (),
        left_out: int = 0,
        quiet: bool = False,
    ) -> Html:
        """Return a table whose first column names its rows; nothing where there are no rows.

        A column without a word is left out.
        On a narrow screen each row becomes a block. That takes a table's meaning from a screen
        reader, unless each part says its role.

        Parameters
        ----------
        caption : str
            What it is a table of.
        heads : sequence of str
            The name of each column.
        rows : sequence of sequences of str
            Text, or HTML.
        numeric : collection of int
            Columns of numbers, set flush right.
        left_out : int
            How many rows were left out already.
        quiet : bool
            Whether the caption is only for those who do not see the heading above it.
        """
        if not rows:
            return Html("")
        told = [i for i in range(len(heads)) if i == 0 or any(row[i] for row in rows)]
        heads, rows = [heads[i] for i in told], [[row[i] for i in told] for row in rows]
        kinds = ["num" if i in numeric else "" for i in told]
        head = "".join(
            f"<th role='columnheader' scope='col'{_class(kind + _long(name))}>{escaped(name)}</th>"
            for name, kind in zip(heads, kinds, strict=True)
        )
        body = "".join(self._row(heads, row, kinds) for row in rows[: self.rows])
        left_out = max(left_out, len(rows) - self.rows)
        foot = f"<p class='more'>{more(left_out)}</p>" if left_out > 0 else ""
        kind = _class("short" if len(rows) <= _SHORT else "")
        return Html(
            f"<table role='table'{kind}>"
            f"<caption{_class('quiet' if quiet else '')}>{escaped(caption)}</caption>"
            f"<thead role='rowgroup'><tr role='row'>{head}</tr></thead>"
            f"<tbody role='rowgroup'>{body}</tbody></table>{foot}"
        )

    def _row(self, heads: Sequence[str], row: Sequence[str], kinds: Sequence[str]) -> str:
        named = self.cell(row[0])
        cells = [f"<th role='rowheader' scope='row'{_class(_long(named))}>{named}</th>"]
        for name, value, kind in zip(heads[1:], row[1:], kinds[1:], strict=True):
            shown = self.cell(value)
            empty = " empty" if not shown else ""
            cells.append(
                f"<td role='cell' data-label='{escaped(name)}'{_class(kind + empty)}>"
                f"<div>{shown}</div></td>"
            )
        return f"<tr role='row'>{''.join(cells)}</tr>"

    def tiles(self, facts: Iterable[tuple[str, str]]) -> Html:
        """Return names and values side by side, those without a value left out."""
        shown = "".join(
            f"<div><dt>{escaped(name)}</dt><dd>{self.cell(value)}</dd></div>"
            for name, value in facts
            if value
        )
        return Html(f"<dl class='tiles'>{shown}</dl>" if shown else "")


def escaped(value: str, letters: int = 2000) -> Html:
    """Return text as HTML, cut to so many letters."""
    cut = len(value) - letters
    if cut > 0:
        head = letters * 2 // 3
        value = f"{value[:head]} … {cut} letters … {value[len(value) - (letters - head) :]}"
    return Html(html.escape(_UNFIT.sub("\N{REPLACEMENT CHARACTER}", value), quote=True))


def joined(parts: Iterable[Html], between: str = "") -> Html:
    """Return HTML in one piece, what is empty left out."""
    return Html(between.join(part for part in parts if part))


def tagged(name: str, inside: Html, kind: str = "") -> Html:
    """Return an element, or nothing where it would be empty."""
    return Html(f"<{name}{_class(kind)}>{inside}</{name}>") if inside else inside


def folded(summary: str, inside: Html, kind: str = "") -> Html:
    """Return what is shown only when it is asked for; nothing where there is nothing."""
    if not inside:
        return inside
    shown = summary if isinstance(summary, Html) else escaped(summary)
    return Html(
        f"<details{_class(kind)}><summary>{shown}</summary>"
        f"<div class='inner'>{inside}</div></details>"
    )


def badge(verdict: Verdict) -> Html:
    """Return a verdict as its sign, its word and its colour."""
    sign = f"<span aria-hidden='true'>{SYMBOLS[verdict]}</span>"
    return Html(f"<span class='badge {kind_of(verdict)}'>{sign} {verdict}</span>")


def kind_of(verdict: Verdict) -> str:
    """Return the CSS class of a verdict."""
    return f"v-{verdict}"


def number(value: float, digits: int = 6) -> str:
    """Return a number for people; a word where it is none."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{_MINUS if value < 0 else ''}∞"
    return _EXPONENT.sub(r"e\1", f"{value:.{digits}g}").replace("-", _MINUS)


def signed(value: float) -> str:
    """Return a difference with its sign: ``+0.0031``."""
    sign = "+" if value > 0 else ""
    return sign + number(value, 3)


def pair(a: float, b: float) -> tuple[str, str]:
    """Return two numbers with as many digits as tell them apart."""
    for digits in (6, 9, 12, 17):
        left, right = number(a, digits), number(b, digits)
        if left != right or a == b:
            break
    return left, right


def counted(count: int, what: str) -> str:
    """Return a count with its noun: ``1 row``, ``12,000 rows``."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def more(count: int) -> str:
    """Say that something was left out."""
    return f"… and {count:,} more (--json lists all)"


def _long(text: str) -> str:
    """Return the class of a name with a word so long that it may be broken anywhere."""
    # Were all of them, a narrow table would break `recorded` after its seventh letter.
    words = _TAG.sub(" ", text).split()
    return " long" if any(len(word) > _WORD for word in words) else ""


def _class(kind: str) -> str:
    return f" class='{kind.strip()}'" if kind.strip() else ""
