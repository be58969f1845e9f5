"""Tables and arrays: readers and writers of data libraries."""

from __future__ import annotations

from tests.coverage.case import Case

_PARTS = ("parts/a.parquet", "parts/b.parquet")

CASES = (
    Case(
        "pandas read_csv",
        "import pandas; assert len(pandas.read_csv('train.csv')) == 200",
        reads=("train.csv",),
    ),
    Case(
        "numpy load with mmap",
        "import numpy; assert numpy.load('numbers.npy', mmap_mode='r').sum() > 0",
        reads=("numbers.npy",),
    ),
    Case(
        "numpy memmap r+",
        """
        import numpy
        numbers = numpy.memmap("numbers.bin", dtype="float64", mode="r+")
        numbers[0] = numbers.sum()
        numbers.flush()
        """,
        reads=("numbers.bin",),
        writes=("numbers.bin",),
    ),
    Case(
        "mmap, descriptor closed before reading",
        """
        import mmap, os
        descriptor = os.open("data.txt", os.O_RDONLY)
        mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        os.close(descriptor)
        assert mapped[:]
        """,
        reads=("data.txt",),
    ),
    Case(
        "numpy fromfile, loadtxt, savez",
        """
        import numpy
        numbers = numpy.fromfile("numbers.bin")
        numpy.savez("both.npz", numbers, numpy.loadtxt("numbers.txt"))
        """,
        reads=("numbers.bin", "numbers.txt"),
        writes=("both.npz",),
    ),
    Case(
        "pickle",
        "import pickle; assert pickle.load(open('numbers.pkl', 'rb'))",
        reads=("numbers.pkl",),
    ),
    Case(
        "joblib dump and load",
        "import joblib; joblib.dump(joblib.load('numbers.joblib'), 'again.joblib')",
        reads=("numbers.joblib",),
        writes=("again.joblib",),
    ),
    Case(
        "pyarrow read_table",
        "import pyarrow.parquet; assert pyarrow.parquet.read_table('table.parquet').num_rows",
        reads=("table.parquet",),
    ),
    Case(
        "pyarrow dataset of a folder",
        "import pyarrow.dataset; assert pyarrow.dataset.dataset('parts').count_rows()",
        reads=_PARTS,
    ),
    Case(
        "polars read_parquet",
        "import polars; assert len(polars.read_parquet('table.parquet'))",
        reads=("table.parquet",),
    ),
    Case(
        "polars scan_csv to parquet",
        "import polars; polars.scan_csv('train.csv').sink_parquet('out.parquet')",
        reads=("train.csv",),
        writes=("out.parquet",),
    ),
    Case(
        "duckdb copy (select) to",
        """
        import duckdb
        duckdb.sql("copy (select * from 'train.csv' where a > 0) to 'out.parquet'")
        """,
        reads=("train.csv",),
        writes=("out.parquet",),
    ),
    Case(
        "sqlite",
        """
        import sqlite3
        assert sqlite3.connect("table.db").execute("select sum(a) from t").fetchone()[0] is not None
        """,
        reads=("table.db",),
    ),
    Case(
        "h5py",
        "import h5py; assert h5py.File('table.h5', 'r')['a'][:].sum() > 0",
        reads=("table.h5",),
    ),
    Case(
        "gzip writing",
        """
        import gzip
        with gzip.open("train.csv.gz", "wb") as out:
            out.write(open("train.csv", "rb").read())
        """,
        reads=("train.csv",),
        writes=("train.csv.gz",),
    ),
    # Beyond the 57: a folder of parquet files by each of the three libraries.
    Case(
        "polars scan_parquet of a folder",
        "import polars; assert len(polars.scan_parquet('parts').collect())",
        reads=_PARTS,
        counted=False,
    ),
    Case(
        "duckdb over a glob of parquet files",
        "import duckdb; assert duckdb.sql(\"select count(*) from 'parts/*.parquet'\").fetchall()",
        reads=_PARTS,
        counted=False,
    ),
    Case(
        "pandas read_parquet and to_parquet",
        """
        import pandas
        pandas.read_parquet("table.parquet").to_parquet("again.parquet")
        """,
        reads=("table.parquet",),
        writes=("again.parquet",),
        counted=False,
    ),
    Case(
        "pyarrow write_dataset",
        """
        import pyarrow.dataset
        data = pyarrow.dataset.dataset("table.parquet")
        pyarrow.dataset.write_dataset(data, "made", format="parquet")
        """,
        reads=("table.parquet",),
        writes=("made/part-0.parquet",),
        counted=False,
    ),
    Case(
        "h5py writing, sqlite writing",
        """
        import h5py, sqlite3
        with h5py.File("made.h5", "w") as file:
            file["a"] = [1.0, 2.0]
        database = sqlite3.connect("made.db")
        database.execute("create table t (a)")
        database.commit()
        """,
        writes=("made.h5", "made.db"),
        counted=False,
    ),
)
