"""Compressed files and archives: what they hold is compared by the comparator of its name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mlrepro.comparators import compare, nested
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

GOLDEN = Path(__file__).parent.parent / "data" / "comparators" / "lightgbm"
CSV = b"a,b\n1,0.5\n2,0.25\n"
DAY = (2026, 11, 21, 10, 0, 0)


def _zip(
    *members: tuple[str, bytes], level: int = 6, day: tuple = DAY, comment: bytes = b""
) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(
        file, "w", zipfile.ZIP_DEFLATED if level else zipfile.ZIP_STORED
    ) as archive:
        archive.comment = comment
        for name, data in members:
            info = zipfile.ZipInfo(name, day)
            archive.writestr(info, data, zipfile.ZIP_DEFLATED if level else zipfile.ZIP_STORED)
    return file.getvalue()


def _tar(*members: tuple[str, bytes], time: int = 0, link: str = "") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), time
            archive.addfile(info, io.BytesIO(data))
        if link:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = tarfile.SYMTYPE, link
            archive.addfile(info)
    return file.getvalue()


@pytest.fixture
def measure(tmp_path, monkeypatch) -> Callable[..., Difference]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def measure(a: bytes, b: bytes, name: str) -> Difference:
        for side, data in (("a", a), ("b", b)):
            (tmp_path / side).write_bytes(data)
        try:
            return compare(tmp_path / "a", tmp_path / "b", name=name, tolerance=Tolerance())
        finally:
            assert os.listdir(scratch) == []

    return measure


def test_the_time_in_a_gzip_header_means_nothing(measure):
    found = measure(gzip.compress(CSV, mtime=1), gzip.compress(CSV, mtime=2), "t.csv.gz")

    assert (found.verdict, found.comparator) == (Verdict.EQUIVALENT, "gzip")
    assert "not the content" in found.metadata[0]


@pytest.mark.parametrize(
    ("pack", "suffix"), [(gzip.compress, "gz"), (bz2.compress, "bz2"), (lzma.compress, "xz")]
)
def test_a_packed_model_is_compared_as_a_model(measure, pack, suffix):
    model = (GOLDEN / "regression-4.7.0.txt").read_bytes()
    other = model.replace(b"leaf_value=-", b"leaf_value=", 1)

    found = measure(pack(model), pack(other), f"model.txt.{suffix}")

    assert (found.verdict, found.comparator) == (Verdict.DRIFTED, "lightgbm")
    assert found.first.startswith("tree 0, leaf 0, leaf value: ")
    assert found.distribution.equal == 29
    for damaged in (pack(other)[:-9], pack(other) + b"more", b"", b"no archive"):
        with pytest.raises(ComparisonError):
            measure(pack(model), damaged, f"model.txt.{suffix}") if damaged else measure(
                pack(model), b"\0", f"model.txt.{suffix}"
            )


def test_an_archive_is_as_far_apart_as_its_worst_member(measure):
    one = (("t.csv", CSV), ("notes/run.txt", b"took 3.2 s\nauc 0.5\n"))
    other = (("notes/run.txt", b"took 3.4 s\nauc 0.5\n"), ("t.csv", CSV.replace(b"0.25", b"0.75")))

    found = measure(_zip(*one), _zip(*other), "results.zip")

    assert (found.verdict, found.comparator) == (Verdict.DRIFTED, "archive")
    assert found.summary == "2 of 2 members differ"
    assert {c.path: (c.verdict, c.comparator) for c in found.children} == {
        "notes/run.txt": (Verdict.EQUIVALENT, "printed"),
        "t.csv": (Verdict.DRIFTED, "table"),
    }
    assert found.first == "t.csv: row 2, column b: 0.25 → 0.75"
    missing = measure(_zip(*one), _zip(one[0]), "results.zip")
    assert missing.verdict is Verdict.MISSING


@pytest.mark.parametrize(
    ("a", "b", "name"),
    [
        (_zip(("t.csv", CSV)), _zip(("t.csv", CSV), level=0, comment=b"x"), "r.zip"),
        (_zip(("t.csv", CSV)), _zip(("t.csv", CSV), day=(2025, 1, 1, 0, 0, 0)), "r.zip"),
        (_tar(("t.csv", CSV), ("a", b"1")), _tar(("a", b"1"), ("t.csv", CSV), time=9), "r.tar"),
        (
            gzip.compress(_tar(("t.csv", CSV)), mtime=1),
            gzip.compress(_tar(("t.csv", CSV), time=7), mtime=2),
            "r.tar.gz",
        ),
        (lzma.compress(_tar(("t.csv", CSV))), lzma.compress(_tar(("t.csv", CSV), time=7)), "r.txz"),
    ],
    ids=["compression", "times", "order", "tar in gzip", "tar in xz"],
)
def test_times_order_and_compression_mean_nothing(measure, a, b, name):
    found = measure(a, b, name)

    assert (found.verdict, found.comparator) == (Verdict.EQUIVALENT, "archive")
    assert any("not the content" in line for line in found.metadata)
    assert found.compared


def test_a_tar_that_holds_a_link_never_follows_it(measure):
    found = measure(_tar(link="/etc/passwd"), _tar(link="/etc/shadow"), "r.tar")

    assert found.verdict is Verdict.DRIFTED
    assert found.first == "link: a link to /etc/passwd → a link to /etc/shadow"


def test_names_that_leave_the_folder_are_only_names(measure, tmp_path):
    evil = "../../../outside.txt"

    found = measure(_zip((evil, b"auc 0.5\n")), _zip((evil, b"auc 0.75\n")), "r.zip")

    assert found.verdict is Verdict.DRIFTED
    assert not list(tmp_path.rglob("outside.txt"))


def test_bombs_are_refused(measure, monkeypatch):
    def packed(depth: int, data: bytes) -> bytes:
        for _ in range(depth):
            data = gzip.compress(data, mtime=0)
        return data

    with pytest.raises(ComparisonError, match="packed more than 8 deep"):
        measure(packed(10, b"1"), packed(10, b"2"), "x.gz")
    monkeypatch.setattr(nested, "LARGEST", 1 << 20)
    with pytest.raises(ComparisonError, match="unpacks to more than 1 MiB"):
        measure(gzip.compress(bytes(1 << 22)), gzip.compress(b"1" * (1 << 22)), "x.gz")
    with pytest.raises(ComparisonError, match="1 members of 4 MiB, too much"):
        measure(_zip(("x", bytes(1 << 22))), _zip(("x", b"1")), "x.zip")


@pytest.mark.parametrize("pack", [_zip, _tar])
def test_every_flipped_byte_of_an_archive(measure, pack):
    sound = pack(("t.csv", CSV), ("m.json", b'{"auc": 0.5}'))
    name = "r.zip" if pack is _zip else "r.tar"
    step = 1 if pack is _zip else 7  # a tar is mostly padding
    for at in range(0, min(len(sound), 2048), step):
        damaged = sound[:at] + bytes([sound[at] ^ 0x01]) + sound[at + 1 :]
        try:
            found = measure(sound, damaged, name)
        except ComparisonError:
            continue
        assert found.compared
        if found.verdict < Verdict.DRIFTED:
            # A number with another space behind it is the same number.
            assert _content(damaged) == _content(sound)


def _content(data: bytes) -> dict[str, list[bytes]]:
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {name: archive.read(name).split() for name in archive.namelist()}
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {info.name: archive.extractfile(info).read().split() for info in archive}
