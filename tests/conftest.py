"""Fixtures: a real git repository with real DVC, far from the developer's own settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_AUTHOR = "[user]\n\tname = Ann\n\temail = ann@example.org\n[init]\n\tdefaultBranch = main\n"


@dataclass(frozen=True)
class Project:
    """A repository to act in, as a user would."""

    root: Path
    variables: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def call(self, *command: str, cwd: Path | None = None, check: bool = True, **options):
        """Run any command in the project; the result has text streams."""
        done = subprocess.run(
            command,
            cwd=cwd or self.root,
            env={**os.environ, **self.variables, **options.pop("env", {})},
            capture_output=True,
            text=True,
            **options,
        )
        if check and done.returncode:
            raise AssertionError(
                f"{command} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        return done

    def git(self, *arguments: str, **options) -> str:
        return self.call("git", *arguments, **options).stdout.strip()

    def dvc(self, *arguments: str, **options):
        return self.call(sys.executable, "-m", "dvc", *arguments, **options)

    def mlrepro(self, *arguments: str, check: bool = False, **options):
        """Run the real command line in a process of its own."""
        return self.call(sys.executable, "-m", "mlrepro", *arguments, check=check, **options)

    def commit(self, message: str = "change") -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


@pytest.fixture(scope="session")
def _template(tmp_path_factory) -> Path:
    """A repository after `git init` and the real `dvc init`, made once and copied by each test."""
    home = tmp_path_factory.mktemp("home")
    (home / "gitconfig").write_text(_AUTHOR)
    root = tmp_path_factory.mktemp("template")
    variables = {**os.environ, "GIT_CONFIG_GLOBAL": str(home / "gitconfig"), "HOME": str(home)}
    for command in (
        ("git", "init", "-q"),
        (sys.executable, "-m", "dvc", "init", "-q"),
        ("git", "commit", "-q", "-m", "dvc init"),
    ):
        subprocess.run(command, cwd=root, env=variables, check=True)
    return root


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """An empty HOME with a git identity, and none of the developer's variables."""
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(_AUTHOR)
    # `make test` makes every make below it print where it goes.
    foreign = ("GIT_", "DVC_", "XDG_", "MLREPRO_", "MAKE", "MFLAGS")
    for name in [n for n in os.environ if n.startswith(foreign)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    # Each run would ask an index; `tests/test_locks.py` and the like switch it on.
    monkeypatch.setenv("MLREPRO_LOCK", "off")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(home / ".dvc-site"))
    # `python` in a test's command is the interpreter that runs the tests, as in an active venv.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    return home


@pytest.fixture
def project(_template, tmp_path, home, monkeypatch) -> Project:
    """A repository with git and DVC and one commit; the working directory is its root."""
    root = tmp_path / "project"
    shutil.copytree(_template, root, symlinks=True)
    monkeypatch.chdir(root)
    return Project(root)
