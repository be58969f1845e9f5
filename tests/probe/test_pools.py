"""Pools of threads: what BLAS libraries say of themselves, asked inside a process that has them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlrepro import probe

BLIS = """
#include <stdlib.h>
static const char *names[] = {"generic", "haswell", "zen3"};
long bli_thread_get_num_threads(void) { return 4; }
int bli_arch_query_id(void) { return 2; }
const char *bli_arch_string(int id) { if (id < 0 || id > 2) abort(); return names[id]; }
"""
MKL = """
#include <stdio.h>
int MKL_Get_Max_Threads(void) { return 3; }
void MKL_Get_Version_String(char *text, int size) {
    snprintf(text, size, "oneAPI Version 2025.1-Product for Intel(R) AVX2 enabled processors  ");
}
"""
SILENT = "int MKL_Get_Max_Threads(void) { return 3; }\n"

ASK = """
import ctypes, sys
sys.path.insert(0, sys.argv[1])
ctypes.CDLL(sys.argv[2])
from _mlrepro_probe import facts, pools
for kind, name, threads, kernel in pools.found(facts.libraries(open("/proc/self/maps", "rb").read())):
    print(kind, name, threads, kernel.decode(), sep="|")
"""


@pytest.mark.parametrize(
    ("name", "source", "told"),
    [
        ("libblis.so.4", BLIS, "blis|libblis.so.4|4|zen3"),
        (
            "libmkl_rt.so.2",
            MKL,
            "mkl|libmkl_rt.so.2|3|2025.1-Product for Intel(R) AVX2 enabled processors",
        ),
        ("libmkl_rt.so.1", SILENT, "mkl|libmkl_rt.so.1|3|"),
    ],
)
def test_a_blas_library_names_its_kernel(tmp_path, name, source, told):
    compiler = shutil.which("cc")
    if not compiler:
        pytest.skip("needs a C compiler")
    Path(tmp_path, "blas.c").write_text(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", name, "blas.c"], cwd=tmp_path, check=True)

    answer = subprocess.run(
        [sys.executable, "-S", "-c", ASK, str(probe.folder()), str(tmp_path / name)],
        capture_output=True,
        text=True,
    )

    assert (answer.stdout.strip(), answer.stderr) == (told, "")


def test_numpys_own_blas_names_its_kernel():
    script = ASK.replace("ctypes.CDLL(sys.argv[2])", "import numpy")

    answer = subprocess.run(
        [sys.executable, "-c", script, str(probe.folder())], capture_output=True, text=True
    )

    kind, library, threads, kernel = answer.stdout.splitlines()[0].split("|")
    assert kind == "openblas"
    assert "openblas" in library
    assert int(threads) >= 1
    assert kernel
