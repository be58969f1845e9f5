"""The kernel in C says what numpy's passes say, whatever the numbers and wherever they lie."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrepro.comparators import compiled
from mlrepro.comparators.elements import Elements
from mlrepro.comparators.formats import FORMATS
from mlrepro.comparators.kernel import CHUNK
from mlrepro.comparators.spread import Spread
from mlrepro.drift import Tolerance

NAMES = ("float64", "float32", "float16", "bfloat16")
_BITS = {"float64": "u8", "float32": "u4", "float16": "u2", "bfloat16": "u2"}
_RAW = {**_BITS, "float64": "f8", "float32": "f4"}
_EXPONENT = {"float64": (52, 11), "float32": (23, 8), "float16": (10, 5), "bfloat16": (7, 8)}

built = pytest.mark.skipif(compiled.library() is None, reason="the kernel in C was not built")


def _spread(name, a, b, *, sampled=False) -> Spread:
    spread = Spread.of(FORMATS[name])
    spread.sampled = sampled
    spread.add(a, b)
    return spread


def _by_numpy(name, a, b, *, sampled=False) -> Spread:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "library", lambda: None)
        return _spread(name, a, b, sampled=sampled)


def _assert_same(name, a, b, *, sampled=False) -> None:
    one = _spread(name, a, b, sampled=sampled)
    other = _by_numpy(name, a, b, sampled=sampled)
    for exact in ("count", "differing", "broken", "first", "where", "largest", "signed_zeros"):
        assert getattr(one, exact) == getattr(other, exact), exact
    # numpy adds up float32 in float32.
    near = {"rel": 1e-11 if name == "float64" else 3e-5, "nan_ok": True}  # beyond all is NaN
    assert one.squares == pytest.approx(other.squares, **near, abs=0)
    for x, y in ((one.a, other.a), (one.b, other.b)):
        assert (x.count, x.largest) == (y.count, y.largest)
        assert x.mean == pytest.approx(y.mean, **near, abs=near["rel"] * (x.largest or 0))
        if x.count:
            loose = near["rel"] * x.largest * math.sqrt(x.count) * 1e-3
            std = [math.sqrt(v.squares) for v in (x, y)]
            assert std[0] == pytest.approx(std[1], **near, abs=loose)
    assert one.decades.all_steps() == other.decades.all_steps()
    kept = [[v for part in s.decades.exact for v in part.tolist()] for s in (one, other)]
    assert kept[0] == kept[1]
    ulps = [np.concatenate([*s._ulps, np.zeros(0)]).tolist() for s in (one, other)]
    assert ulps[0] == ulps[1]


def _odd_numbers(name):
    """Bits of NaN of several payloads, zeros, infinities, subnormals, ones, huge and tiny ones."""
    mantissa, exponent = _EXPONENT[name]
    top, width = ((1 << exponent) - 1) << mantissa, mantissa + exponent
    one = ((1 << exponent - 1) - 1) << mantissa
    positive = [0, 1, 5, one, one + 1, one + 2, 3 << mantissa, top, top + 1, top | 7, top - 1]
    positive += [one + (k << mantissa) for k in (-9, -2, -1, 1, 3, 11)]
    odd = st.sampled_from([p | sign for p in positive for sign in (0, 1 << width)])
    ordinary = st.integers(one - (3 << mantissa), one + (3 << mantissa))
    return st.one_of(ordinary, odd)


@built
@settings(max_examples=150, deadline=None)
@given(st.sampled_from(NAMES), st.data())
def test_c_says_what_numpy_says_of_odd_numbers(name, data):
    number = _odd_numbers(name)
    pairs = st.one_of(st.tuples(number, number), number.map(lambda n: (n, n)))
    rows = data.draw(st.lists(pairs, min_size=1, max_size=40))
    repeated = rows * data.draw(st.sampled_from([1, 1, 37]))
    a, b = (np.array(side, _BITS[name]).view(_RAW[name]) for side in zip(*repeated, strict=True))

    _assert_same(name, a, b)


@built
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(NAMES), st.integers(1, 5000), st.integers(0, 15), st.integers(0, 2**32 - 1),
    st.sampled_from([0.0, 0.001, 0.5, 1.0]), st.sampled_from([0.0, 3.0, 1e3]),
)  # fmt: skip
def test_c_says_what_numpy_says_of_any_length_at_any_address(
    name, count, offset, seed, share, shift
):
    rng = np.random.default_rng(seed)
    a = _raw(name, rng.normal(size=count) + shift)
    moved = np.where(rng.random(count) < share, rng.integers(1, 9, count), 0)
    b = (a.view(_BITS[name]) + moved.astype(_BITS[name])).view(_RAW[name])

    _assert_same(name, *(_at_odd_address(v, offset) for v in (a, b)))


def _raw(name, values):
    if name == "bfloat16":
        return (values.astype("f4").view("u4") >> 16).astype("u2")
    return values.astype(name).view(_RAW[name])


def _at_odd_address(values, offset):
    space = np.zeros(values.nbytes + 16, np.uint8)
    space[offset : offset + values.nbytes] = values.view(np.uint8)
    return space[offset : offset + values.nbytes].view(values.dtype)


@built
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sampled", [True, False])
def test_c_counts_the_distribution_of_long_streams_as_numpy_does(name, sampled):
    rng = np.random.default_rng(5)
    a = _raw(name, rng.normal(size=3 * CHUNK + 5))
    b = (a.view(_BITS[name]) + 1).view(_RAW[name])
    b[CHUNK + 70] = _raw(name, np.array([100.0]))[0]
    b[2 * CHUNK + 3] = a[2 * CHUNK + 3]

    _assert_same(name, a, b, sampled=sampled)


@built
@pytest.mark.parametrize("name", NAMES)
def test_every_processor_finds_the_same_to_the_last_bit(name):
    rng = np.random.default_rng(6)
    a = _raw(name, rng.normal(size=20_001) + 2)
    b = (a.view(_BITS[name]) + 3).view(_RAW[name])

    fast, plain = (
        compiled._compiled(np, compiled.library(), name, a, b, sampled=False, plainly=plainly)
        for plainly in (False, True)
    )

    assert (fast.a, fast.b, fast.squares) == (plain.a, plain.b, plain.squares)
    assert (fast.where, fast.largest, fast.steps.tolist()) == (
        plain.where, plain.largest, plain.steps.tolist()
    )  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_without_the_library_numpy_compares(name, monkeypatch):
    a = _raw(name, np.random.default_rng(7).normal(size=1000))
    b = a.copy()
    b[10] = _raw(name, np.array([4.0]))[0]
    found = []
    for there in (True, False):
        monkeypatch.setattr(compiled, "NAME", compiled.NAME if there else "missing.so")
        compiled.library.cache_clear()
        elements = Elements.stored(FORMATS[name], Tolerance())
        elements.add(a, b)
        found.append(elements.difference("x", str))
    compiled.library.cache_clear()

    assert found[0].verdict == found[1].verdict
    assert found[0].first == found[1].first
    assert found[0].distribution == found[1].distribution
    assert found[0].measures[0].value == pytest.approx(found[1].measures[0].value, rel=1e-4)
    assert found[0].measures[1:] == found[1].measures[1:]


def test_a_library_that_is_none_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "__file__", str(tmp_path / "compiled.py"))
    (tmp_path / compiled.NAME).write_bytes(b"no library")
    compiled.library.cache_clear()

    assert compiled.library() is None

    compiled.library.cache_clear()


def test_what_c_would_misread_goes_to_numpy():
    a = np.arange(10.0)

    assert compiled._fits("float64", a, a)
    assert not compiled._fits("float64", a, a[:5])
    assert not compiled._fits("float64", a, a.astype("f4"))
    assert not compiled._fits("float64", a[::2], a[::2])
    assert not compiled._fits("float64", a.astype(">f8"), a.astype(">f8"))
    assert not compiled._fits("float8_e4m3", a, a)
