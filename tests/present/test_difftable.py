"""What a person reads of inputs that differ."""

from mlrepro.commands.diff import DiffReport
from mlrepro.drift import Change, Difference, Verdict
from mlrepro.present import text


def test_a_value_that_differs_is_told_once():
    value = Difference(
        "lr", Verdict.DRIFTED, summary="0.1 → 0.2", first="lr: 0.1 → 0.2", compared=1
    )
    column = Difference("age", Verdict.DRIFTED, summary="2 of 9 cells differ", first="row 3: 1 → 2")
    files = tuple(
        Difference(name, Verdict.DRIFTED, summary="1 differs", children=(child,))
        for name, child in (("params.yaml", value), ("data.csv", column))
    )
    report = DiffReport(
        "a", "b", inputs=tuple(Change(one.path, "x", "y") for one in files), input_drifts=files
    )

    shown = [line.strip() for line in text.render(report, width=100).splitlines()]

    assert "lr: 0.1 → 0.2" in shown
    assert "age: 2 of 9 cells differ, first at row 3: 1 → 2" in shown
