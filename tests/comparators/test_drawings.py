"""SVG and PDF: what matplotlib drew twice, edits by hand, and damage."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mlrepro.comparators import compare, pdfs
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

GOLDEN = Path(__file__).parent.parent / "data" / "comparators" / "drawings"
SVG = b"""<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink">
 <metadata><date>2026-11-21</date></metadata>
 <defs><path id="m1" d="M 0.5 1.25 L 3 4"/></defs>
 <use x:href="#m1" style="stroke: #ff0000"/>
 <text>loss 0.5</text>
</svg>
"""


def _pdf(
    page: bytes = b"q 0.5 1.25 m 3 4 l S Q (loss) Tj", date: str = "2026", level: int = 6
) -> bytes:
    packed = zlib.compress(page, level)
    return b"".join(
        [
            b"%PDF-1.4\n%\xac\xdc\n",
            b"1 0 obj\n<< /Type /Page /MediaBox [ 0 0 144 108 ] /Contents 2 0 R >>\nendobj\n",
            b"2 0 obj\n<< /Length 3 0 R /Filter /FlateDecode >>\nstream\n",
            packed,
            b"\nendstream\nendobj\n3 0 obj\n%d\nendobj\n" % len(packed),
            b"4 0 obj\n<< /Producer (Matplotlib) /CreationDate (D:%s) >>\nendobj\n" % date.encode(),
            b"xref\n0 2\n0000000000 65535 f \n0000000016 00000 n \n",
            b"trailer\n<< /Size 5 /Info 4 0 R /ID [<ab><cd>] >>\nstartxref\n400\n%%EOF\n",
        ]
    )


@pytest.fixture
def measure(tmp_path) -> Callable[..., Difference]:
    def measure(a: bytes, b: bytes, name: str, **tolerance) -> Difference:
        for side, data in (("a", a), ("b", b)):
            (tmp_path / side).write_bytes(data)
        return compare(tmp_path / "a", tmp_path / "b", name=name, tolerance=Tolerance(**tolerance))

    return measure


@pytest.mark.parametrize("form", ["svg", "pdf"])
def test_what_matplotlib_draws_twice_is_equivalent_and_its_date_is_named(measure, form):
    old, again, far = ((GOLDEN / f"{side}.{form}").read_bytes() for side in ("old", "again", "far"))

    found = measure(old, again, f"p.{form}")

    assert (found.verdict, found.comparator) == (Verdict.EQUIVALENT, form)
    assert any("date" in line.lower() for line in found.metadata)
    drifted = measure(old, far, f"p.{form}")
    assert drifted.verdict is Verdict.DRIFTED
    assert re.match(r"(<path> \d+, d|object \d+, its stream): [\d.]+ → [\d.]+", drifted.first)


@pytest.mark.parametrize(
    ("old", "new", "verdict", "first"),
    [
        (b"1.25", b"1.2500001", Verdict.CLOSE, "<path> 3, d: 1.25 → 1.2500001"),
        (b"1.25", b"1.26", Verdict.DRIFTED, "<path> 3, d: 1.25 → 1.26"),
        (b"ff0000", b"fe0000", Verdict.DRIFTED, "<use> 4, style"),
        (b"loss", b"Loss", Verdict.DRIFTED, "<text> 5, text"),
        (b'href="#m1"', b'href="#m2"', Verdict.DRIFTED, "<use> 4, "),
        (b"m1", b"zz9", Verdict.EQUIVALENT, ""),
        (b"<date>2026", b"<date>2025", Verdict.EQUIVALENT, ""),
        (b" <text>", b" <!-- drawn by hand -->\n<text>", Verdict.EQUIVALENT, ""),
        (b"<text>loss 0.5</text>", b"", Verdict.DRIFTED, "<text> 5 → "),
    ],
)
def test_an_svg_is_compared_by_its_elements(measure, old, new, verdict, first):
    found = measure(SVG, SVG.replace(old, new), "p.svg")

    assert found.verdict is verdict
    assert found.first.startswith(first)


def test_an_svg_that_would_grow_without_end_is_refused(measure):
    bomb = SVG.replace(b"<svg", b'<!DOCTYPE svg [<!ENTITY a "aaaaaaaaaa">]><svg', 1)

    with pytest.raises(ComparisonError, match="entities"):
        measure(SVG, bomb, "p.svg")


def test_a_pdf_is_compared_by_its_pages(measure):
    sound = _pdf()

    packed = measure(sound, _pdf(date="2027", level=0), "p.pdf")
    near = measure(sound, _pdf(b"q 0.5 1.2500001 m 3 4 l S Q (loss) Tj"), "p.pdf")
    far = measure(sound, _pdf(b"q 0.5 1.25 m 3 4 l S Q (Loss) Tj"), "p.pdf")

    assert packed.verdict is Verdict.EQUIVALENT
    assert packed.metadata == ("CreationDate: (D:2026) → CreationDate: (D:2027)",)
    assert (near.verdict, near.first) == (
        Verdict.CLOSE,
        "object 2, its stream: 1.25 → 1.2500001",
    )
    assert far.verdict is Verdict.DRIFTED
    with pytest.raises(ComparisonError, match="does not end"):
        measure(sound, sound.replace(b"endstream", b""), "p.pdf")


def test_a_pdf_that_unpacks_without_end_is_refused(measure, monkeypatch):
    monkeypatch.setattr(pdfs, "_UNPACKED", 1 << 16)

    with pytest.raises(ComparisonError, match="too large"):
        measure(_pdf(), _pdf(bytes(1 << 20)), "p.pdf")


@pytest.mark.parametrize(("sound", "name"), [(SVG, "p.svg"), (_pdf(), "p.pdf")], ids=["svg", "pdf"])
def test_every_flipped_byte_of_a_drawing(measure, sound, name):
    passed = []
    for at in range(len(sound)):
        for mask in (0x01, 0x10):
            damaged = sound[:at] + bytes([sound[at] ^ mask]) + sound[at + 1 :]
            try:
                found = measure(sound, damaged, name)
            except ComparisonError:
                continue
            assert found.compared
            if found.verdict < Verdict.DRIFTED:
                assert found.verdict is not Verdict.IDENTICAL
                passed.append(damaged[max(at - 30, 0) : at + 12])

    # The last bits of a packed stream are padding; `.5` is 0.5.
    aside = rb"endstr|loss  \.5|<date>|version=|</?metadata|ID \[|Producer|CreationDate|startxref|\d{10} |xref|Length|obj\n"
    told = [piece for piece in passed if not re.search(aside, piece)]
    assert not told, told[:5]
