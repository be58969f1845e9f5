"""Evidence: what surrounds a drift: predictions, histories, noise, gates, and what was tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlrepro.verdicts import Measure, Verdict


@dataclass(frozen=True)
class Distribution:
    """How large the differences of many numbers are, by powers of ten.

    Attributes
    ----------
    unit : str
        What a difference is divided by: ``of the standard deviation``, ``of the leaf spread``.
    equal : int
        How many numbers do not differ.
    decades : dict of int to int
        Exponent → how many differences d have ``10**exponent ≤ d < 10**(exponent + 1)``.
    broken : int
        How many have no size: a NaN or an infinity on one side only.
    scope : str
        Which numbers were paired, where not all were: ``in trees of equal structure``.
    """

    unit: str
    equal: int = 0
    decades: Mapping[int, int] = field(default_factory=dict)
    broken: int = 0
    scope: str = ""


@dataclass(frozen=True)
class Delta:
    """One metric of both models, taken on the same rows.

    Attributes
    ----------
    metric : str
        ``auc``, ``logloss``, ``rmse``, ``accuracy`` …
    recorded, rebuilt : float
        Its two values.
    low, high : float
        95 % interval of ``rebuilt − recorded``, by a paired bootstrap (Efron's percentiles).
    error : float
        Standard error of `rebuilt` itself, by the same resamples.
    resamples : int
        How many.
    """

    metric: str
    recorded: float
    rebuilt: float
    low: float
    high: float
    error: float
    resamples: int


@dataclass(frozen=True)
class Predicted:
    """What the recorded and the rebuilt model say of the same rows.

    Attributes
    ----------
    path : str
        The model's recorded path.
    data : str
        Which rows: ``valid_0 of lightgbm.train``, ``probe.csv``.
    rows, outputs : int
        How many rows, and numbers for each.
    ratio : float
        Root mean square of the differences over the standard deviation of the recorded ones.
    largest : float
        Largest absolute difference, in the unit of the prediction.
    where : str
        Its place: ``row 812``.
    first : str
        The first row that differs; empty where none does.
    flips : int or None
        Rows whose label differs; None where the model predicts no labels.
    correlation : float or None
        Spearman's rank correlation; None where it is not defined.
    deltas : tuple of Delta
        Metrics, where the labels of the rows are known.
    """

    path: str
    data: str
    rows: int
    outputs: int
    ratio: float
    largest: float
    where: str = ""
    first: str = ""
    flips: int | None = None
    correlation: float | None = None
    deltas: tuple[Delta, ...] = ()


@dataclass(frozen=True)
class History:
    """The course of one score, on both sides.

    Attributes
    ----------
    name : str
        ``lightgbm.train: valid_0 auc``, or ``history.csv: loss``.
    recorded, rebuilt : tuple of float
        One value for each step.
    first : int or None
        The first step that differs, counted from 1; None where all are equal.
    """

    name: str
    recorded: tuple[float, ...]
    rebuilt: tuple[float, ...]
    first: int | None = None


@dataclass(frozen=True)
class Repeated:
    """How one artifact came out of repeated trainings on one machine.

    Attributes
    ----------
    path : str
        Its recorded path.
    verdict : Verdict
        The worst verdict between two of the repeats.
    measures : tuple of Measure
        The largest of each measure between two of the repeats, those of its parts too.
    kinds : tuple of str
        What was said of each part that drifted, numbers masked: a drift of another kind is no
        noise, however small it is.
    """

    path: str
    verdict: Verdict
    measures: tuple[Measure, ...] = ()
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ensemble:
    """The same training with several seeds.

    Attributes
    ----------
    parameter : str
        The seed's name: ``--seed``, ``params.yaml: train.seed``.
    seeds : tuple of int
        Those that were tried.
    recorded_seed : int or None
        The recorded run's own, where it is known.
    metrics : dict of str to tuple of float
        Metric → its value for each of `seeds`, in their order.
    recorded : dict of str to float
        Metric → the recorded run's value.
    """

    parameter: str
    seeds: tuple[int, ...]
    recorded_seed: int | None = None
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    recorded: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Noise:
    """The measured noise floor of a run: how far repeats with nothing changed are apart.

    Attributes
    ----------
    repeats : int
        How many trainings were compared with each other; fewer than 2 say nothing.
    identical : int
        How many of them were, bit for bit, the first of them.
    machine : str
        Where: the processor and the count of threads, in words.
    here : bool
        Whether that is the machine that asks.
    artifacts : tuple of Repeated
        What moved between them, and how far.
    ensemble : Ensemble or None
        The same with other seeds.
    recorded : tuple of Repeated
        How far the recorded artifacts lie from those repeats; empty where the recorded run is one
        of them, or could not be compared.
    measured : str
        When: UTC, ISO 8601.
    trusted : bool
        Whether it may turn a verdict: this clone measured it, or the one that recorded the run.
    notes : tuple of str
        Trainings that failed and were left out, and what else the reader has to know.
    """

    repeats: int = 0
    identical: int = 0
    machine: str = ""
    here: bool = True
    artifacts: tuple[Repeated, ...] = ()
    ensemble: Ensemble | None = None
    recorded: tuple[Repeated, ...] = ()
    measured: str = ""
    trusted: bool = True
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Gate:
    """A limit that a rebuilt metric had to reach.

    Attributes
    ----------
    metric : str
        Its name, as it was found.
    limit, value : float
        What was asked, and what was measured.
    error : float or None
        Standard error of `value`; None where nothing tells it.
    source : str
        Where the error comes from: ``10 seeds``, ``1000 resamples of 4000 rows``.
    passed : bool
        Whether ``value ≥ limit``.
    """

    metric: str
    limit: float
    value: float
    error: float | None
    source: str
    passed: bool

    @property
    def distance(self) -> float | None:
        """How many standard errors the value lies above the limit; None where none is known."""
        return (self.value - self.limit) / self.error if self.error else None


@dataclass(frozen=True)
class Tried:
    """One factor that was changed, to see whether the recorded result comes back.

    Attributes
    ----------
    factor : str
        ``repeat``, ``threads``, ``row- or column-wise``, ``hash seed``, ``package numpy`` …
    what : str
        What was done: ``8 threads, as recorded``.
    verdict : Verdict or None
        Of the rebuild with it; None where it could not be made.
    seconds : float
        Wall time, the training's own included.
    restores : bool
        Whether it brings the recorded result back, or explains the difference otherwise.
    note : str
        What else was seen, or why it could not be made.
    """

    factor: str
    what: str
    verdict: Verdict | None
    seconds: float = 0.0
    restores: bool = False
    note: str = ""


@dataclass(frozen=True)
class Attribution:
    """Why a rebuild drifted.

    Attributes
    ----------
    cause : str
        The factor that explains it; ``unattributed`` where none was found.
    sentence : str
        The answer: ``thread count: with the recorded 8 threads the model is identical``.
    tried : tuple of Tried
        What was tried, in order.
    signatures : tuple of str
        What is known of this kind of training without trying.
    unrestored : tuple of str
        Factors that could not be brought back here.
    finished : bool
        False where time ran out; the same command goes on from there.
    """

    cause: str
    sentence: str
    tried: tuple[Tried, ...] = ()
    signatures: tuple[str, ...] = ()
    unrestored: tuple[str, ...] = ()
    finished: bool = True
