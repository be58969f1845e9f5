"""Imports: when the program first imports a library of a table, wrap the calls named there.

There are two tables: libraries whose files Python cannot see (not needed where the native observer
sees them), and libraries that train. The library is never imported by the probe itself. The finder
stands first, finds a module of a table by asking the finders behind it, and lets the module's own
loader run to its end.
"""

import sys

from . import patches
from .log import swallow

FILES = frozenset(
    (
        "catboost.core",
        "cv2",
        "duckdb",
        "h5py._hl.files",
        "lightgbm.basic",
        "netCDF4",
        "pandas.io.parquet",
        "polars.dataframe.frame",
        "polars.io.avro",
        "polars.io.csv.functions",
        "polars.io.delta.functions",
        "polars.io.ipc.functions",
        "polars.io.json.read",
        "polars.io.lines",
        "polars.io.ndjson",
        "polars.io.parquet.functions",
        "polars.io.spreadsheet.functions",
        "polars.lazyframe.frame",
        "pyarrow",
        "pyarrow.csv",
        "pyarrow.dataset",
        "pyarrow.feather",
        "pyarrow.fs",
        "pyarrow.ipc",
        "pyarrow.json",
        "pyarrow.orc",
        "pyarrow.parquet",
        "pyarrow.parquet.core",
        "rasterio",
        "safetensors.numpy",
        "safetensors.torch",
        "tensorflow",
        "torch.serialization",
        "xgboost.core",
    )
)


def install(log, watch):
    """Put the finder first; there is no `watch` where the native observer sees the files."""
    finder = _Finder(log, watch)
    sys.meta_path.insert(0, finder)
    try:
        patches.apply_loaded(log, finder.fits)
    except Exception as error:
        swallow(error)


class _Finder:
    def __init__(self, log, watch):
        self.log = log
        self.watch = watch
        self._fits = None

    def fits(self):
        """Return the process's fits, whose module is not loaded before it is needed."""
        if self._fits is None:
            from .fits import Fits

            self._fits = Fits(self.log)
        return self._fits

    def find_spec(self, name, path=None, target=None):
        files = self.watch is not None and name in FILES
        if not files and name not in patches.FITS:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec = find(name, path, target)
            if spec is not None:
                self._follow(spec, files)
                return spec
        return None

    def _follow(self, spec, files):
        """Let this one loader object say when it has executed the module."""
        loader = spec.loader
        try:
            execute = loader.exec_module

            def exec_module(module):
                execute(module)
                try:
                    self._wrap(module, files)
                except Exception as error:
                    swallow(error)

            loader.exec_module = exec_module
        except Exception as error:  # a loader without attributes of its own
            swallow(error)

    def _wrap(self, module, files):
        if files:
            from . import calls

            calls.wrap(module, self.watch)
        patches.apply(module, self.log, self.fits)
