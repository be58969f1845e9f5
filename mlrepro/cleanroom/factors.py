"""Factors: what a rebuild does otherwise than the record says, on purpose and one at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mlrepro import paths
from mlrepro.cleanroom.room import Room
from mlrepro.locks import Lock

FORCED = "MLREPRO_FORCE"
"""Variable that tells the probe what to give to library calls; see `probe` …/forcing.py."""
EVALUATIONS = "MLREPRO_EVALUATIONS"
"""Variable that names the folder in which the probe keeps the rows that models are tested on."""


@dataclass(frozen=True)
class Factors:
    """What is changed; nothing by default.

    Attributes
    ----------
    variables : dict of str to str or None
        Environment variables over the recorded ones; None takes one away.
    forced : dict
        What the probe gives to library calls: ``{"lightgbm": {"force_row_wise": true}}``,
        ``{"xgboost": {…}}``, ``{"sklearn": {"random_state": 1}}`` (of estimators that have it), and
        ``{"seed": 1}`` for generators that the program does not seed by itself.
    lock : Lock or None
        The environment, instead of the recorded one.
    command : tuple of str
        The command line, instead of the recorded one; empty to leave it.
    edits : dict of str to bytes
        Files of the project and their new content: ``params.yaml`` with another seed.
    """

    variables: Mapping[str, str | None] = field(default_factory=dict)
    forced: Mapping[str, Any] = field(default_factory=dict)
    lock: Lock | None = None
    command: tuple[str, ...] = ()
    edits: Mapping[str, bytes] = field(default_factory=dict)

    def environ(self, variables: Mapping[str, str]) -> dict[str, str]:
        """Return the variables of the training with those changed that are to be."""
        given = {name: value for name, value in self.variables.items() if value is not None}
        forced = {FORCED: json.dumps(self.forced)} if self.forced else {}
        left = {name: v for name, v in variables.items() if name not in self.variables}
        return {**left, **given, **forced}

    def edit(self, room: Room) -> None:
        """Write the changed files into the room.

        Raises
        ------
        ManifestError
            If a path leaves the project.
        OSError
            If one cannot be written.
        """
        for name, content in self.edits.items():
            paths.inside(name, where="edited file")
            target = room.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)  # it may be a link to what others use
            target.write_bytes(content)
