"""The log of one server, for whatever works for several: its lines bear the server's name."""

from __future__ import annotations

import logging

ROOT = "walstream.server."


def server_log(name: str) -> logging.Logger:
    """The logger of a server."""
    return logging.getLogger(ROOT + name)
