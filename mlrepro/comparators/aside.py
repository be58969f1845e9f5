"""Aside: what differs between two serialised objects and makes no difference."""

from __future__ import annotations

import re
from typing import Any

from mlrepro.comparators.objects import Array, Object, Scalar
from mlrepro.comparators.treewords import Step
from mlrepro.comparators.values import is_clock_name

METADATA = {
    "versions": "digits and dots under the name of a library's version: `_sklearn_version`",
    "threads": "whole numbers or None under `n_jobs`, `n_threads`, `nthread`, `num_threads` …",
    "times": "numbers under the name of a clock: `refit_time_`, `mean_fit_time`",
    "order": "of the members of a set, and of the keys of a dict",
    "layout": "memory order, strides and byte order of an array; padding between fields",
    "sharing": "whether two equal parts are one object or two",
    "spelling": "by which opcodes, protocol, frames, memo numbers the same object is written; "
    "`numpy.core` or `numpy._core`",
    "zeros": "the sign of a zero, and which NaN a NaN is",
    "device": "where a tensor lay: `cpu`, `cuda:0`",
}
"""What differs without making two objects different; each is named in the report but `sharing`,
`spelling` and the order of a set's members, of which a file says too much to list."""

_VERSIONS = {
    "_sklearn_version", "sklearn_version", "_skops_version", "numpy_version", "pandas_version",
    "scipy_version", "python_version", "torch_version", "pytorch-lightning_version",
    "pytorch_lightning_version", "transformers_version", "lightgbm_version", "xgboost_version",
    "catboost_version", "library_version", "__version__",
}  # fmt: skip
_NUMBERED = re.compile(r"v?\d+(\.\w+)*([-+.]\w+)*")
_THREADS = {
    "n_jobs", "n_threads", "_n_threads", "nthread", "num_threads", "thread_count", "num_workers",
}  # fmt: skip
_CLOCKS = {"refit_time_", "mean_fit_time", "std_fit_time", "mean_score_time", "std_score_time"}


def only(step: Step, present: Any) -> bool:
    """Say whether what stands on one side only means nothing."""
    if type(present) is str:
        return _is_version(step.name, present)
    return step.name in _THREADS and _is_count(present)


def both(step: Step, x: Any, y: Any) -> bool:
    """Say whether two values mean nothing: versions, counts of threads, times."""
    name = step.name
    return (
        (type(x) is type(y) is str and _is_version(name, x) and _is_version(name, y))
        or (name in _THREADS and _is_count(x) and _is_count(y))
        or (_is_number(x) and _is_number(y) and _is_clock(name))
    )


def _is_version(name: str, value: str) -> bool:
    return name in _VERSIONS and len(value) < 80 and bool(_NUMBERED.fullmatch(value))


def _is_count(value: Any) -> bool:
    return value is None or type(value) is int


def _is_clock(name: str) -> bool:
    return name in _CLOCKS or (bool(name) and is_clock_name(name))


def _is_number(value: Any) -> bool:
    if type(value) is Object:
        value = value.value
    if type(value) is Array:
        return value.items is None and value.dtype.kind == "f"
    return type(value) is float or (type(value) is Scalar and value.dtype.kind == "f")
