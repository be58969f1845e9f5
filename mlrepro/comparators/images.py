"""Images: PNG, JPEG, GIF, WebP, BMP and TIFF compared pixel by pixel.

No content, and so metadata: text, times, the name of the program, resolution, compression, how long
a frame is shown, and how colours are stored (a palette, an opaque channel) where they are the same
colours. A colour profile, a gamma value and an orientation change what is seen, and decide.
"""

from __future__ import annotations

import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlrepro.comparators.base import Comparator
from mlrepro.comparators.damage import translated
from mlrepro.comparators.values import LISTED, is_given, show
from mlrepro.drift import Difference, Distribution, Measure, Tolerance, Verdict
from mlrepro.errors import ComparisonError

if TYPE_CHECKING:
    from PIL.Image import Image

_FORMATS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")
_PIXELS = 50_000_000
"""An image is decoded whole, at up to 4 bytes a pixel; a small file may state any size."""
_FRAMES, _ALL_PIXELS = 2_000, 1_000_000_000
_PIECE = 1 << 20
"""So many pixels are held against each other at once."""
_COLOURS = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA"})
_DECIDES = ("icc_profile", "gamma", "chromaticity", "orientation")
_BULKY = frozenset({"exif", "icc_profile", "xmp", "photoshop", "mpoffset", "XML:com.adobe.xmp"})
_PNG = b"\x89PNG\r\n\x1a\n"
_NAMED = {".bmp": (b"BM",), ".tif": (b"II*\0", b"MM\0*"), ".tiff": (b"II*\0", b"MM\0*")}
# Colours are levels of 255; only floats (of TIFF) have a spread, and 16 bits a range of their own.
_RANGES = {"I": 65535.0, "I;16": 65535.0, "I;16B": 65535.0, "I;16L": 65535.0}


def _recognises(path: Path, head: bytes) -> bool:
    if head.startswith((_PNG, b"\xff\xd8\xff", b"GIF87a", b"GIF89a")):
        return True
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return True
    return head.startswith(_NAMED.get(path.suffix.lower(), (b"\0never",)))


def _compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
    with _opened(recorded) as a, _opened(rebuilt) as b:
        found = _Pixels(tolerance)
        structure = _structure(a, b)
        if structure:
            return Difference(
                recorded.name, Verdict.DRIFTED, structure, first=structure, compared=1
            )
        for number, (x, y) in enumerate(zip(_frames(a), _frames(b), strict=True)):
            found.frame(x, y, number if _count(a) > 1 else -1)
            found.asides(_said(x), _said(y))
        return found.finish(recorded.name)


class _opened:  # noqa: N801  a context, as `open` is
    """An image whose header has been read, and whose size is bearable."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Image:
        from PIL import Image  # noqa: PLC0415  30 ms: paid where images are compared

        with translated(self.path.name), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _check_png(self.path)
            try:
                self.image = Image.open(self.path, formats=_FORMATS)
            except Image.DecompressionBombError as error:
                raise ComparisonError(f"`{self.path.name}`: {error}") from error
            _check_size(self.image, self.path.name)
            return self.image

    def __exit__(self, *error: object) -> None:
        self.image.close()


def _check_size(image: Image, name: str) -> None:
    size = image.width * image.height
    if size > _PIXELS:
        image.close()
        raise ComparisonError(f"`{name}` has {size:,} pixels; up to {_PIXELS:,} are compared")


def _check_png(path: Path) -> None:
    """Hold the checksum of every chunk: what draws pixels passes over that of their own."""
    with path.open("rb") as file:
        if file.read(8) != _PNG:
            return
        kind = b""
        while kind != b"IEND":
            head = file.read(8)
            if len(head) < 8:
                raise ValueError("it ends before its last chunk")
            length, kind = struct.unpack(">I4s", head)
            crc = zlib.crc32(kind)
            while length:
                piece = file.read(min(length, 1 << 20))
                if not piece:
                    raise ValueError("it ends within a chunk")
                crc, length = zlib.crc32(piece, crc), length - len(piece)
            if file.read(4) != struct.pack(">I", crc):
                raise ValueError(f"the checksum of a chunk {kind!r} is wrong")
        if file.read(1):
            raise ValueError("bytes follow its last chunk")


def _structure(a: Image, b: Image) -> str:
    change = _frame_structure(a, b)
    if change:
        return change
    if _count(a) != _count(b):
        return f"frames: {_count(a)} → {_count(b)}"
    left, right = _deciding(a), _deciding(b)
    for key in _DECIDES:
        if left.get(key) != right.get(key):
            values = (_brief(key, side.get(key)) for side in (left, right))
            return f"{key}: {' → '.join(values)}"
    return ""


def _frame_structure(a: Image, b: Image) -> str:
    if a.size != b.size:
        return f"size: {a.width} × {a.height} → {b.width} × {b.height} pixels"
    if a.mode != b.mode and not {a.mode, b.mode} <= _COLOURS:
        return f"mode: {a.mode} → {b.mode}"
    return ""


def _count(image: Image) -> int:
    with translated("an image"):
        count = int(getattr(image, "n_frames", 1))
    if count > _FRAMES or count * image.width * image.height > _ALL_PIXELS:
        raise ComparisonError(f"an image has {count:,} frames, too many to be compared")
    return count


def _deciding(image: Image) -> dict[str, Any]:
    with translated("an image"):
        orientation = image.getexif().get(0x0112, 1)
    return {**{k: v for k, v in image.info.items() if k in _DECIDES}, "orientation": orientation}


def _frames(image: Image) -> Iterator[Image]:
    for number in range(_count(image)):
        with translated("an image"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.seek(number)
            _check_size(image, "an image")
            image.load()
        yield image


def _said(image: Image) -> dict[str, str]:
    """Return what is said beside the pixels, each in few words."""
    said = {str(k): _brief(str(k), v) for k, v in image.info.items() if k not in _DECIDES}
    return {**said, "format": str(image.format), "mode": image.mode}


def _brief(key: str, value: object) -> str:
    if value is None:
        return "absent"
    if key in _BULKY or isinstance(value, bytes):
        data = value if isinstance(value, bytes) else str(value).encode(errors="replace")
        return f"{len(data)} bytes, checksum {zlib.crc32(data):08x}"
    return show(value)


@dataclass
class _Pixels:
    """What was met while two images are walked along, some rows at a time."""

    tolerance: Tolerance
    pixels: int = 0
    differing: int = 0
    broken: int = 0
    largest: float = 0.0
    where: str = ""
    first: str = ""
    squares: float = 0.0
    values: int = 0
    range: float = 255.0
    beyond: int = 0
    decades: dict[int, int] = field(default_factory=dict)
    metadata: list[str] = field(default_factory=list)

    def frame(self, a: Image, b: Image, number: int) -> None:
        """Take in one frame of both; -1 for an image that has one only."""
        change = _frame_structure(a, b)
        if change:
            self.beyond += 1
            self.first = self.first or f"frame {number}, {change}"
            return
        mode = a.mode
        plain = a.mode == b.mode and a.mode in ("L", "RGB")
        if a.mode in _COLOURS and (not plain or "transparency" in {**a.info, **b.info}):
            mode = "RGBA"  # palettes decoded, transparency included
        self.range = _RANGES.get(mode, 255.0 if mode not in ("F", "I") else 1.0)
        rows = max(1, _PIECE // max(a.width, 1))
        for top in range(0, a.height, rows):
            box = (0, top, a.width, min(top + rows, a.height))
            with translated("an image"):
                x, y = (_array(side.crop(box), mode) for side in (a, b))
            self._rows(x, y, top, number)

    def _rows(self, x: Any, y: Any, top: int, number: int) -> None:
        import numpy as np  # noqa: PLC0415  0.1 s: paid where images are compared

        apart = np.where((x == y) | ((x != x) & (y != y)), 0.0, abs(x - y))
        odd = ~np.isfinite(apart)
        worst = np.where(odd, np.inf, apart).max(axis=2)
        self.pixels += worst.size
        self.values += apart.size
        if not worst.any():
            return
        unequal = worst > 0
        self.broken += int(odd.any(axis=2).sum())
        self.squares += float((np.where(odd, 0.0, apart) ** 2).sum())
        self.beyond += int((worst > self._limit(x, y)).sum())
        if not self.first:
            at = int(unequal.argmax())
            self.first = (
                f"{_place(at, worst.shape[1], top, number)}: {_values(x, at)} → {_values(y, at)}"
            )
        if float(worst.max()) > self.largest:
            self.largest = float(worst.max())
            self.where = _place(int(worst.argmax()), worst.shape[1], top, number)
        self.differing += int(unequal.sum())
        sizes = worst[unequal & np.isfinite(worst)] / self.range
        exponents, counts = np.unique(np.floor(np.log10(sizes)).astype(int), return_counts=True)
        for exponent, count in zip(exponents.tolist(), counts.tolist(), strict=True):
            self.decades[exponent] = self.decades.get(exponent, 0) + count

    def _limit(self, x: Any, y: Any) -> Any:
        """Return how far each pixel may move; levels are whole, and exact unless the user says."""
        import numpy as np  # noqa: PLC0415  as above

        if not is_given(self.tolerance):
            return 0.0
        relative = (self.tolerance.rtol or 0.0) * np.maximum(abs(x), abs(y)).max(axis=2)
        return np.maximum(relative, self.tolerance.atol)

    def asides(self, a: dict[str, str], b: dict[str, str]) -> None:
        """Name what is said beside the pixels and differs."""
        for key in {**a, **b}:
            if a.get(key) != b.get(key) and len(self.metadata) < LISTED:
                line = f"{key}: {a.get(key, 'absent')} → {b.get(key, 'absent')}"
                self.metadata += [line] if line not in self.metadata else []

    def finish(self, name: str) -> Difference:
        """Return the node of the image."""
        share = 100 * self.differing / self.pixels if self.pixels else 0.0
        unit = f"of {self.range:.0f}" if self.range > 1 else ""
        summary = ""
        measures: tuple[Measure, ...] = ()
        if self.differing:
            summary = f"{self.differing} of {self.pixels} pixels differ ({share:.3g} %)"
            measures = (
                Measure("pixels that differ", share, "%"),
                Measure("largest channel difference", self.largest, unit, self.where),
                Measure("channels, rms", math.sqrt(self.squares / self.values), unit),
            )
        elif not self.metadata and not self.beyond:
            self.metadata.append("how it is compressed or laid out, not the pixels")
        verdict = Verdict.CLOSE if self.differing else Verdict.EQUIVALENT
        return Difference(
            name,
            Verdict.DRIFTED if self.beyond or self.broken or not self.pixels else verdict,
            summary,
            measures,
            self.first,
            tuple(self.metadata),
            compared=self.pixels,
            distribution=Distribution(
                "of the channel's range" if unit else "as they are",
                equal=self.pixels - self.differing,
                decades=dict(sorted(self.decades.items())),
                broken=self.broken,
            ),
        )


def _array(image: Image, mode: str) -> Any:
    """Return the pixels as float64, one plane for each channel."""
    import numpy as np  # noqa: PLC0415  as above

    values = np.asarray(image if image.mode == mode else image.convert(mode), dtype=np.float64)
    return values.reshape(values.shape[0], values.shape[1], -1)


def _place(at: int, width: int, top: int, number: int) -> str:
    row, column = divmod(at, width)
    frame = f"frame {number}, " if number >= 0 else ""
    return f"{frame}pixel ({column}, {top + row})"


def _values(x: Any, at: int) -> str:
    channels = x.reshape(-1, x.shape[2])[at].tolist()
    return f"({', '.join(f'{v:g}' for v in channels)})"


COMPARATOR = Comparator("image", _recognises, _compare)
