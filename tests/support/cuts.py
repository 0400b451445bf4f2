"""The three ways to feed a push parser: whole, byte by byte, at random cuts. And cut short."""

from __future__ import annotations

import random
from collections.abc import Iterator


def ways(data: bytes, seed: int = 0, rounds: int = 20) -> Iterator[list[memoryview]]:
    """Lists of pieces that each join to ``data``; some pieces are empty."""
    view = memoryview(data)
    yield [view]
    yield [view[i : i + 1] for i in range(len(view))]
    rng = random.Random(seed)
    for _ in range(rounds):
        places = sorted(rng.choices(range(len(view) + 1), k=rng.randint(1, 40)))
        yield [view[a:b] for a, b in zip([0, *places], [*places, len(view)], strict=True)]


def truncations(data: bytes) -> Iterator[bytes]:
    """Every true beginning of ``data``, the empty one included."""
    for length in range(len(data)):
        yield data[:length]
