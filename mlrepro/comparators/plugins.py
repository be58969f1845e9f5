"""Plugins: comparators of other packages, found by the entry point group `mlrepro.comparators`.

They are asked after the kinds that their content tells and before the general ones. So one for a
kind that mlrepro does not know wins over text and bytes, and one for JSON models of some library
over plain numbers; but none, however much it claims to know, changes what is said of a LightGBM
model or a pickle, and a rebuild means the same wherever it is made.

One that is broken stops a comparison that reaches it, and is named: what it would have said of the
file is not known, and bytes or text in its place might call a model close that it calls drifted.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mlrepro.comparators.base import Comparator
from mlrepro.drift import Difference, Tolerance, Verdict
from mlrepro.errors import ComparisonError

GROUP = "mlrepro.comparators"


@functools.cache
def comparators() -> tuple[Comparator, ...]:
    """Return the installed ones, by distribution and name; 20 ms, once, where nothing else fits.

    Raises
    ------
    ComparisonError
        If one cannot be loaded, or is none.
    """
    return tuple(_guarded(name, origin, load) for name, origin, load in found())


def found() -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Yield the name of each, its distribution in words, and what loads it."""
    points = importlib.metadata.entry_points(group=GROUP)
    for point in sorted(points, key=lambda point: (_origin(point), point.name)):
        yield point.name, _origin(point), point.load


def _origin(point: importlib.metadata.EntryPoint) -> str:
    dist = point.dist
    return f"{dist.name} {dist.version}" if dist else "an unknown package"


def _guarded(name: str, origin: str, load: Callable[[], Any]) -> Comparator:
    """Return a comparator whose errors name the package that it comes from."""
    whole = f"the comparator `{name}` of {origin}"
    loaded = _called(f"{whole} cannot be loaded", load)
    given = loaded if isinstance(loaded, Comparator) else getattr(loaded, "COMPARATOR", None)
    if not isinstance(given, Comparator):
        raise ComparisonError(f"{whole} is neither a `Comparator` nor a module with COMPARATOR")

    def recognises(path: Path, head: bytes) -> bool:
        return bool(_called(f"{whole} failed on `{path.name}`", given.recognises, path, head))

    def compare(recorded: Path, rebuilt: Path, tolerance: Tolerance) -> Difference:
        what = f"{whole} failed on `{recorded.name}`"
        return _sound(whole, _called(what, given.compare, recorded, rebuilt, tolerance))

    return Comparator(given.name, recognises, compare)


def _called(what: str, call: Callable[..., Any], *args: Any) -> Any:
    try:
        return call(*args)
    except ComparisonError:
        raise
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())[:200]
        raise ComparisonError(
            f"{what}: {type(error).__name__}{f': {said}' if said else ''}. Update or uninstall it."
        ) from error


def _sound(whole: str, given: Any) -> Difference:
    """Return what it found, held to the rules: bytes differ, and nothing compared is no pass."""
    if not isinstance(given, Difference):
        raise ComparisonError(
            f"{whole} returned a {type(given).__name__} where a Difference belongs"
        )
    if given.verdict < Verdict.DRIFTED and not given.compared > 0:
        raise ComparisonError(f"{whole} says `{given.verdict}` and has compared nothing")
    return dataclasses.replace(given, verdict=max(given.verdict, Verdict.EQUIVALENT))
