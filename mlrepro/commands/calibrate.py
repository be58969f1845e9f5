"""Calibrate: repeat a recorded training, to learn how far it moves by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mlrepro.drift import Noise
from mlrepro.errors import InconclusiveError
from mlrepro.manifest import Manifest


def calibrate(
    ref: str,
    *,
    repeats: int = 2,
    seeds: int = 0,
    seed_param: str = "",
    recorded_counts: bool = False,
    start: Path | None = None,
    confirm: Callable[[Manifest], bool] = lambda _record: True,
    notify: Callable[[str], None] = lambda _sentence: None,
) -> Noise:
    """Measure the run-to-run spread of a run on this machine, and its spread over seeds.

    Parameters
    ----------
    ref : str
        An artifact, a manifest or a run.
    repeats : int
        Trainings with nothing changed; at least 2.
    seeds : int
        Trainings with another seed each.
    seed_param : str
        The seed's name; found in the recorded parameters otherwise.
    recorded_counts : bool
        Whether the recorded run, made just now on this machine, is the first of the repeats.
    start : Path, optional
        Where the user stands.
    confirm : callable
        Asked before a command that somebody else recorded is run for the first time.
    notify : callable
        Takes a sentence before each step.

    Raises
    ------
    UsageError
        If the REF cannot be used, or no seed is found.
    InconclusiveError
        If the training cannot be repeated.
    """
    del repeats, seeds, seed_param, recorded_counts, start, confirm, notify
    raise InconclusiveError(f"`{ref}` cannot be calibrated yet")
