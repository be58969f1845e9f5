"""Htmlartifacts: what was compared, and for each artifact how and where it differs."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Sequence

from mlrepro.commands.diffvalues import LineCount
from mlrepro.drift import ArtifactDrift, Change, Difference, Distribution
from mlrepro.present import plots, wording
from mlrepro.present.htmlparts import (
    Html,
    Size,
    badge,
    escaped,
    folded,
    joined,
    more,
    number,
    tagged,
)
from mlrepro.verdicts import Measure, Verdict

_DEEP = 3
"""So many levels of parts are shown."""
_STRIP = 8
"""From so many parts on, a strip shows them at a glance."""
_COLUMNS = (7, 24)
"""So many columns a histogram has at least and at most."""
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def overview(size: Size, artifacts: Sequence[ArtifactDrift]) -> Html:
    """Return one row for each artifact."""
    return size.table(
        "Files of the run",
        ("file", "verdict", "what was found", "counts"),
        [
            (
                _named(size, one),
                badge(one.difference.verdict),
                _found(size, one.difference),
                "decides" if one.decides else "shown only",
            )
            for one in artifacts
        ],
        quiet=True,
    )


def details(size: Size, artifacts: Iterable[ArtifactDrift]) -> Html:
    """Return what is to be said of each artifact that is not the same bit for bit."""
    told = [one for one in artifacts if _has_more(one.difference)]
    parts = [
        Html(
            f"<article><h3>{size.code(one.path)} {badge(one.difference.verdict)}</h3>"
            f"{_node(size, one.difference)}</article>"
        )
        for one in told[: size.plots * 2]
    ]
    if len(told) > size.plots * 2:
        parts.append(Html(f"<p class='more'>{more(len(told) - size.plots * 2)}</p>"))
    return joined(parts)


def _has_more(found: Difference) -> bool:
    told = (found.measures, found.first, found.metadata, found.children, found.distribution)
    return found.verdict is not Verdict.IDENTICAL and any(told)


def _named(size: Size, one: ArtifactDrift) -> Html:
    moved = (
        f"<br><small>rebuilt as {size.code(one.rebuilt_path)}</small>" if one.rebuilt_path else ""
    )
    return Html(f"{size.code(one.path)}{moved}")


def _found(size: Size, found: Difference) -> Html:
    kind = f"<span class='kind'>{size.text(found.comparator)}</span> " if found.comparator else ""
    return Html(f"{kind}{size.text(wording.brief(found.summary))}")


def _node(size: Size, found: Difference) -> Html:
    """Return all that is known of a node: in words, as plots, as tables, then its parts."""
    first = f"<p class='first'><b>First difference</b> {size.text(wording.brief(found.first))}</p>"
    return joined(
        [
            tagged("p", _found(size, found)),
            Html(first if found.first else ""),
            _below(size, found, 0),
        ]
    )


def _below(size: Size, found: Difference, depth: int) -> Html:
    return joined(
        [
            distribution(size, found.distribution) if found.distribution else Html(""),
            size.table(
                "Measured",
                ("measure", "value", "largest at"),
                [(one.name, _value(one), one.where) for one in found.measures],
            ),
            _parts(size, found, depth),
            folded("Set aside: it means nothing for the result", size.items(found.metadata)),
        ]
    )


def _value(measure: Measure) -> str:
    return f"{number(measure.value, 3)} {measure.unit}".strip()


def distribution(size: Size, found: Distribution) -> Html:
    """Return how large the differences are, as a histogram by powers of ten."""
    apart = sum(found.decades.values())
    total = found.equal + apart + found.broken
    if not total:
        return Html("")
    said = f"{found.equal:,} of {total:,} numbers do not differ ({100 * found.equal / total:.3g} %)"
    if found.scope:
        said = f"{found.scope[0].upper()}{found.scope[1:]}, {said}"
    if found.broken:
        said += f"; {found.broken:,} are not finite on one side"
    columns = _columns(found)
    title = f"How large the differences of {apart:,} numbers are, in powers of ten"
    numbers = size.table(
        "Numbers by the size of their difference",
        (f"at least … {found.unit}".strip(), "numbers"),
        [(name, f"{count:,}") for name, count in columns if count],
        numeric=(1,),
    )
    drawing = plots.bars(f"{title}: {_span(columns)}", columns)
    axis = f"<p class='axis'>size of a difference, {size.text(found.unit)}</p>" if drawing else ""
    table = folded("As a table", numbers, "again")
    return Html(
        f"<figure><h4>Size of the differences</h4>{drawing}{axis}"
        f"<figcaption>{escaped(said)}.</figcaption>{table}</figure>"
    )


def _columns(found: Distribution) -> list[tuple[str, int]]:
    """Return a column for each decade, or for each few where there are many."""
    counts = {exponent: count for exponent, count in found.decades.items() if count > 0}
    if not counts:
        return []
    low, high = min(counts), max(counts)
    spare = max(_COLUMNS[0] - (high - low + 1), 0)  # a lone column says nothing of where it stands
    low, high = low - spare // 2, high + spare - spare // 2
    wide = -(-(high - low + 1) // _COLUMNS[1])
    sums = dict.fromkeys(range((high - low) // wide + 1), 0)
    for exponent, count in counts.items():
        sums[(exponent - low) // wide] += count
    return [(f"10{str(low + i * wide).translate(_SUPERSCRIPT)}", n) for i, n in sums.items()]


def _span(columns: Sequence[tuple[str, int]]) -> str:
    if not columns:
        return "none"
    name, _ = max(columns, key=lambda column: column[1])
    there = [name for name, count in columns if count]
    return f"from {there[0]} to {there[-1]}, most of them at {name}"


def _parts(size: Size, found: Difference, depth: int) -> Html:
    """Return the parts: all of them as a strip, the worst by name, what is below them folded."""
    unequal = [one for one in found.children if one.verdict is not Verdict.IDENTICAL]
    worst = sorted(unequal, key=lambda one: -one.verdict)
    table = size.table(
        "Parts that differ, the worst first",
        ("part", "verdict", "what was found"),
        [(one.path, badge(one.verdict), _told(size, one, depth + 1)) for one in worst[: size.rows]],
        left_out=len(worst) - size.rows,
    )
    return joined([*_strips(size, found), table])


def _strips(size: Size, found: Difference) -> Iterator[Html]:
    """Yield a strip of all parts, and of those of a part that lists only some: trees, say."""
    groups = itertools.groupby(found.children, key=lambda one: one.verdict)
    runs = found.runs or tuple((sum(1 for _ in group), verdict) for verdict, group in groups)
    told = [("", runs), *((one.path, one.runs) for one in found.children)]
    for name, one in told[: size.plots]:
        total = sum(count for count, _ in one)
        if total >= _STRIP:
            said = f"{total:,} parts in order"
            title = f"{name}: {said}" if name else said
            drawing = plots.strip(title, one, points=size.points)
            text = f"{size.text(title)}{plots.legend(one)}"
            yield Html(f"<figure>{drawing}<figcaption>{text}</figcaption></figure>")


def _told(size: Size, one: Difference, depth: int) -> Html:
    """Return a part in words, and what else is known of it folded."""
    said = one.summary
    if one.first and one.summary not in one.first:
        said = f"{said}; first: {one.first}" if said else one.first
    below = Html("")
    if depth < _DEEP and (one.children or one.runs or one.distribution or one.metadata):
        below = folded("More", _below(size, one, depth))
    elif one.measures:
        below = Html(f"<br><small>{size.text(_in_words(one.measures))}</small>")
    return Html(f"{size.text(wording.brief(said or one.first))}{below}")


def _in_words(measures: Sequence[Measure]) -> str:
    return "; ".join(
        f"{one.name}: {_value(one)}" + (f" at {one.where}" if one.where else "") for one in measures
    )


def inputs(
    size: Size, changed: Sequence[Change], found: Sequence[Difference], heads: tuple[str, str]
) -> Html:
    """Return the inputs that differ: what is in them where that is known, and their digests."""
    inside = {one.path: one for one in found}
    rows = []
    for change in changed:
        one = inside.pop(change.what, None)
        told = joined([badge(one.verdict), Html(" "), _told(size, one, 1)]) if one else Html("")
        rows.append((size.code(change.what), told, *_sides(change)))
    for path, one in inside.items():  # data that git tracks is told among the code
        told = joined([badge(one.verdict), Html(" "), _told(size, one, 1)])
        rows.append((size.code(path), told, "", ""))
    return size.table("Input files", ("file", "what was found", *heads), rows, quiet=True)


def code(
    size: Size,
    changed: Sequence[Change],
    lines: Sequence[LineCount],
    inside: Collection[str],
    heads: tuple[str, str],
) -> Html:
    """Return the files of code that differ, and by how many lines; those in `inside` are data."""
    counts = {one.path: one for one in lines}
    rows = [
        (size.code(one.what), _lines(counts.get(one.what)), *_sides(one))
        for one in changed
        if one.what not in inside
    ]
    return size.table("Files of code", ("file", "lines", *heads), rows, quiet=True)


def _sides(change: Change) -> tuple[str, str]:
    return wording.short_digests(change.recorded), wording.short_digests(change.current)


def _lines(count: LineCount | None) -> str:
    if count is None:
        return ""
    if count.added is None or count.removed is None:
        return "no text, or too long"
    return f"+{count.added} \N{MINUS SIGN}{count.removed}"
