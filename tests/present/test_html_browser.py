"""The report as a page, in a real browser: width, contrast, paper, keyboard, screen reader."""

from __future__ import annotations

import itertools
import os
import re

import pytest

from mlrepro.present import html
from tests.present import reports
from tests.present.browser import Browser, find

_SAMPLES = {
    "full": reports.full,
    "identical": reports.identical,
    "hostile": reports.hostile,
    "compared": reports.compared,
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    program = find()
    if program is None:
        # Where tests decide over a change, a check that did not take place is a failed one.
        tell = pytest.fail if os.environ.get("CI") else pytest.skip
        tell("no browser: install chromium, or name one in MLREPRO_BROWSER")
    started = Browser(program, tmp_path_factory.mktemp("browser"))
    yield started
    started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, made in _SAMPLES.items():
        (folder / f"{name}.html").write_bytes(html.page(made()).encode())
    return {name: folder / f"{name}.html" for name in _SAMPLES}


@pytest.mark.parametrize("name", _SAMPLES)
def test_a_page_asks_for_nothing_and_runs_nothing(browser, pages, name):
    browser.open(pages[name])

    assert browser.asked_for() == [pages[name].as_uri()]
    assert browser.complaints() == []
    assert browser.evaluate("document.title").endswith(" · mlrepro")
    assert browser.evaluate("document.scripts.length + document.images.length") == 0
    links = browser.evaluate("[...document.querySelectorAll('[href]')].map(e => e.outerHTML)")
    assert all("href='#" in x or 'href="#' in x or 'href="data:,"' in x for x in links)


@pytest.mark.parametrize("name", _SAMPLES)
def test_no_page_is_wider_than_its_window(browser, pages, name):
    browser.open(pages[name])
    browser.evaluate(_UNFOLD)

    for width in (320, 360, 600, 720, 1000, 1200):
        browser.resize(width)

        assert browser.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [width] * 2
        assert browser.evaluate(_OUTSIDE) == []
        assert width < 704 or browser.evaluate(_BROKEN) == []  # below, names stand in rows


_UNFOLD = "document.querySelectorAll('details').forEach(e => e.open = true)"


# A word of a column's name that stands on two lines: its boxes are several.
_BROKEN = """[...document.querySelectorAll('thead th:not(.long)')].flatMap(e => {
  const text = e.firstChild, words = [...text.data.matchAll(/[^\\s-]+/g)];
  return words.filter(word => { const range = document.createRange();
    range.setStart(text, word.index); range.setEnd(text, word.index + word[0].length);
    return range.getClientRects().length > 1; }).map(word => word[0]); })"""

_OUTSIDE = """[...document.querySelectorAll('main *, header *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width && getComputedStyle(e).visibility != 'hidden'
    && !e.closest('thead') && (box.right > innerWidth + 1 || box.left < -1);
}).map(e => e.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("name", ["full", "identical"])
def test_text_stands_out_from_its_background_by_day_and_by_night(browser, pages, name):
    browser.open(pages[name])
    browser.evaluate(_UNFOLD)

    for dark in (False, True):
        browser.emulate(dark=dark)
        paper, found, weak = browser.evaluate(_CONTRAST)

        assert (paper < 0.1) is dark
        assert found > 20
        assert weak == []


# The contrast of WCAG 2.1, of each element with text of its own against what lies behind it.
_CONTRAST = """(() => {
  const parts = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = parts(c).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) {
      const c = getComputedStyle(e).backgroundColor; const p = parts(c);
      if (p.length < 4 || p[3] > 0) return c; } return 'rgb(255, 255, 255)'; };
  const own = e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim());
  const shown = [...document.body.querySelectorAll('*')].filter(e => own(e)
      && e.tagName != 'title' && e.checkVisibility());
  const weak = shown.map(e => { const style = getComputedStyle(e);
      const c = e instanceof SVGElement ? style.fill : style.color;
      const [a, b] = [light(c), light(behind(e))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), c, behind(e), e.outerHTML.slice(0, 120)]; })
    .filter(x => x[0] < 4.5);
  return [light(behind(document.body)), shown.length, weak];
})()"""


def test_on_paper_it_is_light_and_shows_what_was_set_aside(browser, pages):
    browser.open(pages["full"], dark=True, media="print")

    paper, _, weak = browser.evaluate(_CONTRAST)

    assert paper == 1
    assert weak == []
    shown = browser.evaluate("document.body.innerText")
    assert "num_threads: 11" in shown
    assert reports.ANSWER in shown
    assert browser.evaluate("document.querySelector('nav').checkVisibility()") is False
    drawn = "[...document.querySelectorAll('#histories svg[role=img]')]"
    assert browser.evaluate(f"{drawn}.length") == 5
    assert browser.evaluate(f"{drawn}.every(e => e.checkVisibility())") is True
    printed = browser.pdf()
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 14


def test_drawings_have_a_size_and_their_words_do_not_lie_on_each_other(browser, pages):
    browser.open(pages["full"])
    browser.evaluate(_UNFOLD)

    for width in (360, 1200):
        browser.resize(width)
        drawings = browser.evaluate(_DRAWINGS)

        assert len(drawings) > 12
        assert [d for d in drawings if d["width"] < 60 or d["height"] < 20] == []
        assert [d["over"] for d in drawings if d["over"]] == []
        assert [d["title"] for d in drawings if not d["shapes"]] == []


_DRAWINGS = """[...document.querySelectorAll('svg[role=img]')].map(svg => {
  const box = svg.getBoundingClientRect();
  const words = [...svg.querySelectorAll('text')].map(e => [e.textContent, e.getBoundingClientRect()]);
  const over = [];
  words.forEach(([a, x], i) => words.slice(i + 1).forEach(([b, y]) => {
    if (x.left < y.right - 1 && y.left < x.right - 1 && x.top < y.bottom - 3 && y.top < x.bottom - 3)
      over.push([a, b]); }));
  const shapes = [...svg.querySelectorAll('path, rect, circle')].filter(e => {
    const b = e.getBoundingClientRect(); return b.width || b.height; }).length;
  return {title: svg.querySelector('title').textContent, width: box.width, height: box.height,
          over, shapes};
})"""


@pytest.mark.parametrize("width", [360, 1200])
@pytest.mark.parametrize("name", ["full", "compared"])
def test_a_screen_reader_finds_headings_places_tables_and_drawings(browser, pages, name, width):
    browser.open(pages[name], width=width)
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    said = [_said(node) for node in nodes if not node.get("ignored")]

    roles = {role for role, _, _ in said}
    assert {"banner", "navigation", "main", "contentinfo", "table", "rowheader", "cell"} <= roles
    levels = [properties["level"] for role, _, properties in said if role == "heading"]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    drawings = [title for role, title, _ in said if role in ("image", "img")]
    assert len(drawings) == browser.evaluate(
        "[...document.querySelectorAll('svg[role=img]')].filter(e => e.checkVisibility()).length"
    )
    assert all(drawings)
    regions = [title for role, title, _ in said if role == "region"]
    assert "What was compared" in regions
    tables = [title for role, title, _ in said if role == "table"]
    assert all(tables)
    assert "Files of the run" in tables
    assert browser.evaluate("document.documentElement.lang") == "en"


def _said(node):
    properties = {p["name"]: p["value"].get("value") for p in node.get("properties", ())}
    name = node.get("name", {}).get("value", "")
    return node.get("role", {}).get("value", ""), name, properties


def test_a_keyboard_reaches_the_report_and_opens_what_is_folded(browser, pages):
    browser.open(pages["full"])

    browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.textContent") == "Skip to the report"
    assert browser.evaluate("document.activeElement.getBoundingClientRect().left >= 0") is True
    browser.press("Tab", 9)
    assert browser.evaluate("document.activeElement.hash") == "#files"
    browser.evaluate("document.querySelector('summary').focus()")
    browser.press("Enter", 13)
    assert browser.evaluate("document.querySelector('details').open") is True
    assert browser.evaluate(_REACHED) is True


_REACHED = """(() => { const e = document.querySelector('summary');
  return document.activeElement == e && getComputedStyle(e).outlineStyle == 'solid'; })()"""


def test_text_of_a_stranger_is_shown_as_it_is(browser, pages):
    browser.open(pages["hostile"])

    shown = browser.evaluate("document.body.textContent")

    assert "<script>document.title='owned'</script>" in shown
    assert "owned'\">" in shown
    assert browser.evaluate("document.title").startswith("drifted: <script>")
    assert "\u202e" not in shown
    assert "نموذج/\N{REPLACEMENT CHARACTER}txt.exe" in shown
