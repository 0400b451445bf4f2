"""The way to a server: connection strings, their hosts, libpq's sentences, and connecting itself.

The only module beside ``walstream.connection`` that knows psycopg. A connection string never appears in an
error.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from catalog.errors import ConnectionFailed, UsageError
from walstream.settings.conninfo import HIDDEN, is_uri, masked

Libpq = psycopg.Connection[tuple[object, ...]]
Options = dict[str, str | int]

# A peer that is gone without a word is noticed in two minutes, and in one when it owes us a sign of having got
# what we sent, unless the connection string says otherwise.
_WATCHFUL = {
    "keepalives_idle": 60,
    "keepalives_interval": 15,
    "keepalives_count": 4,
    "tcp_user_timeout": 60000,
}

# What chooses among several hosts, and means nothing for one.
_CHOOSING = ("target_session_attrs", "load_balance_hosts")
_OF_HOST = ("host", "hostaddr", "port")
_LOOK = 0.1

# PostgreSQL 13 does not say by itself whether it is a standby: libpq asks by a query, which a replication
# connection cannot answer. There we ask for what tells the two apart as well, unless a primary is told to be
# read-only.
_QUERY = "pg_is_in_recovery()"
_WITHOUT_QUERY = {"primary": "read-write", "standby": "read-only"}

# Sentences of the server and of libpq (in English; others get no hint), and what to do about them.
_HINTS = (
    ("password authentication failed", "check user and password (best kept in a passfile, ~/.pgpass)"),
    ("no password supplied", "put the password into a passfile (~/.pgpass) or the connection string"),
    ("no pg_hba.conf entry", "add a line for this user and host to the server's pg_hba.conf "
     "(database column: replication) and reload it"),
    ("Connection refused", "check that the server runs, and host and port of the connection string"),
    ("No such file or directory", "check that the server runs, and host and port of the connection string"),
    ("pg_hba.conf rejects", "change the line of the server's pg_hba.conf that rejects this user and host, "
     "and reload it"),
    ("could not translate host name", "check the host in the connection string"),
    ("failed to resolve host", "check the host in the connection string"),
    ("timeout expired", "check that the server can be reached from this host"),
    ("certificate verify failed", "check sslrootcert: it names the certificate of the authority that signed "
     "the server's"),
    ("root certificate file", "check sslrootcert, or put the authority's certificate where libpq looks for it"),
    ("does not match host name", "give as host a name that is in the server's certificate (an address to "
     "connect to goes into hostaddr)"),
    ("server does not support SSL", "turn ssl on on the server, or do not ask for it with sslmode"),
    ("channel binding", "channel_binding = require needs TLS and a password by scram-sha-256: check sslmode, "
     "and the server's pg_hba.conf"),
    ("to start walsender", "give the role the privilege: ALTER ROLE … REPLICATION"),
    ("to start WAL sender", "give the role the privilege: ALTER ROLE … REPLICATION"),
    ("max_wal_senders", "raise max_wal_senders on the server (needs a restart)"),
    ("remaining connection slots", "raise max_connections on the server or stop other clients"),
    ("all replication slots are in use", "raise max_replication_slots on the server (needs a restart) "
     "or drop a slot that is not needed"),
    ("the database system is starting up", "wait until the server has started"),
    ("does not exist", "check the names in the connection string and in the configuration"),
)  # fmt: skip


def connected(
    conninfo: str,
    *,
    application_name: str,
    replication: bool,
    timeout: int,
    unless: Callable[[], bool] | None = None,
) -> Libpq:
    """Connect as ``Connection.open`` says; ``timeout`` is for each host, in seconds."""
    given = parsed_conninfo(conninfo)
    extra: Options = {"application_name": application_name}
    for option, value in {**_WATCHFUL, "connect_timeout": timeout}.items():
        if option not in given:
            extra[option] = value
    if replication:
        # libpq looks up the passfile by dbname; the server ignores it on such connections.
        extra |= {"replication": "true", "dbname": "replication"}
    else:
        given.pop("replication", None)
    attempt = _Attempt(given | extra)
    try:
        return attempt.here() if unless is None else attempt.beside(unless)
    except psycopg.Error as error:
        message = _told_once(str(error))
        raise ConnectionFailed(f"cannot connect to the server: {message}", hint_for(str(error))) from None


def _told_once(said: str) -> str:
    """What libpq said, on one line; of several hosts the first line of each, and each sentence once."""
    hosts = [line.removeprefix("- ") for line in said.split("\n") if line.startswith("- host: ")]
    told = [host.partition(": connection ")[2].partition(": ")[2] or host for host in hosts]
    return " ".join(("; ".join(dict.fromkeys(told)) or said).split())


class _Attempt:
    """One try to connect: in this thread, or in another that may be left behind."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._made: Libpq | None = None
        self._error: BaseException | None = None
        self._abandoned = False
        self._lock = threading.Lock()
        self._done = threading.Event()

    def here(self) -> Libpq:
        """Connect, however long it takes."""
        if self._options.get("target_session_attrs") != "prefer-standby":
            return self._choose({})
        try:
            return self._choose({"target_session_attrs": "standby"})
        except psycopg.OperationalError:
            return self._choose({"target_session_attrs": "any"})

    def _choose(self, other: Options) -> Libpq:
        """Connect to the first host that is as asked for."""
        options = self._options | other
        try:
            return psycopg.Connection.connect(make_conninfo("", **options), autocommit=True)
        except psycopg.OperationalError as error:
            equal = _WITHOUT_QUERY.get(str(options.get("target_session_attrs")))
            if equal is None or _QUERY not in str(error):
                raise
        return psycopg.Connection.connect(
            make_conninfo("", **options | {"target_session_attrs": equal}), autocommit=True
        )

    def beside(self, unless: Callable[[], bool]) -> Libpq:
        """Connect on a thread of its own; ``ConnectionFailed`` as soon as ``unless`` says so.

        Nothing else ends the look-up of a name, or a host that does not answer.
        """
        threading.Thread(target=self._run, name="walstream-connect", daemon=True).start()
        while not self._done.wait(_LOOK):
            if unless():
                break
        with self._lock:
            self._abandoned = self._made is None
        if self._error is not None:
            raise self._error
        if self._made is None:
            raise ConnectionFailed("connecting to the server was given up")
        return self._made

    def _run(self) -> None:
        try:
            made = self.here()
        except BaseException as error:
            # The boundary of the thread: raised by whoever waits.
            self._error = error
        else:
            with self._lock:
                if not self._abandoned:
                    self._made = made
            if self._made is None:
                made.close()
        self._done.set()


def parsed_conninfo(conninfo: str) -> Options:
    """The options of a connection string or URI; ``UsageError`` when libpq does not accept it."""
    try:
        return {key: value for key, value in conninfo_to_dict(conninfo).items() if value is not None}
    except psycopg.Error as error:
        raise UsageError(
            _unknown_keyword(conninfo, str(error)) or "the connection string cannot be read",
            "write key=value pairs (quote values with blanks: password='a b') or a postgresql:// URI",
        ) from None


def _unknown_keyword(conninfo: str, said: str) -> str | None:
    """What libpq says of a keyword that it does not know.

    Its other words may quote a part of the password, as may a keyword behind it: one with blanks was not quoted.
    """
    found = re.fullmatch(r'invalid (?:connection option|URI query parameter:) "(\w+)"', said.strip())
    if found is None:
        return None
    shown = masked(conninfo)
    before = (shown.rpartition("@")[2] if is_uri(conninfo) else shown).partition(HIDDEN)[0]
    is_shown = re.search(rf"\b{found[1]}\s*=", before) is not None
    return f"the connection string has an unknown keyword: {found[1]!r}" if is_shown else None


def without_password(conninfo: str, application_name: str) -> tuple[str, str | None]:
    """A connection string that may be seen in a list of processes, under another name; and the password."""
    given = parsed_conninfo(conninfo)
    secret = given.pop("password", None)
    given.pop("sslpassword", None)
    shown = make_conninfo("", **given | {"application_name": application_name})
    return shown, None if secret is None else str(secret)


def single_hosts(conninfo: str) -> list[str]:
    """A connection string for each host that ``conninfo`` names, whatever its role; itself if there is one."""
    found = _of_hosts(parsed_conninfo(conninfo))
    return [make_conninfo("", **options) for options in found] if len(found) > 1 else [conninfo]


def named_hosts(conninfo: str) -> dict[str, str]:
    """The single hosts of ``conninfo`` as ``host`` or ``host:port`` → string; none if it names none."""
    found = {}
    for options in _of_hosts(parsed_conninfo(conninfo)):
        name = options.get("host") or options.get("hostaddr")
        if name is not None:
            port = f":{options['port']}" if "port" in options else ""
            found[f"{name}{port}"] = make_conninfo("", **options)
    return found


def host_of(conninfo: str, host: str, port: str) -> str:
    """Of the single hosts of ``conninfo`` the one with this name (or address, or directory) and port."""
    found = _of_hosts(parsed_conninfo(conninfo))
    for options in found if len(found) > 1 else ():
        name = options.get("host") or options.get("hostaddr")
        if name == host and options.get("port", port) == port:
            return make_conninfo("", **options)
    return conninfo


def _of_hosts(given: Options) -> list[Options]:
    rest = {key: value for key, value in given.items() if key not in (*_OF_HOST, *_CHOOSING)}
    lists = {key: str(given[key]).split(",") for key in _OF_HOST if key in given}
    count = max(len(lists.get("host", "")), len(lists.get("hostaddr", "")), 1)
    hosts: list[Options] = []
    for number in range(count):
        # One port serves all hosts; an empty place in a list stands for the default.
        own = {key: values[min(number, len(values) - 1)] for key, values in lists.items()}
        hosts.append({**rest, **{key: value for key, value in own.items() if value}})
    return hosts


def hint_for(message: str) -> str | None:
    """What to do about a sentence of libpq or the server, where that is known."""
    return next((hint for sentence, hint in _HINTS if sentence in message), None)
