"""Table: what moves a boosted model and how far; `python -m tests.drifttable.table`.

The exit status is 1 where a verdict or a cause is not what it has to be.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mlrepro.stores import uv
from tests.drifttable.cases import CASES, of_versions
from tests.drifttable.running import Laboratory, Row, Size

_LAYOUT = "{:<9} {:<20} {:<11} {:<52} {}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Record and compare every case, print a line for each, and return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=24_000)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument(
        "--versions", nargs="*", default=["lightgbm==4.6.0", "xgboost-cpu==3.1.2"],
        metavar="NAME==VERSION", help="other versions, from the index; none without a network",
    )  # fmt: skip
    chosen = parser.parse_args(arguments)
    size = Size(chosen.rows, chosen.columns, chosen.rounds)
    with tempfile.TemporaryDirectory(prefix="mlrepro-drift-") as folder:
        subprocess.run(["git", "init", "-q", folder], check=True)
        laboratory = Laboratory(Path(folder), size)
        print(_LAYOUT.format("library", "what differs", "verdict", "how far", "cause named"))
        with tempfile.TemporaryDirectory(prefix="mlrepro-versions-") as others:
            cases = (*CASES, *of_versions(_pythons(Path(others), chosen.versions)))
            rows = [_told(laboratory.row(case)) for case in cases]
    faults = [row.fault for row in rows if row.fault]
    for fault in faults:
        print(f"not as it has to be: {fault}")
    return 1 if faults else 0


def _pythons(folder: Path, wanted: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Make an environment for each of the other versions that can be had."""
    found = {}
    for number, pin in enumerate(wanted):
        library, version = pin.partition("-cpu")[0].partition("==")[0], pin.partition("==")[2]
        place = folder / str(number)
        python = place / "bin/python"
        commands = (
            [str(uv.find()), "venv", "--quiet", "--python", sys.executable, str(place)],
            [str(uv.find()), "pip", "install", "--quiet", "--python", str(python), "numpy", pin],
        )
        if any(subprocess.run(command, check=False).returncode for command in commands):
            print(f"{pin}: not to be had here")
        else:
            found[library] = (str(python), version)
    return found


def _told(row: Row) -> Row:
    causes = [cause for cause in row.causes if row.case.cause and row.case.cause in cause]
    print(
        _LAYOUT.format(
            row.case.a.library, row.case.name, str(row.verdict), _how_far(row)[:52],
            causes[0] if causes else "–",
        ),
        flush=True,
    )  # fmt: skip
    return row


def _how_far(row: Row) -> str:
    if row.difference is None or not row.difference.measures:
        return "–"
    ratios = [m for m in row.difference.measures if "rms" in m.name]
    told = ", ".join(f"{m.name} {m.value:.2g}" for m in ratios)
    return row.difference.summary if "differ in" in row.difference.summary else told


if __name__ == "__main__":
    sys.exit(main())
