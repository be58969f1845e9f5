"""Imports: when the program first imports a library whose files Python cannot see, wrap its calls.

The library is never imported by the probe itself. The finder stands first, finds a module of the
table by asking the finders behind it, and lets the module's own loader run to its end.
"""

import sys

from .log import swallow

MODULES = frozenset(
    (
        "catboost.core",
        "cv2",
        "duckdb",
        "h5py._hl.files",
        "lightgbm.basic",
        "netCDF4",
        "pandas.io.parquet",
        "polars.dataframe.frame",
        "polars.io.csv.functions",
        "polars.io.ipc.functions",
        "polars.io.ndjson",
        "polars.io.parquet.functions",
        "polars.lazyframe.frame",
        "pyarrow",
        "pyarrow.csv",
        "pyarrow.dataset",
        "pyarrow.feather",
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


def install(watch):
    """Put the finder first."""
    sys.meta_path.insert(0, _Finder(watch))


class _Finder:
    def __init__(self, watch):
        self.watch = watch

    def find_spec(self, name, path=None, target=None):
        if name not in MODULES:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec = find(name, path, target)
            if spec is not None:
                self._follow(spec)
                return spec
        return None

    def _follow(self, spec):
        """Let this one loader object say when it has executed the module."""
        loader, watch = spec.loader, self.watch
        try:
            execute = loader.exec_module

            def exec_module(module):
                execute(module)
                try:
                    from . import calls

                    calls.wrap(module, watch)
                except Exception as error:
                    swallow(error)

            loader.exec_module = exec_module
        except Exception as error:  # a loader without attributes of its own
            swallow(error)
