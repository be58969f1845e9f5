"""Arrow rows: whether two tables hold the same rows in another order, by sums of hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from mlrepro.comparators.arrowcolumns import plain


def digest(batches: Iterable[Any], names: list[str]) -> tuple[int, int]:
    """Return two sums over all rows that do not depend on their order."""
    import numpy as np  # noqa: PLC0415  0.1 s: paid where tables are compared

    sums = [0, 0]
    with np.errstate(over="ignore"):
        for batch in batches:
            rows = np.zeros(batch.num_rows, np.uint64)
            for name in names:
                array = plain(batch.column(batch.schema.get_field_index(name)))
                rows = _mixed(np, rows * np.uint64(31) + _hashed(np, array))
            sums[0] += int(rows.sum(dtype=np.uint64))
            sums[1] += int(_mixed(np, rows).sum(dtype=np.uint64))
    return sums[0] % 2**64, sums[1] % 2**64


def _hashed(np: Any, array: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415  see parquets

    types = pa.types
    if (types.is_floating(array.type) or types.is_integer(array.type)) and not array.null_count:
        values = array.to_numpy(zero_copy_only=False)
        wide = values.astype(np.float64 if types.is_floating(array.type) else np.int64)
        return _mixed(np, wide.view(np.uint64))
    try:
        coded = array.dictionary_encode(null_encoding="encode")
    except (pa.ArrowNotImplementedError, TypeError):
        return np.array([_hash(v) for v in array.to_pylist()], np.uint64)
    known = np.array([_hash(v) for v in coded.dictionary.to_pylist()], np.uint64)
    return known[coded.indices.to_numpy(zero_copy_only=False)]


def _hash(value: object) -> int:
    digest = hashlib.blake2b(repr(value).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")


def _mixed(np: Any, x: Any) -> Any:
    # The finalizer of MurmurHash3: every bit of its result depends on every bit of its argument.
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ (x >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ (x >> np.uint64(33))
