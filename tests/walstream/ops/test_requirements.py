"""What a failed connection lacks, from the sentences of servers."""

import pytest

from catalog.errors import ConnectionFailed
from walstream.ops.requirements import connection_lack, hba_line, identifier

NO_LINE = "no pg_hba.conf entry for"


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        (
            f'{NO_LINE} replication connection from host "[local]", user "bob", no encryption',
            "local replication bob scram-sha-256",
        ),
        (
            f'{NO_LINE} replication connection from host "192.0.2.7", user "Bob", SSL encryption',
            'host replication "Bob" 192.0.2.7/32 scram-sha-256',
        ),
        (f'{NO_LINE} host "::1", user "bob", database "a b", no', 'host "a b" bob ::1/128 scram-sha-256'),
        (
            'pg_hba.conf rejects replication connection for host "[local]", user "bob", no encryption',
            "local replication bob scram-sha-256",
        ),
        (
            'pg_hba.conf rejects connection for host "[local]", user "bob", database "x", no encryption',
            "local x bob scram-sha-256",
        ),
        ('role "bob" does not exist', "CREATE ROLE bob LOGIN REPLICATION;"),
        ('database "shop" does not exist', "dbname=postgres"),
    ],
)
def test_a_refused_connection_gets_the_line_that_would_let_it_in(message, remedy):
    assert remedy in connection_lack(ConnectionFailed(f"FATAL: {message}")).remedy


def test_an_unknown_sentence_keeps_the_hint_of_the_error():
    assert connection_lack(ConnectionFailed("FATAL: nein", "anders")).remedy == "anders"
    assert connection_lack(ConnectionFailed("FATAL: nein")).remedy


@pytest.mark.parametrize(("name", "quoted"), [("a_1", "a_1"), ("A", '"A"'), ('a"b', '"a""b"')])
def test_names_are_quoted_where_sql_needs_it(name, quoted):
    assert identifier(name) == quoted


def test_a_host_by_name_gets_no_mask():
    assert hba_line("db.example.com", "bob", None) == "host replication bob db.example.com scram-sha-256"
