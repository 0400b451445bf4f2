"""Command lines of ours, as the benchmarks run them."""

from __future__ import annotations

import sys
from pathlib import Path


def walstream(*arguments: str) -> list[str]:
    """A command of the code in this tree."""
    return [sys.executable, "-m", "walstream", *arguments]


def configured(conninfo: str, home: Path, slot: str, codec: str = "none") -> list[str]:
    """The words of a command that is to use a configuration of its own, in a new directory."""
    home.mkdir()
    path = home / "walstream.conf"
    path.write_text(
        f"[walstream]\nwalstream_home = {home}\n[main]\nconninfo = {conninfo}\nslot_name = {slot}\n"
        f"compression = {codec}\nbackup_compression = {codec}\n",
        encoding="utf-8",
    )
    return walstream("-q", "-c", str(path))
