"""The way to a real server: what comes back, how waits end, and what errors say."""

import os
import select
import threading
import time

import pytest

from catalog.errors import ConnectionFailed, ConnectionLost, ProtocolError, ServerRefused, UsageError
from catalog.lsn import LSN
from walstream import commands
from walstream.connecting import parsed_conninfo, without_password
from walstream.connection import (
    COPY_BOTH,
    COPY_IN,
    COPY_OUT,
    OK,
    ROWS,
    Connection,
    EndOfCopy,
    Result,
)
from walstream.facts import server_facts
from walstream.messages import Keepalive, WalData, parse, status_update
from walstream.wakeup import Wakeup

SECRET = "s3cret-pass"


@pytest.fixture
def opened(server):
    """Opens connections to the server, which are closed at the end."""
    made = []

    def open_(conninfo=None, **options):
        options.setdefault("application_name", "walstream_test")
        made.append(Connection.open(conninfo or server.conninfo(), **options))
        return made[-1]

    yield open_
    for connection in made:
        connection.close()


@pytest.fixture
def sql(opened):
    return opened(replication=False)


@pytest.fixture
def streaming(opened):
    """A replication connection in mid-stream, from where the server is."""
    connection = opened()
    facts = server_facts(connection)
    position = facts.size.floor(facts.system.position)
    connection.send(commands.start_replication(position, facts.system.timeline, None))
    assert connection.result() == Result(COPY_BOTH)
    return connection, position


@pytest.fixture
def wakeup():
    made = Wakeup()
    yield made
    made.close()


def next_message(connection, timeout=30.0):
    limit = time.monotonic() + timeout
    while (message := connection.copied()) is None:
        assert connection.wait(limit - time.monotonic()), "the server says nothing"
    return message


# Errors of connecting


def failure(conninfo, **options):
    with pytest.raises(ConnectionFailed) as caught:
        Connection.open(conninfo, application_name="walstream_test", **options)
    assert SECRET not in str(caught.value) and SECRET not in str(caught.value.hint)
    return caught.value


def test_a_wrong_password_is_said_with_a_hint_and_never_shown(cluster_factory):
    cluster = cluster_factory(password_users=["keeper"])
    cluster.sql(f"CREATE ROLE keeper LOGIN REPLICATION PASSWORD '{SECRET}'")
    wrong = failure(cluster.conninfo(user="keeper", password=f"not-{SECRET}"))
    assert 'password authentication failed for user "keeper"' in wrong.message
    assert "passfile" in wrong.hint
    missing = failure(cluster.conninfo(user="keeper", passfile="/dev/null"))
    assert "no password supplied" in missing.message and "passfile" in missing.hint
    with Connection.open(
        cluster.conninfo(user="keeper", password=SECRET), application_name="walstream_test"
    ) as connection:
        assert server_facts(connection).system.timeline == 1


def test_a_connection_string_for_another_program_names_it_and_lacks_the_password():
    shown, secret = without_password(f"host=db password='{SECRET}' sslpassword=x application_name=a", "b c")
    assert parsed_conninfo(shown) == {"host": "db", "application_name": "b c"}
    assert secret == SECRET
    assert without_password("host=db", "b")[1] is None


def test_a_server_that_is_down_is_said_with_a_hint(tmp_path):
    socket = failure(f"host={tmp_path} user=keeper")
    assert "No such file or directory" in socket.message and "server runs" in socket.hint
    network = failure("host=127.0.0.1 port=1 user=keeper")
    assert "Connection refused" in network.message and "server runs" in network.hint


def test_of_several_hosts_that_are_down_each_is_said_once(tmp_path):
    several = failure(f"host={tmp_path},127.0.0.1 port=1 user=keeper")
    assert several.message.count("127.0.0.1") == several.message.count(str(tmp_path)) == 1
    assert "Is the server running" not in several.message and "\n" not in several.message
    assert "check that the server runs" in several.hint


def test_a_host_that_does_not_exist_is_said_with_a_hint():
    unknown = failure("host=does-not-exist.invalid user=keeper")
    assert "does-not-exist.invalid" in unknown.message and "check the host" in unknown.hint


def test_a_role_that_does_not_exist_is_said_with_a_hint(server):
    missing = failure(server.conninfo(user="nobody_here"))
    assert 'role "nobody_here" does not exist' in missing.message
    assert missing.hint


def test_a_role_without_the_privilege_is_told_which_one(server):
    server.sql("DROP ROLE IF EXISTS plain")
    server.sql("CREATE ROLE plain LOGIN")
    refused = failure(server.conninfo(user="plain"))
    assert "ALTER ROLE … REPLICATION" in refused.hint
    server.sql("DROP ROLE plain")


def test_a_missing_line_in_pg_hba_is_said_with_the_line_to_add(cluster_factory):
    cluster = cluster_factory(hba=["local replication refused reject"])
    cluster.sql("CREATE ROLE refused LOGIN REPLICATION")
    refused = failure(cluster.conninfo(user="refused"))
    assert "pg_hba.conf rejects" in refused.message and "reload" in refused.hint


@pytest.mark.parametrize(
    "conninfo",
    [
        f"host=x password={SECRET} with blanks",
        f"password='{SECRET}",
        f"host=x {SECRET}",
        f"postgresql://keeper:{SECRET}@[x",
        f"nonsense={SECRET}",
    ],
)
def test_a_connection_string_that_cannot_be_read_shows_no_password(conninfo):
    with pytest.raises(UsageError) as caught:
        Connection.open(conninfo, application_name="walstream_test")
    assert SECRET not in str(caught.value) + str(caught.value.hint) + repr(caught.value.__cause__)
    with pytest.raises(UsageError):
        parsed_conninfo(conninfo)


def test_strings_and_uris_are_read_alike():
    as_string = parsed_conninfo("host=h port=5433 user=u password='a b'")
    assert as_string == parsed_conninfo("postgresql://u:a%20b@h:5433/") | {"port": "5433"}


def test_time_to_connect_is_bounded():
    began = time.monotonic()
    failure("host=192.0.2.1 user=keeper", connect_timeout=2)  # an address that nobody has
    assert time.monotonic() - began < 30


# Who we are


def test_the_server_sees_our_name_and_a_replication_connection(opened, server):
    connection = opened(application_name="walstream_receive_wal")
    assert connection.server_version // 10000 == server.version
    found = server.sql(
        "SELECT application_name, backend_type FROM pg_stat_activity WHERE pid = %s", connection.backend_pid
    )
    assert found == [("walstream_receive_wal", "walsender")]


def test_what_the_string_says_about_replication_counts_for_nothing(opened, server):
    with opened(server.conninfo(replication="true"), replication=False) as ordinary:
        assert ordinary.query("SELECT 1") == ((b"1",),)
    with opened(server.conninfo(replication="off", dbname="nowhere")) as physical:
        assert server_facts(physical).version // 10000 == server.version


def test_closing_ends_the_servers_side_at_once(opened, server, eventually):
    connection = opened()
    pid = connection.backend_pid
    connection.close()
    eventually(lambda: not server.one("SELECT count(*) FROM pg_stat_activity WHERE pid = %s", pid))


# Commands


def test_rows_are_the_bytes_that_came(sql):
    assert sql.query("SELECT 'ä', NULL, ''") == (("ä".encode(), None, b""),)
    assert sql.query("SET client_min_messages = notice") == ()
    assert sql.query("") == ()


def test_a_command_that_answers_with_another_number_of_rows_is_a_protocol_error(sql):
    for count in (0, 2):
        with pytest.raises(ProtocolError, match=f"{count} rows in answer to SELECT"):
            sql.row(f"SELECT FROM generate_series(1, {count})")


def test_a_refusal_has_sqlstate_detail_and_hint_and_the_connection_can_be_used_again(sql):
    with pytest.raises(ServerRefused) as caught:
        sql.query(
            "DO $$ BEGIN RAISE 'no' USING DETAIL = 'because', HINT = 'do this', ERRCODE = 'XX123'; END $$"
        )
    assert caught.value.message == "the server refused: no (because)"
    assert (caught.value.hint, caught.value.sqlstate) == ("do this", "XX123")
    assert sql.row("SELECT 1") == (b"1",)


def test_a_refused_replication_command_leaves_the_connection_usable(opened):
    connection = opened()
    with pytest.raises(ServerRefused) as caught:
        connection.query(commands.timeline_history(99))
    assert caught.value.sqlstate == "58P01"
    assert server_facts(connection).system.timeline == 1


def test_warnings_are_told_and_notices_are_not(sql):
    told = []
    sql.on_warning = told.append
    sql.query("DO $$ BEGIN RAISE NOTICE 'a notice'; RAISE WARNING 'a warning'; END $$")
    assert told == ["a warning"]


# Copies


def test_a_copy_out_gives_its_messages_one_by_one(sql):
    sql.send("COPY (SELECT generate_series(1, 3)) TO STDOUT")
    assert sql.result() == Result(COPY_OUT)
    assert [bytes(message) for message in sql.messages()] == [b"1\n", b"2\n", b"3\n"]
    assert sql.result() == Result(OK)
    assert sql.result() is None
    assert sql.row("SELECT 1") == (b"1",)


def test_an_error_in_mid_copy_is_raised_from_the_result(sql):
    sql.send("COPY (SELECT 1 / (3 - i) FROM generate_series(1, 5) i) TO STDOUT")
    assert sql.result() == Result(COPY_OUT)
    assert len(list(sql.messages())) <= 2
    with pytest.raises(ServerRefused, match="division by zero"):
        sql.result()
    assert sql.row("SELECT 1") == (b"1",)


def test_a_large_copy_in_is_taken_whole(sql):
    sql.query("CREATE TEMP TABLE copied (t text)")
    sql.send("COPY copied FROM STDIN")
    assert sql.result() == Result(COPY_IN)
    for _ in range(200):
        sql.put(b"x" * 99_999 + b"\n")
    sql.end_copy()
    assert sql.result() == Result(OK)
    assert sql.result() is None
    assert sql.row("SELECT count(*), sum(length(t)) FROM copied") == (b"200", str(200 * 99_999).encode())


def test_a_copy_where_none_was_expected_is_a_protocol_error(sql):
    with pytest.raises(ProtocolError, match="unexpected copy out after COPY"):
        sql.query("COPY (SELECT 1) TO STDOUT")


def test_a_message_stays_as_it_is_when_later_ones_arrive(streaming, server):
    connection, _ = streaming
    first = next_message(connection)
    before = bytes(first)
    server.load(2000)
    for _ in range(3):
        next_message(connection)
    assert bytes(first) == before


def test_a_stream_brings_wal_answers_a_request_and_ends_in_order(streaming):
    connection, position = streaming
    data = parse(next_message(connection))
    assert isinstance(data, WalData) and data.start == position
    zero = LSN(0)
    connection.put(status_update(data.end, zero, zero, time.time(), reply_requested=True))
    while not isinstance(parse(next_message(connection)), Keepalive):
        pass
    connection.end_copy()
    for message in connection.messages():
        parse(message)
    assert [connection.result(), connection.result(), connection.result()] == [Result(OK), Result(OK), None]
    assert server_facts(connection).system.timeline == 1


# Waiting


def drained(connection):
    """Take all that is there, until the server has been silent for a moment."""
    while connection.copied() is not None or connection.wait(0.3):
        pass


def test_waiting_ends_when_time_is_up(streaming):
    connection, _ = streaming
    drained(connection)
    began = time.monotonic()
    assert not connection.wait(0.05)
    assert not connection.wait(-1)
    assert 0.05 <= time.monotonic() - began < 10


def test_waiting_ends_when_the_server_speaks(streaming, server):
    connection, _ = streaming
    drained(connection)
    timer = threading.Timer(0.05, server.load, [10])
    timer.start()
    assert connection.wait(30)
    timer.join()
    assert connection.copied() is not None


def test_waiting_ends_when_the_wake_up_is_called_and_a_command_is_answered_all_the_same(opened, wakeup):
    connection = opened(replication=False, wakeup=wakeup.fileno())
    timer = threading.Timer(0.05, wakeup.set)
    timer.start()
    assert not connection.wait(30)
    timer.join()
    assert select.select([wakeup.fileno()], [], [], 0)[0]
    assert connection.row("SELECT pg_sleep(0.1)::text") == (b"",)


def test_other_threads_run_while_a_command_is_waited_for(sql):
    ticks = []
    timer = threading.Timer(0.05, ticks.append, [time.monotonic()])
    timer.start()
    sql.query("SELECT pg_sleep(0.3)")
    assert ticks
    timer.join()


def test_an_answer_that_does_not_come_is_a_lost_connection(opened):
    connection = opened(replication=False, patience=0.1)
    with pytest.raises(ConnectionLost, match="has not answered"):
        connection.query("SELECT pg_sleep(10)")


# Losing the connection


def lost(work):
    with pytest.raises(ConnectionLost) as caught:
        work()
    return caught.value


def test_a_terminated_stream_says_so_and_then_is_lost(streaming, server):
    connection, _ = streaming
    drained(connection)
    assert server.one("SELECT pg_terminate_backend(%s)", connection.backend_pid)
    with pytest.raises(EndOfCopy):
        while True:
            next_message(connection)
    with pytest.raises(ServerRefused) as caught:
        connection.result()
    assert caught.value.sqlstate == "57P01"
    lost(lambda: connection.query(commands.IDENTIFY_SYSTEM))


def test_a_terminated_command_is_a_refusal_and_then_a_loss(sql, server):
    pid = sql.backend_pid
    timer = threading.Timer(0.1, server.sql, ["SELECT pg_terminate_backend(%s)", pid])
    timer.start()
    with pytest.raises(ServerRefused, match="administrator command"):
        sql.query("SELECT pg_sleep(30)")
    timer.join()
    lost(lambda: sql.query("SELECT 1"))


@pytest.mark.parametrize("end", ["immediate", "kill"])
def test_a_server_that_ends_without_a_word_is_a_lost_connection(cluster_factory, end):
    cluster = cluster_factory()
    with Connection.open(cluster.conninfo(), application_name="walstream_test") as connection:
        facts = server_facts(connection)
        position = facts.size.floor(facts.system.position)
        connection.send(commands.start_replication(position, 1, None))
        connection.result()
        cluster.kill() if end == "kill" else cluster.stop("immediate")

        def read_to_the_end():
            try:
                while True:
                    next_message(connection)
            except EndOfCopy:
                connection.result()

        try:
            error = lost(read_to_the_end)
        except ServerRefused:  # some versions take their leave even then
            error = lost(lambda: connection.query(commands.IDENTIFY_SYSTEM))
        assert "connection to the server was lost" in error.message
        lost(lambda: connection.query(commands.IDENTIFY_SYSTEM))


def test_an_orderly_shutdown_ends_the_copy_and_then_the_connection(cluster_factory):
    cluster = cluster_factory()
    with Connection.open(cluster.conninfo(), application_name="walstream_test") as connection:
        facts = server_facts(connection)
        connection.send(commands.start_replication(facts.size.floor(facts.system.position), 1, None))
        connection.result()
        stopping = threading.Thread(target=cluster.stop)
        stopping.start()
        reached = LSN(0)
        try:
            while True:
                message = parse(next_message(connection))
                reached = max(reached, message.end if isinstance(message, WalData) else message.position)
                connection.put(status_update(reached, reached, LSN(0), time.time()))
        except (EndOfCopy, ConnectionLost):
            pass
        stopping.join()
        lost(lambda: [connection.result() for _ in range(3)])


def test_descriptors_are_given_back(opened, server):
    def count():
        return len(os.listdir("/proc/self/fd"))

    before = count()
    for _ in range(3):
        Connection.open(server.conninfo(), application_name="walstream_test").close()
    assert count() == before


def test_a_result_without_rows_is_still_one_of_rows(sql):
    sql.send("SELECT 1 WHERE false")
    assert sql.result() == Result(ROWS, ())
    assert sql.result() is None


@pytest.mark.postgres(minimum=17)
def test_a_copy_that_the_server_refuses_in_the_middle_leaves_a_connection_that_works(opened):
    connection = opened()
    with pytest.raises(ServerRefused, match="could not parse backup manifest"):
        connection.upload(commands.UPLOAD_MANIFEST, (b"no manifest" * 3000 for _ in range(300)))
    assert commands.system_facts(connection.row(commands.IDENTIFY_SYSTEM)).timeline == 1


def test_a_command_that_takes_no_copy_is_given_none(opened):
    with pytest.raises(ProtocolError, match="did not ask for the content of IDENTIFY_SYSTEM"):
        opened().upload(commands.IDENTIFY_SYSTEM, [b"x"])


@pytest.mark.parametrize(
    "conninfo", ["host=h foo=bar", "foo = bar password=x", "postgresql://u:p@h/d?foo=bar"]
)
def test_an_unknown_keyword_is_named(conninfo):
    with pytest.raises(UsageError, match="unknown keyword: 'foo'"):
        parsed_conninfo(conninfo)


@pytest.mark.parametrize(
    "conninfo", ["password=a foo=b", "postgresql://u@h/d?password=a&foo=b", "host=h password=x foo"]
)
def test_what_may_be_a_part_of_a_password_is_not_named(conninfo):
    with pytest.raises(UsageError) as caught:
        parsed_conninfo(conninfo)
    assert "foo" not in f"{caught.value} {caught.value.hint}"
