"""Cases: two trainings that differ in one thing, the verdict on their models, and the cause."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mlrepro.verdicts import Verdict

SAME = (Verdict.IDENTICAL,)
ROUNDING = (Verdict.IDENTICAL, Verdict.EQUIVALENT, Verdict.CLOSE)
ANOTHER = (Verdict.DRIFTED,)
ANY = (*ROUNDING, *ANOTHER)


@dataclass(frozen=True)
class Training:
    """How a model is trained.

    Attributes
    ----------
    library : str
        ``lightgbm`` or ``xgboost``.
    params : dict
        The library's parameters.
    data, dtype : str
        The table, and the type that it is given to the library in.
    python : str
        The interpreter.
    """

    library: str
    params: dict[str, Any] = field(default_factory=dict)
    data: str = "train.csv"
    dtype: str = "float64"
    python: str = "python"

    def given(self, **params: Any) -> Training:
        """Return the same training with other parameters."""
        return replace(self, params={**self.params, **params})


@dataclass(frozen=True)
class Case:
    """Two trainings.

    Attributes
    ----------
    name : str
        What differs between them.
    a, b : Training
    verdicts : tuple of Verdict
        What the models may be to each other.
    cause : str
        What the report has to name; empty where nothing differs.
    """

    name: str
    a: Training
    b: Training
    verdicts: tuple[Verdict, ...]
    cause: str


# Without `deterministic` the sums of several threads are a race: repeats differ in the last digits.
_LIGHTGBM = Training("lightgbm", {"num_threads": 2, "force_row_wise": True, "deterministic": True})
_GOSS = _LIGHTGBM.given(data_sample_strategy="goss")
_QUANTISED = _LIGHTGBM.given(use_quantized_grad=True)
_BAGGED = _LIGHTGBM.given(bagging_fraction=0.7, bagging_freq=1, seed=1)
_XGBOOST = Training("xgboost", {"nthread": 2, "max_depth": 4, "tree_method": "hist"})
_SAMPLED = _XGBOOST.given(subsample=0.5, seed=1)
_LINEAR = Training("xgboost", {"nthread": 2, "booster": "gblinear", "updater": "shotgun"})

# What is ANY below depends on the size: 3,000 rows come out close, 24,000 drifted.
CASES: tuple[Case, ...] = (
    Case("repeat", _LIGHTGBM, _LIGHTGBM, SAME, ""),
    Case("threads", _LIGHTGBM, _LIGHTGBM.given(num_threads=1), ROUNDING, "num_threads: 2 → 1"),
    Case(
        "row- or column-wise",
        _LIGHTGBM.given(force_col_wise=False),
        _LIGHTGBM.given(force_row_wise=False, force_col_wise=True),
        ROUNDING,
        "force_col_wise: False → True",
    ),
    Case("GOSS, threads", _GOSS, _GOSS.given(num_threads=1), ANOTHER, "num_threads: 2 → 1"),
    Case(
        "quantised, threads", _QUANTISED, _QUANTISED.given(num_threads=1), ANOTHER,
        "num_threads: 2 → 1",
    ),
    Case("seed", _BAGGED, _BAGGED.given(seed=2), ANOTHER, "seed: 1 → 2"),
    Case("row order", _LIGHTGBM, replace(_LIGHTGBM, data="shuffled.csv"), ROUNDING, "shuffled.csv"),
    Case(
        "float32 input", _LIGHTGBM, replace(_LIGHTGBM, dtype="float32"), ANY,
        "float64 → ",
    ),
    Case("repeat", _XGBOOST, _XGBOOST, SAME, ""),
    Case("threads", _XGBOOST, _XGBOOST.given(nthread=1), ROUNDING, "nthread: 2 → 1"),
    Case("hist or exact", _XGBOOST, _XGBOOST.given(tree_method="exact"), ANOTHER,
         "tree_method: hist → exact"),
    Case("sampled, threads", _SAMPLED, _SAMPLED.given(nthread=1), ROUNDING, "nthread: 2 → 1"),
    # Shotgun is a race: how far two of its trainings are apart is chance.
    Case("shotgun, threads", _LINEAR, _LINEAR.given(nthread=1), ANY, "nthread: 2 → 1"),
    Case("quantised (64 bins)", _XGBOOST, _XGBOOST.given(max_bin=64), ANOTHER, "max_bin"),
    Case("seed", _SAMPLED, _SAMPLED.given(seed=2), ANOTHER, "seed: 1 → 2"),
    Case("row order", _XGBOOST, replace(_XGBOOST, data="shuffled.csv"), ANY, "shuffled.csv"),
    # XGBoost holds its data as float32 whatever it is given: nothing differs.
    Case("float32 input", _XGBOOST, replace(_XGBOOST, dtype="float32"), SAME, ""),
)  # fmt: skip
"""GOSS, quantised gradients and row- or column-wise histograms are LightGBM's; XGBoost has its own
ways to sample, to bin and to build trees in their places."""


def of_versions(pythons: dict[str, tuple[str, str]]) -> tuple[Case, ...]:
    """Return the cases of two versions of a library.

    Parameters
    ----------
    pythons : dict of str to (str, str)
        Library → an interpreter that has another version of it, and that version.
    """
    bases = {"lightgbm": _LIGHTGBM, "xgboost": _XGBOOST}
    return tuple(
        Case(f"version {version}", bases[library], replace(bases[library], python=python), ANY,
             f"package {library}")
        for library, (python, version) in pythons.items()
    )  # fmt: skip
