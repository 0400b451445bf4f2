"""A table for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Sequence


def table(headings: Sequence[str], lines: Sequence[Sequence[str]], left: int = 1) -> str:
    """Aligned columns with a rule below the headings; the first ``left`` of them to the left."""
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    ruled = [headings, tuple("-" * width for width in widths), *lines]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in ruled
    )
