"""Comparing: gigabytes a second of two files in which every element differs, and the memory.

Usage: python benchmarks/comparing.py [--megabytes 512] [--times 3] [--types float32,…]

Each measurement is a process of its own; both files lie in the page cache. What is counted are the
bytes of one of the two files over the wall time of the comparison (imports apart), the best of the
turns. Beside it: `cmp` of the same pair made equal up to its last byte, and one plain subtraction
of numpy that has both arrays in memory. Memory is the peak of the process (VmHWM), numpy included.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

TYPES = ("float64", "float32", "float16", "bfloat16", "int64")
_COMPARE = """
import json, sys, time
from pathlib import Path
import numpy
from mlrepro.comparators import compare
from mlrepro.drift import Tolerance
a, b = map(Path, sys.argv[1:])
begin = time.perf_counter()
found = compare(a, b, name=a.name, tolerance=Tolerance())
seconds = time.perf_counter() - begin
peak = [int(line.split()[1]) / 1024 for line in open("/proc/self/status") if "VmHWM" in line][0]
print(json.dumps([seconds, peak, str(found.verdict), found.compared]))
"""
_SUBTRACT = """
import json, sys, time
import numpy as np
name, *paths = sys.argv[1:]
begin = time.perf_counter()
a, b = (np.fromfile(p, name) for p in paths)
a - b
print(json.dumps([time.perf_counter() - begin]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--types", default=",".join(TYPES))
    options = parser.parse_args()
    print(f"{options.megabytes} MiB each, every element different, {os.cpu_count()} processors")
    print("type | npy GB/s, MiB | safetensors GB/s, MiB | cmp GB/s | numpy a-b GB/s")
    with tempfile.TemporaryDirectory(prefix="comparing-") as folder:
        for name in options.types.split(","):
            print(row(Path(folder), name, options.megabytes << 20, options.times), flush=True)


def row(folder: Path, name: str, size: int, times: int) -> str:
    """Return the line of one type."""
    cells = [name]
    for suffix in ("npy", "safetensors"):
        if suffix == "npy" and name == "bfloat16":
            cells.append("–")
            continue
        a, b = folder / f"a.{suffix}", folder / f"b.{suffix}"
        write(a, b, name, size)
        best = min(json.loads(child(_COMPARE, a, b)) for _ in range(times))
        cells.append(f"{size / best[0] / 1e9:.2f}, {best[1]:.0f} ({best[2]})")
    plain = "int16" if name == "bfloat16" else name
    subtract = min(json.loads(child(_SUBTRACT, plain, a, b))[0] for _ in range(times))
    with a.open("rb") as source, b.open("wb") as target:
        while block := source.read(1 << 24):
            target.write(block)
        target.seek(-1, os.SEEK_END)
        target.write(b"\xff")
    plainly = min(timed("cmp", a, b) for _ in range(times))
    cells += [f"{size / plainly / 1e9:.2f}", f"{size / subtract / 1e9:.2f}"]
    for path in (a, b):
        path.unlink()
    return " | ".join(cells)


def write(a: Path, b: Path, name: str, size: int) -> None:
    """Write two files of one kind whose elements all differ in their last digits."""
    one, other = block(name)
    width = one.dtype.itemsize
    for path, values in ((a, one), (b, other)):
        with path.open("wb") as file:
            if path.suffix == ".npy":
                header = {"descr": one.dtype.str, "fortran_order": False, "shape": (size // width,)}
                np.lib.format.write_array_header_1_0(file, header)
            else:
                stored = {"float": "F", "bfloat": "BF", "int": "I"}[name.rstrip("0123456789")]
                code = f"{stored}{width * 8}"
                entry = {"dtype": code, "shape": [size // width], "data_offsets": [0, size]}
                text = json.dumps({"weight": entry}).encode()
                file.write(struct.pack("<Q", len(text)) + text)
            for _ in range(size // (width * len(values))):
                file.write(values.tobytes())


def block(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return 4 Mi elements and their neighbours, never equal."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=1 << 22)
    if name == "int64":
        return (values * 1e6).astype(name), (values * 1e6).astype(name) + rng.integers(
            1, 9, 1 << 22
        )
    if name == "bfloat16":
        bits = (values.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        return bits, bits + np.uint16(1)
    x = values.astype(name)
    step = np.abs(rng.normal(size=1 << 22)) * np.finfo(x.dtype).eps
    return x, np.nextafter((x * (1 + step)).astype(name), x.dtype.type(100))


def child(code: str, *arguments: object) -> str:
    """Run a program in a process of its own and return what it prints."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def timed(*command: object) -> float:
    """Return the wall seconds of a command."""
    begin = time.perf_counter()
    subprocess.run([str(c) for c in command], check=False, capture_output=True)
    return time.perf_counter() - begin


if __name__ == "__main__":
    main()
