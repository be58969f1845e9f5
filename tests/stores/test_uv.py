"""uv: hashes of what an index holds, interpreters, environments, from an index on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlrepro.errors import UvError, UvMissingError
from mlrepro.stores import indexes, uv
from tests.cleanroom import wheels
from tests.stores.index import digest, served

BASE = Path(os.path.realpath(sys.executable))
PYTHON = "{}.{}.{}".format(*sys.version_info[:3])


@pytest.fixture
def shelf(home, tmp_path, monkeypatch):
    """Wheels of alpha 1.0 and 2.0, beta 1.0 and gamma-ray 1.0."""
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    folder = tmp_path / "wheels"
    for name, version in (
        ("alpha", "1.0"),
        ("alpha", "2.0"),
        ("beta", "1.0"),
        ("gamma_ray", "1.0"),
    ):
        wheels.wheel(folder, name, version, {f"{name}.py": f"V = '{version}'\n"})
    return folder


@pytest.fixture
def index(shelf, monkeypatch):
    with served(shelf) as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.address)
        yield index


def hashes(*pins: str, where: Path, **options):
    return uv.hashes(uv.find(), pins, python=PYTHON, where=where, **options)


def test_every_pin_gets_the_hashes_of_its_files(index, tmp_path, shelf):
    found = hashes("alpha==1.0", "beta==1.0", "gamma-ray==1.0", where=tmp_path)

    assert found.hashes == {
        "alpha": (digest(shelf / "alpha-1.0-py3-none-any.whl"),),
        "beta": (digest(shelf / "beta-1.0-py3-none-any.whl"),),
        "gamma-ray": (digest(shelf / "gamma_ray-1.0-py3-none-any.whl"),),
    }
    assert found.reached
    assert not found.reasons


def test_what_the_index_lacks_is_named_and_the_others_are_hashed(index, tmp_path):
    said = []

    found = hashes(
        "alpha==1.0", "alpha-beta==1.0", "beta==1.0+cu121", "gamma-ray==1.0", "beta-ray==3",
        where=tmp_path, notify=said.append,
    )  # fmt: skip

    assert found.hashes.keys() == {"alpha", "gamma-ray"}
    assert found.reasons == {
        "alpha-beta": "not on the index",
        "beta": "this version is not on the index",
        "beta-ray": "not on the index",
    }
    assert len(said) == 1


def test_an_index_that_nobody_reaches_is_told_apart(shelf, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")

    found = hashes("alpha==1.0", "beta==1.0", where=tmp_path)

    assert not found.reached
    assert not found.hashes
    assert found.reasons["alpha"] == "no index was reached"


def test_an_index_that_refuses_is_no_index_that_lacks(shelf, tmp_path, monkeypatch):
    with served(shelf, user="ann:secret") as index:
        monkeypatch.setenv("UV_DEFAULT_INDEX", index.address.replace("secret", "guess"))
        found = hashes("alpha==1.0", where=tmp_path)

    assert found.reasons == {"alpha": "the index refuses it"}
    assert "guess" not in repr(found)


def test_settings_that_change_what_is_asked_for_do_not_count(index, tmp_path, monkeypatch):
    (tmp_path / "constraints.txt").write_text("alpha<1\n")
    monkeypatch.setenv("UV_CONSTRAINT", str(tmp_path / "constraints.txt"))
    monkeypatch.setenv("UV_OVERRIDE", str(tmp_path / "constraints.txt"))

    assert hashes("alpha==2.0", where=tmp_path).hashes.keys() == {"alpha"}


def test_the_index_of_pip_serves_where_uv_has_none(shelf, tmp_path, monkeypatch, home):
    with served(shelf) as index:
        (home / ".config/pip").mkdir(parents=True)
        (home / ".config/pip/pip.conf").write_text(f"[global]\nindex-url = {index.address}\n")
        monkeypatch.delenv("PIP_INDEX_URL", raising=False)
        known = indexes.configured(tmp_path)
        found = hashes("alpha==1.0", where=tmp_path, variables=known.variables)

    assert known.addresses == (index.address,)
    assert found.hashes.keys() == {"alpha"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("project/pyproject.toml", '[[tool.uv.index]]\nname = "own"\nurl = "{}"\n'),
        ("project/uv.toml", 'index-url = "{}"\n'),
        ("home/.config/uv/uv.toml", 'extra-index-url = ["{}"]\n'),
        ("home/.config/uv/uv.toml", '[pip]\nindex-url = "{}"\n'),
        (
            "home/.config/pip/pip.conf",
            "[global]\nextra-index-url =\n  {}\n  https://pypi.org/simple/\n",
        ),
        ("home/.pip/pip.conf", "[install]\nindex-url = {}\n"),
    ],
)
def test_indexes_of_settings_are_kept_without_credentials(home, tmp_path, monkeypatch, name, text):
    for variable in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE", "VIRTUAL_ENV"):
        monkeypatch.delenv(variable, raising=False)
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format("https://ann:secret@example.org/simple?token=1"))

    found = indexes.configured(tmp_path / "project")

    assert found.addresses == ("https://example.org/simple",)
    assert "secret" not in repr(found)


def test_indexes_of_variables_are_kept_without_credentials_and_folders_are_not(home, monkeypatch):
    monkeypatch.setenv("UV_INDEX", "own=https://t0ken@example.org/a file:///srv/simple /srv/more")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://pypi.org/simple/")

    assert indexes.configured().addresses == ("https://example.org/a",)


def test_a_token_in_the_path_of_an_index_is_not_kept(home, monkeypatch):
    token = "aB3dE6gH9jK2mN5p"
    plain = "https://example.org/api/ml-2024/projects/1234567890123456/simple"
    monkeypatch.setenv("UV_INDEX", f"https://dl.example.org/{token}/org/simple {plain}")

    assert indexes.configured().addresses == ("https://dl.example.org/.../org/simple", plain)


def test_a_damaged_setting_stands_in_nobodys_way(home, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    (tmp_path / "pip.conf").write_text("index-url")
    (tmp_path / "uv.toml").write_text("index-url")
    (tmp_path / "pyproject.toml").write_text("[tool]\nuv = 3\n")

    assert indexes.configured(tmp_path).addresses == ()


def test_an_environment_is_made_of_exactly_the_files_that_are_hashed(index, tmp_path, shelf):
    program = uv.find()
    pin = f"alpha==1.0 \\\n    --hash={digest(shelf / 'alpha-1.0-py3-none-any.whl')}\n"

    uv.create(program, tmp_path / "made", python=BASE)
    uv.sync(program, tmp_path / "made", pin)

    call = (tmp_path / "made/bin/python", "-c", "import alpha; print(alpha.V)")
    assert subprocess.check_output(call, text=True) == "1.0\n"
    with pytest.raises(UvError, match=r"(?i)hash"):
        uv.sync(program, tmp_path / "made", f"beta==1.0 \\\n    --hash=sha256:{64 * '0'}\n")


def test_packages_come_from_a_folder_where_no_index_has_them(index, tmp_path):
    more = wheels.wheel(tmp_path / "kept", "own", "1.0", {"own.py": "V = 1\n"})

    uv.create(uv.find(), tmp_path / "made", python=BASE)
    uv.sync(
        uv.find(), tmp_path / "made", f"alpha==2.0\nown==1.0 \\\n    --hash={digest(more)}\n",
        find_links=[more.parent],
    )  # fmt: skip

    assert (wheels.packages_of(tmp_path / "made") / "own.py").exists()


def test_an_interpreter_is_found_by_its_exact_version_and_the_nearest_otherwise(home, monkeypatch):
    program = uv.find()
    # A machine's many interpreters would each be asked.
    monkeypatch.setenv("PATH", str(BASE.parent))
    monkeypatch.delenv("PYENV_ROOT", raising=False)

    assert uv.python(program, PYTHON).parent == BASE.parent
    assert uv.python(program, "3.11.99") is None
    assert uv.nearest(program, f"3.{sys.version_info[1]}.99")[1] == PYTHON
    assert uv.nearest(program, PYTHON, "pypy") is None


def test_a_missing_uv_is_a_sentence_and_a_hint(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "uv", None)

    with pytest.raises(UvMissingError, match="not installed") as caught:
        uv.find()

    assert "pip install uv" in caught.value.hint


def test_credentials_are_in_no_sentence_of_uv():
    assert uv._sentence("error: Failed: `https://ann:secret@example.org/x` is gone.\n") == (
        "Failed: `https://example.org/x` is gone"
    )
