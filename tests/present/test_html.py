"""The report as a page: one file, everything in it, nothing of a stranger's text taken as HTML."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlrepro.commands.diff import DiffReport
from mlrepro.drift import Attribution, Difference, Distribution, DriftReport, Gate, History, Verdict
from mlrepro.present import courses, html, plots
from mlrepro.present.htmlparts import Size, escaped, number, pair
from tests.present import reports

_VOID = {"meta", "link", "br", "img", "input", "hr"}


class _Page(HTMLParser):
    """What a browser would find: elements, their attributes, and the text of each section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.sections: dict[str, str] = {}
        self.styles: list[str] = []
        self._section = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)
        if tag in ("header", "section"):
            self._section = dict(attrs).get("id", tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag
        if tag in ("header", "section"):
            self._section = ""

    def handle_data(self, data):
        if self._section and self.open[-1] != "style":
            self.sections[self._section] = self.sections.get(self._section, "") + data


def _page(report) -> _Page:
    return _Page(html.page(report))


def test_the_verdict_its_meaning_and_the_cause_stand_at_the_top():
    top = _page(reports.full()).sections["header"]

    assert "≠ drifted" in top
    assert "baseline (aa6016fef72d)" in top
    assert "numbers or structure differ beyond the tolerance" in top
    assert reports.ANSWER in top
    assert "Seed 42 is the luckiest of 10." in top
    assert "4f2a9c01d3e7" in top


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("files", ("lightgbm/model.txt", "76 of 100 trees", "shown only", "runs/22/net")),
        ("why", ("8 threads, as recorded", "✓ explains it", "3.1 s", "GOSS depends", "8480+")),
        ("metrics", ("−0.0029", "−0.0049 … −0.0009", "0 lies outside", "0 lies inside")),
        (
            "metrics",
            (
                "0.69 standard errors below (0.014, by 10 seeds): within its sampling error",
                "✗ failed",
                "+33.1 %",
            ),
        ),
        ("predictions", ("31 of 4,000 (0.775 %)", "0.99312", "0.332, row 812", "0.171")),
        ("histories", ("the first that differs is step 25", "3,000 steps; no step differs")),
        ("noise", ("3 of 3 bit for bit", "recorded: 9 of 10 seeds are lower", "own is 42")),
        ("details", ("tree 24, split 3, threshold: 0.5 → 0.625", "24 equivalent", "76 drifted")),
        ("details", ("1,896 of 2,604 numbers do not differ", "num_threads: 11")),
        ("before", ("package numpy", "1.26.4", "2.0.1", "md5:9e109e109e10…")),
        ("training", ("lightgbm.train: threads",)),
        ("notes", ("the clock was not replayed",)),
    ],
)
def test_each_section_says_what_the_report_says(section, said):
    text = _page(reports.full()).sections[section]

    for words in said:
        assert words in text


def test_what_is_empty_is_not_shown():
    found = _page(reports.identical())

    assert set(found.sections) == {"header", "files"}
    assert "= identical" in found.sections["header"]
    assert [one for one, _ in found.elements if one == "svg"] == []


def test_a_diff_shows_both_sides_by_their_names():
    found = _page(reports.compared())

    assert "different" in found.sections["header"]
    assert "aa6016fef72d (lightgbm) → 368d86102e9d (other-seed)" in found.sections["header"]
    assert "368d86102e9d (other-seed)" in found.sections["metrics"]
    assert "−0.293 %" in found.sections["metrics"]
    assert "regression" in found.sections["metrics"]
    assert "python train.py --seed 8" in found.sections["parameters"]
    assert "+3 −1" in found.sections["code"]
    assert "1 of 31 columns differs" in found.sections["inputs"]
    assert "mean radius" in found.sections["inputs"]
    assert "data/valid.csv" in found.sections["inputs"]


def test_runs_that_made_the_same_files_otherwise_are_different():
    same = reports.identical().artifacts
    drift = reports.full()

    top = _page(DiffReport("a", "b", same, drift.code)).sections["header"]
    data = _page(replace(reports.compared(), code=drift.inputs)).sections

    assert "≠ different" in top
    assert "the files: identical" in top
    assert "code" not in data  # data that git tracks is told once, among the inputs


def test_two_runs_without_a_difference_are_said_to_have_none():
    found = _page(DiffReport("a", "b"))

    assert "no difference" in found.sections["header"]
    assert list(found.sections) == ["header"]


@pytest.fixture(scope="module")
def huge() -> str:
    return html.page(reports.huge())


@pytest.mark.parametrize("name", ["full", "hostile", "huge", "compared"])
def test_a_page_is_one_file_that_loads_runs_and_links_nothing(name, huge):
    text = huge if name == "huge" else html.page(getattr(reports, name)())
    found = _Page(text)

    assert found.open == []
    assert len(text.encode()) <= 2_000_000
    names = {name for name, _ in found.elements}
    assert not names & {"script", "img", "iframe", "object", "embed", "form", "base", "video"}
    for _, attributes in found.elements:
        assert not any(name.startswith("on") for name in attributes)
        target = attributes.get("href", attributes.get("src", "#"))
        assert target.startswith("#") or target == "data:,"
    policy = next(a["content"] for _, a in found.elements if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")
    assert "url(" not in html._style()
    assert "@import" not in html._style()


def test_text_of_a_stranger_stays_text_and_cannot_turn_around():
    text = html.page(reports.hostile())
    found = _Page(text)

    assert reports.SCRIPT in found.sections["header"]
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert "… 8400 letters …" in text
    text.encode()  # half surrogates of an undecodable path could not be written


def test_what_has_no_room_is_counted(huge):
    found = _Page(huge)

    assert "more (--json lists all)" in found.sections["notes"]
    assert "10,000 parts in order" in found.sections["details"]
    assert "100,000 steps; the first that differs is step 5,000" in found.sections["histories"]


def test_a_long_course_keeps_its_extremes_and_the_step_where_it_parts():
    values = [0.0] * 10_000
    values[4321], values[7777] = 9.0, -9.0

    kept = courses.thinned(courses._array(values), 100, keep=5555)

    assert {0, 4321, 5554, 5555, 7777, 9999} <= set(kept)
    assert len(kept) < 400


def test_a_course_with_a_gap_is_drawn_in_pieces_and_one_without_numbers_not_at_all():
    gap = courses.course("loss", (1.0, math.nan, 2.0, 3.0), (1.0, math.nan, 2.0, 3.0))

    assert gap.count("M") == 4  # two pieces for each side
    assert courses.course("loss", (math.nan,), (math.inf,)) == ""
    assert courses.course("loss", (), ()) == ""
    assert "nan" not in courses.course("loss", (1e308, -1e308, 1.0), (math.inf, 0.0, 1.0))


_FLOATS = st.floats(width=64)  # NaN, infinities and subnormal numbers among them


@settings(deadline=None)
@given(
    a=st.lists(_FLOATS, max_size=30),
    b=st.lists(_FLOATS, max_size=30),
    first=st.none() | st.integers(-2, 40),
)
def test_whatever_the_numbers_are_a_drawing_has_places_for_them(a, b, first):
    drawn = [
        courses.course("loss", a, b, first=first, points=10),
        plots.swarm("auc", a, [("s1", "recorded", x) for x in b[:2]]),
        *(plots.whisker("auc", low=x, dot=y, high=x, mark=y) for x, y in zip(a, b, strict=False)),
    ]

    for text in drawn:
        places = re.findall(r"(?:x|y|x1|x2|y1|y2|cx|cy|d|width|height)='([^']*)'", text)
        assert not [place for place in places if "nan" in place or "inf" in place]
        assert _Page(text).open == []


@settings(deadline=None)
@given(st.text(max_size=40), st.floats(), st.sampled_from(list(Verdict)))
def test_whatever_the_text_is_it_comes_back_as_text(text, value, verdict):
    change = reports.full().environment[0]
    change = replace(change, what=f"<b>{text}", recorded=text, current=number(value))
    report = replace(reports.identical(), name=f"&{text}", environment=(change,), notes=(text,))

    found = _page(report)

    assert found.open == []
    assert "b" not in {name for name, _ in found.elements}
    if text.isprintable() and text == escaped(text):
        assert f"<b>{text}" in found.sections["before"]


def test_a_strip_of_more_parts_than_points_shows_the_worst_of_each():
    runs = ((99_999, Verdict.IDENTICAL), (1, Verdict.DRIFTED), (100_000, Verdict.IDENTICAL))

    drawn = plots.strip("parts", runs, points=400)

    assert drawn.count("v-drifted") == 1
    assert "x='49.750%' width='0.250%'" in drawn


def test_numbers_have_as_many_digits_as_tell_them_apart():
    assert pair(0.9903420000000001, 0.98744) == ("0.990342", "0.98744")
    assert pair(0.1 + 0.2, 0.3) == ("0.30000000000000004", "0.29999999999999999")
    assert number(-2e-7) == "−2e−7"
    assert number(1e300) == "1e300"
    assert number(-math.inf) == "−∞"


def test_a_history_that_ran_longer_says_so():
    short, long = History("loss", (1.0, 2.0), (1.0, 2.0, 3.0), 3), History("acc", (), ())
    report = replace(reports.identical(), histories=(short, long))

    assert "2 → 3 steps (recorded → rebuilt)" in _page(report).sections["histories"]


def test_a_gate_whose_metric_is_not_known_says_why():
    gate = Gate("auc", 0.9, math.nan, None, "no file of the rebuild has it", passed=False)

    said = _page(replace(reports.identical(), gates=(gate,))).sections["metrics"]

    assert "✗ failed" in said
    assert "not known" in said
    assert "no file of the rebuild has it" in said


def test_what_could_not_be_attributed_is_still_told():
    found = Attribution("unattributed", "unattributed: the processor could not be restored")
    stopped = replace(found, finished=False, unrestored=("the processor",))

    bare = _page(replace(reports.identical(), attribution=found))
    told = _page(replace(reports.identical(), attribution=stopped))

    assert "the processor could not be restored" in bare.sections["header"]
    assert "why" not in bare.sections
    assert "the same command goes on from there" in told.sections["why"]


def test_a_histogram_names_the_size_of_what_differs():
    scope = "in trees of equal structure"
    sizes = Distribution("of the leaf spread", 90, {-7: 10}, scope=scope)
    node = Difference("m", Verdict.CLOSE, distribution=sizes, first="leaf 1")
    report = reports.identical()
    moved = replace(report.artifacts[0], difference=node)

    text = _page(DriftReport(report.run, "", (moved,))).sections["details"]

    assert "In trees of equal structure, 90 of 100 numbers do not differ (90 %)" in text
    assert "from 10⁻⁷ to 10⁻⁷, most of them at 10⁻⁷" in text


def test_a_table_says_what_it_is_of_and_names_its_rows():
    table = Size(rows=2).table("Files", ("file", "size"), [("a", "1"), ("b", ""), ("c", "3")])

    assert "<caption>Files</caption>" in table
    assert table.count("scope='col'") == 2
    assert table.count("scope='row'") == 2
    assert "data-label='size' class='empty'" in table
    assert "… and 1 more" in table


def test_rebuild_and_diff_write_the_page(project):
    project.write("train.py", _TRAIN)
    project.commit()
    project.mlrepro("run", "-n", "first", sys.executable, "train.py", check=True)
    project.mlrepro("rebuild", "first", "--html", "rebuilt.html", check=True)
    project.write("train.py", _TRAIN.replace("0.25", "0.5"))
    project.write("metrics.json", '{"loss": 0.5}')

    different = project.mlrepro("diff", "first", "--html", "diff.html")

    assert different.returncode == 1
    rebuilt, compared = (
        _Page((project.root / name).read_text(encoding="utf-8"))
        for name in ("rebuilt.html", "diff.html")
    )
    nowhere = project.mlrepro("rebuild", "first", "--html", "nowhere/rebuilt.html")
    assert nowhere.returncode == 2
    assert "the folder `nowhere` is not there" in nowhere.stderr
    assert "training" not in nowhere.stderr
    assert "= identical" in rebuilt.sections["header"]
    assert "≠ different" in compared.sections["header"]
    assert "train.py" in compared.sections["code"]
    assert "+100 %" in compared.sections["metrics"]


_TRAIN = """
import json
json.dump({"loss": 0.25}, open("metrics.json", "w"))
"""
