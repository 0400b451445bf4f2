"""Horizontal bars as an SVG document that any browser shows, on a light page and on a dark one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.sax.saxutils import escape

Colour = Literal["blue", "orange"]

_WIDTH, _MARGIN, _GAP = 900, 16, 12
_ROW, _BAR = 26, 16
_CHARACTER = 7  # about as wide as one of the text
_MOST_OF_SPAN = 1.5  # of the longest bar: what reaches beyond is cut, so that no outlier shortens all bars
_STYLE = """
text { font: 13px sans-serif; fill: #1f2328 } .bold { font-weight: bold }
.page { fill: #ffffff } .blue { fill: #6f9fcb } .orange { fill: #d9934e }
.span, .mark { stroke: #1f2328; fill: none } .mark { stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .page { fill: #0d1117 } .blue { fill: #4a7fb0 } .orange { fill: #b3702c }
.span, .mark { stroke: #e6edf3 }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it is, how long, and the figure as it is to be read.

    ``span`` is the lowest and the highest value that was found; ``colour`` the panel's if None.
    """

    label: str
    value: float
    figure: str
    span: tuple[float, float] | None = None
    colour: Colour | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars that share a scale, which begins at 0, under a heading that says what is measured.

    ``mark`` is a value that a line shows through all bars, and what that means.
    """

    heading: str
    bars: Sequence[Bar]
    colour: Colour = "blue"
    mark: tuple[float, str] | None = None

    @property
    def longest(self) -> float:
        """The value at the end of the scale."""
        longest = max(bar.value for bar in self.bars)
        if self.mark is not None:
            longest = max(longest, self.mark[0])
        reached = max((bar.span[1] for bar in self.bars if bar.span), default=0.0)
        return max(longest, min(reached, longest * _MOST_OF_SPAN)) or 1.0


def bar_chart(title: str, panels: Sequence[Panel], note: str = "") -> str:
    """A document with the panels one below the other; ``note`` is wrapped below them."""
    shapes = [_line(_MARGIN, 28, title, kind="bold")]
    y = 46
    left = _MARGIN + _GAP + _column((bar.label for panel in panels for bar in panel.bars), 320)
    right = _WIDTH - _MARGIN - _GAP - _column((bar.figure for panel in panels for bar in panel.bars), 290)
    for panel in panels:
        if panel.bars:
            shapes.append(_line(_MARGIN, y + 18, panel.heading))
            y += 28
            shapes += _bars(panel, y, left, right)
            y += len(panel.bars) * _ROW + (34 if panel.mark else 14)
    for text in _wrapped(note):
        shapes.append(_line(_MARGIN, y + 14, text))
        y += 19
    y += 16
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}" '
            'role="img">',
            f"<title>{_shown(title)}</title>",
            f"<style>{_STYLE}</style>",
            f'<rect class="page" width="{_WIDTH}" height="{y}"/>',
            *shapes,
            "</svg>",
            "",
        ]
    )


def _bars(panel: Panel, top: int, left: int, right: int) -> list[str]:
    room, longest = right - left, panel.longest
    shapes = []
    for number, bar in enumerate(panel.bars):
        y = top + number * _ROW
        width = max(1.0, room * (bar.value / longest))
        shapes += [
            _line(left - _GAP, y + 13, bar.label, anchor="end"),
            f'<rect class="bar {bar.colour or panel.colour}" x="{left}" y="{y}" width="{width:.1f}" '
            f'height="{_BAR}"/>',
            *_span(bar, y + _BAR // 2, left, room, longest),
            _line(_WIDTH - _MARGIN, y + 13, bar.figure, anchor="end"),
        ]
    if panel.mark is not None:
        value, meaning = panel.mark
        x, bottom = left + room * (value / longest), top + len(panel.bars) * _ROW
        shapes.append(f'<path class="mark" d="M{x:.1f} {top - 5}V{bottom}"/>')
        shapes.append(_line(x, bottom + 13, meaning, anchor="middle"))
    return shapes


def _span(bar: Bar, y: int, left: int, room: int, longest: float) -> list[str]:
    """A thin line from the lowest to the highest, with an end at each that lies on the scale."""
    if bar.span is None:
        return []
    low, high = (left + room * (value / longest) for value in bar.span)
    right = left + room
    ends = [f"M{x:.1f} {y - 4}v8" for x in (low, high) if x <= right]
    return [f'<path class="span" d="M{min(low, right):.1f} {y}H{min(high, right):.1f}{"".join(ends)}"/>']


def _line(x: float, y: int, text: str, *, anchor: str = "start", kind: str = "") -> str:
    looks = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}"{looks}>{_shown(text)}</text>'


def _column(texts: Iterable[str], most: int) -> int:
    """How wide a column is that holds these."""
    return min(most, _CHARACTER * max(map(len, texts), default=0))


def _shown(text: str) -> str:
    """The text as XML takes it: control characters have no place there."""
    return escape("".join(character if character.isprintable() else "?" for character in text))


def _wrapped(text: str, width: int = 120) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
