"""Bytes that no other comparator knows, and gzip."""

from __future__ import annotations

import gzip

import pytest

from mlrepro.comparators import compressed, raw_bytes
from mlrepro.drift import Tolerance, Verdict
from mlrepro.errors import ComparisonError


def _write(folder, a: bytes, b: bytes):
    (folder / "a").write_bytes(a)
    (folder / "b").write_bytes(b)
    return folder / "a", folder / "b", Tolerance()


@pytest.mark.parametrize("at", [0, 123, (1 << 20) + 5])
def test_the_first_differing_byte_is_named(tmp_path, at):
    found = raw_bytes.COMPARATOR.compare(*_write(tmp_path, b"x" * at + b"1", b"x" * at + b"2"))

    assert found.verdict == Verdict.DRIFTED
    assert found.summary == f"bytes differ from offset {at}; no comparator knows this kind"


def test_a_longer_file_differs_where_the_shorter_ends(tmp_path):
    found = raw_bytes.COMPARATOR.compare(*_write(tmp_path, b"abc", b"abcd"))

    assert found.first == "offset 3"
    assert found.measures[0].value == 1


def test_the_time_in_a_gzip_header_means_nothing(tmp_path):
    pair = gzip.compress(b"auc 0.5", mtime=1), gzip.compress(b"auc 0.5", mtime=2)

    assert compressed.COMPARATOR.compare(*_write(tmp_path, *pair)).verdict == Verdict.EQUIVALENT


def test_other_content_in_a_gzip_is_drift(tmp_path):
    pair = gzip.compress(b"auc 0.5"), gzip.compress(b"auc 0.6")

    found = compressed.COMPARATOR.compare(*_write(tmp_path, *pair))

    assert found.verdict == Verdict.DRIFTED
    assert found.first == "offset 6"


def test_a_truncated_gzip_is_an_error_and_never_a_pass(tmp_path):
    data = gzip.compress(b"auc 0.5" * 100)

    with pytest.raises(ComparisonError):
        compressed.COMPARATOR.compare(*_write(tmp_path, data, data[:-9]))
