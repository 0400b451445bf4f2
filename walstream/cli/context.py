"""What a command is given: the configuration, read when first asked for, and the output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from functools import cached_property
from typing import TypeVar

from catalog.errors import ConfigurationError, UsageError
from walstream.cli.output import Output
from walstream.ops.hooks import NO_HOOKS, Hooks
from walstream.ops.local import hooks_of, rules_of
from walstream.ops.retain import Rules
from walstream.settings.load import load, setting
from walstream.settings.locate import Places, places
from walstream.settings.options import LOG_LEVEL, Option
from walstream.settings.server import Configuration, ServerSettings

T = TypeVar("T")


class Context:
    """The surroundings of one command."""

    def __init__(self, arguments: argparse.Namespace, output: Output) -> None:
        self.output = output
        self.config_file: str | None = arguments.config
        self._log_level: str | None = arguments.log_level
        if self._log_level is not None:
            _ = self.log_level  # a wrong one is refused at once, whether the command logs or not

    @cached_property
    def configuration(self) -> Configuration:
        """The whole configuration, for commands that talk to servers."""
        return load(self.config_file)

    def server(self, name: str) -> ServerSettings:
        """The settings of one server; ``ConfigurationError`` if there is anything wrong with them."""
        return self.configuration.server(name)

    def active_server(self, name: str) -> ServerSettings:
        """The settings of a server to be received from or backed up; ``UsageError`` if it is inactive."""
        settings = self.server(name)
        if not settings.active:
            if settings.active_model is not None:
                other = f"choose another model, or none: walstream config-switch {name} --reset"
                raise UsageError(
                    f"server {name!r} is inactive with its model {settings.active_model!r}", other
                )
            raise UsageError(f"server {name!r} is inactive", "set active = on in its section")
        return settings

    def places(self, name: str) -> Places:
        """Where a server keeps its things, for offline commands; what else is wrong is only warned of."""
        found, problems = places(name, self.config_file)
        for problem in problems:
            self.output.warning(str(problem), problem.hint)
        return found

    def setting(self, name: str, option: Option[T]) -> T:
        """One setting of a server, for offline commands: the default if its line is wrong, which is warned of."""
        value, problem = setting(name, option, self.config_file)
        if problem is not None:
            self.output.warning(str(problem), problem.hint)
        return value

    def rules(self, name: str) -> Rules:
        """What of a server's backups is to be kept; nothing is known of one given as a path, or a broken one."""
        if "/" in name:
            return Rules()
        try:
            return rules_of(self.server(name))
        except ConfigurationError:
            return Rules()  # ``places`` warns of what is wrong

    def hooks(self, name: str) -> Hooks:
        """The operator's scripts for a server; none for one given as a path, or a broken one."""
        if "/" in name:
            return NO_HOOKS
        try:
            return hooks_of(self.server(name))
        except ConfigurationError:
            return NO_HOOKS

    @property
    def ask_secret(self) -> Callable[[str], str] | None:
        """What asks for a secret, which is not shown; None where nobody sits at a terminal."""
        if not sys.stdin.isatty():
            return None
        from getpass import getpass  # imported only here: hardly any command asks

        return getpass

    def server_names(self, given: list[str]) -> list[str]:
        """The names that were given, each once, with ``all`` replaced by all names, of which there must be one."""
        if given == ["all"]:
            return self.configuration.every_name()
        if "all" in given:
            raise UsageError("'all' stands for every server and is given alone")
        return list(dict.fromkeys(given))

    @property
    def log_level(self) -> str:
        """The level from the command line, or else from the configuration."""
        if self._log_level is None:
            return self.configuration.globals.log_level
        try:
            return LOG_LEVEL.kind.parse(self._log_level)
        except ValueError:
            raise UsageError(f"not a log level: {self._log_level!r}", f"accepted: {LOG_LEVEL.kind.accepted}")

    def reread(self) -> Configuration:
        """Read the configuration again; the former one stays in force when it cannot be read at all."""
        # A cached property keeps its value there.
        vars(self)["configuration"] = fresh = load(self.config_file)
        return fresh

    def start_logging(self, server: str | None = None, *, errors: bool = True) -> None:
        """Send log messages where the configuration says; for commands that run for long.

        ``server`` is the one that the process works for, if there is only one. ``errors``: what the command itself
        fails with is to be in that log.
        """
        # Most commands log nothing, and logging is slow to import.
        from walstream.cli.logs import error_log, set_up

        settings = self.configuration.globals
        set_up(self.log_level, settings.log_file, settings.log_format, server)
        to_file, as_json = settings.log_file is not None, settings.log_format == "json"
        self.output.log_errors(error_log, too=errors and to_file, only=errors and as_json and not to_file)
