"""Matrix: which ways to read and write each observer sees; `python -m tests.coverage.matrix`.

The exit status is 1 where an observer sees less than its target, or says what is not so.
Of each way: what it does (R: it reads, W: it writes), and what of that was missed; whether a blind
spot of the manifest names the miss.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.coverage.case import Case
from tests.coverage.cases import FAMILIES
from tests.coverage.running import OBSERVERS, NotHereError, Outcome, Workshop, run

TARGETS = {"native": {"R": 52, "W": 26}, "audit": {"R": 42, "W": 26}}
"""Of the 57, the reads that an observer must see, and the writes with the help of the scan."""

_OF = {"R": 55, "W": 26}
_LAYOUT = "{:<53} {:<3} {:<17} {:<17} {}"


@dataclass
class Totals:
    """What was seen of the counted cases, and what must not be."""

    seen: dict[tuple[str, str], int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def add(self, case: Case, observer: str, outcome: Outcome) -> None:
        """Count one case under one observer."""
        self.faults += [f"{observer}, {case.name}: {fault}" for fault in outcome.wrong]
        if outcome.missed and not outcome.named and observer in case.named:
            self.faults.append(f"{observer}, {case.name}: no blind spot names what was missed")
        for kind in case.kinds if case.counted else "":
            alone, helped = (observer, kind), (f"{observer}+scan", kind)
            self.seen[alone] = self.seen.get(alone, 0) + (kind not in outcome.missed)
            both = set(outcome.missed) & set(outcome.missed_by_scan)
            self.seen[helped] = self.seen.get(helped, 0) + (kind not in both)

    def report(self, observers: Sequence[str]) -> list[str]:
        """Return the lines at the end, and add what falls short to the faults."""
        lines = []
        for observer in observers:
            alone, helped = ([self.seen.get((o, k), 0) for k in "RW"] for o in _pair(observer))
            lines.append(
                f"{observer}: reads {alone[0]} of {_OF['R']}, writes {alone[1]} of {_OF['W']}, "
                f"with the scan {helped[1]} of {_OF['W']}"
            )
            for kind, number in zip("RW", helped, strict=True):
                if number < TARGETS[observer][kind]:
                    self.faults.append(f"{observer}: {kind} {number} < {TARGETS[observer][kind]}")
        return lines


def _pair(observer: str) -> tuple[str, str]:
    return observer, f"{observer}+scan"


def _cell(outcome: Outcome) -> str:
    sign = "~ " if outcome.guessed else ""
    if not outcome.missed:
        return f"{sign}seen"
    return f"{sign}{outcome.missed} missed, {'named' if outcome.named else 'unnamed'}"


def _scan_cell(case: Case, outcomes: Sequence[Outcome]) -> str:
    if "W" not in case.kinds or not outcomes:
        return "–"
    return "missed" if any("W" in outcome.missed_by_scan for outcome in outcomes) else "seen"


def _row(case: Case, workshop: Workshop, totals: Totals, observers: Sequence[str]) -> str:
    cells, outcomes = {}, []
    for observer in observers:
        try:
            with tempfile.TemporaryDirectory(dir=workshop.folder) as folder:
                outcome = run(case, observer, workshop, Path(folder))
        except NotHereError:
            cells[observer] = "not run"
            continue
        except AssertionError as error:
            cells[observer] = "failed"
            totals.faults.append(f"{observer}, {case.name}: the program failed: {error}")
            continue
        totals.add(case, observer, outcome)
        outcomes.append(outcome)
        cells[observer] = _cell(outcome)
    name = case.name if case.counted else f"+ {case.name}"
    shown = [cells.get(observer, "–") for observer in ("native", "audit")]
    return _LAYOUT.format(name, case.kinds, *shown, _scan_cell(case, outcomes))


def main() -> int:
    """Print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--observer", choices=OBSERVERS, action="append")
    observers = parser.parse_args().observer or OBSERVERS
    totals = Totals()
    print(
        _LAYOUT.format(
            "+: beyond the 57; ~: guessed from a command line", "", "native", "audit", "scan"
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder).resolve())
        for family, cases in FAMILIES.items():
            print(f"\n{family[0].upper()}{family[1:]}")
            for case in cases:
                print(_row(case, workshop, totals, observers), flush=True)
    print("", *totals.report(observers), *totals.faults, sep="\n")
    return 1 if totals.faults else 0


if __name__ == "__main__":
    sys.exit(main())
