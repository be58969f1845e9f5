"""Native libraries: their build ids, whose they are, and what differs between two runs."""

from __future__ import annotations

import dataclasses
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrepro.capture import libraries
from mlrepro.capture.libraries import Library

ID = bytes(range(20))


def note(value: bytes, kind: int, order: str, name: bytes = b"GNU\0") -> bytes:
    size = len(value)
    return struct.pack(order + "III", len(name), size, kind) + name + value + b"\0" * (-size % 4)


def elf(
    value: bytes = ID, *, bits: int = 64, order: str = "<", align: int = 4, rest: bytes = b""
) -> bytes:
    """Make an ELF file that is nothing but its header and its notes."""
    first = note(b"\1\0\0\0" + b"\0" * 12, 5, order)  # a property, as compilers write it
    notes = first + (note(value, 3, order) if value else b"")
    start, each = (64, 56) if bits == 64 else (52, 32)
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + b"\0" * 9
    word = "Q" if bits == 64 else "I"
    header = struct.pack(
        f"{order}HHI{word * 3}IHHHHHH", 3, 62, 1, 0, start, 0, 0, start, each, 2, 0, 0, 0
    )
    where, size = start + 2 * each, len(notes)
    if bits == 64:
        load = struct.pack(order + "IIQQQQQQ", 1, 5, 0, 0, 0, 999, 999, 4096)
        segment = struct.pack(order + "IIQQQQQQ", 4, 4, where, 0, 0, size, size, align)
    else:
        load = struct.pack(order + "IIIIIIII", 1, 0, 0, 0, 999, 999, 5, 4096)
        segment = struct.pack(order + "IIIIIIII", 4, where, 0, 0, size, size, 4, align)
    return ident + header + load + segment + notes + rest


def made(path: Path, data: bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("align", [4, 8])
def test_a_build_id_is_read_from_every_kind_of_elf_file(tmp_path, bits, order, align):
    path = made(tmp_path / "libx.so.1", elf(bits=bits, order=order, align=align))

    assert libraries.found([path]) == (Library("libx.so.1", path, ID.hex()),)


def test_the_build_id_of_a_real_library_is_what_readelf_says():
    readelf = shutil.which("readelf")
    mapped = [
        line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines()
    ]
    libc = next((path.strip() for path in mapped if "/libc.so" in path), "")
    if not readelf or not libc:
        pytest.skip("needs readelf and glibc")

    told = subprocess.run([readelf, "-n", libc], capture_output=True, text=True, check=True).stdout

    assert f"Build ID: {libraries.found([libc])[0].build_id}\n" in told


def test_what_numpy_loads_is_found_with_its_package():
    script = "import numpy; print(open('/proc/self/maps').read())"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
    mapped = [line[line.index("/") :] for line in told.splitlines() if "/" in line]

    found = libraries.found(mapped, prefixes=[sys.prefix, sys.base_prefix])

    kernel = next(one for one in found if one.name.startswith("_multiarray_umath."))
    assert kernel.package == "numpy"
    assert kernel.path.startswith("lib/")
    assert all(one.identity for one in found)


def test_a_library_without_a_build_id_is_known_by_its_content(tmp_path):
    one = made(tmp_path / "1/libx.so", elf(b""))
    same = made(tmp_path / "2/libx.so", elf(b""))
    other = made(tmp_path / "3/libx.so", elf(b"", rest=b"\1" * 3_000_000))
    third = made(tmp_path / "4/libx.so", elf(b"", rest=b"\1" * 2_999_999 + b"\2"))

    a, b, c, d = libraries.found([one, same, other, third])

    assert a.content == b.content
    assert not a.build_id
    assert len({a.content, c.content, d.content}) == 3


def test_mapped_files_that_are_no_libraries_are_left_out(tmp_path):
    array = made(tmp_path / "x.npy", b"\x93NUMPY")
    (tmp_path / "folder.so").mkdir()
    mapped = [array, str(tmp_path / "folder.so"), "/dev/zero", str(tmp_path / "gone"), "\0.dat"]

    assert libraries.found(mapped) == ()


def test_a_library_that_is_gone_is_named_without_an_id():
    assert libraries.found(["/nowhere/libx.so"]) == (Library("libx.so", "/nowhere/libx.so"),)


@given(st.binary(max_size=200), st.integers(0, 260), st.sampled_from([32, 64]))
def test_a_damaged_file_has_no_build_id_or_one_of_its_own(tmp_path_factory, junk, at, bits):
    data = elf(bits=bits)
    path = tmp_path_factory.mktemp("damaged") / "libx.so"
    path.write_bytes(b"\x7fELF" + (data[:at] + junk + data[at + len(junk) :])[4:])

    (found,) = libraries.found([str(path)])

    assert len(found.build_id) <= 128
    assert found.identity


def test_a_file_that_is_cut_off_has_no_build_id(tmp_path):
    whole = elf()
    for length in range(4, len(whole) - 1):
        (found,) = libraries.found([made(tmp_path / "libx.so", whole[:length])])
        assert found.build_id == ""


def test_paths_are_told_relative_to_the_interpreters_prefix(tmp_path):
    venv = made(tmp_path / "venv/lib/liba.so", elf())
    base = made(tmp_path / "python/lib/libb.so", elf())
    other = made(tmp_path / "venvy/libc.so", elf())

    found = libraries.found(
        [venv, base, other], prefixes=[str(tmp_path / "venv"), str(tmp_path / "python"), "/"]
    )

    assert [one.path for one in found] == ["lib/liba.so", "lib/libb.so", other]


def test_the_distribution_is_that_whose_record_names_the_file(tmp_path):
    site = tmp_path / "lib/python3.11/site-packages"
    inside = made(site / "fast.libs/libgomp-a34b3233.so.1.0.0", elf())
    outside = made(tmp_path / "lib/libomp.so", elf())
    foreign = made(site / "fast.libs/libm.so.6", elf())
    record = "fast/__init__.py,sha256=x,1\nfast.libs/libgomp-a34b3233.so.1.0.0,sha256=x,9\n"
    made(site / "Fast_Numbers-1.2.dist-info/RECORD", record.encode())

    found = libraries.found([inside, outside, foreign])

    assert {one.name: one.package for one in found} == {
        "libgomp-a34b3233.so.1.0.0": "fast-numbers",
        "libomp.so": "",
        "libm.so.6": "",
    }


def test_what_is_remembered_is_not_read_again_until_the_file_changes(tmp_path):
    cache = tmp_path / "libraries.json"
    path = Path(made(tmp_path / "libx.so", elf()))
    first = libraries.found([str(path)], cache=cache)
    state = path.stat()
    path.write_bytes(elf(b"\2" * 20))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    remembered = libraries.found([str(path)], cache=cache)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1))
    again = libraries.found([str(path)], cache=cache)

    assert first == remembered
    assert again[0].build_id == "02" * 20


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "7", '{"a": 1}'])
def test_a_damaged_cache_is_made_anew(tmp_path, text):
    cache = tmp_path / "libraries.json"
    cache.write_text(text)
    path = made(tmp_path / "libx.so", elf())

    assert libraries.found([path], cache=cache) == libraries.found([path], cache=cache)
    assert ID.hex() in cache.read_text()


def test_a_cache_that_cannot_be_written_costs_nothing(tmp_path):
    path = made(tmp_path / "libx.so", elf())

    assert libraries.found([path], cache=tmp_path / "absent/libraries.json")[0].build_id == ID.hex()


GOMP = Library("libgomp-a34b3233.so.1.0.0", "x", build_id="aa", package="scikit-learn")
MATH = Library("libm.so.6", "/lib/libm.so.6", build_id="bb")
OTHER = Library("_json.cpython-311-x86_64-linux-gnu.so", "y", build_id="cc")
BLAS = Library("libscipy_openblas64_-ff651d7f.so", "z", content="dd", package="numpy")
RUN = (OTHER, MATH, GOMP, BLAS)


def test_the_same_libraries_elsewhere_and_in_another_order_do_not_differ():
    moved = tuple(dataclasses.replace(one, path="other/" + one.path) for one in RUN[::-1])

    assert libraries.changes(RUN, moved) == ()


def test_where_nothing_is_known_nothing_differs():
    unread = (dataclasses.replace(MATH, build_id=""),)

    assert libraries.changes((), RUN) == libraries.changes(RUN, ()) == ()
    assert libraries.changes((MATH,), unread) == ()


def test_numeric_libraries_are_named_first_and_the_others_counted():
    gomp = Library("libgomp-0b1c2d3e.so.1.0.0", "x", build_id="a2", package="scikit-learn")
    math = dataclasses.replace(MATH, build_id="b2")
    other = dataclasses.replace(OTHER, build_id="c2")

    found = libraries.changes(RUN, (other, math, gomp))

    assert [(one.what, one.recorded, one.current) for one in found] == [
        (
            "library libgomp.so of scikit-learn",
            "libgomp-a34b3233.so.1.0.0 aa",
            "libgomp-0b1c2d3e.so.1.0.0 a2",
        ),
        (
            "library libscipy_openblas64_.so of numpy",
            "libscipy_openblas64_-ff651d7f.so dd",
            "not loaded",
        ),
        ("library libm.so", "libm.so.6 bb", "libm.so.6 b2"),
        ("other libraries", "1 loaded", "1 loaded, 1 of them new, gone or of another build"),
    ]


def test_libraries_of_packages_that_are_said_to_differ_are_not_told_again():
    newer = tuple(dataclasses.replace(one, content="d2") if one is BLAS else one for one in RUN)

    assert libraries.changes(RUN, newer, explained={"numpy"}) == ()
