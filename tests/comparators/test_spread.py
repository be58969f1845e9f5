"""The distance of two streams, against plain formulas over whole arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrepro.comparators import kernel
from mlrepro.comparators.elements import Elements
from mlrepro.comparators.formats import FORMATS
from mlrepro.comparators.spread import Spread
from mlrepro.drift import Tolerance

_RNG = np.random.default_rng(3)


def _plainly(a, b) -> dict:
    """Return what a Spread should say, in float64 and by whole arrays."""
    x, y = a.astype("f8"), b.astype("f8")
    unequal = np.flatnonzero(~((x == y) | (np.isnan(x) & np.isnan(y))))
    both = np.isfinite(x) & np.isfinite(y)
    distance = np.where(both, np.abs(np.where(both, x, 0) - np.where(both, y, 0)), 0)
    std = min(x[np.isfinite(x)].std(), y[np.isfinite(y)].std())
    return {
        "differing": len(unequal),
        "broken": int((~both[unequal]).sum()),
        "first": int(unequal[0]) if len(unequal) else -1,
        "largest": distance.max(),
        "rms / std": np.sqrt((distance**2).sum() / len(x)) / std,
        "signed_zeros": int(((x == 0) & (y == 0) & (np.signbit(x) != np.signbit(y))).sum()),
    }


def _of(spread: Spread) -> dict:
    scaled = math.sqrt(spread.squares / spread.count) / spread.scale
    named = {k: getattr(spread, k) for k in ("differing", "broken", "first", "largest")}
    return {**named, "rms / std": scaled, "signed_zeros": spread.signed_zeros}


def _cases():
    normal = _RNG.normal(size=150_000)
    near = normal * (1 + _RNG.normal(size=len(normal)) * 1e-6)
    some = np.where(_RNG.random(len(normal)) < 0.01, near, normal)
    odd = normal.copy()
    odd[::7], odd[5::1000], odd[3::999] = np.nan, np.inf, 0.0
    other = np.where(odd == 0, -0.0, odd * (1 + 1e-7))
    other[70_000], other[70_001] = np.nan, -np.inf
    yield "all differ", normal, near
    yield "few differ", normal, some
    yield "far from zero", normal + 1e6, near + 1e6
    yield "tiny", normal * 1e-17, near * 1e-17
    yield "huge", normal * 1e17, near * 1e17
    yield "NaN, infinities and zeros", odd, other
    yield "sorted", np.sort(normal), np.sort(near)


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize(("what", "a", "b"), list(_cases()), ids=[c[0] for c in _cases()])
def test_fast_passes_say_what_plain_formulas_say(what, a, b, dtype):
    a, b = a.astype(dtype), b.astype(dtype)
    spread = Spread.of(FORMATS["float64" if dtype == "f8" else "float32"])
    spread.add(a, b)

    assert _of(spread) == pytest.approx(_plainly(a, b), rel=1e-5)
    told = spread.distribution()
    assert told.equal + sum(told.decades.values()) + told.broken == len(a)
    assert abs(float(a[spread.where]) - float(b[spread.where])) == spread.largest or spread.broken


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_narrow_floats_are_read_as_the_numbers_that_they_are(name):
    every = np.arange(65536, dtype="u2")
    shuffled = np.concatenate([every, _RNG.permutation(every)])
    form = FORMATS[name]
    spread = Spread.of(form)
    spread.add(np.concatenate([every, every]), shuffled)

    a, b = form.exact(np.concatenate([every, every])), form.exact(shuffled)
    wide = np.empty(len(every), "f4")
    form.widen(every, wide)
    finite = np.isfinite(form.exact(every))
    assert (wide[finite] == form.exact(every)[finite]).all()
    assert not (np.abs(wide[~finite]) < form.bound).any()
    with np.errstate(all="ignore"):
        expected = _plainly(a, b)
    assert {k: v for k, v in _of(spread).items() if k != "rms / std"} == pytest.approx(
        {k: v for k, v in expected.items() if k != "rms / std"}
    )


def test_parts_put_together_are_the_whole():
    a = _RNG.normal(size=500_000).astype("f4")
    b = a.copy()
    b[200_000:] *= np.float32(1.001)
    whole, parts = Elements.of(a.dtype, Tolerance()), Elements.of(a.dtype, Tolerance())
    whole.add(a, b)
    for x, y in zip(np.array_split(a, 7), np.array_split(b, 7), strict=True):
        part = parts.part()
        part.add(x, y)
        parts.merge(part)

    one, other = (e.difference("x", str) for e in (whole, parts))
    assert one.first == other.first
    assert one.measures[0].value == pytest.approx(other.measures[0].value)
    assert one.measures[1] == other.measures[1]
    assert one.distribution == other.distribution


_whole = st.integers(-(2**63), 2**63 - 1)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(_whole, _whole), min_size=1, max_size=9))
def test_the_largest_distance_of_whole_numbers_is_exact(pairs):
    a, b = (np.array(side, "i8") for side in zip(*pairs, strict=True))
    elements = Elements.of(a.dtype, Tolerance())
    elements.add(a, b)

    largest = max(abs(x - y) for x, y in pairs)
    assert (elements.largest or 0) == largest
    assert elements.differing == sum(x != y for x, y in pairs)


def test_a_chunk_is_measured_in_rows_that_fit_it():
    assert kernel.CHUNK % kernel._ROW == 0


def test_of_a_long_stream_a_part_is_counted_and_the_largest_is_among_it():
    a = _RNG.normal(size=3 * kernel.CHUNK)
    b = a + np.repeat([1e-9, 1e-5, 1e-3], kernel.CHUNK)
    b[kernel.CHUNK + 70] += 100
    spread = Spread.of(FORMATS["float64"])
    spread.sampled = True
    part = spread.part()
    part.add(a, b)
    spread.merge(part)

    told = spread.distribution().decades
    assert sum(told.values()) == len(a)
    assert told[2 if spread.scale < 1 else 1] == 1
    assert max(told.values()) == pytest.approx(kernel.CHUNK, rel=0.1)
