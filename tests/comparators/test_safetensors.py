"""Safetensors, tensor by tensor."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from mlrepro.comparators import compare
from mlrepro.comparators.tensors import COMPARATOR
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

_few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_RNG = np.random.default_rng(1)
_WEIGHT = _RNG.normal(size=(6, 4)).astype("f4")


def _compare(folder: Path, a: dict, b: dict, *, meta=(None, None), **tolerance) -> Difference:
    save_file(a, folder / "a.safetensors", metadata=meta[0])
    save_file(b, folder / "b.safetensors", metadata=meta[1])
    return compare(
        folder / "a.safetensors",
        folder / "b.safetensors",
        name="model.safetensors",
        tolerance=Tolerance(**tolerance),
    )


def _write(path: Path, header: dict | bytes, data: bytes) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def _moved(at, by):
    other = _WEIGHT.copy()
    other[at] += by
    return other


@pytest.mark.parametrize(
    ("b", "verdict"),
    [
        ({"w": _WEIGHT * (1 + 1e-6)}, Verdict.CLOSE),
        ({"w": _moved((2, 1), 0.5)}, Verdict.DRIFTED),
        ({"w": _moved((2, 1), np.nan)}, Verdict.DRIFTED),
        ({"w": _WEIGHT.reshape(4, 6)}, Verdict.DRIFTED),
        ({"w": _WEIGHT.astype("f2")}, Verdict.DRIFTED),
        ({"w": _WEIGHT.view("i4")}, Verdict.DRIFTED),
        ({"v": _WEIGHT}, Verdict.MISSING),
        ({"w": _WEIGHT, "v": _WEIGHT}, Verdict.MISSING),
    ],
)
def test_two_files_get_the_verdict_a_person_gives(tmp_path, b, verdict):
    assert _compare(tmp_path, {"w": _WEIGHT}, b).verdict == verdict
    assert _compare(tmp_path, b, {"w": _WEIGHT}).verdict == verdict


def test_the_report_names_the_tensor_the_place_and_the_sizes_of_the_differences(tmp_path):
    model = {"layer1.weight": _WEIGHT, "layer2.bias": np.zeros(3, "f4"), "steps": np.array([7])}
    other = {**model, "layer1.weight": _moved((2, 1), 0.5)}
    other["layer1.weight"][5, 3] -= 3

    found = _compare(tmp_path, model, other)

    assert found.summary == "1 of 3 tensors differ"
    assert found.first.startswith("layer1.weight[2, 1]: ")
    measures = {m.name: m for m in found.children[0].measures}
    assert measures["largest |a−b|"].where == "layer1.weight[5, 3]"
    assert measures["rms / std"].value > 0.1
    assert found.children[0].distribution.equal == 22
    assert sum(found.children[0].distribution.decades.values()) == 2
    assert found.comparator == "safetensors"


def test_metadata_and_the_order_of_tensors_mean_nothing(tmp_path):
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    other = {**entry, "data_offsets": [4, 8]}
    one, two = struct.pack("<f", 1.5), struct.pack("<f", 2.5)
    a = _write(
        tmp_path / "a", {"__metadata__": {"format": "pt"}, "x": entry, "y": other}, one + two
    )
    b = _write(tmp_path / "b", {"y": entry, "x": other}, two + one)

    found = compare(a, b, name="model.safetensors", tolerance=Tolerance())

    assert found.verdict == Verdict.EQUIVALENT
    assert found.metadata == ("order of tensors", "__metadata__ format: pt → –")


@pytest.mark.parametrize(
    ("dtype", "a", "b", "shown", "verdict"),
    [
        ("BF16", 0x3F80, 0x3F81, "1.0 → 1.0078125", Verdict.DRIFTED),
        ("BF16", 0x7F80, 0x7FC0, "inf → nan", Verdict.DRIFTED),
        ("F8_E4M3", 0x38, 0x39, "1.0 → 1.125", Verdict.DRIFTED),
        ("F8_E5M2", 0x3C, 0x7C, "1.0 → inf", Verdict.DRIFTED),
        ("F8_E4M3", 0x00, 0x80, "", Verdict.EQUIVALENT),
        ("F8_E8M0", 127, 128, "1.0 → 2.0", Verdict.DRIFTED),
        ("U64", 2**64 - 1, 0, "18446744073709551615 → 0", Verdict.DRIFTED),
        ("I8", 127, 128, "127 → -128", Verdict.DRIFTED),
        ("BOOL", 0, 1, "0 → 1", Verdict.DRIFTED),
    ],
)
def test_every_type_is_read_as_what_it_is(tmp_path, dtype, a, b, shown, verdict):
    width = {"BF16": 2, "U64": 8}.get(dtype, 1)
    header = {"t": {"dtype": dtype, "shape": [1], "data_offsets": [0, width]}}
    paths = [
        _write(tmp_path / n, header, v.to_bytes(width, "little"))
        for n, v in zip("ab", (a, b), strict=True)
    ]

    found = compare(*paths, name="model.safetensors", tolerance=Tolerance())

    assert found.verdict == verdict
    assert found.first == (f"t[0]: {shown}" if shown else "")


@pytest.mark.parametrize("step", [1e-3, 1e-1])
def test_a_rounding_of_bfloat16_is_close_and_more_is_not(tmp_path, step):
    values = _RNG.normal(size=1000).astype("f4")
    header = {"t": {"dtype": "BF16", "shape": [1000], "data_offsets": [0, 2000]}}
    bits = [
        ((v.view("u4") + 0x8000) >> 16).astype("u2")
        for v in (values, values * np.float32(1 + step))
    ]
    paths = [_write(tmp_path / n, header, v.tobytes()) for n, v in zip("ab", bits, strict=True)]

    found = compare(*paths, name="model.safetensors", tolerance=Tolerance())

    assert found.verdict == (Verdict.CLOSE if step < 0.01 else Verdict.DRIFTED)


_ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b"{", "no JSON"),
        (b"[" * 20_000, "no JSON"),
        (b"[]", "no JSON object"),
        (b'{"x": 1, "x": 2}', "twice"),
        ({"x": 1}, "not described"),
        ({"x": {**_ENTRY, "dtype": "F33"}}, "unknown type"),
        ({"x": {**_ENTRY, "shape": [3]}}, "another size"),
        ({"x": {**_ENTRY, "shape": [-2]}}, "no counts"),
        ({"x": {**_ENTRY, "shape": [True, 2]}}, "no counts"),
        ({"x": {**_ENTRY, "data_offsets": [4, 12]}}, "begins at"),
        ({"x": _ENTRY, "y": _ENTRY}, "begins at"),
        ({"x": {**_ENTRY, "shape": [1], "data_offsets": [0, 4]}}, "have 4 bytes"),
        ({"__metadata__": {"n": 1}, "x": _ENTRY}, "more than texts"),
    ],
)
def test_a_header_that_does_not_fit_is_an_error_that_says_why(tmp_path, header, why):
    good = _write(tmp_path / "a.safetensors", {"x": _ENTRY}, bytes(8))
    bad = _write(tmp_path / "b.safetensors", header, bytes(8))

    with pytest.raises(ComparisonError, match=why):
        COMPARATOR.compare(good, bad, Tolerance())


def test_a_header_longer_than_the_file_is_an_error(tmp_path):
    good = _write(tmp_path / "a.safetensors", {"x": _ENTRY}, bytes(8))
    (tmp_path / "b.safetensors").write_bytes(struct.pack("<Q", 2**63) + b"{}")

    with pytest.raises(ComparisonError, match="header would have"):
        COMPARATOR.compare(good, tmp_path / "b.safetensors", Tolerance())


def test_every_flipped_byte_is_seen_or_an_error(tmp_path):
    model = {"w": np.array([0.5, -1.25, 3.0], "f4"), "n": np.array([1, 2], "i8")}
    save_file(model, tmp_path / "a.safetensors", metadata={"format": "pt"})
    data = (tmp_path / "a.safetensors").read_bytes()
    begin = data.index(b'"__metadata__"') + 14
    free = range(begin, data.index(b"}", begin))
    for at in range(len(data)):
        for mask in (1, 64, 255):
            damaged = bytearray(data)
            damaged[at] ^= mask
            (tmp_path / "b.safetensors").write_bytes(damaged)
            try:
                found = COMPARATOR.compare(
                    tmp_path / "a.safetensors", tmp_path / "b.safetensors", Tolerance()
                )
            except ComparisonError:
                continue
            if at not in free:
                assert found.verdict > Verdict.EQUIVALENT, at
            # A float may move by its last bit; whatever moves farther is no rounding.
            assert found.verdict != Verdict.CLOSE or found.measures[0].value < 1e-5, at


@_few
@given(st.data())
def test_any_damage_gives_a_difference_or_a_comparison_error(tmp_path, data):
    save_file({"w": _WEIGHT, "n": np.arange(3)}, tmp_path / "a.safetensors")
    damaged = bytearray((tmp_path / "a.safetensors").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(damaged)))
    (tmp_path / "b.safetensors").write_bytes(damaged[:cut])
    try:
        COMPARATOR.compare(tmp_path / "a.safetensors", tmp_path / "b.safetensors", Tolerance())
    except ComparisonError:
        pass
