"""CLI: parse, call one command, present, exit.

Commands are imported when they are called: `mlrepro --help` starts in 0.15 s.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from mlrepro.errors import InternalError, MlreproError, UsageError

_EPILOG_EXIT = "Exit codes: {}"


def entry() -> None:
    """Run the command line; a mistake of the user's is one sentence and a hint."""
    try:
        main(prog_name="mlrepro", standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("mlrepro: interrupted", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
    except Exception as error:
        if "MLREPRO_TRACEBACK" in os.environ:
            raise
        _fail(_translated(error))


def _translated(error: Exception) -> MlreproError:
    if isinstance(error, MlreproError):
        return error
    if isinstance(error, click.UsageError) and error.ctx:
        hint = f"`{error.ctx.command_path} --help` shows how."
        return UsageError(error.format_message().rstrip("."), hint=hint)
    if isinstance(error, click.ClickException):
        return UsageError(error.format_message().rstrip("."))
    if isinstance(error, OSError):
        where = f" `{error.filename}`" if error.filename else ""
        return MlreproError(f"{error.strerror or error}{where}")
    return InternalError(f"{type(error).__name__}: {error}")


def _fail(error: MlreproError) -> None:
    _tell(error)
    sys.exit(error.exit_code)


def _alias(command: click.Command) -> click.Command:
    """Return a command that is not listed a second time."""
    twin = copy.copy(command)
    twin.hidden = True
    return twin


def _example(*lines: str, codes: str = "0 done · 1 failed · 2 usage") -> str:
    shown = "\n".join(f"  {line}" for line in lines)
    return f"\b\nExamples:\n{shown}\n\n" + _EPILOG_EXIT.format(codes)


class _Duration(click.ParamType):  # type: ignore[type-arg]  # click before 8.4 has no argument
    """Seconds, from ``90``, ``90s``, ``30m`` or ``2h``."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        if isinstance(value, float):
            return value
        unit = {"s": 1, "m": 60, "h": 3600}.get(str(value)[-1:], 0)
        number = str(value)[:-1] if unit else str(value)
        if not number.replace(".", "", 1).isdecimal():
            self.fail(f"not a time: {value!r}; say 90s, 30m or 2h", param, ctx)
        return float(number) * (unit or 1)


class _Limit(click.ParamType):  # type: ignore[type-arg]  # as above
    """A metric and the least that it has to be: ``auc=0.93``."""

    name = "limit"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, float]:
        if isinstance(value, tuple):
            return value
        metric, _, limit = str(value).rpartition("=")
        try:
            number = float(limit)
        except ValueError:
            number = math.nan
        if not metric.strip():
            self.fail("say METRIC=VALUE", param, ctx)
        if not math.isfinite(number):
            self.fail(f"not a number: {limit!r}; say METRIC=VALUE", param, ctx)
        return metric.strip(), number


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
_rtol = click.option(
    "--rtol",
    type=click.FloatRange(min=0),
    metavar="NUMBER",
    help="Relative tolerance of every number.",
)
_atol = click.option(
    "--atol",
    type=click.FloatRange(min=0),
    metavar="NUMBER",
    default=1e-12,
    show_default=True,
    help="Absolute tolerance of every number.",
)
_seed_param = click.option(
    "--seed-param", default="", metavar="NAME",
    help="How the seed is passed: `--seed`, `seed=`, `params.yaml:train.seed`, `lightgbm:seed` …;"
    " found in the recorded parameters otherwise.",
)  # fmt: skip


def _in_a_folder(_ctx: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Refuse a page that cannot be written before a training, not after it."""
    if path is not None and not os.access(path.parent, os.W_OK | os.X_OK):
        raise click.BadParameter(f"the folder `{path.parent}` is not there, or is not writable")
    return path


_html = click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    callback=_in_a_folder,
    help="Also write the report as one page for a browser; it needs no network.",
)  # fmt: skip
_yes = click.option("--yes", "-y", is_flag=True, help="Say yes to every question (for scripts).")


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_example(
        "mlrepro init",
        "mlrepro run python train.py --lr 0.1",
        "mlrepro rebuild model.txt",
        codes="each command's --help tells its own.",
    ),
)
@click.version_option(package_name="mlrepro", prog_name="mlrepro")
def main() -> None:
    """Record how a model came to be, make it again, and say how far the numbers moved."""


@main.command(
    short_help="Make this folder ready: git, DVC, the git hook.",
    epilog=_example("mlrepro init", "mlrepro init --no-hook", codes="0 ready · 2 usage"),
)
@click.option("--no-hook", is_flag=True, help="Leave the git hook out.")
@_json
def init(no_hook: bool, as_json: bool) -> None:
    """Make this folder ready: git, DVC, the git hook. Safe to repeat."""
    from mlrepro.commands.init import init as command

    done = command(with_hook=not no_hook)
    if as_json:
        _print({"done": done}, as_json=True)
        return
    for sentence in done or ("all was ready",):
        click.echo(sentence)


@main.command(
    short_help="Run a training and record it.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    epilog=_example(
        "mlrepro run python train.py --lr 0.1",
        "mlrepro run -n baseline -m 'first try' -- make train",
        codes="the command's own · 126/127 it cannot start · 125 mlrepro itself failed",
    ),
)
@click.option("-n", "--name", default="", help="A name for the run.")
@click.option("-m", "--message", default="", help="Why it was run.")
@click.option("-i", "--input", "inputs", multiple=True, metavar="GLOB", help="Also an input.")
@click.option("-o", "--output", "outputs", multiple=True, metavar="GLOB", help="Also an output.")
@click.option("--no-keep", is_flag=True, help="Write the ledger only: no pointer, no manifest.")
@click.option(
    "--observer",
    type=click.Choice(["auto", "native", "audit", "scan", "off"]),
    default="auto",
    show_default=True,
    help="Who watches what is read and written.",
)
@click.option(
    "--repeats", type=click.IntRange(min=2), metavar="N",
    help="Then train N - 1 times more in a clean room, to learn how far this training moves by"
    " itself.",
)  # fmt: skip
@click.option(
    "--seeds", type=click.IntRange(min=2), metavar="K",
    help="Then train with K other seeds, to learn what another seed changes.",
)  # fmt: skip
@_seed_param
@click.argument("command", nargs=-1, type=click.UNPROCESSED, required=True)
def run(
    name: str,
    message: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    no_keep: bool,
    observer: str,
    repeats: int | None,
    seeds: int | None,
    seed_param: str,
    command: Sequence[str],
) -> None:
    """Run COMMAND and record how it made its model. Nothing about COMMAND changes."""
    from mlrepro.capture.work import Options
    from mlrepro.commands.run import run as start
    from mlrepro.present import outcome

    options = Options(name, message, tuple(inputs), tuple(outputs), not no_keep, observer)
    result = start(command, options=options, notify=_say)
    # Nobody may read any more (`2>&1 | head -1`): the status is the command's own all the same.
    with contextlib.suppress(OSError):
        for line in outcome.lines(result):
            _say(line)
    if (repeats or seeds) and result.exit_code == 0 and result.recorded:
        _calibrated_after(result.recorded, repeats or 0, seeds or 0, seed_param)
    sys.exit(result.exit_code)


def _calibrated_after(recorded: Any, repeats: int, seeds: int, seed_param: str) -> None:
    """Repeat what was just recorded; a failure is told, and the status stays the command's own."""
    from mlrepro.commands.calibrate import calibrate as command
    from mlrepro.present import progress

    if not recorded.in_ledger:
        _say("not repeated: the run could not be recorded")
        return
    try:
        with progress.shown() as notify:
            found = command(
                recorded.manifest.id, repeats=repeats, seeds=seeds, seed_param=seed_param,
                recorded_counts=True, notify=notify,
            )  # fmt: skip
            notify("")
        _print(found, err=True)
    except MlreproError as error:
        _tell(error)


@main.command(
    short_help="Train again and report the drift.",
    epilog=_example(
        "mlrepro rebuild model.txt",
        "mlrepro rebuild last --rtol 1e-5",
        "mlrepro rebuild --dry-run model.txt",
        "mlrepro rebuild --explain --max-time 30m --html drift.html model.txt",
        "mlrepro rebuild --fail-under auc=0.93 model.txt",
        "git bisect run mlrepro rebuild --code head 3f9a2c01b4de",
        codes="0 identical, equivalent or close · 1 drifted or missing · 2 usage · "
        "125 could not be told. Of several REFs the first that holds: 2, 1, 125, 0.",
    ),
)
@click.argument("refs", nargs=-1, required=True, metavar="REF...")
@click.option(
    "--code", type=click.Choice(["recorded", "head"]), default="recorded", show_default=True,
    help="Train with the recorded code, or with that of HEAD.",
)  # fmt: skip
@click.option(
    "--threads", type=click.Choice(["recorded", "current"]), default="recorded", show_default=True,
    help="Size of the thread pools.",
)  # fmt: skip
@click.option(
    "--env", "env", type=click.Choice(["lock", "current"]), default="lock", show_default=True,
    help="Train in the recorded environment, made from its lock, or in the active one;"
    " every difference is named.",
)  # fmt: skip
@_rtol
@_atol
@click.option("--exact", is_flag=True, help="Every artifact decides, and only identical passes.")
@click.option("--keep-room", is_flag=True, help="Leave the clean room behind.")
@click.option(
    "--dry-run", is_flag=True,
    help="Train nothing: say what can be expected here, and why. Exit code 0 or 125.",
)  # fmt: skip
@click.option(
    "--explain", is_flag=True,
    help="If it drifts, change one factor at a time until the recorded result comes back.",
)  # fmt: skip
@click.option(
    "--max-time", type=_Duration(), metavar="TIME",
    help="With --explain: begin no training after so long (`90s`, `30m`, `2h`); the same command"
    " goes on from there.",
)  # fmt: skip
@click.option(
    "--probe-data", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
    help="Rows that both models are asked about where they differ: CSV or parquet with a header.",
)  # fmt: skip
@click.option(
    "--fail-under", "gates", type=_Limit(), multiple=True, metavar="METRIC=VALUE",
    help="Exit with 1 if the rebuilt METRIC is lower; says by how many standard errors.",
)  # fmt: skip
@click.option("--sign", is_flag=True, help="Sign the record of this rebuild, as git signs commits.")
@_html
@_yes
@_json
def rebuild(
    refs: Sequence[str],
    code: str,
    threads: str,
    env: str,
    rtol: float | None,
    atol: float,
    exact: bool,
    keep_room: bool,
    dry_run: bool,
    explain: bool,
    max_time: float | None,
    probe_data: Path | None,
    gates: Sequence[tuple[str, float]],
    sign: bool,
    html: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Train the model at REF again in a clean room, and report how far the numbers moved.

    REF is a weights file, a manifest, a run id or its prefix, a run name, or `last`.
    """
    if dry_run:
        _preflight(refs, env=env, head=code == "head", threads=threads == "recorded", json=as_json)
        return
    if html and len(refs) > 1:
        raise click.UsageError("--html takes one REF")
    if max_time is not None and not explain:
        raise click.UsageError("--max-time goes with --explain")
    from mlrepro.commands.rebuild import How, Search, exit_code
    from mlrepro.commands.rebuild import rebuild_all as command
    from mlrepro.drift import Tolerance
    from mlrepro.present import progress

    how = How(
        code == "head", threads == "recorded", Tolerance(rtol, atol, exact), keep_room, env,
        probe_data=probe_data, gates=tuple(gates), sign=sign,
    )  # fmt: skip
    search = Search(max_time) if explain else None
    outcomes: list[Any] = []
    with progress.shown() as notify:
        confirm = _confirm_foreign(yes, before=lambda: notify(""))
        for outcome in command(refs, how=how, search=search, confirm=confirm, notify=notify):
            outcomes.append(outcome)
            notify("")
            _shown(outcome, html=html, text=not as_json)
    if as_json:
        _printed_reports(outcomes, alone=len(refs) == 1)
    sys.exit(exit_code(outcomes, exact=exact))


def _printed_reports(outcomes: Sequence[Any], *, alone: bool) -> None:
    reports = [one for one in outcomes if not isinstance(one, MlreproError)]
    for one in outcomes:
        _tell(one)
    if reports:
        _print(reports[0] if alone else tuple(reports), as_json=True)


main.add_command(_alias(rebuild), "rerun")


def _preflight(refs: Sequence[str], *, env: str, head: bool, threads: bool, json: bool) -> None:
    """Say what can be expected of rebuilds, and exit with 125 if one of them is impossible."""
    from mlrepro.commands.preflight import preflight as command

    found = []
    for ref in refs:
        found.append(command(ref, env=env, head=head, threads=threads, notify=_say))
        if not json:
            _print(found[-1])
    if json:
        _print(found[0] if len(refs) == 1 else tuple(found), as_json=True)
    sys.exit(0 if all(one.ok for one in found) else 125)


@main.command(
    short_help="Compare two runs, or a run and the working tree.",
    epilog=_example(
        "mlrepro diff model.txt",
        "mlrepro diff baseline last",
        "mlrepro diff baseline last --html diff.html",
        codes="0 the same · 1 different · 2 usage · 125 could not be told",
    ),
)
@click.argument("a")
@click.argument("b", required=False)
@_rtol
@_atol
@_html
@_json
def diff(
    a: str, b: str | None, rtol: float | None, atol: float, html: Path | None, as_json: bool
) -> None:
    """Compare run A with run B, or with the working tree: artifacts, code, inputs, params."""
    from mlrepro.commands.diff import diff as command
    from mlrepro.drift import Tolerance

    report = command(a, b, tolerance=Tolerance(rtol, atol), notify=_say)
    _print(report, as_json=as_json)
    if html:
        _write_page(html, report)
    sys.exit(0 if report.same else 1)


@main.command(
    short_help="Measure how far a training moves by itself.",
    epilog=_example(
        "mlrepro calibrate model.txt",
        "mlrepro calibrate model.txt --repeats 5 --seeds 10",
        "mlrepro calibrate last --seeds 10 --seed-param params.yaml:train.seed",
        codes="0 measured · 2 usage · 125 it could not be repeated",
    ),
)
@click.argument("ref", default="last")
@click.option(
    "--repeats", type=click.IntRange(min=0), default=2, show_default=True, metavar="N",
    help="Trainings in a clean room with nothing changed.",
)  # fmt: skip
@click.option(
    "--seeds", type=click.IntRange(min=0), default=0, show_default=True, metavar="K",
    help="Trainings with another seed each.",
)  # fmt: skip
@_seed_param
@_yes
@_json
def calibrate(
    ref: str, repeats: int, seeds: int, seed_param: str, yes: bool, as_json: bool
) -> None:
    """Train REF again and again on this machine: its noise floor, and what another seed changes.

    The result is kept in the ledger, and `rebuild` sets every drift against it.
    """
    from mlrepro.commands.calibrate import calibrate as command
    from mlrepro.present import progress

    with progress.shown() as notify:
        confirm = _confirm_foreign(yes, before=lambda: notify(""))
        found = command(
            ref, repeats=repeats, seeds=seeds, seed_param=seed_param, confirm=confirm,
            notify=notify,
        )  # fmt: skip
        notify("")
    _print(found, as_json=as_json)


@main.command(
    short_help="Check without training what a run needs.",
    epilog=_example(
        "mlrepro verify",
        "mlrepro verify model.txt",
        codes="0 all is there · 1 something drifted or is lost · 2 usage",
    ),
)
@click.argument("refs", nargs=-1, metavar="[REF]...")
@_json
def verify(refs: Sequence[str], as_json: bool) -> None:
    """Check without training whether all that REF names is unchanged and to be had."""
    from mlrepro.commands.verify import verify as command

    found = command(tuple(refs), notify=_say)
    _print(found, as_json=as_json)
    sys.exit(0 if all(one.ok for one in found) else 1)


@main.command(
    short_help="Look whether this machine and repository are fit.",
    epilog=_example("mlrepro doctor", codes="0 fit, maybe with warnings · 1 something fails"),
)
@_json
def doctor(as_json: bool) -> None:
    """Look whether this machine and this repository are fit: git, DVC, uv, the observer, space."""
    from mlrepro.commands.doctor import doctor as command

    found = command()
    _print(found, as_json=as_json)
    sys.exit(0 if found.ok else 1)


@main.command(
    short_help="Print a run in a form that needs no mlrepro.",
    epilog=_example(
        "mlrepro export model.txt --script > rebuild.sh",
        "mlrepro export model.txt --pylock > pylock.toml",
        "mlrepro export model.txt --attestation > rebuilds.intoto.jsonl",
        codes="0 printed · 1 failed · 2 usage · 125 it cannot be rebuilt",
    ),
)
@click.argument("ref")
@click.option(
    "--script", "form", flag_value="script",
    help="A plain shell script that rebuilds by hand, with git, DVC and uv.",
)  # fmt: skip
@click.option(
    "--pylock", "form", flag_value="pylock",
    help="The environment as pylock.toml (PEP 751), for other installers; asks the index.",
)  # fmt: skip
@click.option(
    "--attestation", "form", flag_value="attestation",
    help="Its rebuilds as in-toto statements, one in a line.",
)  # fmt: skip
def export(ref: str, form: str | None) -> None:
    """Print the run REF in a form that needs no mlrepro: a script, the environment, rebuilds."""
    if form is None:
        raise click.UsageError("say what is wanted: --script, --pylock or --attestation")
    if form == "attestation":
        from mlrepro.commands.attestations import statements

        click.echo(statements(Path.cwd(), ref, notify=_say), nl=False)
        return
    if form == "pylock":
        from mlrepro.commands.exportlock import pylock

        click.echo(pylock(Path.cwd(), ref, notify=_say))
        return
    from mlrepro.commands.exportscript import script

    found = script(ref, notify=_say)
    for note in found.notes:
        _say(note)
    click.echo(found.text.encode(), nl=False)  # in UTF-8, whatever the terminal speaks


@main.command(
    "ls",
    short_help="List the recorded runs.",
    epilog=_example("mlrepro ls", "mlrepro ls --name baseline --json", codes="0 listed · 2 usage"),
)
@click.option("--name", default="", help="Only runs of this name.")
@click.option(
    "--status",
    type=click.Choice(["completed", "failed", "interrupted"]),
    help="Only runs that ended so.",
)
@click.option("--artifact", default="", metavar="PATH", help="Only runs that made this file.")
@click.option("-n", "most", type=click.IntRange(min=1), help="At most this many.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV instead of text.")
@_json
def list_runs(
    name: str, status: str | None, artifact: str, most: int | None, as_csv: bool, as_json: bool
) -> None:
    """List the recorded runs, newest first."""
    from mlrepro.commands.listing import ls

    rows = ls(name=name, status=status or "", artifact=artifact, most=most)
    if as_csv:
        from mlrepro.present import data

        click.echo(data.to_csv(rows))
    else:
        _print(rows, as_json=as_json)


@main.command(
    short_help="Show the record of a run.",
    epilog=_example(
        "mlrepro show model.txt",
        "mlrepro show --inputs model.txt",
        "mlrepro show --fits model.txt",
        "mlrepro show last --json",
        codes="0 listed · 2 usage",
    ),
)
@click.argument("ref", default="last")
@click.option(
    "--inputs", "only_inputs", is_flag=True,
    help="All that the run read: how each file was seen, and how far its digest is known.",
)  # fmt: skip
@click.option(
    "--fits", "only_fits", is_flag=True,
    help="All that the run trained: every parameter in effect, and the history of the scores.",
)  # fmt: skip
@_json
def show(ref: str, only_inputs: bool, only_fits: bool, as_json: bool) -> None:
    """Show the record of a run."""
    if only_inputs and only_fits:
        raise click.UsageError("--inputs and --fits do not go together")
    if only_fits:
        from mlrepro.commands.fitlist import fits

        _print(fits(ref, notify=_say), as_json=as_json)
        return
    if only_inputs:
        from mlrepro.commands.inputlist import inputs

        _print(inputs(ref, notify=_say), as_json=as_json)
        return
    from mlrepro.commands import listing

    _print(listing.shown(ref), as_json=as_json)


@main.command(
    "lock",
    short_help="Lock the environment of a run, with hashes.",
    epilog=_example(
        "mlrepro lock",
        "mlrepro lock model.txt",
        codes="0 every package is hashed · 1 some are not, or none could be · 2 usage",
    ),
)
@click.argument("ref", default="last")
@_json
def lock_(ref: str, as_json: bool) -> None:
    """Lock the environment that the run REF had: every package with the hashes of its files.

    A run does so by itself while it trains, where an index answers in time. This command makes a
    lock that is missing, and asks again for the packages of which no hash is known.
    """
    from mlrepro.commands.lock import lock as command

    found = command(ref, notify=_say)
    _print(found, as_json=as_json)
    sys.exit(0 if found.whole else 1)


@main.command(
    short_help="Send runs to the remotes.",
    epilog=_example(
        "mlrepro push", "mlrepro push --yes", codes="0 sent · 1 refused or failed · 2 usage"
    ),
)
@click.argument("remote", default="")
@_yes
@_json
def push(remote: str, yes: bool, as_json: bool) -> None:
    """Send this clone's runs: records and code to the git remote, objects to the DVC remote."""
    from mlrepro.commands.sharing import push as command

    _print(command(remote=remote, confirm=_confirm_untracked(yes), notify=_say), as_json=as_json)


@main.command(
    short_help="Bring runs from the remotes.",
    epilog=_example(
        "mlrepro pull", "mlrepro pull baseline", codes="0 brought · 1 failed · 2 usage"
    ),
)
@click.argument("refs", nargs=-1, metavar="[REF]...")
@click.option("--remote", default="", help="The git remote.")
@click.option("--all", "everything", is_flag=True, help="Also the objects of every run.")
@_json
def pull(refs: Sequence[str], remote: str, everything: bool, as_json: bool) -> None:
    """Bring the runs of others, and the code and objects of the runs REF."""
    from mlrepro.commands.sharing import pull as command

    _print(command(refs, remote=remote, everything=everything, notify=_say), as_json=as_json)


@main.command(
    short_help="Remove unused environments and abandoned rooms.",
    epilog=_example("mlrepro gc", "mlrepro gc --all", codes="0 done · 1 failed · 2 usage"),
)
@click.option(
    "--all", "everything", is_flag=True,
    help="Every environment, and the rooms that --keep-room left; not what is in use.",
)  # fmt: skip
@_json
def gc(everything: bool, as_json: bool) -> None:
    """Remove from the user's cache the environments that no rebuild used for 30 days.

    Rooms that killed rebuilds left go, too. No run, object or model is touched, and the next
    rebuild makes its environment again.
    """
    from mlrepro.commands.gc import gc as command

    _print(command(everything=everything), as_json=as_json)


@main.group(short_help="Install or run the git hook.")
def hook() -> None:
    """Install or run the git hook, which refuses a commit that nobody could rebuild."""


@hook.command(epilog=_example("mlrepro hook install", codes="0 done · 1 failed · 2 usage"))
def install() -> None:
    """Install the hooks; those that are there keep working."""
    from mlrepro.commands import hook as command

    for name in command.install(_root()) or ("nothing: all was there",):
        click.echo(f"installed {name}")


@hook.command(epilog=_example("mlrepro hook uninstall", codes="0 done · 1 failed · 2 usage"))
def uninstall() -> None:
    """Remove the hooks and restore what was there."""
    from mlrepro.commands import hook as command

    for name in command.uninstall(_root()) or ("nothing: none was there",):
        click.echo(f"removed {name}")


@hook.command(
    "run",
    epilog=_example(
        "mlrepro hook run",
        "mlrepro hook run prepare-commit-msg .git/COMMIT_EDITMSG",
        codes="0 the commit may go on · 1 refused",
    ),
)
@click.argument("name", default="pre-commit")
@click.argument("arguments", nargs=-1)
@_json
def hook_run(name: str, arguments: Sequence[str], as_json: bool) -> None:
    """Do what the hook NAME does."""
    from mlrepro import githook

    if name not in ("pre-commit", "prepare-commit-msg"):
        raise click.UsageError(f"there is no hook `{name}`: pre-commit or prepare-commit-msg")
    if name == "prepare-commit-msg" and not arguments:
        raise click.UsageError("prepare-commit-msg needs the message's file")
    if not (as_json and name == "pre-commit"):
        sys.exit(githook.main([name, *arguments]))
    from mlrepro.commands import hook as command

    report = command.check(Path.cwd(), files=arguments or None)
    _print(report, as_json=True)
    sys.exit(1 if report.refusals else 0)


def _root() -> Path:
    from mlrepro.stores import git

    return git.open_repository(Path.cwd()).root


def _write_page(path: Path, report: Any) -> None:
    """Write a report as a page, beside and moved into place."""
    from mlrepro import paths
    from mlrepro.present import html

    try:
        paths.write_beside(path, html.page(report))
    except OSError as error:  # not 1, which is a drift
        raise UsageError(f"`{path}` could not be written: {error.strerror}") from error


def _print(value: Any, *, as_json: bool = False, err: bool = False) -> None:
    if as_json:
        from mlrepro.present import data

        click.echo(data.to_json(value))
        return
    from mlrepro.present import text

    terminal = (sys.stderr if err else sys.stdout).isatty()
    width = os.get_terminal_size(2 if err else 1).columns if terminal else None
    color = terminal and "NO_COLOR" not in os.environ
    shown = text.render(value, width=width or None, color=color)
    if shown:
        click.echo(shown, err=err)


def _shown(outcome: Any, *, html: Path | None, text: bool) -> None:
    """Print a report and write its page, or say why there is none."""
    if isinstance(outcome, MlreproError):
        if text:
            _tell(outcome)
        return
    if text:
        _print(outcome)
    if html:
        _write_page(html, outcome)


def _tell(outcome: Any) -> None:
    if isinstance(outcome, MlreproError):
        click.echo(f"mlrepro: {outcome}", err=True)
        if outcome.hint:
            click.echo(f"  hint: {outcome.hint}", err=True)


def _say(sentence: str) -> None:
    """Print one line of mlrepro's own; what a training prints stays its own."""
    # A closed stderr must not change a training's result.
    with contextlib.suppress(OSError):
        click.echo(f"mlrepro: {sentence}", err=True)


def _confirm_foreign(yes: bool, *, before: Callable[[], None]) -> Callable[[Any], bool]:
    """Show the command of a foreign run and ask; without a terminal only `--yes` says yes."""

    def ask(record: Any) -> bool:
        import shlex

        before()
        author = record.run.author or "somebody"
        line = f"{author} recorded: {shlex.join(record.run.command)}"
        # Control characters of a stranger could show another command than the one that runs.
        click.echo(f"mlrepro: {''.join(c if c.isprintable() else '?' for c in line)}", err=True)
        return yes or (
            sys.stdin.isatty() and click.confirm("Run it on this machine?", default=False, err=True)
        )

    return ask


def _confirm_untracked(yes: bool) -> Callable[[Sequence[tuple[str, str]]], bool]:
    def ask(files: Sequence[tuple[str, str]]) -> bool:
        click.echo(
            "mlrepro: these files, which git does not track, would leave this machine:", err=True
        )
        for run_id, path in files:
            click.echo(f"  {path}  (run {run_id[:12]})", err=True)
        return yes or (sys.stdin.isatty() and click.confirm("Send them?", default=False, err=True))

    return ask
