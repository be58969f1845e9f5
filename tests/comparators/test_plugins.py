"""Plugins: a tiny distribution with an entry point, installed into a folder of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mlrepro.commands import doctor
from mlrepro.commands.health import State
from mlrepro.comparators import compare, plugins
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

SOUND = """
from mlrepro.comparators.base import Comparator
from mlrepro.drift import Difference, Verdict

def recognises(path, head):
    return path.suffix == ".cbm" {also}

def measure(recorded, rebuilt, tolerance):
    apart = sum(a != b for a, b in zip(recorded.read_bytes(), rebuilt.read_bytes()))
    return Difference("", Verdict.{verdict}, summary=f"{{apart}} bytes apart", compared={compared})

COMPARATOR = Comparator("catboost", recognises, measure)
"""


def _sound(also: str = "", verdict: str = "CLOSE", compared: int = 1) -> str:
    return SOUND.format(also=also, verdict=verdict, compared=compared)


@pytest.fixture
def install(tmp_path, monkeypatch) -> Iterator[Callable[..., None]]:
    def install(source: str, *, point: str = "", name: str = "catty") -> None:
        site = tmp_path / "site"
        info = site / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (site / f"{name}.py").write_text(source)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(
            f"[mlrepro.comparators]\ncatboost = {point or name}\n"
        )
        monkeypatch.syspath_prepend(str(site))
        monkeypatch.delitem(sys.modules, name, raising=False)
        plugins.comparators.cache_clear()

    yield install
    plugins.comparators.cache_clear()


@pytest.fixture
def measure(tmp_path) -> Callable[..., Difference]:
    def measure(name: str = "model.cbm", a: bytes = b"\0\1\2", b: bytes = b"\0\1\3") -> Difference:
        for side, data in (("a", a), ("b", b)):
            (tmp_path / side).write_bytes(data)
        return compare(tmp_path / "a", tmp_path / "b", name=name, tolerance=Tolerance())

    return measure


@pytest.mark.parametrize("point", ["catty", "catty:COMPARATOR"])
def test_a_comparator_of_another_package_knows_its_kind(install, measure, point):
    assert measure().comparator == "bytes"
    install(_sound(), point=point)

    found = measure()

    assert (found.verdict, found.comparator) == (Verdict.CLOSE, "catboost")
    assert found.summary == "1 bytes apart"
    assert measure(b=b"\0\1\2").verdict is Verdict.IDENTICAL
    assert measure(name="model.bin").comparator == "bytes"


def test_it_wins_over_plain_numbers_and_never_over_a_kind_that_content_tells(install, measure):
    install(_sound(also="or True"))
    model = (
        Path(__file__).parent.parent / "data/comparators/lightgbm/regression-4.7.0.txt"
    ).read_bytes()

    assert measure("m.json", b'{"a": 1}', b'{"a": 2}').comparator == "catboost"
    assert measure("m.txt", model, model.replace(b"leaf_value=-", b"leaf_value=")).verdict is (
        Verdict.DRIFTED
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import no_such_library", "cannot be loaded: ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
        ("COMPARATOR = 5", "is neither a `Comparator` nor a module"),
        (_sound(also="or 1 / 0"), "failed on `model.bin`: ZeroDivisionError"),
        (_sound(also="or True").replace("apart = ", "apart = no_such_name + "), "NameError"),
        (_sound(also="or True", compared=0), "has compared nothing"),
        (
            _sound(also="or True").replace("return Difference", "return repr"),
            "returned a|TypeError",
        ),
    ],
)
def test_a_broken_one_is_named_and_never_a_pass(install, measure, source, words):
    install(source)

    with pytest.raises(ComparisonError, match=words) as raised:
        measure("model.bin")

    assert "the comparator `catboost` of catty 1.2" in str(raised.value)


def test_other_bytes_are_never_identical_whatever_it_says(install, measure):
    install(_sound(verdict="IDENTICAL"))

    assert measure().verdict is Verdict.EQUIVALENT


def test_doctor_names_them_and_fails_where_one_is_broken(install):
    looked = dict(doctor.CHECKS)["comparators"]
    install(_sound())

    assert list(looked(None)) == [(State.OK, "of other packages: catboost of catty 1.2", "")]

    install("import no_such_library", name="doggy")
    with pytest.raises(ComparisonError, match=r"of doggy 1\.2 cannot be loaded"):
        list(looked(None))
