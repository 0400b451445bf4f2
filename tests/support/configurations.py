"""Configuration files for tests."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

from walstream.settings.load import load
from walstream.settings.server import Configuration

MAIN = """
    [walstream]
    walstream_home = /srv/walstream

    [main]
    description = the shop
    conninfo = host=db user=walstream
"""


def write(directory: Path, text: str, name: str = "walstream.conf") -> str:
    file = directory / name
    file.write_text(dedent(text), encoding="utf-8")
    return str(file)


def loaded(directory: Path, text: str) -> Configuration:
    return load(write(directory, text))
