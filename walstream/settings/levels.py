"""What a compression level means for each codec. Pure."""

from __future__ import annotations

from catalog.codec import LEVELS
from walstream.settings.values import LEVEL_WORDS

# Barman's words for each codec's levels: low, medium, high.
WORDS = {"gzip": (1, 6, 9), "lz4": (1, 6, 10), "zstd": (1, 4, 9)}


def resolved_level(codec: str, level: int | str | None) -> int:
    """The number to give to the codec, 0 for ``none``; ``ValueError`` says what would be accepted."""
    if codec == "none":
        return 0
    least, most, default = LEVELS[codec]
    if level is None:
        return default
    if isinstance(level, str):
        return WORDS[codec][LEVEL_WORDS.index(level)]
    if not least <= level <= most:
        raise ValueError(f"for {codec}, {least} to {most}, low, medium or high")
    return level
