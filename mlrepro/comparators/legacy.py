"""Legacy: PyTorch's files from before 1.6: four pickles and then the storages, one by one."""

from __future__ import annotations

from typing import Any

from mlrepro.comparators.blobs import Source

MAGIC = 0x1950A86A20F9469CFC6C


def tensors_of(source: Source, at: int) -> Any:
    raise ValueError("a PyTorch file from before 1.6 is not read here")
