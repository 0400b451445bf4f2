"""Bars as SVG: well-formed whatever the words are, and as long as the values say."""

import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walstream.ops.svg import Bar, Panel, bar_chart

SVG = "{http://www.w3.org/2000/svg}"
VALUES = st.floats(0, 1e12)
SPANS = st.tuples(VALUES, VALUES).map(sorted).map(tuple)
BARS = st.lists(st.builds(Bar, st.text(), VALUES, st.text(), st.none() | SPANS))
MARKS = st.none() | st.tuples(VALUES, st.text())


def bars_of(document):
    root = ElementTree.fromstring(document)
    return [each for each in root.iter(f"{SVG}rect") if each.get("class").startswith("bar ")]


def lines_of(document, kind):
    root = ElementTree.fromstring(document)
    return [each.get("d") for each in root.iter(f"{SVG}path") if each.get("class") == kind]


def texts_of(document):
    return [each.text for each in ElementTree.fromstring(document).iter(f"{SVG}text")]


def test_a_bar_is_as_long_as_its_value_says_and_has_its_words():
    document = bar_chart("all", [Panel("speed", [Bar("fast", 200, "200 B/s"), Bar("slow", 50, "50 B/s")])])
    fast, slow = (float(bar.get("width")) for bar in bars_of(document))
    assert fast == pytest.approx(4 * slow, abs=0.5)
    assert {"all", "speed", "fast", "slow", "200 B/s", "50 B/s"} <= set(texts_of(document))


def test_a_panel_without_bars_is_left_out():
    assert "nothing" not in texts_of(bar_chart("all", [Panel("nothing", [])]))


def test_a_long_note_stands_on_several_lines():
    texts = texts_of(bar_chart("all", [], "word " * 100))
    assert len(texts) > 4
    assert all(len(text) <= 120 for text in texts)


def test_a_bar_shows_the_span_of_what_was_found_and_the_mark_stands_at_its_value():
    bars = [Bar("fast", 2, "2", span=(1.5, 2.5)), Bar("slow", 0.5, "0.5", colour="orange")]
    document = bar_chart("all", [Panel("ratio", bars, mark=(1, "goal"))])
    fast, slow = bars_of(document)
    left, width = float(fast.get("x")), float(fast.get("width"))
    (span,) = lines_of(document, "span")
    assert [float(x) for x in re.match(r"M([\d.]+) \d+H([\d.]+)", span).groups()] == pytest.approx(
        [left + width * 0.75, left + width * 1.25], abs=0.1
    )
    (mark,) = lines_of(document, "mark")
    assert float(re.match(r"M([\d.]+) ", mark)[1]) == pytest.approx(left + width / 2, abs=0.1)
    assert "goal" in texts_of(document)
    assert (fast.get("class"), slow.get("class")) == ("bar blue", "bar orange")


def test_one_that_was_far_beyond_once_does_not_make_all_bars_short():
    document = bar_chart("all", [Panel("ratio", [Bar("wild", 1, "1", span=(0.9, 100)), Bar("calm", 1, "1")])])
    plain = bar_chart("all", [Panel("ratio", [Bar("wild", 1, "1", span=(0.9, 1)), Bar("calm", 1, "1")])])
    shorter, full = (float(bars_of(each)[1].get("width")) for each in (document, plain))
    assert full / 2 < shorter < full


def test_a_plot_is_to_be_read_on_a_dark_page_as_well():
    assert "prefers-color-scheme: dark" in bar_chart("all", [])


@given(st.text(), st.lists(st.builds(Panel, st.text(), BARS, mark=MARKS)), st.text())
def test_a_plot_is_well_formed_and_holds_all_bars_inside_it(title, panels, note):
    document = bar_chart(title, panels, note)
    root = ElementTree.fromstring(document.encode("utf-8"))
    bars = bars_of(document)
    assert len(bars) == sum(len(panel.bars) for panel in panels)
    assert all(
        float(bar.get("x")) + float(bar.get("width")) <= float(root.get("width"))
        and float(bar.get("y")) + float(bar.get("height")) <= float(root.get("height"))
        for bar in bars
    )
