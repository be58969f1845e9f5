"""Packing: copy the rows of any usual kind of table into plain arrays, few enough to be kept.

What is written can be read without unpickling: ``.npy`` blocks one after another, and facts in
JSON that say how a table is made of them again. A cell that is neither a number nor a text makes
its whole set be left out.
"""

import os
import sys
import zlib

MOST_ROWS = 20000
"""Rows that are kept of one set."""

MOST_BYTES = 32 * 2**20
"""Bytes that are kept of one set."""

_MOST_COPIED = 100 * 10**6
"""Cells of a matrix that can only be copied as a whole."""

_PLAIN = (str, int, float, bool)


class Packed:
    """One set of rows."""

    def __init__(self, facts):
        self.facts = facts
        self.arrays = {}
        self.taken = None, 0  # which rows, and of how many

    def label(self, label, weight):
        """Add labels and weights that came to be known later, one for each row of all."""
        numpy = sys.modules["numpy"]
        _column(numpy, self, "label", label, *self.taken)
        _column(numpy, self, "weight", weight, *self.taken)

    def answer(self, method, result):
        """Add what a model said of the rows, by which it is known again."""
        self.facts["method"] = method
        if hasattr(result, "shape") and len(result.shape):
            _column(sys.modules["numpy"], self, "answer", result, *self.taken)
        else:
            self.facts["score"] = float(result)

    def fingerprint(self):
        """Return what tells it from another set."""
        mark = zlib.crc32(repr(sorted(self.facts.items(), key=str)).encode("utf-8", "replace"))
        for array in self.arrays.values():
            mark = zlib.crc32(array.tobytes(), mark)
        return mark

    def write(self, path):
        """Write the arrays in their order."""
        numpy = sys.modules["numpy"]
        self.facts["arrays"] = list(self.arrays)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for array in self.arrays.values():
                numpy.lib.format.write_array(file, array, allow_pickle=False)


def shape(data):
    """Return rows and columns; of texts and other lists the second is 0."""
    if hasattr(data, "num_row"):
        return data.num_row(), data.num_col()
    found = getattr(data, "shape", None)
    if found is None:
        first = data[0] if len(data) else ()
        return len(data), len(first) if first.__class__ in (list, tuple) else 0
    return int(found[0]), int(found[1]) if len(found) > 1 else 0


def packed(
    name,
    call,
    x,
    library="",
    label=None,
    weight=None,
    group=False,
    initial=False,
    training=False,
):
    """Copy a set of rows; None where its kind is not known.

    Parameters
    ----------
    name, call : str
        What it is called, and in which call it was seen.
    x : object
        The table.
    library : str
        Whose model was trained or asked.
    label, weight : object
        One for each row.
    group : bool
        Whether rows belong together, as in ranking.
    initial : bool
        Whether predictions of the rows start from scores of their own.
    training : bool
        Whether the model learns from them.
    """
    facts = {"name": name[:200], "call": call, "library": library, "training": training}
    facts.update(group=bool(group), initial=bool(initial))
    one = Packed(facts)
    if isinstance(x, (str, bytes)) or hasattr(x, "__fspath__"):
        facts.update(kind="file", path=os.fsdecode(x)[-500:], rows=0, total=0)
        return one
    if hasattr(x, "num_row"):
        x, label, weight = _matrix(one, x)
    total, _ = shape(x)
    if not total:
        return None
    numpy = sys.modules["numpy"]
    rows = _chosen(numpy, total, _bytes_of_a_row(x, total))
    facts.update(total=facts.pop("of", total), rows=total if rows is None else len(rows))
    one.taken = rows, total
    one.label(label, weight)
    return one if _table(numpy, one, x, rows) else None


def _chosen(numpy, total, size):
    """Return the rows to keep, evenly spaced; None for all of them."""
    most = min(MOST_ROWS, max(1, MOST_BYTES // max(1, size)))
    return None if total <= most else numpy.arange(most) * total // most


def _bytes_of_a_row(x, total):
    if hasattr(x, "nnz"):
        return 12 * x.nnz // total + 8
    width = shape(x)[1] or 1
    return width * max(8, getattr(getattr(x, "dtype", None), "itemsize", 8))


def _column(numpy, one, name, values, rows, total):
    """Keep labels or weights, where there is one for each row."""
    if values is None:
        return
    array = numpy.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if not array.ndim or len(array) != total:
        return
    array = array if rows is None else array[rows]
    if array.dtype.kind == "O":
        array = numpy.array([str(value)[:200] for value in array.ravel()]).reshape(array.shape)
    if array.dtype.kind in "biufU":
        one.arrays[name] = numpy.array(array, order="C")
        title = getattr(values, "name", None)
        if name == "label" and title.__class__ is str:
            one.facts["label_name"] = title[:200]


def _table(numpy, one, x, rows):
    """Keep the table itself; say whether that could be done."""
    if hasattr(x, "tocsr") and hasattr(x, "nnz"):
        return _sparse(numpy, one, x.tocsr(), rows)
    if hasattr(x, "iloc"):
        return _frame(numpy, one, x if rows is None else x.iloc[rows])
    if hasattr(x, "get_columns"):  # polars
        return _polars(numpy, one, x if rows is None else x[rows.tolist()])
    if x.__class__ in (list, tuple) and shape(x)[1] == 0:
        _cells(numpy, one, "x", [x[i] for i in (range(len(x)) if rows is None else rows)])
        one.facts["kind"] = "list"
        return True
    array = numpy.asarray(x)
    array = array if rows is None else array[rows]
    one.facts.update(kind="dense", width=array.shape[1] if array.ndim > 1 else 0)
    _array(numpy, one, "x", array)
    return True


def _array(numpy, one, name, array):
    if array.dtype.kind == "O":
        one.facts["shape"] = list(array.shape)
        _cells(numpy, one, name, array.ravel().tolist())
    elif array.dtype.kind in "biufUMm":
        one.arrays[name] = numpy.array(array, order="C")
    else:
        raise TypeError(array.dtype)


def _cells(numpy, one, name, cells):
    """Keep texts, numbers and what is missing, mixed, as JSON."""
    from json import dumps

    if not all(cell is None or isinstance(cell, _PLAIN) for cell in cells):
        raise TypeError(name)
    text = dumps(cells).encode("ascii")
    if len(text) > MOST_BYTES:
        raise ValueError(name)
    one.arrays[name + " cells"] = numpy.frombuffer(text, dtype="u1")


def _sparse(numpy, one, x, rows):
    x = x if rows is None else x[rows]
    for name in ("data", "indices", "indptr"):
        one.arrays[name] = numpy.array(getattr(x, name))
    one.facts.update(kind="sparse", width=int(x.shape[1]))
    return True


def _frame(numpy, one, x):
    """Keep a pandas table, column by column, or a pandas column of texts."""
    if not hasattr(x, "columns"):
        one.facts.update(kind="series", title=_title(x.name))
        _cells(numpy, one, "x", _listed(x))
        return True
    columns = []
    for place, title in enumerate(x.columns):
        column = x.iloc[:, place]
        told = {"title": _title(title), "dtype": str(column.dtype)}
        _pandas(numpy, one, "c%d" % place, column, told)
        columns.append(told)
    one.facts.update(kind="frame", width=len(columns), columns=columns)
    return True


def _pandas(numpy, one, name, column, told):
    kind = column.dtype
    if hasattr(kind, "categories"):
        told["ordered"] = bool(kind.ordered)
        one.arrays[name] = numpy.array(column.cat.codes)
        categories = numpy.asarray(kind.categories)
        if categories.dtype.kind in "biuf":
            one.arrays[name + " categories"] = categories
        else:
            _cells(numpy, one, name + " categories", _listed(kind.categories))
    elif isinstance(kind, numpy.dtype) and kind.kind in "biufMm":
        one.arrays[name] = numpy.array(column)
    else:
        _cells(numpy, one, name, _listed(column))


def _listed(column):
    """Return a column's cells; what is missing is None, unless it is a number's own NaN."""
    missing = column.isna()
    return [
        None if gone and not isinstance(cell, float) else cell
        for cell, gone in zip(column.tolist(), missing.tolist())  # noqa: B905  Python 3.8
    ]


def _polars(numpy, one, x):
    columns = []
    for place, column in enumerate(x.get_columns()):
        columns.append({"title": column.name, "dtype": str(column.dtype)})
        kind = str(column.dtype)
        if kind.startswith(("Int", "UInt", "Float")) and not column.null_count():
            one.arrays["c%d" % place] = numpy.array(column.to_numpy())
        else:
            _cells(numpy, one, "c%d" % place, column.to_list())
    one.facts.update(kind="polars", width=len(columns), columns=columns)
    return True


def _title(title):
    return title if title is None or isinstance(title, _PLAIN) else str(title)


def _matrix(one, x):
    """Return table, labels and weights of an XGBoost matrix; what it lacks is missing there."""
    numpy = sys.modules["numpy"]
    label, weight, group = x.get_label(), x.get_weight(), x.get_uint_info("group_ptr")
    one.facts.update(features=x.feature_names, types=x.feature_types)
    one.facts.update(group=len(group) > 0, initial=len(x.get_base_margin()) > 0, lacks="missing")
    rows = _chosen(numpy, x.num_row(), 4 * x.num_col())
    if rows is not None:
        one.facts["of"] = x.num_row()
        label, weight = _some(label, rows, x), _some(weight, rows, x)
    if rows is not None and type(x).__name__ == "DMatrix" and not len(group):
        found = x.slice(rows.astype("int32")).get_data()
    elif x.num_row() * x.num_col() > _MOST_COPIED:
        raise ValueError("too large")
    else:  # of a quantised matrix: the values that its bins stand for
        found = x.get_data()
        found = found if rows is None else found[rows]
    if found.shape[0] * found.shape[1] * 4 > MOST_BYTES:
        return found, label, weight
    table = numpy.full(found.shape, numpy.nan, dtype="f4")
    counts = numpy.diff(found.indptr)
    table[numpy.repeat(numpy.arange(found.shape[0]), counts), found.indices] = found.data
    return table, label, weight


def _some(values, rows, x):
    return values[rows] if len(values) == x.num_row() else values
