"""The documentation says what the code does: fresh, linked, parsable, and followed word by word."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent


def _generator():
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _generator()
PAGES = generate.pages()
COMMANDS = dict(generate.leaves())


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# -- generated parts ---------------------------------------------------------------------------


def test_generated_parts_are_as_the_code_is():
    stale = [_name(page) for page in generate.stale()]

    assert stale == [], "`make docs` writes them"


def test_check_changes_nothing_and_names_what_is_stale(tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("<!-- generated: verdicts -->\nold\n<!-- end of generated -->\n")
    monkeypatch.setattr(generate, "ROOT", tmp_path)

    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    checked = generate.main()
    text_after_check = page.read_text()
    said = capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    written = generate.main()

    assert (checked, written) == (1, 0)
    assert "stale: page.md" in said
    assert "old" in text_after_check
    assert "**identical**" in page.read_text()


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_has_help_with_an_example_and_its_exit_codes(command: click.Command):
    examples, codes = generate.epilog(command)

    assert command.help
    assert examples
    assert codes
    assert all(p.help for p in command.params if isinstance(p, click.Option))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_in_a_help_parses(name):
    for line in generate.epilog(COMMANDS[name])[0]:
        _parse(line)


# -- links -------------------------------------------------------------------------------------

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_internal_link_resolves(page):
    broken = []
    for link in _LINK.findall(_without_fences(page.read_text())):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in _anchors(target.read_text())):
            broken.append(link)

    assert broken == []


def test_every_page_of_the_docs_is_named_in_the_index():
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / link).resolve() for link in _LINK.findall(index.read_text())}

    assert {_name(p) for p in (ROOT / "docs").rglob("*.md")} - {_name(p) for p in linked} == {
        "docs/index.md"
    }


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _without_fences(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}


def _without_fences(text: str) -> str:
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


# -- command lines -----------------------------------------------------------------------------

_FENCE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SPAN = re.compile(r"`(mlrepro [^`]+)`")


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_command_line_that_is_shown_parses(page):
    text = page.read_text()
    lines = [line[2:] for block in _FENCE.findall(text) for line in _commands(block)]
    spans = [s for s in _SPAN.findall(_without_fences(text)) if not re.search(r"[…\[]|[A-Z]{5}", s)]

    for line in [*lines, *spans]:
        _parse(line)


def _commands(block: str) -> Iterator[str]:
    return (line for line in block.splitlines() if line.startswith("$ "))


def _parse(line: str) -> None:
    """Parse what a line gives to mlrepro, if it calls it, without doing it."""
    for part in re.split(r"&&|\|", line.removeprefix("git bisect run ")):
        words = shlex.split(part, comments=True)
        words = words[: words.index(">")] if ">" in words else words
        if words[:1] != ["mlrepro"]:
            continue
        command, name, rest = generate.program, "mlrepro", words[1:]
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            name = rest.pop(0)
            assert name in command.commands, f"`{line}`: there is no such command"
            command = command.commands[name]
        # Only the name of a command: it is spoken of, not shown.
        spoken_of = not rest or isinstance(command, click.Group)
        try:
            command.make_context(name, rest, resilient_parsing=spoken_of)
        except click.ClickException as error:
            raise AssertionError(f"`{line}`: {error.format_message()}") from error


# -- the tutorial ------------------------------------------------------------------------------

TUTORIAL = ROOT / "docs" / "tutorial" / "first-model.md"
_STEP = re.compile(
    r"`(?P<file>[\w./-]+)`:\n\n```\w+\n(?P<text>.*?)^```$|^```console\n(?P<console>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


def test_the_tutorial_is_true_word_by_word(home, tmp_path):
    reader = Reader(tmp_path)

    for step in _STEP.finditer(TUTORIAL.read_text()):
        if step["file"]:
            (reader.cwd / step["file"]).write_text(step["text"])
        else:
            reader.follow(step["console"])

    assert reader.commands > 10


@dataclass
class Reader:
    """Somebody who types what the tutorial shows and compares what is printed."""

    cwd: Path
    commands: int = 0
    status: int = 0
    variables: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def follow(self, block: str) -> None:
        command, shown = "", []
        for line in [*block.splitlines(), "$ true"]:
            if not line.startswith("$ "):
                shown.append(line)
                continue
            if command:
                self._compare(command, shown, self._type(command))
            command, shown = line[2:], []

    def _type(self, command: str) -> list[str]:
        if command != "echo $?":
            assert self.status == 0, f"the command before `{command}` exited {self.status}"
        place = self.cwd.parent / "cwd"
        script = f"trap 'pwd > {shlex.quote(str(place))}' EXIT; (exit {self.status}); {command}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.cwd,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.cwd, self.status = Path(place.read_text().strip()), done.returncode
        self.commands += 1
        return done.stdout.rstrip().splitlines()

    def _compare(self, command: str, shown: list[str], printed: list[str]) -> None:
        """Expect each shown line in its order; `…` stands for any lines, progress goes unshown."""
        rest = [_masked(line) for line in printed]
        skipping = False
        for line in map(_masked, shown):
            if line.strip() == "…":
                skipping = True
                continue
            while rest and rest[0] != line and (skipping or _is_progress(rest[0])):
                rest.pop(0)
            said = "\n".join(printed)
            assert rest, f"`{command}` does not print `{line}`:\n{said}"
            assert rest.pop(0) == line, f"after `{command}`:\n{said}"
            skipping = False
        left = [] if skipping else [line for line in rest if not _is_progress(line)]
        assert left == [], f"`{command}` also prints"


_PROGRESS = re.compile(
    r"^mlrepro: (?:training|fetching|sending|looking|opening|restoring|starting)"
)
_MASKS = (
    (r"\b[0-9a-f]{32,64}\b", "DIGEST"),
    (r"\b(?=[0-9a-f]*\d)[0-9a-f]{7,12}\b", "ID"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d)?", "TIME"),
    (r"\d+(?:\.\d+)?(?:e-?\d+)?", "N"),
    (r"\s+", " "),
)


def _is_progress(line: str) -> bool:
    return bool(_PROGRESS.match(line))


def _masked(line: str) -> str:
    """Put words in the place of what differs from machine to machine: ids, times, numbers."""
    for pattern, word in _MASKS:
        line = re.sub(pattern, word, line)
    return line.strip()
