"""mlrepro: source control for models: record how a model came to be, make it again, compare.

The public interface is what stands in ``__all__``; each name is imported when it is first used, so
that ``import mlrepro`` costs nothing.

>>> import mlrepro
>>> report = mlrepro.rebuild("model.txt")  # doctest: +SKIP
>>> report.verdict  # doctest: +SKIP
<Verdict.IDENTICAL: 0>
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlrepro.commands.diff import DiffReport, diff
    from mlrepro.commands.rebuild import rebuild
    from mlrepro.commands.remaking import How
    from mlrepro.commands.run import RunResult, run
    from mlrepro.commands.verify import Verified, verify
    from mlrepro.drift import Difference, DriftReport, Tolerance, Verdict
    from mlrepro.errors import MlreproError
    from mlrepro.manifest import Artifact, Digest, Input, Manifest, Run

_PLACES = {
    "diff": "commands.diff",
    "DiffReport": "commands.diff",
    "rebuild": "commands.rebuild",
    "How": "commands.remaking",
    "run": "commands.run",
    "RunResult": "commands.run",
    "verify": "commands.verify",
    "Verified": "commands.verify",
    "Difference": "drift",
    "DriftReport": "drift",
    "Tolerance": "drift",
    "Verdict": "drift",
    "MlreproError": "errors",
    "Artifact": "manifest",
    "Digest": "manifest",
    "Input": "manifest",
    "Manifest": "manifest",
    "Run": "manifest",
}

__all__ = [
    "Artifact",
    "DiffReport",
    "Difference",
    "Digest",
    "DriftReport",
    "How",
    "Input",
    "Manifest",
    "MlreproError",
    "Run",
    "RunResult",
    "Tolerance",
    "Verdict",
    "Verified",
    "diff",
    "rebuild",
    "run",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
