"""The interpreter: the environment that is active here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlrepro.cleanroom import interpreter
from mlrepro.errors import RestoreError


@pytest.fixture(scope="module")
def active(tmp_path_factory) -> Path:
    """A virtual environment without pip, which takes a moment."""
    folder = tmp_path_factory.mktemp("active") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder


@pytest.fixture
def chosen(active) -> interpreter.Chosen:
    return interpreter.choose({"VIRTUAL_ENV": str(active), "PATH": os.defpath})


def test_the_active_environment_is_chosen_before_the_path(active, chosen):
    assert chosen.executable == str(active / "bin/python")
    assert chosen.environment.prefix == str(active)


def test_a_python_that_does_not_start_is_one_sentence(tmp_path):
    broken = tmp_path / "bin/python"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)

    with pytest.raises(RestoreError, match="does not answer"):
        interpreter.choose({"VIRTUAL_ENV": str(tmp_path)})
