"""``walstream run``: supervise the receivers of all servers, for systemd or a container."""

from __future__ import annotations

import argparse

from catalog.supervisor_state import supervisor_lock
from walstream.cli.context import Context
from walstream.cli.signals import calling
from walstream.ops.notify import Notifier
from walstream.ops.supervise import Supervisor
from walstream.settings.server import Configuration, joined

EXAMPLE = "walstream run"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Runs a receiver for each active server, starts it again when it ends, and does a maintenance round each "
        "minute. SIGTERM and SIGINT end it, and all receivers, in order; SIGHUP rereads the configuration. It "
        "tells systemd how it fares (Type=notify)."
    )


def run(context: Context, arguments: argparse.Namespace) -> int:
    configuration = context.configuration
    home = configuration.globals.walstream_home
    if configuration.problems or home is None:
        raise joined(configuration.problems)
    context.start_logging()

    def reread() -> Configuration:
        fresh = context.reread()
        if not fresh.problems:
            context.start_logging()
        return fresh

    supervisor = Supervisor(configuration, reread, Notifier(), arguments.log_level)
    with calling(supervisor.stop, supervisor.renew), supervisor_lock(home):
        supervisor.run()
    return 0
