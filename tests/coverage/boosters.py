"""Boosters: files that LightGBM's and XGBoost's own C++ code opens."""

from __future__ import annotations

from tests.coverage.case import Case

CASES = (
    Case(
        "lightgbm.Dataset of a file, save_model",
        """
        import lightgbm
        data = lightgbm.Dataset("train.csv", params={"header": True, "verbose": -1})
        options = {"objective": "binary", "verbose": -1, "num_threads": 1}
        lightgbm.train(options, data, 2).save_model("model.txt")
        """,
        reads=("train.csv",),
        writes=("model.txt",),
    ),
    Case(
        "lightgbm init_model",
        """
        import lightgbm, numpy
        x = numpy.arange(400.0).reshape(-1, 4) % 7
        data = lightgbm.Dataset(x, x[:, 0] > 2)
        options = {"objective": "binary", "verbose": -1, "num_threads": 1}
        lightgbm.train(options, data, 2, init_model="prev.txt").save_model("model.txt")
        """,
        reads=("prev.txt",),
        writes=("model.txt",),
    ),
    Case(
        "lightgbm Dataset.save_binary",
        """
        import lightgbm
        data = lightgbm.Dataset("train.csv", params={"header": True, "verbose": -1})
        data.save_binary("train.bin")
        """,
        reads=("train.csv",),
        writes=("train.bin",),
    ),
    Case(
        "xgboost.DMatrix of a file, save_model",
        """
        import xgboost
        data = xgboost.DMatrix("small.libsvm?format=libsvm")
        options = {"objective": "binary:logistic", "nthread": 1}
        xgboost.train(options, data, 2).save_model("model.json")
        """,
        reads=("small.libsvm",),
        writes=("model.json",),
    ),
    Case(
        "xgboost.Booster(model_file=)",
        "import xgboost; assert xgboost.Booster(model_file='prev.json').num_boosted_rounds()",
        reads=("prev.json",),
    ),
    # Beyond the 57.
    Case(
        "lightgbm pulls in rank.train.query by itself",
        """
        import lightgbm
        data = lightgbm.Dataset("rank.train", params={"verbose": -1})
        options = {"objective": "lambdarank", "verbose": -1, "num_threads": 1}
        lightgbm.train(options, data, 2).save_model("model.txt")
        """,
        reads=("rank.train", "rank.train.query"),
        writes=("model.txt",),
        counted=False,
    ),
    Case(
        'xgboost.DMatrix("agaricus.txt.train?format=libsvm")',
        """
        import xgboost
        data = xgboost.DMatrix("agaricus.txt.train?format=libsvm")
        options = {"objective": "binary:logistic", "nthread": 1}
        assert xgboost.train(options, data, 2).get_dump()
        """,
        reads=("agaricus.txt.train",),
        counted=False,
    ),
)
