"""Pools: ask the OpenMP and BLAS libraries that the process has loaded for their threads."""

import ctypes
import os

_NO_LOAD = getattr(os, "RTLD_NOLOAD", 4)
_OPENMP = (("omp_get_max_threads",), ())
_OPENBLAS = (
    tuple(
        prefix + "openblas_get_num_threads" + suffix
        for prefix in ("", "scipy_")
        for suffix in ("", "64_", "_64", "_64_")
    ),
    tuple(
        prefix + "openblas_get_corename" + suffix
        for prefix in ("", "scipy_")
        for suffix in ("", "64_", "_64", "_64_")
    ),
)
_KINDS = (
    ("openmp", ("libgomp", "libomp", "libiomp"), _OPENMP),
    ("openblas", ("openblas",), _OPENBLAS),
    ("mkl", ("libmkl_rt",), (("MKL_Get_Max_Threads",), ())),
    ("blis", ("libblis",), (("bli_thread_get_num_threads",), ())),
)


def found(libraries):
    """Yield interface, library, number of threads and kernel of each pool, by the mapped files."""
    for path in sorted(map(os.fsdecode, libraries)):
        name = path.rpartition("/")[2]
        for kind, words, (counts, kernels) in _KINDS:
            if any(word in name for word in words):
                library = ctypes.CDLL(path, mode=_NO_LOAD)
                threads = _call(library, counts, ctypes.c_int)
                if threads:
                    kernel = _call(library, kernels, ctypes.c_char_p)
                    yield kind, name, threads, kernel or _told(kind, library)
                break


def _call(library, names, kind):
    for name in names:
        try:
            function = getattr(library, name)
        except AttributeError:
            continue
        function.restype = kind
        return function()
    return None


def _told(kind, library):
    """Return the kernel where it takes more than a call without arguments."""
    try:
        if kind == "blis":  # it names an architecture that it is given
            library.bli_arch_string.restype = ctypes.c_char_p
            return library.bli_arch_string(library.bli_arch_query_id()) or b""
        if kind == "mkl":  # "... Version 2025.1-Product Build 20250306 for Intel(R) AVX2 ..."
            words = ctypes.create_string_buffer(200)
            library.MKL_Get_Version_String(words, len(words))
            return words.value.partition(b"Version ")[2].strip()
    except AttributeError:
        pass
    return b""
