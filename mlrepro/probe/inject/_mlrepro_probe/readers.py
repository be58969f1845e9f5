"""Readers: the functions of libraries through which they read and write files, as tables.

Where a function lies differs from version to version: one that is not there is passed over.
"""

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
NATIVE = {"lightgbm.basic": _LIGHTGBM, "xgboost.core": _XGBOOST}


def _sources(*names):
    return tuple((name, "glob", 0, "source") for name in names)


_DUCKDB_FUNCTIONS = tuple(
    (name, "sql", 0, "query") for name in ("execute", "executemany", "from_query", "query", "sql")
) + (
    ("from_csv_auto", "glob", 0, "path_or_buffer/name"),
    ("from_parquet", "glob", 0, "file_glob/file_globs/path"),
    ("read_csv", "glob", 0, "path_or_buffer/name"),
    ("read_json", "glob", 0, "path_or_buffer/name"),
    ("read_parquet", "glob", 0, "file_glob/file_globs/path"),
)
_DUCKDB = (
    _DUCKDB_FUNCTIONS
    + (("connect", "base", 0, "database"), ("query_df", "sql", 2, "sql_query"))
    + tuple(("DuckDBPyConnection." + n, kind, 1, key) for n, kind, _, key in _DUCKDB_FUNCTIONS)
    + tuple(
        ("DuckDBPyRelation." + name, "out", 1, "file_name")
        for name in ("to_csv", "to_parquet", "write_csv", "write_parquet")
    )
)

# Module: (function, kind of use, position and name of the argument that holds the file name)
PYTHON = {
    "catboost.core": (
        ("Pool.__init__", "r", 1, "data"),
        ("CatBoost.load_model", "r", 1, "fname"),
        ("CatBoost.save_model", "w", 1, "fname"),
    ),
    "h5py._hl.files": (("File.__init__", "h5", 1, "name"),),
    # pandas 3 hands pyarrow an `OSFile`, a compiled class that cannot be wrapped.
    "pandas.io.parquet": (("_get_path_or_handle", "mode", 0, "path"),),
    "duckdb": _DUCKDB,
    "polars.dataframe.frame": tuple(
        ("DataFrame.write_" + kind, "out", 1, "file")
        for kind in ("avro", "csv", "ipc", "ipc_stream", "json", "ndjson", "parquet")
    )
    + (("DataFrame.write_delta", "tree", 1, "target"),),
    "polars.lazyframe.frame": tuple(
        ("LazyFrame.sink_" + kind, "out", 1, "path") for kind in ("csv", "ipc", "ndjson", "parquet")
    ),
    "polars.io.avro": (("read_avro", "r", 0, "source"),),
    "polars.io.csv.functions": _sources("read_csv", "read_csv_batched", "scan_csv"),
    "polars.io.delta.functions": _sources("read_delta", "scan_delta"),
    "polars.io.ipc.functions": _sources(
        "read_ipc", "read_ipc_schema", "read_ipc_stream", "scan_ipc"
    ),
    "polars.io.json.read": _sources("read_json"),
    "polars.io.lines": _sources("read_lines", "scan_lines"),
    "polars.io.ndjson": _sources("read_ndjson", "scan_ndjson"),
    "polars.io.parquet.functions": _sources(
        "read_parquet", "read_parquet_metadata", "read_parquet_schema", "scan_parquet"
    ),
    "polars.io.spreadsheet.functions": _sources("read_excel", "read_ods"),
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
    "pyarrow.fs": (("copy_files", "glob", 0, "source"),),
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
PYTHON["pyarrow.parquet"] = PYTHON["pyarrow.parquet.core"] = _PARQUET

# What their compiled code reads besides is a blind spot.
COMPILED = ("cv2", "duckdb", "netCDF4", "rasterio", "tensorflow")
