"""PyTorch's files, read without torch; `tests/data/torch/make.py` made them."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlrepro import comparators
from mlrepro.comparators import pickles, torches
from mlrepro.comparators.torches import COMPARATOR
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError
from tests.comparators.flips import ALTERNATELY, flipped

DATA = Path(__file__).parent.parent / "data" / "torch"
_NOTED = ("version", ".format_version", ".storage_alignment", ".data/serialization_id")
_few = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _compare(a: str, b: str, **tolerance) -> Difference:
    comparator = pickles.COMPARATOR if "legacy" in a else COMPARATOR
    return comparator.compare(DATA / a, DATA / b, Tolerance(**tolerance))


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}
    return {name: content for name, content in found.items() if name not in _NOTED}


def _written(folder: Path, name: str, changes: dict[str, bytes | None], source: str) -> Path:
    """Write one of the files again, some members changed, left out or added."""
    path = folder / name
    with zipfile.ZipFile(DATA / source) as old, zipfile.ZipFile(path, "w") as new:
        names = [n.partition("/")[2] for n in old.namelist()]
        for member in dict.fromkeys((*names, *changes)):
            kept = old.read(f"{Path(source).stem}/{member}") if member in names else b""
            content = changes.get(member, kept)
            if content is not None:
                new.writestr(f"x/{member}", content)
    return path


def test_torch_is_not_needed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # whoever imports it now fails

    assert _compare("kinds.pt", "contiguous.pt").verdict is Verdict.EQUIVALENT


@pytest.mark.parametrize(
    ("a", "b", "verdict", "first"),
    [
        ("state.pt", "other-name.pt", Verdict.EQUIVALENT, ""),
        ("state.pt", "nocrc.pt", Verdict.EQUIVALENT, ""),
        ("state.pt", "near.pt", Verdict.CLOSE, "0.weight[0, 0]: "),
        ("state.pt", "moved.pt", Verdict.DRIFTED, "3.weight[1, 2]: 0.24"),
        ("checkpoint.pt", "later.pt", Verdict.DRIFTED, "epoch: 3 → 4"),
        ("kinds.pt", "contiguous.pt", Verdict.EQUIVALENT, ""),
        ("script.pt", "script-moved.pt", Verdict.DRIFTED, "Sequential.3.weight[1, 2]: 0.24"),
        ("legacy.pt", "legacy-moved.pt", Verdict.DRIFTED, "3.weight[1, 2]: 0.24"),
        ("state.pt", "checkpoint.pt", Verdict.DRIFTED, "collections.OrderedDict → dict of 4"),
        ("checkpoint.pt", "checkpoint.pt", Verdict.EQUIVALENT, ""),
        ("whole.pt", "whole.pt", Verdict.EQUIVALENT, ""),
        ("script.pt", "script.pt", Verdict.EQUIVALENT, ""),
        ("legacy.pt", "legacy.pt", Verdict.EQUIVALENT, ""),
    ],
)
def test_two_files_get_the_verdict_a_person_gives(a, b, verdict, first):
    found = _compare(a, b)

    assert found.verdict is verdict
    assert found.first.startswith(first)
    assert found.compared > 3
    assert _compare(b, a).verdict is verdict


def test_the_report_says_how_far_and_where():
    found = _compare("state.pt", "moved.pt")

    assert found.summary.startswith("1 of 9 arrays differ; 1 of ")
    measures = {m.name: m for m in found.measures}
    assert measures["largest |a−b|"].where == "3.weight[1, 2]"
    assert measures["largest |a−b|"].value == pytest.approx(0.5)
    assert found.distribution is not None
    assert [c.path for c in found.children] == ["3.weight"]


def test_a_view_laid_out_otherwise_is_told():
    found = _compare("kinds.pt", "contiguous.pt")

    assert "transposed: memory order: strides (1, 5) → (6, 1)" in found.metadata


@pytest.mark.parametrize(
    ("key", "at", "verdict", "where"),
    [
        ("f64", 0, Verdict.CLOSE, "f64[0, 0]"),
        ("f64", 6, Verdict.DRIFTED, "f64[0, 0]"),
        ("f16", 2, Verdict.CLOSE, "f16[0, 1]"),
        ("bf16", 3, Verdict.DRIFTED, "bf16[0, 1]"),
        ("f8", 7, Verdict.DRIFTED, "f8[1, 2]"),
        ("c64", 3, Verdict.DRIFTED, "c64[0, 0]"),
        ("i64", 8, Verdict.DRIFTED, "i64[1]"),
        ("bool", 4, Verdict.DRIFTED, "bool[0, 4]"),
        ("quantised", 3, Verdict.DRIFTED, "quantised.args[0][0, 3]"),
        ("parameter", 3, Verdict.DRIFTED, "parameter[0, 0]"),
    ],
)
def test_every_type_of_tensor_is_read(tmp_path, key, at, verdict, where):
    storage = {"f64": 0, "f16": 1, "bf16": 2, "f8": 3, "c64": 4, "i64": 5, "bool": 7}
    number = {**storage, "quantised": 13, "parameter": 16}[key]
    with zipfile.ZipFile(DATA / "kinds.pt") as archive:
        content = bytearray(archive.read(f"kinds/data/{number}"))
    content[at] ^= 0x01 if verdict is Verdict.CLOSE or key == "bool" else 0x42
    path = _written(tmp_path, "b.pt", {f"data/{number}": bytes(content)}, "kinds.pt")

    found = COMPARATOR.compare(DATA / "kinds.pt", path, Tolerance())

    assert found.verdict is verdict, found
    assert found.first.startswith(where), found.first


def test_a_file_of_the_other_byte_order_is_the_same(tmp_path):
    with zipfile.ZipFile(DATA / "state.pt") as archive:
        members = {n.partition("/")[2]: archive.read(n) for n in archive.namelist()}
    changes: dict[str, bytes | None] = {"byteorder": b"big"}
    for name, content in members.items():
        if name.startswith("data/"):
            width = "q" if len(content) == 8 else "i"
            count = len(content) // struct.calcsize(width)
            values = struct.unpack(f"<{count}{width}", content)
            changes[name] = struct.pack(f">{count}{width}", *values)
    path = _written(tmp_path, "b.pt", changes, "state.pt")

    found = COMPARATOR.compare(DATA / "state.pt", path, Tolerance())

    assert found.verdict is Verdict.EQUIVALENT
    assert "byte order: < → >" in found.metadata


def test_a_vast_view_of_one_number_is_compared_at_once(tmp_path):
    def storing(value: float, shape: str) -> dict[str, bytes | None]:
        size = b"\x8a\x06" + (10**12).to_bytes(6, "little") if shape == "vast" else b"K\x04"
        content = (
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n"
            b"X\x01\0\0\0" + b"0X\x03\0\0\0cpuK\x01tQK\0" + size + b"\x85K\0\x85\x89ccollections\n"
            b"OrderedDict\n)RtR."
        )
        return {"data.pkl": content, "data/0": struct.pack("<f", value)}

    kept = {f"data/{i}": None for i in range(1, 9)}
    paths = [
        _written(tmp_path, f"{i}.pt", kept | storing(value, shape), "state.pt")
        for i, (value, shape) in enumerate(
            [(1.5, "vast"), (1.5, "vast"), (2.5, "vast"), (1.5, ""), (2.5, "")]
        )
    ]

    assert COMPARATOR.compare(paths[0], paths[1], Tolerance()).verdict is Verdict.EQUIVALENT
    assert COMPARATOR.compare(paths[3], paths[4], Tolerance()).first == "array[0]: 1.5 → 2.5"
    with pytest.raises(ComparisonError, match="64 MiB"):
        COMPARATOR.compare(paths[0], paths[2], Tolerance())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.pkl": None}, "no `data.pkl`"),
        ({"data/3": None}, "lacks the storage `3`"),
        ({"data/3": b"\0" * 31}, "another length"),
        ({"byteorder": b"both"}, "byte order"),
        ({"data.pkl": b"\x80\x02N.N."}, "bytes follow"),
        ({"data.pkl": b"broken"}, "damaged"),
        ({"data.pkl": b"\x80\x02X\1\0\0\0aQ."}, "expected"),
        ({"../../x": b""}, ""),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path, changes, message):
    path = _written(tmp_path, "b.pt", changes, "state.pt")
    if not message:  # no member is ever written anywhere, whatever its name
        assert COMPARATOR.compare(DATA / "state.pt", path, Tolerance()).verdict is Verdict.DRIFTED
        return
    with pytest.raises(ComparisonError, match=message):
        COMPARATOR.compare(DATA / "state.pt", path, Tolerance())


def test_a_tensor_that_reaches_beyond_its_storage_is_an_error(tmp_path):
    with zipfile.ZipFile(DATA / "state.pt") as archive:
        content = archive.read("state/data.pkl")
    damaged = content.replace(b"K\x00K\x08K\x04\x86", b"K\x01K\x08K\x04\x86", 1)
    path = _written(tmp_path, "b.pt", {"data.pkl": damaged}, "state.pt")

    assert damaged != content
    with pytest.raises(ComparisonError, match="beyond its storage"):
        COMPARATOR.compare(DATA / "state.pt", path, Tolerance())


def test_code_of_a_script_is_compared_as_text(tmp_path):
    name = "code/__torch__/torch/nn/modules/activation.py"
    with zipfile.ZipFile(DATA / "script.pt") as archive:
        code = archive.read(f"script/{name}")
    lines = code.split(b"\n")
    lines[2] = lines[2] + b" "
    path = _written(tmp_path, "b.pt", {name: b"\n".join(lines)}, "script.pt")

    found = COMPARATOR.compare(DATA / "script.pt", path, Tolerance())

    assert found.verdict is Verdict.DRIFTED
    assert found.first == f"{name}: line 3 differs"


def test_members_that_nothing_uses_count_and_versions_do_not(tmp_path):
    extra = _written(tmp_path, "a.pt", {"extra/info.txt": b"1"}, "state.pt")
    other = _written(tmp_path, "b.pt", {"extra/info.txt": b"2"}, "state.pt")
    later = _written(tmp_path, "c.pt", {"version": b"4\n"}, "state.pt")

    assert COMPARATOR.compare(extra, other, Tolerance()).verdict is Verdict.DRIFTED
    assert COMPARATOR.compare(extra, DATA / "state.pt", Tolerance()).verdict is Verdict.DRIFTED
    found = COMPARATOR.compare(DATA / "state.pt", later, Tolerance())
    assert (found.verdict, found.metadata) == (Verdict.EQUIVALENT, ("version: 3 → 4",))


def test_the_table_finds_the_comparator(tmp_path):
    for name, kind in (("state.pt", "torch"), ("script.pt", "torch"), ("legacy.pt", "pickle")):
        (tmp_path / "a").write_bytes((DATA / name).read_bytes())
        (tmp_path / "b").write_bytes((DATA / name).read_bytes())
        found = comparators.compare(
            tmp_path / "a", tmp_path / "b", name="weights", tolerance=Tolerance()
        )
        assert found.comparator == kind


@pytest.mark.parametrize("name", ["small.pt", "small-nocrc.pt"])
def test_no_flipped_byte_passes_unseen(tmp_path, name):
    verdicts = flipped(
        tmp_path,
        COMPARATOR,
        (DATA / name).read_bytes(),
        content=_members if name == "small.pt" else _content,
        near=lambda a, b: a.keys() == b.keys(),
        masks=ALTERNATELY,
    )

    assert verdicts["error"] > 300
    assert verdicts["equivalent"] > 50


def _content(data: bytes) -> dict[str, bytes]:
    """Return what the members hold, without the checks that this file lacks; memo apart."""
    found = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            start = info.header_offset
            name, extra = struct.unpack("<2H", data[start + 26 : start + 30])
            begin = start + 30 + name + extra
            found[info.filename.partition("/")[2]] = data[begin : begin + info.file_size]
    found["data.pkl"] = repr(_plain(found["data.pkl"])).encode()
    return {name: content for name, content in found.items() if name not in _NOTED}


class _Stub:
    def __init__(self, *args):
        self.said = [args]

    def __setstate__(self, state):
        self.said.append(state)

    def __setitem__(self, key, value):
        self.said.append((key, value))

    def __repr__(self):
        return f"{type(self).__name__}{self.said}"


class _Stubbed(pickle.Unpickler):
    def find_class(self, module, name):
        return type(f"{module}.{name}", (_Stub,), {})

    def persistent_load(self, pid):
        return [p for i, p in enumerate(pid) if i != 3]  # the device means nothing


def _plain(data: bytes) -> object:
    return _Stubbed(io.BytesIO(data)).load()


def test_no_flipped_byte_of_an_old_file_passes_unseen(tmp_path):
    verdicts = flipped(
        tmp_path,
        pickles.COMPARATOR,
        (DATA / "small-legacy.pt").read_bytes(),
        content=_old,
        near=lambda a, b: a[0] == b[0],
    )

    assert verdicts["error"] > 200
    assert verdicts["drifted"] > 20


def _old(data: bytes) -> tuple[str, bytes]:
    stream = io.BytesIO(data)
    held = [_Stubbed(stream).load() for _ in range(5)]
    return repr(held[3:4]), stream.read()


@_few
@given(st.data())
def test_random_damage_is_an_error_or_a_difference_and_never_a_crash(tmp_path, data):
    name = data.draw(st.sampled_from(["state.pt", "kinds.pt", "script.pt", "nocrc.pt"]))
    good = (DATA / name).read_bytes()
    cut = data.draw(st.integers(0, len(good)))
    bad = good[:cut] + data.draw(st.binary(max_size=8)) + good[cut + data.draw(st.integers(0, 8)) :]
    (tmp_path / "b.pt").write_bytes(bad)
    try:
        found = COMPARATOR.compare(DATA / name, tmp_path / "b.pt", Tolerance())
    except ComparisonError:
        return
    assert found.verdict is not Verdict.IDENTICAL


def test_a_zip_that_is_no_torch_file_is_left_to_others(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("photos/data.txt", b"1")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x/data/0.npy", b"1")

    for path in (tmp_path / "a.zip", tmp_path / "a.npz"):
        assert not torches.COMPARATOR.recognises(path, path.read_bytes())
