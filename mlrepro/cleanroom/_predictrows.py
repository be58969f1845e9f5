"""Predictrows: make tables again of the rows that the probe kept, or of a file of the user's.

Part of `_predict`, which runs in the rebuilt environment on Python 3.8 and later: it imports
nothing of mlrepro, and the user's libraries when they are needed.
"""

from __future__ import annotations

import csv
import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

MOST_ROWS = 100_000
"""Rows of a file that models are asked about, evenly spaced ones of more."""

LABELS = ("label", "target", "y")
"""Names of a label's column, where the training's labels had none."""


class RefusedError(Exception):
    """Why a model cannot be asked; its text is for the user."""


class Kept:
    """One set that the probe kept."""

    def __init__(self, path: Path) -> None:
        self.facts: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
        self.name = str(self.facts["name"])
        self.path = path
        self.width = int(self.facts.get("width", 0))
        self.total = int(self.facts["total"])
        self.rows = int(self.facts["rows"])
        self._arrays: dict[str, Any] | None = None
        self._table: Any = None

    def array(self, name: str) -> Any:
        """Return one of the arrays; None where there is none of that name."""
        if self._arrays is None:
            read = import_module("numpy.lib.format").read_array
            with self.path.with_suffix(".npys").open("rb") as file:
                self._arrays = {one: read(file, allow_pickle=False) for one in self.facts["arrays"]}
        return self._arrays.get(name)

    def fits(self, width: int | None) -> bool:
        """Whether a model of so many features could be asked about it."""
        return self.rows > 0 and (width is None or width == self.width or not self.width)

    def table(self, _names: Any, _width: int | None, _boosted: bool) -> Any:
        """Return it as the kind of table that the program had."""
        if self._table is None:
            self._table = getattr(self, "_" + self.facts["kind"])()
        return self._table

    def _cells(self, name: str) -> Any:
        array = self.array(name + " cells")
        return None if array is None else json.loads(array.tobytes())

    def _dense(self) -> Any:
        table = self.array("x")
        if table is not None:
            return table
        numpy = import_module("numpy")
        return numpy.array(self._cells("x"), dtype=object).reshape(self.facts["shape"])

    def _sparse(self) -> Any:
        parts = tuple(self.array(name) for name in ("data", "indices", "indptr"))
        return import_module("scipy.sparse").csr_matrix(parts, shape=(self.rows, self.width))

    def _list(self) -> Any:
        return self._cells("x")

    def _series(self) -> Any:
        return import_module("pandas").Series(self._cells("x"), name=self.facts["title"])

    def _frame(self) -> Any:
        pandas = import_module("pandas")
        columns = [self._column(pandas, n, one) for n, one in enumerate(self.facts["columns"])]
        table = pandas.concat(columns, axis=1)
        table.columns = [one["title"] for one in self.facts["columns"]]
        return table

    def _column(self, pandas: Any, place: int, told: dict[str, Any]) -> Any:
        name = f"c{place}"
        if "ordered" in told:
            return pandas.Series(
                pandas.Categorical.from_codes(self.array(name), **self.kind(place))
            )
        cells = self._cells(name)
        if cells is None:
            return pandas.Series(self.array(name))
        return pandas.Series(cells, dtype=told["dtype"])

    def kind(self, place: int) -> dict[str, Any]:
        """Return the categories of a column, and whether they are ordered."""
        name = f"c{place} categories"
        categories = self.array(name)
        if categories is None:
            categories = self._cells(name)
        ordered = self.facts["columns"][place]["ordered"]
        return {"categories": categories, "ordered": ordered}

    def _polars(self) -> Any:
        polars = import_module("polars")
        columns = []
        for place, told in enumerate(self.facts["columns"]):
            cells = self._cells(f"c{place}")
            values = self.array(f"c{place}") if cells is None else cells
            columns.append(polars.Series(told["title"], values))
        return polars.DataFrame(columns)


class File:
    """A table of the user's: CSV or parquet with a header."""

    facts: dict[str, Any]

    def __init__(self, path: Path, kept: list[Kept]) -> None:
        self.name = path.name
        self.facts = {"training": False, "library": "", "kind": "table"}
        columns, self.total = _read(path)
        labels = [str(one.facts["label_name"]) for one in kept if "label_name" in one.facts]
        self.columns = columns
        self.rows = min(self.total, MOST_ROWS)
        self._labels = [*labels, *LABELS]
        self._kept = kept
        self.left_out: tuple[str, ...] = ()
        self._label = ""

    def fits(self, _width: int | None) -> bool:
        """Whether a model could be asked about it, which `table` finds out."""
        return True

    def array(self, name: str) -> Any:
        """Return the labels, if they were found."""
        if name != "label" or not self._label:
            return None
        numpy = import_module("numpy")
        values = numpy.asarray(self.columns[self._label])
        return values if values.dtype.kind in "biuf" else numpy.array([str(one) for one in values])

    def table(self, names: Any, width: int | None, boosted: bool) -> Any:
        """Return the columns that a model has features for, by name where it knows names."""
        if not names and width is None:
            raise RefusedError("it tells neither names nor number of its features")
        chosen = self._named(names) if names else self._placed(width or 0)
        rest = [name for name in self.columns if name not in chosen]
        self._label = next((name for name in self._labels if name in rest), "")
        self.left_out = tuple(name for name in rest if name != self._label)
        pandas = _optional("pandas")
        if pandas is None or not names:
            return self._plain(chosen)
        table = pandas.DataFrame({name: self.columns[name] for name in chosen})
        for name in chosen:
            table[name] = self._typed(pandas, table[name], boosted)
        table.columns = list(names)
        return table

    def _named(self, names: Any) -> list[str]:
        # LightGBM writes `_` where a name had a space.
        known = {name.replace(" ", "_"): name for name in self.columns}
        lacking = [str(name) for name in names if str(name).replace(" ", "_") not in known]
        if lacking:
            raise RefusedError(
                f"{self.name} lacks its feature {lacking[0]}" + _more(len(lacking) - 1)
            )
        return [known[str(name).replace(" ", "_")] for name in names]

    def _placed(self, width: int) -> list[str]:
        """Take the columns in their order, for a model that knows no names."""
        features = [name for name in self.columns if name not in self._labels]
        if len(features) != width:
            raise RefusedError(
                f"it has {width} features without names, and {self.name} {len(features)} columns"
            )
        return features

    def _typed(self, pandas: Any, column: Any, boosted: bool) -> Any:
        """Give a column the categories that it had in the training."""
        for one in self._kept:
            for place, told in enumerate(one.facts.get("columns", ())):
                if told["title"] == column.name and "ordered" in told:
                    return pandas.Series(pandas.Categorical(column, **one.kind(place)))
        return column.astype("category") if boosted and column.dtype.kind == "O" else column

    def _plain(self, chosen: list[str]) -> Any:
        numpy = import_module("numpy")
        try:
            return numpy.column_stack([numpy.asarray(self.columns[n], "f8") for n in chosen])
        except ValueError as error:
            raise RefusedError(f"{self.name} holds what is no number: {error}") from error


def _more(count: int) -> str:
    return f" and {count} more" if count else ""


def _optional(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """Return the columns of a table by name, and how many rows it has."""
    pandas = _optional("pandas")
    with path.open("rb") as file:
        parquet = file.read(4) == b"PAR1"
    if pandas is not None:
        table = pandas.read_parquet(path) if parquet else pandas.read_csv(path)
        chosen = table.iloc[_chosen(len(table))].reset_index(drop=True)
        return {str(name): chosen[name] for name in chosen.columns}, len(table)
    if parquet:
        raise RefusedError(
            f"{path.name} is parquet, which takes pandas in the training's environment"
        )
    with path.open(newline="", encoding="utf-8") as text:
        header, *lines = csv.reader(text)
    chosen = [lines[n] for n in _chosen(len(lines))]
    return {name: [_number(one[n]) for one in chosen] for n, name in enumerate(header)}, len(lines)


def _chosen(total: int) -> list[int]:
    if total <= MOST_ROWS:
        return list(range(total))
    return [n * total // MOST_ROWS for n in range(MOST_ROWS)]


def _number(word: str) -> Any:
    try:
        return float(word) if word else float("nan")
    except ValueError:
        return word


def kept(folder: str) -> list[Kept]:
    """Return the sets that the probe kept: those with labels first, then the last ones.

    What the models learn from comes last: it says least of how they differ.
    """
    found = []
    for name in sorted(os.listdir(folder)) if folder else ():  # noqa: PTH208  names
        if name.endswith(".json"):
            try:
                found.append(Kept(Path(folder, name)))
            except (OSError, ValueError, KeyError):
                continue
    found.sort(key=_rank)
    return found


def _rank(one: Kept) -> tuple[bool, bool, int]:
    labelled = "label" in one.facts.get("arrays", ())
    return bool(one.facts["training"]), not labelled, -int(one.facts.get("order", 0))
