"""Html: a report as one page that needs no network, no script and no font but the reader's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from mlrepro.commands.diff import DiffReport
from mlrepro.drift import DriftReport
from mlrepro.present import htmlartifacts, htmlevidence, htmlmetrics, htmlnoise, wording
from mlrepro.present.htmlparts import (
    SYMBOLS,
    Html,
    Size,
    escaped,
    joined,
    kind_of,
)
from mlrepro.verdicts import Verdict

_MOST = 2_000_000
"""Bytes of a page: what a telephone opens, and a mail carries."""

_SIZES = (
    Size(),
    Size(rows=100, letters=400, plots=8, points=300),
    Size(rows=40, letters=240, plots=5, points=200),
    Size(rows=12, letters=160, plots=3, points=100),
    Size(rows=5, letters=80, plots=2, points=60),
    Size(rows=3, letters=40, plots=1, points=40),
)

_SIDES = ("recorded", "in this rebuild")

# Nothing is loaded and nothing runs, whatever a report says.
_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none';"
    " form-action 'none'"
)


@dataclass(frozen=True)
class _Section:
    """A part of the page: its anchor, its title, what stands in it."""

    name: str
    title: str
    inside: Html


@dataclass(frozen=True)
class _Head:
    """The top of a page."""

    kind: str
    verdict: Verdict
    sign: str
    word: str
    subject: str
    meaning: str
    inside: Html


def page(report: DriftReport | DiffReport) -> str:
    """Return a whole HTML document of at most 2 MB; all text in it is escaped.

    Parameters
    ----------
    report : DriftReport or DiffReport
        What a rebuild or a comparison found.

    Returns
    -------
    str
        The page. What had no room is counted on it.
    """
    text = ""
    for size in _SIZES:
        text = _drift(size, report) if isinstance(report, DriftReport) else _diff(size, report)
        if len(text.encode()) <= _MOST:
            break
    return text


def _drift(size: Size, report: DriftReport) -> str:
    attribution = report.attribution
    moved = htmlmetrics.moved_of(report.artifacts)
    before = [
        htmlevidence.changes(size, name, found, _SIDES)
        for name, found in (
            ("Code", report.code),
            ("Environment", report.environment),
            ("Input files", report.inputs),
        )
    ]
    sections = (
        _Section("files", "What was compared", htmlartifacts.overview(size, report.artifacts)),
        _Section(
            "why",
            "What was tried to explain it",
            htmlevidence.why(size, attribution) if attribution else Html(""),
        ),
        _Section(
            "metrics",
            "Metrics",
            htmlmetrics.metrics(size, moved, report.predictions, report.gates),
        ),
        _Section("predictions", "Predictions", htmlmetrics.predictions(size, report.predictions)),
        _Section("histories", "Histories", htmlevidence.histories(size, report.histories)),
        _Section("noise", "Noise floor and seeds", htmlnoise.noise(size, report, moved)),
        _Section("details", "Where it differs", htmlartifacts.details(size, report.artifacts)),
        _Section("before", "Unequal before the training", joined(before)),
        _Section(
            "training",
            "Done otherwise in the training",
            htmlevidence.changes(size, "Training", report.training, _SIDES, quiet=True),
        ),
        _Section("notes", "Notes", size.items(report.notes)),
    )
    return _document(size, _drift_head(size, report), sections)


def _drift_head(size: Size, report: DriftReport) -> _Head:
    short = report.run[:12]
    took = f"{htmlevidence.duration(report.seconds)}"
    facts = (
        ("run", size.code(short)),
        ("trained in", f"{took} (recorded: {htmlevidence.duration(report.recorded_seconds)})"),
        ("environment", report.environment_used),
        ("clean room, kept", size.code(report.room) if report.room else ""),
        ("attestation", size.code(report.attestation) if report.attestation else ""),
    )
    why = report.attribution.sentence if report.attribution else ""
    inside = [
        Html(f"<p class='why'><b>Why</b> {size.text(why)}</p>" if why else ""),
        size.items([_capital(one) for one in report.remarks], "remarks"),
        size.tiles(facts),
    ]
    return _Head(
        kind="drift report",
        verdict=report.verdict,
        sign=SYMBOLS[report.verdict],
        word=str(report.verdict),
        subject=f"{report.name} ({short})" if report.name else short,
        meaning=wording.meaning(report),
        inside=joined(inside),
    )


def _diff(size: Size, report: DiffReport) -> str:
    heads = (report.a, report.b)
    moved, others = htmlmetrics.moved_in(report.metrics)
    metrics = [
        htmlmetrics.side_by_side(size, moved, heads),
        htmlevidence.changes(size, "Metrics that are no numbers", others, heads),
    ]
    inputs = htmlartifacts.inputs(size, report.inputs, report.input_drifts, heads)
    data = {one.path for one in report.input_drifts}
    code = htmlartifacts.code(size, report.code, report.code_lines, data, heads)
    facts = (
        ("Parameters", report.params),
        ("Training", report.training),
        ("Environment", report.environment),
    )
    sections = (
        _Section("files", "What was compared", htmlartifacts.overview(size, report.artifacts)),
        _Section("metrics", "Metrics", joined(metrics)),
        *(
            _Section(
                title.lower(), title, htmlevidence.changes(size, title, one, heads, quiet=True)
            )
            for title, one in facts
        ),
        _Section("code", "Code", code),
        _Section("inputs", "Inputs", inputs),
        _Section("details", "Where it differs", htmlartifacts.details(size, report.artifacts)),
        _Section("notes", "Notes", size.items(report.notes)),
    )
    return _document(size, _diff_head(report), sections)


def _diff_head(report: DiffReport) -> _Head:
    deciding = [one.difference.verdict for one in report.artifacts if one.decides]
    worst = max(deciding, default=Verdict.IDENTICAL)
    verdict = worst if report.same else max(worst, Verdict.CLOSE)  # files may be equal, facts not
    return _Head(
        kind="two runs compared",
        verdict=verdict,
        sign=SYMBOLS[Verdict.IDENTICAL if report.same else Verdict.DRIFTED],
        word="no difference" if report.same else "different",
        subject=f"{report.a} → {report.b}",
        meaning=f"the files: {worst}" if deciding else "no file was compared that decides",
        inside=Html(""),
    )


def _document(size: Size, head: _Head, sections: Sequence[_Section]) -> str:
    shown = [one for one in sections if one.inside]
    links = "".join(f"<li><a href='#{one.name}'>{escaped(one.title)}</a></li>" for one in shown)
    body = "".join(
        f"<section id='{one.name}' aria-labelledby='h-{one.name}'>"
        f"<h2 id='h-{one.name}'>{escaped(one.title)}</h2>{one.inside}</section>"
        for one in shown
    )
    title = f"{head.word}: {head.subject}"
    nav = f"<nav aria-label='Sections'><ul>{links}</ul></nav>" if links else ""
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='color-scheme' content='light dark'>"
        "<meta name='referrer' content='no-referrer'><link rel='icon' href='data:,'>"
        f"<title>{escaped(title, 200)} · mlrepro</title><style>{_style()}</style></head>"
        f"<body class='{kind_of(head.verdict)}'>"
        "<a class='skip' href='#main'>Skip to the report</a>"
        f"<header><p class='eyebrow'>mlrepro · {escaped(head.kind)}</p>"
        f"<h1><span class='word'><span aria-hidden='true'>{head.sign}</span>"
        f" {escaped(head.word)}</span> <span class='subject'>{size.text(head.subject)}</span></h1>"
        f"<p class='meaning'>{size.text(head.meaning)}</p>{head.inside}</header>"
        f"{nav}<main id='main'>{body}</main>"
        "<footer><p>Made by mlrepro. The page needs no network and runs no script.</p></footer>"
        "</body></html>\n"
    )


@cache
def _style() -> str:
    return resources.files("mlrepro.present").joinpath("page.css").read_text("utf-8")


def _capital(said: str) -> str:
    """Begin a sentence with a capital, but not where it begins with a file's name."""
    return said if said.partition(" ")[0].endswith(":") else said[:1].upper() + said[1:]
