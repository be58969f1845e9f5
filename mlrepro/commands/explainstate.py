"""Explainstate: the trials that were made, kept so that the same command goes on from there.

``.mlrepro/explain/<run>-<digest>.json``; the digest is of all that the trials depend on, so other
code, another environment or another machine begins anew. A file is written whole after each trial
and stays: whoever asks again is told at once. One that is damaged is as good as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlrepro import paths, plain
from mlrepro.capture import work as works
from mlrepro.commands.refs import Target
from mlrepro.commands.remaking import How
from mlrepro.commands.trials import Outcome
from mlrepro.drift import DriftReport, Verdict
from mlrepro.errors import ManifestError
from mlrepro.stores.place import Place

_FORM = 1
_LARGEST = 4 * 2**20
_MOST = 50
_FOLDER = "explain"


@dataclass
class Journal:
    """The trials of one drift.

    Attributes
    ----------
    path : Path
        Where they are kept.
    outcomes : dict of str to Outcome
        Each trial's key → how it came out.
    """

    path: Path
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    def add(self, key: str, outcome: Outcome) -> None:
        """Keep the outcome of a trial; beside those that another process has kept meanwhile."""
        self.outcomes = {**_read(self.path), **self.outcomes, key: outcome}
        content = {
            "form": _FORM,
            "trials": {name: _dump(one) for name, one in self.outcomes.items()},
        }
        with contextlib.suppress(OSError):  # a full disk: the search goes on
            paths.write_beside(self.path, json.dumps(content, indent=1))


def opened(here: Place, target: Target, how: How, report: DriftReport) -> Journal:
    """Return what was tried of the same drift before."""
    folder = here.root / works.FOLDER / _FOLDER
    name = f"{target.manifest.short}-{_digest(target, how, report)}.json"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        paths.sweep([folder], since=0.0)
        _forget_old(folder)
    return Journal(folder / name, _read(folder / name))


def _digest(target: Target, how: How, report: DriftReport) -> str:
    content = {
        "run": target.manifest.id,
        "artifact": target.artifact,
        "how": [how.head, how.threads, how.env, plain.dump(how.tolerance)],
        # What differs from the record: with it, this is the code, the environment, the machine.
        "differs": [plain.dump(one) for one in (report.code, report.environment, report.inputs)],
        "environment": report.environment_used,
    }
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _forget_old(folder: Path) -> None:
    found = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    for path in found[:-_MOST]:
        path.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Outcome]:
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        data = json.loads(path.read_bytes())
        if data["form"] != _FORM:
            return {}
        return {str(name): _load(one) for name, one in data["trials"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    except ManifestError:
        return {}


def _dump(one: Outcome) -> dict[str, Any]:
    return {
        "verdict": None if one.verdict is None else int(one.verdict),
        "prints": dict(one.prints),
        "distances": dict(one.distances),
        "seconds": round(one.seconds, 3),
        "note": one.note,
    }


def _load(data: Mapping[str, Any]) -> Outcome:
    verdict = data["verdict"]
    return Outcome(
        None if verdict is None else Verdict(verdict),
        plain.load(dict[str, str], data["prints"]),
        plain.load(dict[str, str], data["distances"]),
        plain.load(float, data["seconds"]),
        plain.load(str, data["note"]),
    )
