"""Bytes that no other comparator knows."""

from __future__ import annotations

import pytest

from mlrepro.comparators import raw_bytes
from mlrepro.drift import Tolerance, Verdict


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
