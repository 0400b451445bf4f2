"""Horizontal bars as an SVG document that any browser shows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _LABELS, _FIGURES = 760, 250, 110
_ROW, _BAR = 26, 16
_TEXT = 'font-family="sans-serif" font-size="13"'


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it is, how long, and the figure as it is to be read."""

    label: str
    value: float
    figure: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars that share a scale, which begins at 0, under a heading that says what is measured."""

    heading: str
    bars: Sequence[Bar]
    colour: str = "#336791"


def bar_chart(title: str, panels: Sequence[Panel], note: str = "") -> str:
    """A document with the panels one below the other; ``note`` is wrapped below them."""
    shapes = [_line(16, 28, title, bold=True)]
    y = 46
    for panel in panels:
        if panel.bars:
            shapes.append(_line(16, y + 18, panel.heading))
            y += 28
            shapes += _bars(panel, y)
            y += len(panel.bars) * _ROW + 14
    for text in _wrapped(note):
        shapes.append(_line(16, y + 14, text))
        y += 19
    y += 16
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y}" viewBox="0 0 {_WIDTH} {y}" '
            'role="img">',
            f"<title>{_shown(title)}</title>",
            f'<rect width="{_WIDTH}" height="{y}" fill="white"/>',
            *shapes,
            "</svg>",
            "",
        ]
    )


def _bars(panel: Panel, top: int) -> list[str]:
    longest = max(bar.value for bar in panel.bars) or 1.0
    room = _WIDTH - _LABELS - _FIGURES
    shapes = []
    for number, bar in enumerate(panel.bars):
        y = top + number * _ROW
        width = max(1.0, room * bar.value / longest)
        shapes += [
            _line(_LABELS - 10, y + 13, bar.label, anchor="end"),
            f'<rect x="{_LABELS}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{panel.colour}"/>',
            _line(_LABELS + width + 8, y + 13, bar.figure),
        ]
    return shapes


def _line(x: float, y: int, text: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y}" text-anchor="{anchor}" {_TEXT}{weight}>{_shown(text)}</text>'


def _shown(text: str) -> str:
    """The text as XML takes it: control characters have no place there."""
    return escape("".join(character if character.isprintable() else "?" for character in text))


def _wrapped(text: str, width: int = 100) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
