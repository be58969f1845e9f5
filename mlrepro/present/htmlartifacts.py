"""Htmlartifacts: what was compared, and for each artifact how and where it differs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mlrepro.drift import ArtifactDrift, Difference, Distribution
from mlrepro.present import plots
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
from mlrepro.verdicts import Verdict

_DEEP = 3
"""So many levels of parts are shown."""
_STRIP = 3
"""From so many parts on, a strip shows them at a glance."""
_COLUMNS = 24
"""So many columns a histogram has at most."""
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
    return Html(f"{kind}{size.text(found.summary)}")


def _node(size: Size, found: Difference, depth: int = 0) -> Html:
    """Return all that is known of a node: in words, as plots, as tables, then its parts."""
    first = f"<p class='first'><b>First difference</b> {size.text(found.first)}</p>"
    return joined(
        [
            tagged("p", _found(size, found)),
            Html(first if found.first else ""),
            distribution(size, found.distribution) if found.distribution else Html(""),
            size.table(
                "Measured",
                ("measure", "value", "largest at"),
                [
                    (one.name, f"{number(one.value, 3)} {one.unit}".strip(), one.where)
                    for one in found.measures
                ],
                numeric=(1,),
            ),
            _parts(size, found.children, depth),
            folded(
                "Set aside, because it means nothing for the result", size.items(found.metadata)
            ),
        ]
    )


def distribution(size: Size, found: Distribution) -> Html:
    """Return how large the differences are, as a histogram by powers of ten."""
    apart = sum(found.decades.values())
    total = found.equal + apart + found.broken
    if not total:
        return Html("")
    said = f"{found.equal:,} of {total:,} numbers do not differ ({100 * found.equal / total:.3g} %)"
    if found.broken:
        said += f"; {found.broken:,} are not finite on one side"
    columns = _columns(found)
    title = f"How large the differences of {apart:,} numbers are, in powers of ten"
    numbers = size.table(
        "Numbers by the size of their difference",
        (f"at least … {found.unit}".strip(), "numbers"),
        [(name, f"{count:,}") for name, count in columns],
        numeric=(1,),
    )
    drawing = plots.bars(f"{title}: {_span(columns)}", columns)
    axis = f"<p class='axis'>size of a difference, {size.text(found.unit)}</p>" if drawing else ""
    return Html(
        f"<figure><h4>Size of the differences</h4>{drawing}{axis}"
        f"<figcaption>{escaped(said)}.</figcaption>{folded('As a table', numbers)}</figure>"
    )


def _columns(found: Distribution) -> list[tuple[str, int]]:
    """Return a column for each decade, or for each few where there are many."""
    counts = {exponent: count for exponent, count in found.decades.items() if count > 0}
    if not counts:
        return []
    low, high = min(counts), max(counts)
    wide = -(-(high - low + 1) // _COLUMNS)
    sums = dict.fromkeys(range((high - low) // wide + 1), 0)
    for exponent, count in counts.items():
        sums[(exponent - low) // wide] += count
    return [(f"10{str(low + i * wide).translate(_SUPERSCRIPT)}", n) for i, n in sums.items()]


def _span(columns: Sequence[tuple[str, int]]) -> str:
    if not columns:
        return "none"
    name, _ = max(columns, key=lambda column: column[1])
    return f"from {columns[0][0]} to {columns[-1][0]}, most of them at {name}"


def _parts(size: Size, children: Sequence[Difference], depth: int) -> Html:
    """Return the parts: all of them as a strip, the worst by name, what is below them folded."""
    unequal = [one for one in children if one.verdict is not Verdict.IDENTICAL]
    worst = sorted(unequal, key=lambda one: -one.verdict)
    verdicts = [one.verdict for one in children]
    several = len(children) >= _STRIP
    strip = (
        _strip(f"{len(children):,} parts in their order", verdicts, size) if several else Html("")
    )
    table = size.table(
        "Parts that differ, the worst first",
        ("part", "verdict", "what was found"),
        [(one.path, badge(one.verdict), _told(size, one)) for one in worst],
    )
    below = [
        folded(Html(f"{size.code(one.path)} {badge(one.verdict)}"), _node(size, one, depth + 1))
        for one in worst[: size.plots]
        if depth + 1 < _DEEP and (one.children or one.distribution or one.metadata or one.measures)
    ]
    return joined([strip, table, *below])


def _told(size: Size, one: Difference) -> Html:
    said = one.summary
    if one.first and one.summary not in one.first:
        said = f"{said}; first: {one.first}" if said else one.first
    return size.text(said or one.first)


def _strip(title: str, verdicts: Sequence[Verdict], size: Size) -> Html:
    drawing = plots.strip(title, verdicts, points=size.points)
    return Html(
        f"<figure>{drawing}<figcaption>{escaped(title)}{plots.legend(verdicts)}</figcaption></figure>"
    )
