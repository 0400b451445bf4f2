"""What a compression level means for each codec. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from walstream.settings.values import LEVEL_WORDS


@dataclass(frozen=True, slots=True)
class Levels:
    """The levels of one codec: bounds, default, and Barman's low, medium and high."""

    least: int
    most: int
    default: int
    words: tuple[int, int, int]


LEVELS = {
    "gzip": Levels(1, 9, 1, (1, 6, 9)),
    "lz4": Levels(0, 16, 0, (0, 6, 10)),
    "zstd": Levels(-7, 19, 1, (1, 4, 9)),
}


def resolved_level(codec: str, level: int | str | None) -> int:
    """The number to give to the codec, 0 for ``none``; ``ValueError`` says what would be accepted."""
    if codec == "none":
        return 0
    levels = LEVELS[codec]
    if level is None:
        return levels.default
    if isinstance(level, str):
        return levels.words[LEVEL_WORDS.index(level)]
    if not levels.least <= level <= levels.most:
        raise ValueError(f"for {codec}, {levels.least} to {levels.most}, low, medium or high")
    return level
