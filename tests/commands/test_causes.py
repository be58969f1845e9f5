"""What differs between two trainings, and what may be why, in words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mlrepro import manifest, plain
from mlrepro.capture.libraries import Library
from mlrepro.commands import causes, deciding
from mlrepro.commands.causes import Side
from mlrepro.drift import Change
from mlrepro.facts import Digest, Fit, Folder, Generator, Input, Listing, Rounds, Source
from mlrepro.manifest import Manifest, Run, Status, unsaved_model

FIT = Fit(
    "lightgbm.train",
    params={"num_leaves": 7, "seed": 1},
    rounds=Rounds(500, 10, 5, "early stopping"),
    threads=2,
    scores={"valid l2": 0.25},
)
SIDE = Side((FIT,), 1, (), ())


def record(*inputs: str) -> Manifest:
    run = Run(command=("python",), started="2026-11-21T00:00:00Z", status=Status.COMPLETED)
    return Manifest(run, inputs=tuple(Input(name, Source.CODE) for name in inputs))


def with_fit(**changes) -> Side:
    return replace(SIDE, fits=(replace(FIT, **changes),))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rounds": Rounds(500, 11, 6, "early stopping")}, ["rounds trained: 10 → 11", "rounds kept: 5 → 6"]),
        ({"rounds": Rounds(500, 10, 5, "no more gain")}, ["stopped by: early stopping → no more gain"]),
        ({"threads": 4}, ["threads: 2 → 4"]),
        ({"ignored": ("num_leafs",)}, ["ignored parameters: none → num_leafs"]),
        ({"params": {"seed": 2}}, ["num_leaves: 7 → absent", "seed: 1 → 2"]),
        ({"budget": "timeout=60"}, ["time budget: none → timeout=60"]),
        ({"inside": {"fit": 3}}, ["fits inside: none → 3 fit"]),
        ({"seconds": 9.0, "random": {"python": "ab"}, "model": "<model 1>"}, []),
    ],
)  # fmt: skip
def test_what_a_fit_did_otherwise_is_named(changes, expected) -> None:
    found = causes.changes(SIDE, with_fit(**changes))

    assert [f"{c.what}: {c.recorded} → {c.current}" for c in found] == [
        f"lightgbm.train: {words}" for words in expected
    ]


def test_what_a_fit_that_was_told_in_short_does_not_say_is_no_difference() -> None:
    full = with_fit(data=("X: ndarray 9 × 2 float64",), inside={"fit": 3})
    short = with_fit(threads=None, scores={}, ignored=(), params={})
    other = with_fit(threads=None, scores={}, params={"num_leaves": 9, "seed": 1})

    assert causes.changes(full, short) == causes.changes(short, full) == ()
    assert causes.scores(full, short) == ()
    assert [c.what for c in causes.changes(full, other)] == ["lightgbm.train: num_leaves"]


def test_of_several_fits_each_has_its_place() -> None:
    other = replace(FIT, threads=1)
    three = replace(SIDE, fits=(FIT, FIT, FIT), count=3)
    many = replace(SIDE, fits=(FIT,) * 6, count=100)

    (second,) = causes.changes(three, replace(three, fits=(FIT, other, FIT)))
    (last,) = causes.changes(many, replace(many, fits=(*many.fits[:4], other, FIT)))

    assert second.what == "fit 2, lightgbm.train: threads"
    assert last.what == "last fit but 1, lightgbm.train: threads"


def test_another_number_of_fits_is_told_in_one_line() -> None:
    more = replace(SIDE, fits=(FIT, FIT), count=2)

    assert causes.changes(SIDE, more) == (Change("fits", "1", "2"),)


def test_unsaved_models_are_paired_by_what_they_hold_before_their_number() -> None:
    a, b, c, d = (Digest("md5", str(n) * 32) for n in range(4))
    first, second, third = (unsaved_model(n) for n in (1, 2, 3))

    assert deciding.partners({first: a, second: b}, {first: b, second: a}) == [
        (first, second),
        (second, first),
    ]
    assert deciding.partners({first: a, second: b, third: c}, {first: b, second: d}) == [
        (first, second),
        (second, first),
        (third, None),
    ]
    assert deciding.partners({first: a}, {first: a, second: a}) == [
        (first, first),
        (None, second),
    ]


def test_a_run_whose_fits_nobody_saw_is_not_compared() -> None:
    assert causes.changes(SIDE, Side((), 0, (), ())) == ()


def test_scores_that_differ_are_metrics() -> None:
    (change,) = causes.scores(SIDE, with_fit(scores={"valid l2": 0.5}))

    assert change == Change("lightgbm.train: valid l2", "0.25", "0.5")


def test_a_time_budget_and_missing_seeds_are_suspects() -> None:
    generators = (
        Generator("numpy default_rng", False, count=3, where="train.py:12"),
        Generator("numpy", False, where="sklearn KMeans.fit"),
        Generator("python", True, ("42",)),
    )
    side = replace(with_fit(budget="timeout=60"), generators=generators)

    found = causes.suspects(side, side, record())

    assert found == (
        "a time budget was in play (lightgbm.train, timeout=60): such a training does not repeat"
        " itself",
        "numpy default_rng at train.py:12 was not seeded (3 of them)",
        "numpy, which sklearn KMeans.fit drew from, was not seeded",
    )


def test_a_seeded_generator_that_stood_elsewhere_is_a_suspect() -> None:
    seeded = (Generator("numpy", True, ("42",)),)
    a = replace(with_fit(random={"numpy": "aa → bb", "python": "xx"}), generators=seeded)
    b = replace(with_fit(random={"numpy": "ab → cd", "python": "yy"}), generators=seeded)

    (said,) = causes.suspects(a, b, record())

    assert said.startswith("numpy's generator was in another state when lightgbm.train began")


@pytest.mark.parametrize(
    ("explained", "expected"),
    [((), ["library libgomp.so"]), ((Change("package numpy", "1", "2"),), ["library libgomp.so"])],
)
def test_another_build_of_a_library_is_named(monkeypatch, explained, expected) -> None:
    before = [
        Library("libgomp.so.1", "/lib/libgomp.so.1", "aa"),
        Library("a.so", "a.so", "bb", package="numpy"),
    ]
    after = [
        Library("libgomp.so.1", "/lib/libgomp.so.1", "cc"),
        Library("a.so", "a.so", "bb", package="numpy"),
    ]
    data = json.dumps(plain.dump(before)).encode()
    monkeypatch.setattr(causes.restore, "listing", lambda *_, **__: data)
    run = manifest.replace(record(), lists={"libraries": Listing(Digest("md5", "0" * 32), 2)})

    found = causes.native(None, run, after, explained, notify=print)

    assert [change.what for change in found] == expected


@pytest.mark.parametrize(
    ("now", "inputs", "expected"),
    [
        (Folder("data", 2, "n", "p"), 2, "the order in which data/ was listed differs"),
        (Folder("data", 3, "m", "p"), 2, "data/ had 2 entries when it was listed, and 3"),
        (Folder("data", 2, "n", "o"), 2, ""),
        (Folder("data"), 2, ""),
        (Folder("data", 2, "n", "p"), 1, ""),
    ],
)
def test_the_order_of_a_folder_of_inputs_is_a_suspect(now, inputs, expected) -> None:
    a = replace(SIDE, listed=(Folder("data", 2, "n", "o"),))
    read = record(*(f"data/{n}.csv" for n in range(inputs)))

    found = causes.suspects(a, replace(SIDE, listed=(now,)), read)

    assert len(found) == bool(expected)
    assert "".join(found).startswith(expected)
