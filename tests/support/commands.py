"""Running commands in this process: what they printed, and how they ended."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from walstream.cli import main


@dataclass(frozen=True)
class Run:
    """One run of the command line."""

    code: int
    out: str
    err: str


class Commands:
    """``commands("check", "main")``, with one configuration file and one home for all runs."""

    def __init__(self, capsys: pytest.CaptureFixture[str], directory: str) -> None:
        self._capsys = capsys
        self.file = f"{directory}/walstream.conf"
        self.home = f"{directory}/home"

    def __call__(self, *words: str) -> Run:
        """Run a command; a traceback fails the test."""
        self._capsys.readouterr()
        code = main(["-c", self.file, *words])
        said = self._capsys.readouterr()
        assert "Traceback" not in said.err and "internal error" not in said.err, said.err
        return Run(code, said.out, said.err)

    def init(self, conninfo: str, name: str = "main") -> Run:
        """Protect a server."""
        return self("init", name, conninfo, "--home", self.home)
