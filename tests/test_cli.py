"""The command line: help, exit codes, and one sentence for a mistake."""

import re

import click
import pytest

from mlrepro import cli, errors


def commands(group=cli.main, prefix=""):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix}{name} ")
        else:
            yield pytest.param(command, id=f"{prefix}{name}")


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_has_help_an_example_and_its_exit_codes(command):
    assert command.help
    assert "Examples:" in command.epilog
    assert "Exit codes:" in command.epilog


def leaves(cls=errors.MlreproError):
    yield cls
    for below in cls.__subclasses__():
        yield from leaves(below)


def test_the_tree_of_errors_is_drawn_as_it_is():
    drawn = dict(re.findall(r"(\w+Error) *([0-9]*)", errors.__doc__))

    ours = {cls for cls in leaves() if cls.__module__ == "mlrepro.errors"}

    assert drawn.keys() == {cls.__name__ for cls in ours}
    for cls in ours:
        code = drawn[cls.__name__] or str(cls.__base__.exit_code)
        assert code == str(cls.exit_code), cls


def test_an_error_stands_in_the_drawing_below_the_one_that_it_is():
    above: list[tuple[int, type]] = []
    for line in errors.__doc__.splitlines():
        if found := re.match(r"([ │├└─]*)(\w+Error)\b", line):
            indent, cls = len(found[1]), getattr(errors, found[2])
            above = [(depth, one) for depth, one in above if depth < indent]

            assert cls.__base__ is (above[-1][1] if above else Exception)

            above.append((indent, cls))


@pytest.mark.parametrize("command", list(commands()))
def test_help_of_every_command_fits_a_terminal_of_80_columns(command):
    with click.Context(command, info_name="mlrepro", terminal_width=80) as context:
        lines = command.get_help(context).splitlines()

    assert lines[0].startswith("Usage:")
    assert [line for line in lines if len(line) > 80] == []


def test_help_of_the_command_line_itself_fits_too(project):
    done = project.mlrepro("--help", env={"COLUMNS": "80"}, check=True)

    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_mistake_of_ours_is_no_verdict(project, monkeypatch):
    broken = project.write("broken/sitecustomize.py", "import mlrepro.manifest as m; del m.read")
    project.write("model.pkl.mlrepro.yaml", "x")

    done = project.mlrepro("rebuild", "model.pkl", env={"PYTHONPATH": str(broken.parent)})

    assert done.returncode == 125
    assert "Traceback" not in done.stderr
    assert "AttributeError" in done.stderr


def test_a_mistyped_option_is_a_usage_error(project):
    done = project.mlrepro("rebuild", "--no-such-option", "last")

    assert done.returncode == 2
    assert "--no-such-option" in done.stderr


@pytest.mark.parametrize("limit", ["auc", "=0.5", "auc=", "auc=nan", "auc=inf"])
def test_a_limit_that_nothing_could_tell_from_another_is_a_usage_error(limit):
    with pytest.raises(click.BadParameter, match="METRIC=VALUE"):
        cli._Limit().convert(limit, None, None)


def test_output_is_plain_when_it_is_piped(project):
    project.mlrepro("run", "python", "-c", "print(1)", check=True)

    done = project.mlrepro("show", "last", check=True)

    assert "\x1b" not in done.stdout
