"""The command line: help, exit codes, and one sentence for a mistake."""

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
    drawn = errors.__doc__

    ours = [cls for cls in leaves() if cls.__module__ == "mlrepro.errors"]

    assert all(cls.__name__ in drawn for cls in ours)


def test_help_of_every_command_fits_a_narrow_terminal(project):
    for name in cli.main.commands:
        done = project.mlrepro(name, "--help", env={"COLUMNS": "60"}, check=True)

        assert done.stdout.startswith("Usage:")


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


def test_output_is_plain_when_it_is_piped(project):
    project.mlrepro("run", "python", "-c", "print(1)", check=True)

    done = project.mlrepro("show", "last", check=True)

    assert "\x1b" not in done.stdout
