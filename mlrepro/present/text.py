"""Text: values for a person at a terminal; plain where it is piped."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mlrepro.commands.diff import DiffReport
from mlrepro.commands.expectations import Preflight
from mlrepro.commands.fitlist import FitList
from mlrepro.commands.gc import Removed
from mlrepro.commands.health import Health
from mlrepro.commands.inputlist import InputList
from mlrepro.commands.listing import Row, Shown
from mlrepro.commands.lock import Locked
from mlrepro.commands.sharing import Shared
from mlrepro.commands.verify import Finding, State, Verified
from mlrepro.drift import ArtifactDrift, Change, Difference, DriftReport, Noise, Verdict
from mlrepro.manifest import Input, Manifest, Source
from mlrepro.present import (
    attributiontable,
    difftable,
    fittable,
    health,
    inputtable,
    locktable,
    noisetable,
    predictiontable,
    preflight,
    wording,
)

_STYLES = {
    Verdict.IDENTICAL: "bold green",
    Verdict.EQUIVALENT: "green",
    Verdict.CLOSE: "yellow",
    Verdict.DRIFTED: "bold red",
    Verdict.MISSING: "bold red",
}
_STATES = {
    State.OK: "green",
    State.EDITED: "yellow",
    State.DRIFTED: "bold red",
    State.ABSENT: "yellow",
    State.LOST: "bold red",
    State.INTERRUPTED: "bold red",
}
_MOST_METADATA = 6
_MOST_CHILDREN = 8
_MOST_CHANGES = 12
_NARROW = 80


def render(value: Any, *, width: int | None = None, color: bool = False) -> str:
    """Return the text of anything that a command returns.

    Parameters
    ----------
    value : object
        A report, a manifest, a tuple of rows.
    width : int, optional
        Columns of the terminal; wide enough never to cut a line where None (piped).
    color : bool
        Whether to use colours.
    """
    console = Console(
        file=io.StringIO(),
        width=width or 10_000,
        force_terminal=color,
        color_system="auto" if color else None,
        highlight=False,
        soft_wrap=width is None,
        legacy_windows=False,
    )
    for kind, write in _WRITERS:
        if isinstance(value, kind):
            write(console, value)
            break
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines())


def _drift(console: Console, report: DriftReport) -> None:
    name = f" ({report.name})" if report.name else ""
    console.print(_assemble("rebuilt ", (report.run[:12], "bold"), escape(name)))
    if report.environment_used:
        console.print(_text(f"environment: {report.environment_used}"), soft_wrap=True)
    _changes(console, "code", report.code)
    _changes(console, "environment", report.environment)
    _changes(console, "inputs", report.inputs)
    _changes(console, "training", report.training)
    _artifacts(console, report.artifacts)
    predictiontable.write(console, report)
    for note in report.notes:
        _note(console, note)
    noisetable.write_below(console, report)
    if report.attribution:
        attributiontable.write(console, report.attribution)
    console.print(
        _assemble(
            "verdict: ",
            (str(report.verdict), _STYLES[report.verdict]),
            f" · {wording.meaning(report)}",
        )
    )
    console.print(f"trained in {report.seconds:.1f} s (recorded: {report.recorded_seconds:.1f} s)")
    if report.room:
        console.print(_text(f"the clean room is kept: {report.room}"), soft_wrap=True)


def _diff(console: Console, report: DiffReport) -> None:
    console.print(_assemble((report.a, "bold"), " → ", (report.b, "bold")))
    difftable.write_code(console, report)
    _changes(console, "environment", report.environment)
    difftable.write_inputs(console, report)
    _changes(console, "params", report.params)
    _changes(console, "training", report.training)
    difftable.write_metrics(console, report)
    _artifacts(console, report.artifacts, moved="there")
    for note in report.notes:
        _note(console, note)
    console.print("no difference" if report.same else "different")


def _note(console: Console, note: str) -> None:
    grid = Table.grid()
    grid.add_row("note: ", _text(note))
    console.print(grid)


def _changes(console: Console, title: str, changes: Sequence[Change]) -> None:
    if not changes:
        return
    verb = "differ" if title.endswith("s") else "differs"
    console.print(_text(f"{title} {verb}:", style="bold"))
    for change in changes[:_MOST_CHANGES]:
        _below(console, 2, _code_change(change) if title == "code" else _change(change))
    if len(changes) > _MOST_CHANGES:
        _below(console, 2, f"… and {len(changes) - _MOST_CHANGES} more (--json lists all)")


def _change(change: Change) -> str:
    return f"{change.what}: {wording.brief(f'{change.recorded} → {change.current}')}"


def _code_change(change: Change) -> str:
    words = {"absent": " (added)"}.get(change.recorded, "")
    return change.what + (words or {"absent": " (removed)"}.get(change.current, ""))


def _artifacts(
    console: Console, artifacts: Sequence[ArtifactDrift], *, moved: str = "rebuilt as"
) -> None:
    widest = max((len(a.path) for a in artifacts), default=0)
    apart = console.width < _NARROW or widest > console.width // 2
    for one in artifacts:
        found = one.difference
        shown = "" if one.decides else " (shown only)"
        name = f" ({moved} {one.rebuilt_path})" if one.rebuilt_path else ""
        said = _text(f"{_summary(found)}{name}{shown}")
        word = _text(str(found.verdict), style=_STYLES[found.verdict])
        row = Table.grid(padding=(0, 2, 0, 0))
        row.add_column(min_width=0 if apart else widest)
        row.add_column(min_width=10, no_wrap=True)
        row.add_row(_text(one.path), word, *(() if apart else (said,)))
        console.print(Padding(row, (0, 0, 0, 2)))
        if apart and said:
            _below(console, 6, said)
        if found.verdict is not Verdict.IDENTICAL:
            _details(console, found)


def _summary(found: Difference) -> str:
    kind = f"[{found.comparator}] " if found.comparator else ""
    return f"{kind}{wording.brief(found.summary)}"


def _details(console: Console, found: Difference, indent: int = 6) -> None:
    for measure in found.measures:
        unit = f" {measure.unit}" if measure.unit else ""
        named = "at" if "largest" in measure.name else "largest at"
        where = f", {named} {measure.where}" if measure.where else ""
        _below(console, indent, f"{measure.name}: {measure.value:.3g}{unit}{where}")
    if found.first:
        _below(console, indent, f"first divergence: {wording.brief(found.first)}")
    worst = sorted(_told_apart(found), key=lambda child: -child.verdict)
    for child in worst[:_MOST_CHILDREN]:
        known = child.first and child.summary in found.summary.split("; ")
        why = wording.brief(child.first if known else child.summary or child.first)
        _below(console, indent, f"{child.path}: {child.verdict}{f' · {why}' if why else ''}")
    if len(worst) > _MOST_CHILDREN:
        _below(console, indent, f"… and {len(worst) - _MOST_CHILDREN} more")
    for line in found.metadata[:_MOST_METADATA]:
        told = _text(f"set aside: {line.replace(', set aside)', ')')}", style="dim")
        _below(console, indent, told)
    if len(found.metadata) > _MOST_METADATA:
        _below(console, indent, f"… and {len(found.metadata) - _MOST_METADATA} more set aside")


def _told_apart(found: Difference) -> Iterable[Difference]:
    """Yield the parts that differ and that the first divergence has not told already."""
    for child in found.children:
        told = f"{child.path}: {child.summary or child.first}" == found.first
        if child.verdict > Verdict.EQUIVALENT and not told and not _repeats(child, found):
            yield child


def _repeats(child: Difference, found: Difference) -> bool:
    """Whether a part says what stands above it already, in these words or one tree at a time."""
    known = f"{found.summary} {found.first}"
    if child.runs:
        return set(_DIGITS.findall(child.summary)) <= set(_DIGITS.findall(known))
    return child.summary in found.summary.split("; ") and child.first == found.first != ""


def _below(console: Console, indent: int, line: str | Text) -> None:
    """Print a line that keeps its indent where it is wrapped."""
    text = _text(line) if isinstance(line, str) else line
    console.print(Padding(text, (0, 0, 0, indent)))


def _text(value: str, style: str = "") -> Text:
    """Return text without control characters: a stranger's record must not move the cursor."""
    return Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", value), style=style)


def _assemble(*parts: str | tuple[str, str]) -> Text:
    pairs = ((part, "") if isinstance(part, str) else part for part in parts)
    return Text.assemble(*(_text(*pair) for pair in pairs))


_DIGITS = re.compile(r"\d+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _with_lock(console: Console, shown: Shown) -> None:
    later = (("rebuilt", shown.rebuilt), ("noise", noisetable.in_brief(shown.noise)))
    _manifest(console, shown.record, lock=shown.lock, later=later)


def _manifest(
    console: Console,
    record: Manifest,
    *,
    lock: str = "",
    later: Sequence[tuple[str, str]] = (),
) -> None:
    run = record.run
    rows = [
        ("run", record.id),
        ("name", run.name),
        ("message", run.message),
        ("command", shlex.join(run.command)),
        ("directory", run.directory),
        ("status", _status(record)),
        ("started", f"{_local(run.started)}, took {run.seconds:.1f} s"),
        ("author", run.author),
        ("code", _code(record)),
        ("python", _python(record)),
        ("lock", lock),
        ("machine", _machine(record)),
        ("threads", ", ".join(f"{t.api} {t.threads}" for t in record.threads)),
        ("observer", record.observer),
        *later,
    ]
    table = _grid()
    for name, value in rows:
        if value:
            table.add_row(_text(name, style="dim"), _text(value))
    console.print(table)
    _values(console, "params", record.params)
    _values(console, "metrics", record.metrics)
    _files(
        console,
        "made",
        ((a.path, a.role.value, a.kept.value, str(a.digest)) for a in record.artifacts),
    )
    fittable.write_shown(console, record)
    _inputs(console, record.inputs)
    _files(console, "built upon", ((p.path, p.run[:12], "", "") for p in record.parents))
    if record.blind_spots:
        console.print(_text("could not be seen:", style="bold"))
        for sentence in record.blind_spots:
            console.print(_text(f"  {sentence}"))


def _inputs(console: Console, inputs: Iterable[Input]) -> None:
    rows = (
        (
            i.path,
            i.source.value if i.source is not Source.CODE else "git",
            i.grade.value,
            str(i.digest or ""),
        )
        for i in inputs
    )
    _files(console, "read", rows)


def _files(console: Console, title: str, rows: Iterable[tuple[str, ...]]) -> None:
    found = list(rows)
    if not found:
        return
    console.print(_text(f"{title}:", style="bold"))
    table = _grid()
    for row in found:
        table.add_row("", *(_text(cell) for cell in row))
    console.print(table)


def _values(console: Console, title: str, values: Any) -> None:
    if not values:
        return
    console.print(_text(f"{title}:", style="bold"))
    for source, pairs in values.items():
        line = " ".join(f"{name}={value}" for name, value in _flat("", pairs))
        _below(console, 2, f"{source}: {line}")


def _flat(prefix: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _flat(f"{prefix}.{name}" if prefix else str(name), below)
    else:
        yield prefix, f"{value:.6g}" if isinstance(value, float) else value


def _status(record: Manifest) -> str:
    run = record.run
    if run.signal is not None:
        return f"{run.status.value} (signal {run.signal})"
    code = f" (exit code {run.exit_code})" if run.exit_code else ""
    return f"{run.status.value}{code}"


def _code(record: Manifest) -> str:
    code = record.code
    if code is None:
        return "not recorded"
    changed = f", {len(code.modified)} modified" if code.modified else ""
    extra = f", {len(code.untracked)} untracked" if code.untracked else ""
    edited = f", {len(code.edits)} edited while it ran" if code.edits else ""
    base = f"{code.commit[:12]} on {code.branch or 'no branch'}" if code.commit else "no commit yet"
    if code.shadow:
        base = f"no git; kept in .mlrepro/code.git as {code.tree[:12]}"
    return f"{base}{changed}{extra}{edited}"


def _python(record: Manifest) -> str:
    env = record.environment
    if not env.python:
        return "not recorded"
    known = ", ".join(f"{n} {v}" for n, v in list(env.packages.items())[:6])
    return f"{env.python}, {env.count} packages" + (f" ({known})" if known else "")


def _machine(record: Manifest) -> str:
    machine = record.platform
    cores = f"{machine.affinity} of {machine.cores} cores"
    return f"{machine.cpu or machine.machine}, {cores}, {machine.system}"


# Name, least width of the terminal that has room for it, and least width of the column.
_COLUMNS = (
    ("run", 0, 12),
    ("started", 0, 10),
    ("status", 0, 11),
    ("took", 90, 7),
    ("name", 60, 0),
    ("made", 80, 0),
    ("metrics", 110, 0),
    ("command", 0, 0),
)


def _rows(console: Console, rows: Sequence[Row]) -> None:
    shown = [(n, least) for n, room, least in _COLUMNS if console.width >= room]
    if not any(row.name for row in rows):
        shown = [(name, least) for name, least in shown if name != "name"]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, least in shown:
        table.add_column(name, overflow="ellipsis", no_wrap=True, min_width=least or None)
    for row in rows:
        cells = {
            "run": row.id[:12],
            "started": _local(row.started)[: 16 if console.width >= _NARROW else 10],
            "status": row.status.value,
            "took": f"{row.seconds:.1f} s",
            "name": row.name,
            "made": " ".join(row.artifacts),
            "metrics": row.metrics,
            "command": row.command,
        }
        table.add_row(*(_text(cells[name]) for name, _least in shown))
    console.print(table)


def _verified(console: Console, found: Sequence[Verified]) -> None:
    for one in found:
        name = f" ({one.name})" if one.name else ""
        console.print(_assemble((one.run[:12], "bold"), name))
        widest = max((len(_named(f)) for f in one.findings), default=0)
        for finding in one.findings:
            console.print(
                _assemble(
                    f"  {finding.kind:<8}  {_named(finding):<{widest}}  ",
                    (finding.state.value, _STATES[finding.state]),
                )
            )
    good = sum(one.ok for one in found)
    console.print(f"{good} of {len(found)} runs are as recorded and to be had")


def _named(finding: Finding) -> str:
    return finding.path[:12] if finding.kind == "code" else finding.path


def _shared(console: Console, shared: Shared) -> None:
    runs, objects = _count(shared.runs, "run"), _count(shared.objects, "object")
    console.print(f"{shared.remote}: {runs}, {objects}")
    for path in shared.unreachable:
        console.print(_text(f"not sent: {path} was only named; a colleague has to have it"))


def _removed(console: Console, removed: Removed) -> None:
    for path in (*removed.environments, *removed.rooms):
        console.print(_text(f"removed {path}"), soft_wrap=True)
    gone = [_count(len(removed.environments), "environment"), _count(len(removed.rooms), "room")]
    busy = f", {removed.busy} of them in use" if removed.busy else ""
    console.print(
        f"removed {' and '.join(gone)}, freed {removed.freed / 1e6:.1f} MB;"
        f" {_count(removed.kept, 'environment')} kept{busy}"
    )


def _sequence(console: Console, rows: Sequence[Any]) -> None:
    if rows and isinstance(rows[0], Verified):
        _verified(console, rows)
    elif rows:
        _rows(console, rows)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _grid() -> Table:
    return Table.grid(padding=(0, 2))


def _local(stamp: str) -> str:
    try:
        moment = datetime.fromisoformat(stamp.replace("Z", "+00:00"))
    except ValueError:
        return stamp
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


_WRITERS: Sequence[tuple[type, Any]] = (
    (DriftReport, _drift),
    (DiffReport, _diff),
    (Manifest, _manifest),
    (Shared, _shared),
    (InputList, inputtable.write),
    (FitList, fittable.write),
    (Preflight, preflight.write),
    (Noise, noisetable.write),
    (Locked, locktable.write),
    (Shown, _with_lock),
    (Health, health.write),
    (Removed, _removed),
    (tuple, _sequence),
)
