"""Calls: wrap the functions through which native libraries read and write files.

LightGBM and XGBoost are watched where Python calls into their C library: whatever the Python
interface of a version looks like, a file name passes there, and no class of theirs is touched.
"""

import functools
import os

from .log import swallow

# C function: (kind of use, index of the argument that holds the file name)
_LIGHTGBM = {
    "LGBM_BoosterCreate": (("settings", 1),),
    "LGBM_BoosterCreateFromModelfile": (("r", 0),),
    "LGBM_BoosterPredictForFile": (("r", 1), ("w", -1)),
    "LGBM_BoosterResetParameter": (("settings", 1),),
    "LGBM_BoosterSaveModel": (("w", -1),),
    "LGBM_DatasetCreateFromFile": (("lightgbm", 0), ("settings", 1)),
    "LGBM_DatasetDumpText": (("w", 1),),
    "LGBM_DatasetSaveBinary": (("w", 1),),
}
_XGBOOST = {
    "XGBoosterDumpModelEx": (("r", 1),),
    "XGBoosterDumpModel": (("r", 1),),
    "XGBoosterLoadModel": (("r", 1),),
    "XGBoosterSaveModel": (("w", 1),),
    "XGDMatrixCreateFromFile": (("uri", 0),),
    "XGDMatrixCreateFromURI": (("json", 0),),
    "XGDMatrixSaveBinary": (("w", 1),),
}
_NATIVE = {"lightgbm.basic": _LIGHTGBM, "xgboost.core": _XGBOOST}

# Module: (function, kind of use, position and name of the argument that holds the file name)
_PYTHON = {
    "catboost.core": (
        ("Pool.__init__", "r", 1, "data"),
        ("CatBoost.load_model", "r", 1, "fname"),
        ("CatBoost.save_model", "w", 1, "fname"),
    ),
    "h5py._hl.files": (("File.__init__", "h5", 1, "name"),),
    # pandas 3 hands pyarrow an `OSFile`, a compiled class that cannot be wrapped.
    "pandas.io.parquet": (("_get_path_or_handle", "mode", 0, "path"),),
    "polars.dataframe.frame": tuple(
        ("DataFrame.write_" + kind, "w", 1, "file") for kind in ("csv", "ipc", "ndjson", "parquet")
    ),
    "polars.lazyframe.frame": tuple(
        ("LazyFrame.sink_" + kind, "w", 1, "path") for kind in ("csv", "ipc", "ndjson", "parquet")
    ),
    "polars.io.csv.functions": (
        ("read_csv", "glob", 0, "source"),
        ("scan_csv", "glob", 0, "source"),
    ),
    "polars.io.ipc.functions": (
        ("read_ipc", "glob", 0, "source"),
        ("scan_ipc", "glob", 0, "source"),
    ),
    "polars.io.ndjson": (
        ("read_ndjson", "glob", 0, "source"),
        ("scan_ndjson", "glob", 0, "source"),
    ),
    "polars.io.parquet.functions": (
        ("read_parquet", "glob", 0, "source"),
        ("scan_parquet", "glob", 0, "source"),
    ),
    "pyarrow": (
        ("memory_map", "r", 0, "path"),
        ("input_stream", "r", 0, "source"),
        ("output_stream", "w", 0, "source"),
    ),
    "pyarrow.csv": (
        ("read_csv", "r", 0, "input_file"),
        ("open_csv", "r", 0, "input_file"),
        ("write_csv", "w", 1, "output_file"),
    ),
    "pyarrow.dataset": (
        ("dataset", "files", 0, "source"),
        ("parquet_dataset", "files", 0, "metadata_path"),
        ("write_dataset", "tree", 1, "base_dir"),
    ),
    "pyarrow.feather": (
        ("read_feather", "r", 0, "source"),
        ("read_table", "r", 0, "source"),
        ("write_feather", "w", 1, "dest"),
    ),
    "pyarrow.ipc": (
        ("new_file", "w", 0, "sink"),
        ("new_stream", "w", 0, "sink"),
        ("open_file", "r", 0, "source"),
        ("open_stream", "r", 0, "source"),
    ),
    "pyarrow.json": (("read_json", "r", 0, "input_file"), ("open_json", "r", 0, "input_file")),
    "pyarrow.orc": (
        ("ORCFile.__init__", "r", 1, "source"),
        ("ORCWriter.__init__", "w", 1, "where"),
        ("read_table", "r", 0, "source"),
        ("write_table", "w", 1, "where"),
    ),
    "safetensors.numpy": (("load_file", "r", 0, "filename"), ("save_file", "w", 1, "filename")),
    "safetensors.torch": (("load_file", "r", 0, "filename"), ("save_file", "w", 1, "filename")),
    "torch.serialization": (("save", "w", 1, "f"), ("load", "r", 0, "f")),
}
_PARQUET = (
    ("ParquetDataset.__init__", "r", 1, "path_or_paths"),
    ("ParquetFile.__init__", "r", 1, "source"),
    ("ParquetWriter.__init__", "w", 1, "where"),
    ("read_metadata", "r", 0, "where"),
    ("read_schema", "r", 0, "where"),
    ("read_table", "r", 0, "source"),
    ("write_metadata", "w", 1, "where"),
)
_PYTHON["pyarrow.parquet"] = _PYTHON["pyarrow.parquet.core"] = _PARQUET

_COMPANIONS = ("", ".weight", ".query", ".group", ".init", ".position", ".bin")


_COMPILED = ("cv2", "duckdb", "netCDF4", "rasterio", "tensorflow")


def wrap(module, watch):
    """Wrap what the tables name in a module that has just been executed."""
    name = module.__name__
    if name in _COMPILED:
        watch.log.write(b"b", name)
    library = getattr(module, "_LIB", None)
    for function, uses in _NATIVE.get(name, {}).items():
        if library is not None:
            _wrap_native(library, function, uses, watch)
    for path, kind, position, keyword in _PYTHON.get(name, ()):
        owner = module
        *outer, last = path.split(".")
        for part in outer:
            owner = getattr(owner, part, None)
        original = vars(owner).get(last) if owner is not None else None
        if original is not None and not hasattr(original, "_mlrepro"):
            setattr(owner, last, _wrapped(original, kind, position, keyword, watch))


def _wrapped(original, kind, position, keyword, watch):
    before, after = _BEFORE.get(kind), _AFTER.get(kind)

    @functools.wraps(original)
    def call(*args, **kwargs):
        value = None
        try:
            value = args[position] if len(args) > position else kwargs.get(keyword)
            mode = kwargs.get("mode", args[2] if kind == "h5" and len(args) > 2 else None)
            if before is not None:
                for path in _paths(value):
                    before(watch, path, mode)
        except Exception as error:
            swallow(error)
        result = original(*args, **kwargs)
        try:
            if after is not None:
                after(watch, value, result)
        except Exception as error:
            swallow(error)
        return result

    call._mlrepro = True
    return call


def _paths(value):
    values = value if isinstance(value, (list, tuple)) else (value,)
    for one in values:
        if isinstance(one, (str, bytes, os.PathLike)):
            path = os.path.expanduser(os.fsdecode(one))
            yield path[7:] if path.startswith("file://") else path


def _read(watch, path, _=None):
    watch.file(b"r", path, b"wrapper")


def _write(watch, path, _=None):
    watch.file(b"w", path, b"wrapper")


def _h5(watch, path, mode):
    kind = {"r": b"r", None: b"r", "w": b"w", "w-": b"w", "x": b"w"}.get(mode, b"u")
    watch.file(kind, path, b"wrapper")


def _glob(watch, path, _=None):
    """A pattern or a folder that the library itself resolves."""
    if os.path.isdir(path):
        path = os.path.join(path, "**")
    if not any(sign in path for sign in "*?["):
        return _read(watch, path)
    import glob

    for one in glob.iglob(path, recursive=True):
        _read(watch, one)
    return None


def _by_mode(watch, path, mode):
    watch.file(b"w" if mode and mode[0] in "wx" else b"r", path, b"wrapper")


def _dataset_files(watch, _, result):
    for path in getattr(result, "files", ()):
        # Its file system leaves out the first slash of nothing but remote addresses.
        _read(watch, path)


def _tree_files(watch, value, _):
    """Files of a folder that a library fills; those of before are told apart by their times."""
    for root in _paths(value):
        for folder, _folders, names in os.walk(root):
            for name in names:
                _write(watch, os.path.join(folder, name))


_BEFORE = {"r": _read, "w": _write, "h5": _h5, "mode": _by_mode, "glob": _glob}
_AFTER = {"files": _dataset_files, "tree": _tree_files}


def _lightgbm(watch, path, _=None):
    """A data file of LightGBM's own reader, and the files that it takes from beside it."""
    for ending in _COMPANIONS:
        _read(watch, path + ending)


def _settings(watch, text, _=None):
    """Parameters that name files: ``forcedsplits_filename=splits.json``."""
    for setting in text.split(" "):
        name, _, value = setting.partition("=")
        if value and name in (
            "forcedsplits_filename",
            "forcedbins_filename",
            "initscore_filename",
            "machine_list_filename",
            "parser_config_file",
            "monotone_constraints_file",
        ):
            _read(watch, value)


def _uri(watch, text, _=None):
    """XGBoost's ``data.txt?format=libsvm&indexing_mode=1#cache``, which may be a folder."""
    path = text.partition("#")[0].partition("?")[0]
    path = path[7:] if path.startswith("file://") else path
    for one in path.split(";"):
        if os.path.isdir(one):
            for name in os.listdir(one):
                _read(watch, os.path.join(one, name))
        else:
            _read(watch, one)


def _json(watch, text, _=None):
    import json

    _uri(watch, json.loads(text)["uri"])


_TEXT = {"r": _read, "w": _write, "lightgbm": _lightgbm, "settings": _settings, "uri": _uri}
_TEXT["json"] = _json


class _Native:
    """A function of a C library that notes file names on their way in."""

    __slots__ = ("_function", "_mlrepro", "_uses", "_watch")

    def __init__(self, function, uses, watch):
        for name, value in (("_function", function), ("_uses", uses), ("_watch", watch)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_mlrepro", True)

    def __call__(self, *args):
        try:
            for kind, index in self._uses:
                value = getattr(args[index], "value", args[index])
                if value:
                    _TEXT[kind](self._watch, os.fsdecode(value))
        except Exception as error:
            swallow(error)
        return self._function(*args)

    def __getattr__(self, name):
        return getattr(self._function, name)

    def __setattr__(self, name, value):
        setattr(self._function, name, value)


def _wrap_native(library, name, uses, watch):
    try:
        function = getattr(library, name)
    except AttributeError:  # another version of the library
        return
    if not isinstance(function, _Native):
        setattr(library, name, _Native(function, uses, watch))
