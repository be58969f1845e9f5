"""npy and npz, element by element."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrepro.comparators import arrays
from mlrepro.comparators.arrays import COMPARATOR
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

GOLDEN = Path(__file__).parent.parent / "data" / "comparators" / "arrays"
_few = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
_NORMAL = np.random.default_rng(1).normal(size=(50, 4))


def _compare(folder: Path, a, b, **tolerance) -> Difference:
    np.save(folder / "a.npy", a, allow_pickle=True)
    np.save(folder / "b.npy", b, allow_pickle=True)
    return COMPARATOR.compare(folder / "a.npy", folder / "b.npy", Tolerance(**tolerance))


_RECORD = np.zeros(3, dtype=[("x", "f8"), ("y", "i4", (2,))])
_OTHER = _RECORD.copy()
_OTHER["y"][1, 1] = 5


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        (_NORMAL, _NORMAL.astype(">f8"), Verdict.EQUIVALENT),
        (_NORMAL, np.asfortranarray(_NORMAL), Verdict.EQUIVALENT),
        (np.array([np.nan, 0.0]), np.array([np.nan, -0.0]), Verdict.EQUIVALENT),
        (_NORMAL, _NORMAL + 1e-9, Verdict.CLOSE),
        (_NORMAL, _NORMAL + 1e-5, Verdict.DRIFTED),
        (_NORMAL.astype("f4"), (_NORMAL + 2e-6).astype("f4"), Verdict.CLOSE),
        (_NORMAL.astype("f2"), (_NORMAL * 1.0004).astype("f2"), Verdict.CLOSE),
        (_NORMAL + 1j, _NORMAL + 1.00001j, Verdict.DRIFTED),
        (_NORMAL + 1j * _NORMAL, (_NORMAL + 1j * _NORMAL) * (1 + 1e-9), Verdict.CLOSE),
        (np.full(9, 3.0), np.full(9, 3.0 + 1e-9), Verdict.CLOSE),
        (np.full(9, 3.0), np.full(9, 3.1), Verdict.DRIFTED),
        (np.array([1.0, 2.0]), np.array([1.0, np.nan]), Verdict.DRIFTED),
        (np.array([1.0, np.inf]), np.array([1.0, -np.inf]), Verdict.DRIFTED),
        (np.array([1e308, -1e308]), np.array([-1e308, 1e308]), Verdict.DRIFTED),
        (np.arange(10**6, 10**6 + 9), np.arange(10**6 + 1, 10**6 + 10), Verdict.DRIFTED),
        (np.array([2**63], "u8"), np.array([2**63 + 1], "u8"), Verdict.DRIFTED),
        (np.array([True]), np.array([False]), Verdict.DRIFTED),
        (np.array(["a", "bc"]), np.array(["a", "bcd"]), Verdict.DRIFTED),
        (np.array(["a", "bc"], "U2"), np.array(["a", "bc"], "U9"), Verdict.EQUIVALENT),
        (np.array(["2026-01-01"], "M8[D]"), np.array(["2026-01-02"], "M8[D]"), Verdict.DRIFTED),
        (_NORMAL, _NORMAL[:9], Verdict.DRIFTED),
        (_NORMAL, _NORMAL.astype("f4"), Verdict.DRIFTED),
        (_RECORD, _OTHER, Verdict.DRIFTED),
        (np.float64(0.5), np.float64(0.6), Verdict.DRIFTED),
    ],
)
def test_two_arrays_get_the_verdict_a_person_gives(tmp_path, a, b, verdict):
    assert _compare(tmp_path, a, b).verdict == verdict
    assert _compare(tmp_path, b, a).verdict == verdict


def test_the_report_says_where(tmp_path):
    other = _NORMAL.copy()
    other[3, 1] += 0.5
    other[12, 3] -= 9.0

    found = _compare(tmp_path, _NORMAL, other)

    assert found.first.startswith("[3, 1]: ")
    assert {m.name: m.where for m in found.measures}["largest |a−b|"] == "[12, 3]"


def test_a_negative_zero_is_shown(tmp_path):
    found = _compare(tmp_path, np.zeros(3), -np.zeros(3))

    assert found.metadata == ("3 zeros differ in their sign",)


def test_whole_numbers_move_only_where_the_user_lets_them(tmp_path):
    assert _compare(tmp_path, np.array([100]), np.array([101])).verdict == Verdict.DRIFTED
    assert _compare(tmp_path, np.array([100]), np.array([101]), rtol=0.1).verdict == Verdict.CLOSE


def test_chunks_add_up_to_the_whole(tmp_path, monkeypatch):
    other = _NORMAL + np.random.default_rng(2).normal(size=_NORMAL.shape) * 1e-3
    whole = _compare(tmp_path, _NORMAL, other)
    monkeypatch.setattr(arrays, "_CHUNK", 7 * 8)

    chunked = _compare(tmp_path, _NORMAL, other)

    ratio = np.sqrt(np.mean((other - _NORMAL) ** 2)) / min(_NORMAL.std(), other.std())
    assert chunked.first == whole.first
    assert chunked.measures[0].value == pytest.approx(ratio)
    assert chunked.measures[1] == whole.measures[1]


def test_an_npz_is_compared_array_by_array(tmp_path):
    np.savez(tmp_path / "a.npz", weights=_NORMAL, bias=np.arange(3), old=np.arange(2))
    np.savez_compressed(tmp_path / "b.npz", weights=_NORMAL, bias=np.array([0, 1, 9]))

    found = COMPARATOR.compare(tmp_path / "a.npz", tmp_path / "b.npz", Tolerance())

    assert {c.path: c.verdict for c in found.children} == {
        "weights": Verdict.EQUIVALENT, "bias": Verdict.DRIFTED, "old": Verdict.MISSING
    }  # fmt: skip
    assert found.verdict == Verdict.MISSING


def test_an_npz_packed_otherwise_is_equivalent(tmp_path):
    np.savez(tmp_path / "a.npz", weights=_NORMAL)
    np.savez_compressed(tmp_path / "b.npz", weights=_NORMAL)

    found = COMPARATOR.compare(tmp_path / "a.npz", tmp_path / "b.npz", Tolerance())

    assert found.verdict == Verdict.EQUIVALENT


def test_pickled_objects_are_refused(tmp_path):
    with pytest.raises(ComparisonError, match="never unpickled"):
        _compare(tmp_path, np.array([{}], dtype=object), np.array([{}], dtype=object))


@pytest.mark.parametrize("cut", [0.02, 0.5, 0.99])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_a_truncated_file_is_an_error_and_never_a_pass(tmp_path, cut, suffix):
    np.save(tmp_path / "a.npy", _NORMAL)
    np.savez(tmp_path / "a.npz", x=_NORMAL)
    data = (tmp_path / f"a{suffix}").read_bytes()
    (tmp_path / f"b{suffix}").write_bytes(data[: int(len(data) * cut)])

    with pytest.raises(ComparisonError):
        COMPARATOR.compare(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", Tolerance())


def test_what_two_real_versions_wrote_is_the_same():
    found = COMPARATOR.compare(GOLDEN / "old.npz", GOLDEN / "new.npz", Tolerance())

    assert found.verdict == Verdict.EQUIVALENT
    assert found.compared > 0


@_few
@given(st.data())
def test_any_damage_gives_a_difference_or_a_comparison_error(tmp_path, data):
    suffix = data.draw(st.sampled_from([".npy", ".npz"]))
    np.save(tmp_path / "a.npy", _NORMAL[:3])
    np.savez(tmp_path / "a.npz", x=_NORMAL[:3])
    damaged = bytearray((tmp_path / f"a{suffix}").read_bytes())
    for _ in range(3):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / f"b{suffix}").write_bytes(damaged)
    try:
        COMPARATOR.compare(tmp_path / f"a{suffix}", tmp_path / f"b{suffix}", Tolerance())
    except ComparisonError:
        pass


_lists = st.lists(st.floats(width=64), min_size=1, max_size=5)


@_few
@given(_lists, _lists)
def test_both_directions_agree(tmp_path, a, b):
    a, b = np.array(a), np.array(b)

    assert _compare(tmp_path, a, b).verdict == _compare(tmp_path, b, a).verdict


@_few
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.data())
def test_an_element_that_moved_far_is_never_close(tmp_path, values, data):
    a = np.array(values)
    b = a.copy()
    b[data.draw(st.integers(0, len(a) - 1))] += 1 + np.ptp(a) + 0.01 * abs(a).max()

    assert _compare(tmp_path, a, b).verdict == Verdict.DRIFTED


@pytest.mark.parametrize("count", [2_000, 200_000])
def test_the_differences_are_counted_by_powers_of_ten_of_the_standard_deviation(tmp_path, count):
    a = np.resize([-1.0, 1.0], count)
    moved = np.repeat([0.0, 3e-9, 3e-5, 5e-5, 0.2], count // 5)
    b = a + moved
    b[-1] = np.nan

    found = _compare(tmp_path, a, b).distribution

    assert found.unit == "of the standard deviation"
    fifth = count // 5
    assert found.equal == fifth
    assert found.decades == {-9: fifth, -5: 2 * fifth, -1: fifth - 1}
    assert found.broken == 1


@pytest.mark.parametrize("suffix", ["npy", "npz"])
@pytest.mark.filterwarnings("ignore")
def test_every_flipped_byte_is_seen_or_an_error_or_metadata(tmp_path, suffix):
    """Numpy tells what a flip did: where the elements are no longer equal, nothing passes."""
    values = np.array([0.5, -1.25, 3.0])
    np.save(tmp_path / "a.npy", values)
    np.savez(tmp_path / "a.npz", x=values, n=np.array([1, 2]))
    data = (tmp_path / f"a.{suffix}").read_bytes()
    for at in range(len(data)):
        for mask in (1, 1 << at % 8):
            damaged = bytearray(data)
            damaged[at] ^= mask
            path = tmp_path / f"b.{suffix}"
            path.write_bytes(damaged)
            try:
                found = COMPARATOR.compare(tmp_path / f"a.{suffix}", path, Tolerance())
            except ComparisonError:
                continue
            if found.verdict <= Verdict.CLOSE:
                loaded = np.load(path)
                there = loaded if suffix == "npy" else loaded["x"]
                equal = (there == values).all()
                assert equal or (found.verdict == Verdict.CLOSE and np.allclose(there, values)), at
                assert suffix == "npy" or (loaded["n"] == [1, 2]).all(), at
            # Of one array alone nothing is metadata, but the sign of a zero and the order of axes.
            assert suffix == "npz" or found.verdict > Verdict.EQUIVALENT or found.metadata, at
