"""The table of commands: name, module, group, one line, other names.

A command's module is imported only when it is chosen. It has ``EXAMPLE``, ``add_arguments(parser)``
and ``run(context, arguments) -> int``; a *light* one has ``light_main(arguments) -> int`` in place of
``run``, which gets all arguments but the command's word. On the path of ``get-wal``.
"""

from __future__ import annotations

PROTECT = "Protect a server"
CATALOG = "Look at what is stored"
RECOVER = "Recover"
COMFORT = "For comfort"

GROUPS = (PROTECT, CATALOG, RECOVER, COMFORT)


class Command:
    """One command of the command line."""

    __slots__ = ("aliases", "group", "light", "module", "name", "summary")

    def __init__(self, name: str, group: str, summary: str, *aliases: str, light: bool = False) -> None:
        self.name = name
        self.group = group
        self.summary = summary
        self.aliases = aliases
        self.light = light
        self.module = f"walstream.cli.{name.replace('-', '_')}_cmd"


COMMANDS = (
    Command("init", PROTECT, "take a server under protection"),
    Command("check", PROTECT, "see whether a server is protected, and what to do if not"),
    Command("status", PROTECT, "show the server, the receiver, the slot, and what can be recovered"),
    Command("replication-status", PROTECT, "show who streams from a server, and how far each of them is"),
    Command("receive-wal", PROTECT, "stream WAL in the foreground"),
    Command("run", PROTECT, "run and supervise the receivers of all servers"),
    Command("metrics", PROTECT, "serve metrics of all servers to Prometheus"),
    Command("cron", PROTECT, "start missing receivers and tidy up, once, for crontab"),
    Command("backup", PROTECT, "take a base backup"),
    Command("put-wal", PROTECT, "take in one WAL file, as an archive_command"),
    Command("archive-wal", PROTECT, "file WAL that waits, while no receiver runs"),
    Command("switch-wal", PROTECT, "end the current WAL segment of a server", "switch-xlog"),
    Command("keygen", PROTECT, "make an identity to encrypt for, and print its recipient"),
    Command("config-switch", PROTECT, "put a model of the configuration in force, for a failover"),
    Command("demo", PROTECT, "see it all on a server of its own, in less than a minute"),
    Command("list-servers", CATALOG, "list the servers of the configuration", "list-server"),
    Command("show-servers", CATALOG, "show all settings of servers, and where each comes from", "show-server"),
    Command("restore", RECOVER, "bring a cluster back, to the newest or a chosen moment", "recover"),
    Command("get-wal", RECOVER, "hand out one WAL file", light=True),
    Command("wal-restore", RECOVER, "deliver one WAL file: the restore_command", light=True),
    Command("list-backups", CATALOG, "list the backups of servers, newest first", "list-backup"),
    Command("show-backup", CATALOG, "show all that is known about one backup", "show-backups"),
    Command("list-files", CATALOG, "list the files that a backup consists of"),
    Command("keep", CATALOG, "keep a backup whatever the retention policy says, or no longer"),
    Command("delete", CATALOG, "remove a backup, and the WAL that nothing needs any more"),
    Command("expire", CATALOG, "remove what the retention policy lets go, and say why"),
    Command("rewrap", CATALOG, "have what is encrypted readable for other recipients"),
    Command("verify-backup", CATALOG, "read a backup again and compare it with its manifest", "verify"),
    Command("verify-wal", CATALOG, "read all stored WAL, and say what is missing or damaged, and where"),
    Command("completion", COMFORT, "print a script by which a shell completes what is typed"),
)  # fmt: skip


def find_command(word: str) -> Command | None:
    """The command of that name."""
    for command in COMMANDS:
        if word == command.name or word in command.aliases:
            return command
    return None
