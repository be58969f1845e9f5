"""Text model: the layout of LightGBM's file, a line at a time: header, trees, what follows them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

_NEEDED = ("num_leaves", "leaf_value", "shrinkage")


def lines(file: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a file that ends with one."""
    for line in file:
        if not line.endswith("\n"):
            raise ValueError("it ends in the middle of a line")
        yield line[:-2] if line.endswith("\r\n") else line[:-1]


def blocks(lines: Iterator[str]) -> Iterator[list[str]]:
    """Yield the lines of the header, then those of each tree, up to `end of trees`."""
    block: list[str] = []
    ended = False
    for line in lines:
        if line.startswith("Tree=") or line == "end of trees":
            yield block
            block, ended = [line], False
            if line == "end of trees":
                return
        elif line and ended:
            raise ValueError(f"`{line:.40}` stands where a tree begins: damaged or truncated")
        elif line:
            block.append(line)
        else:
            ended = True
    raise ValueError("it has no `end of trees`, so it is truncated")


def header(block: list[str]) -> dict[str, str]:
    """Return the header by its keys."""
    first, *lines = block
    if first != "tree":
        raise ValueError("its first line is not `tree`")
    found: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition("=")  # `average_output` stands without a value
        if not key or key in found:
            raise ValueError(f"its header holds `{line:.40}` twice or without a name")
        found[key] = value
    if not {"num_class", "num_tree_per_iteration", "feature_names"} <= found.keys():
        raise ValueError("its header is not complete")
    return found


def tree(written: list[str], number: int, known: Collection[str]) -> dict[str, str]:
    """Return the lines of one tree by their keys."""
    first, *lines = written
    if first != f"Tree={number}":
        raise ValueError(f"tree {number} is missing or out of place")
    block: dict[str, str] = {}
    for line in lines:
        key, sign, value = line.partition("=")
        if not sign or key in block or key not in known:
            raise ValueError(f"tree {number} holds a line that is not understood: `{line:.40}`")
        block[key] = value
    if missing := [key for key in _NEEDED if key not in block]:
        raise ValueError(f"tree {number} lacks {', '.join(missing)}")
    return block


def sections(lines: Iterable[str]) -> dict[str, list[str]]:
    """Return what follows the trees: importances, parameters, pandas_categorical."""
    found: dict[str, list[str]] = {"feature_importances": [], "parameters": []}
    current = ""
    for line in lines:
        if line in ("feature_importances:", "parameters:") and not current.startswith("par"):
            current = line[:-1]
            found[f"has {current}"] = []
        elif line == "end of parameters" and current == "parameters":
            current = "end"
        elif line.startswith("pandas_categorical:") and current in ("", "end"):
            found["pandas_categorical"] = [line.partition(":")[2]]
            current = "end"
        elif line and current not in ("feature_importances", "parameters"):
            raise ValueError(f"a line after the trees is not understood: `{line:.40}`")
        elif line:
            found[current].append(line)
    if current == "parameters":
        raise ValueError("it has no `end of parameters`, so it is truncated")
    return found
