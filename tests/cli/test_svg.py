"""Bars as SVG: well-formed whatever the words are, and as long as the values say."""

import xml.etree.ElementTree as ElementTree

from hypothesis import given
from hypothesis import strategies as st

from walstream.cli.svg import Bar, Panel, bar_chart

SVG = "{http://www.w3.org/2000/svg}"
BARS = st.lists(st.builds(Bar, st.text(), st.floats(0, 1e12), st.text()))


def bars_of(document):
    root = ElementTree.fromstring(document)
    return [each for each in root.iter(f"{SVG}rect") if each.get("fill") != "white"]


def texts_of(document):
    return [each.text for each in ElementTree.fromstring(document).iter(f"{SVG}text")]


def test_a_bar_is_as_long_as_its_value_says_and_has_its_words():
    document = bar_chart("all", [Panel("speed", [Bar("fast", 200, "200 B/s"), Bar("slow", 50, "50 B/s")])])
    fast, slow = (float(bar.get("width")) for bar in bars_of(document))
    assert fast == 4 * slow
    assert {"all", "speed", "fast", "slow", "200 B/s", "50 B/s"} <= set(texts_of(document))


def test_a_panel_without_bars_is_left_out():
    assert "nothing" not in texts_of(bar_chart("all", [Panel("nothing", [])]))


def test_a_long_note_stands_on_several_lines():
    texts = texts_of(bar_chart("all", [], "word " * 100))
    assert len(texts) > 4
    assert all(len(text) <= 100 for text in texts)


@given(st.text(), st.lists(st.builds(Panel, st.text(), BARS)), st.text())
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
