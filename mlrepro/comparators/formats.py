"""Formats: the float types that arrays and tensors are stored in, and their class limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Format:
    """One stored type of float.

    Attributes
    ----------
    name : str
        ``float32``, ``bfloat16`` …
    limit : float
        Class limit of rms / std: about two roundings of it for the narrow ones.
    epsilon : float
        Distance of 1 to the next number.
    smallest : float
        The smallest positive number.
    widen : callable or None
        ``(raw, out) -> None``: write stored integers as float32 into `out`; an infinity or a NaN
        may become any number from `bound` upwards. None for what numpy computes with itself.
    exact : callable or None
        ``(raw) -> values``: the same with NaN and infinities as they are; slower.
    bound : float
        Magnitudes that `widen` makes of an infinity or a NaN lie from here upwards.
    """

    name: str
    limit: float
    epsilon: float
    smallest: float
    widen: Callable[[Any, Any], None] | None = None
    exact: Callable[[Any], Any] | None = None
    bound: float = float("inf")


def _wide_half(raw: Any, out: Any) -> None:
    import numpy as np  # noqa: PLC0415  0.1 s: paid where arrays are compared

    # Three times as fast as numpy's own conversion: sign and bits moved to their places, and the
    # exponent set right by a product, which is exact for subnormals too.
    bits = out.view(np.int32)
    np.left_shift(raw.view(np.int16), 13, out=bits, dtype=np.int32)
    np.bitwise_and(bits, np.int32(-0x70002000), out=bits)
    np.multiply(out, np.float32(2.0**112), out=out)


def _exact_half(raw: Any) -> Any:
    import numpy as np  # noqa: PLC0415  see _wide_half

    return raw.view(np.float16).astype(np.float32)


def _wide_bfloat(raw: Any, out: Any) -> None:
    import numpy as np  # noqa: PLC0415  see _wide_half

    np.left_shift(raw, 16, out=out.view(np.uint32), dtype=np.uint32)


def _exact_bfloat(raw: Any) -> Any:
    import numpy as np  # noqa: PLC0415  see _wide_half

    return (raw.astype(np.uint32) << 16).view(np.float32)


def _eight(exponent: int, bias: int, special: str) -> Callable[[Any], Any]:
    """Return the reader of an 8-bit float with so many bits of exponent, by a table.

    `special` tells where the numbers end: ``ieee`` (infinities and NaN), ``fn`` (one NaN of each
    sign), ``fnuz`` (one NaN in the place of −0).
    """
    mantissa = 7 - exponent

    def number(code: int) -> float:
        magnitude, sign = code & 0x7F, -1.0 if code & 0x80 else 1.0
        high, low = magnitude >> mantissa, magnitude & ((1 << mantissa) - 1)
        if special == "ieee" and high == (1 << exponent) - 1:
            return float("nan") if low else sign * float("inf")
        if code in ({0x80} if special == "fnuz" else {0x7F, 0xFF}):
            return float("nan")
        if not high:
            return float(sign * low * 2.0 ** (1 - bias - mantissa))
        return float(sign * ((1 << mantissa) + low) * 2.0 ** (high - bias - mantissa))

    return _by_table([number(code) for code in range(256)])


def _by_table(numbers: list[float]) -> Callable[[Any], Any]:
    def read(raw: Any) -> Any:
        import numpy as np  # noqa: PLC0415  see _wide_half

        return np.array(numbers, np.float32)[raw]

    return read


_POWERS = _by_table([*(2.0 ** (code - 127) for code in range(255)), float("nan")])

FORMATS = {
    form.name: form
    for form in (
        Format("float64", 1e-6, 2.0**-52, 5e-324),
        Format("float32", 1e-5, 2.0**-23, 2.0**-149),
        # One rounding of a number of 11 bits is already 5e-4 of it, of 8 bits 4e-3, and so on.
        Format("float16", 1e-3, 2.0**-10, 2.0**-24, _wide_half, _exact_half, 65536.0),
        Format("bfloat16", 4e-3, 2.0**-7, 2.0**-133, _wide_bfloat, _exact_bfloat),
        Format("float8_e4m3", 6e-2, 2.0**-3, 2.0**-9, exact=_eight(4, 7, "fn")),
        Format("float8_e5m2", 1.2e-1, 2.0**-2, 2.0**-16, exact=_eight(5, 15, "ieee")),
        Format("float8_e4m3fnuz", 6e-2, 2.0**-3, 2.0**-10, exact=_eight(4, 8, "fnuz")),
        Format("float8_e5m2fnuz", 1.2e-1, 2.0**-2, 2.0**-17, exact=_eight(5, 16, "fnuz")),
        # Powers of two alone: its next number is twice as large, so none is a rounding of another.
        Format("float8_e8m0", 1e-6, 1.0, 2.0**-127, exact=_POWERS),
    )
}
