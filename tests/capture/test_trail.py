"""The trail of a run, from records that nobody vouches for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlrepro.capture.records import Record
from mlrepro.capture.territory import Territory
from mlrepro.capture.trail import Trail


@pytest.fixture
def root(tmp_path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    return root


def observe(root: Path, *records: tuple[str, ...], **options):
    """Return the observation of records, each a second after the other."""
    log = root.parent / "log"
    log.mkdir(exist_ok=True)
    trail = Trail(log, Territory(str(root)))
    for second, (kind, *fields) in enumerate(records):
        trail.follow(Record(kind, second * 10**9, 7, tuple(fields)))
    return trail.observation(0, frozenset(), **options)


def state(path: Path) -> tuple[str, ...]:
    found = path.stat()
    return tuple(
        map(str, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns))
    )


def test_a_file_that_others_changed_between_two_readings_has_no_known_state(root):
    data = root / "data.csv"
    data.write_text("old")
    first = ("r", "native", "1", *state(data), str(data))
    data.write_text("newer")
    second = ("r", "native", "1", *state(data), str(data))

    (read,) = observe(root, first, second).reads

    assert read.stat is None


def test_a_file_that_the_run_itself_changed_is_known_as_it_was_read_first(root):
    data = root / "data.csv"
    data.write_text("old")
    before = state(data)
    first = ("r", "native", "1", *before, str(data))
    write = ("w", "native", "1", *before, str(data))
    data.write_text("newer")
    second = ("r", "native", "1", *state(data), str(data))

    (read,) = observe(root, first, write, second).reads

    assert read.stat.size == 3


def test_an_import_is_said_before_the_plain_opening(root):
    (root / "a.py").write_text("")
    facts = (*state(root / "a.py"), str(root / "a.py"))

    (read,) = observe(root, ("r", "native", "1", *facts), ("r", "import", "1", *facts)).reads

    assert read.seen == "import"


def test_fits_come_with_their_models_and_whether_these_were_saved(root):
    log = root.parent / "log"
    log.mkdir()
    (log / "model-7-1").write_text("tree")
    fits = [
        {"id": "7-1", "call": "lightgbm.train", "model": "model-7-1"},
        {"id": "7-2", "call": "lightgbm.cv", "model": "../elsewhere"},
    ]

    seen = observe(root, *(("f", json.dumps(fit)) for fit in fits), ("p", "7-2"))

    assert [(fit.record["call"], fit.saved) for fit in seen.fits] == [
        ("lightgbm.train", False),
        ("lightgbm.cv", True),
    ]
    assert [fit.model for fit in seen.fits] == [str(log / "model-7-1"), ""]


@pytest.mark.parametrize(
    "record",
    [
        ("f", "{"),
        ("f", "[1]"),
        ("f", "[" * 100_000),
        ("y", '"text"'),
        ("r", "native", "1", "x", "2", "3", "4", "5", "/a"),
        ("d", "/a", "many", "", ""),
        ("k",),
    ],
)
def test_a_malformed_record_is_skipped_and_said(root, record):
    seen = observe(root, record, ("y", '{"name": "python", "seeds": ["1"]}'))

    assert seen.seedings == ({"name": "python", "seeds": ["1"], "pid": 7},)
    assert seen.fits == ()
    assert "the log of this run is incomplete: not all of it could be written" in seen.blind_spots


def test_a_copy_that_would_lie_elsewhere_is_not_taken(root):
    data = root / "data.csv"
    data.write_text("1")
    facts = state(data)

    (read,) = observe(
        root, ("r", "native", "1", *facts, str(data)), ("k", *facts, "../data.csv", str(data))
    ).reads

    assert read.copy == ""
