"""Images: real files written by Pillow, and matplotlib's words beside the pixels."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from mlrepro.comparators import compare, images
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

PIXELS = np.random.RandomState(1).randint(0, 256, (40, 60, 3)).astype(np.uint8)


def _write(pixels: np.ndarray, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def _text(**said: str) -> PngInfo:
    info = PngInfo()
    for key, value in said.items():
        info.add_text(key, value)
    return info


def _moved(*places: tuple[int, int, int, int]) -> np.ndarray:
    pixels = PIXELS.copy()
    for x, y, channel, value in places:
        pixels[y, x, channel] = value
    return pixels


@pytest.fixture
def measure(tmp_path) -> Callable[..., Difference]:
    def measure(a: bytes, b: bytes, name: str = "plot.png", **tolerance) -> Difference:
        for side, data in (("a", a), ("b", b)):
            (tmp_path / side).write_bytes(data)
        paths = tmp_path / "a", tmp_path / "b"
        return compare(*paths, name=name, tolerance=Tolerance(**tolerance))

    return measure


def test_what_stands_beside_the_pixels_is_set_aside_and_named(measure):
    a = _write(PIXELS, pnginfo=_text(Software="Matplotlib version3.8"), compress_level=1)
    b = _write(PIXELS, pnginfo=_text(Software="Matplotlib version3.9"), dpi=(100, 100))

    found = measure(a, b)

    assert (found.verdict, found.comparator) == (Verdict.EQUIVALENT, "image")
    assert "Software: Matplotlib version3.8 → Matplotlib version3.9" in found.metadata
    assert any(line.startswith("dpi: absent → ") for line in found.metadata)
    assert found.compared == 2400


def test_pixels_that_differ_are_counted_and_placed(measure):
    base = _moved((7, 3, 1, 100), (50, 30, 2, 10))

    found = measure(_write(base), _write(_moved((7, 3, 1, 103), (50, 30, 2, 210))))

    assert found.verdict is Verdict.DRIFTED
    assert found.summary == "2 of 2400 pixels differ (0.0833 %)"
    assert found.first.startswith("pixel (7, 3): (")
    largest = next(m for m in found.measures if m.name == "largest channel difference")
    assert (largest.value, largest.unit, largest.where) == (200, "of 255", "pixel (50, 30)")
    assert found.distribution.decades == {-2: 1, -1: 1}
    assert found.distribution.equal == 2398


def test_only_a_tolerance_of_the_user_lets_a_level_move(measure):
    pair = _write(_moved((7, 3, 1, 100))), _write(_moved((7, 3, 1, 101)))

    assert measure(*pair).verdict is Verdict.DRIFTED
    assert measure(*pair, atol=1).verdict is Verdict.CLOSE
    assert measure(*pair, atol=0.5).verdict is Verdict.DRIFTED


def test_the_same_colours_stored_otherwise_are_equivalent(measure):
    levels = (PIXELS[..., :1] // 64 * 85).repeat(3, axis=2)
    palette = Image.fromarray(levels).quantize(8)
    file = io.BytesIO()
    palette.save(file, "PNG")
    plain = _write(np.asarray(palette.convert("RGB")))

    assert measure(plain, file.getvalue()).verdict is Verdict.EQUIVALENT
    assert measure(plain, _write(np.asarray(palette.convert("RGBA")))).verdict is (
        Verdict.EQUIVALENT
    )
    assert measure(plain, _write(PIXELS)).verdict is Verdict.DRIFTED


@pytest.mark.parametrize(
    ("a", "b", "first"),
    [
        (_write(PIXELS), _write(PIXELS[1:]), "size: 60 × 40 → 60 × 39 pixels"),
        (_write(PIXELS), _write(PIXELS, icc_profile=b"x" * 20), "icc_profile: absent → 20 bytes"),
        (
            _write(PIXELS[..., 0].astype(np.uint16) * 9),
            _write(PIXELS[..., 0]),
            "mode: I;16 → L",
        ),
    ],
    ids=["size", "profile", "depth"],
)
def test_what_changes_how_it_is_seen_decides(measure, a, b, first):
    found = measure(a, b, rtol=1e9)

    assert found.verdict is Verdict.DRIFTED
    assert found.first.startswith(first)


def test_frames_are_compared_one_by_one(measure):
    def film(*frames: np.ndarray) -> bytes:
        first, *more = map(Image.fromarray, frames)
        file = io.BytesIO()
        first.save(file, "GIF", save_all=True, append_images=more)
        return file.getvalue()

    steps = [np.full((8, 8), level, np.uint8) for level in (10, 90, 200)]
    other = [steps[0], steps[1], steps[2].copy()]
    other[2][5, 6] = 10

    assert measure(film(*steps), film(*other), "a.gif").first.startswith("frame 2, pixel (6, 5): ")
    assert measure(film(*steps), film(*steps[:2]), "a.gif").first == "frames: 3 → 2"


@pytest.mark.parametrize(
    ("form", "name"),
    [("JPEG", "a.jpg"), ("WEBP", "a.webp"), ("BMP", "a.bmp"), ("TIFF", "a.tif"), ("GIF", "a.gif")],
)
def test_other_forms_are_known(measure, form, name):
    flat = np.full((16, 16, 3), 40, np.uint8)

    found = measure(_write(flat, form), _write(flat + 60, form), name)

    assert (found.verdict, found.comparator) == (Verdict.DRIFTED, "image")
    assert found.summary == "256 of 256 pixels differ (100 %)"
    with pytest.raises(ComparisonError):
        measure(_write(PIXELS, form), _write(PIXELS, form)[:200], name)


def test_a_bomb_is_refused_before_it_is_unpacked(measure):
    small = _write(PIXELS)
    header = small[12:16] + (30_000).to_bytes(4, "big") * 2 + small[24:29]
    import zlib

    bomb = small[:12] + header + zlib.crc32(header).to_bytes(4, "big") + small[33:]

    with pytest.raises(ComparisonError, match=r"900,?000,?000"):
        measure(small, bomb)
    limit = images._PIXELS
    assert limit * 4 * 2 <= 400_000_000


def test_every_flipped_byte_of_a_png_is_an_error_or_a_drift(measure):
    sound = _write(PIXELS[:6, :6], pnginfo=_text(Software="x"))
    verdicts = set()
    for at in range(len(sound)):
        for mask in (0x01, 0x20):
            damaged = sound[:at] + bytes([sound[at] ^ mask]) + sound[at + 1 :]
            try:
                verdicts.add(measure(sound, damaged).verdict)
            except ComparisonError:
                verdicts.add(None)

    assert verdicts <= {None, Verdict.DRIFTED}


def test_a_flipped_byte_of_a_jpeg_gives_a_verdict_or_an_error(measure):
    sound = _write(PIXELS[:8, :8], "JPEG", comment=b"who made it")
    for at in range(len(sound)):
        damaged = sound[:at] + bytes([sound[at] ^ 0x10]) + sound[at + 1 :]
        try:
            found = measure(sound, damaged, "a.jpg")
        except ComparisonError:
            continue
        assert found.compared
        assert found.verdict in (Verdict.EQUIVALENT, Verdict.DRIFTED)
