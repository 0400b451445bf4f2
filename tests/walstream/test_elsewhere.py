"""WAL that one host has removed is asked of the others before a gap is accepted."""

import os
from contextlib import contextmanager

import pytest
from support.filed_wal import filing, name, new_repository
from support.scripted_server import ScriptedServer, pieces, refused
from support.streams import drain
from support.values import MB, at, history
from support.wal_pages import make_pages

from catalog.errors import ConnectionFailed
from catalog.gaps import read_gaps
from catalog.inventory import Run
from walstream.connecting import host_of, named_hosts, single_hosts
from walstream.intake import Intake, IntakeOptions
from walstream.receiver import Receiver
from walstream.receiving import ReceiveOptions

WAL = bytes(make_pages(7 << 20, 12 << 20, MB))


def stretch(begin, end):
    return pieces(at(begin), WAL[int((begin - 7) * MB.nbytes) : int((end - 7) * MB.nbytes)])


def gone(number):
    return refused(f"requested WAL segment {name(number)} has already been removed", "58P01")


class Hosts:
    """Several scripted servers by the host in the connection string; with all of them named, the first answers."""

    def __init__(self, **servers):
        self.servers = servers
        self.asked = []

    def connect(self, conninfo, /, **options):
        host = conninfo.partition("host=")[2].split()[0]
        self.asked.append(host)
        return self.servers[host.partition(",")[0]].connect(conninfo, **options)


@pytest.fixture
def receiving(tmp_path):
    """Receives from hosts ``a,b`` into a repository until the end position; gives the stored names and the gaps."""

    @contextmanager
    def run(hosts, end, **options):
        repository = new_repository(tmp_path)
        os.makedirs(tmp_path / "state", exist_ok=True)
        with filing(repository.storage) as ours:
            intake = Intake(repository, ours, IntakeOptions(str(tmp_path)))
            given = {"synchronous": False, "first_pause": 0.01, "end_position": at(end)} | options
            receiver = Receiver(ReceiveOptions("host=a,b", **given), intake, hosts.connect)
            receiver.run()
            intake.close()
            yield repository, [gap.run for gap in read_gaps(str(tmp_path), MB)]

    return run


def stored(repository, *numbers):
    return b"".join(drain(repository.wal.open(name(number))) for number in numbers)


@pytest.fixture
def a():
    """The server that answers first: it has removed segments 7 and 8. It is asked for 7, tried for 9 and 8."""
    server = ScriptedServer(position=at(10))
    server.slots["main"] = at(7)
    return server


def test_a_hole_is_filled_from_another_host_that_is_told_of_nothing_flushed(a, receiving):
    b = ScriptedServer(stretch(7, 9), position=at(9.5))
    a.scripts = [[gone(7)], stretch(9, 9.25), [gone(8)], stretch(9, 10)]
    with receiving(Hosts(a=a, b=b), 10, slot="main") as (repository, gaps):
        assert gaps == []
        assert stored(repository, 7, 8, 9) == WAL[: 3 << 20]
    (helped,) = b.streams
    assert "SLOT" not in helped.command and helped.updates[-1].written == at(9)
    assert {update.flushed.value for update in helped.updates} == {0}
    assert a.streams[-1].start == at(9) and a.streams[-1].flushed == at(10)


def test_a_host_that_has_only_whole_segments_of_the_hole_gives_those(a, receiving):
    b = ScriptedServer(stretch(7, 8), position=at(8.5))
    a.scripts = [
        *([gone(7)], stretch(9, 9.25), [gone(8)]),
        *([gone(8)], stretch(9, 9.25), stretch(9, 10)),
    ]
    with receiving(Hosts(a=a, b=b), 10, slot="main") as (repository, gaps):
        assert gaps == [Run(1, 8, 8)]
        assert stored(repository, 7, 9) == WAL[: 1 << 20] + WAL[2 << 20 : 3 << 20]


@pytest.mark.parametrize(
    "reason", ["removed it too", "is another cluster", "is behind", "is on another branch"]
)
def test_a_gap_is_accepted_when_no_other_host_can_help(a, receiving, reason):
    b = ScriptedServer([gone(7)], position=at(10))
    if reason == "is another cluster":
        b.system_identifier += 1
    elif reason == "is behind":
        b.position = at(7.5)
    elif reason == "is on another branch":
        b.timeline, b.histories = 2, {2: history(2, (1, 7.25))}
    hosts = Hosts(a=a, b=b)
    a.scripts = [[gone(7)], stretch(9, 9.25), [gone(8)], stretch(9, 10)]
    with receiving(hosts, 10, slot="main") as (repository, gaps):
        assert gaps == [Run(1, 7, 8)]
        assert stored(repository, 9) == WAL[2 << 20 : 3 << 20]
    assert "b" in hosts.asked


def test_a_host_that_cannot_be_reached_is_tried_again_for_as_long_as_patience_lasts(
    a, receiving, monkeypatch
):
    monkeypatch.setattr("walstream.elsewhere.PAUSE", 0.01)
    b = ScriptedServer(stretch(7, 9), position=at(9.5))
    b.refuse_connections = [ConnectionFailed("it starts"), ConnectionFailed("it starts")]
    a.scripts = [[gone(7)], stretch(9, 9.25), [gone(8)], stretch(9, 10)]
    with receiving(Hosts(a=a, b=b), 10, slot="main") as (repository, gaps):
        assert gaps == []
        assert stored(repository, 7, 8, 9) == WAL[: 3 << 20]
    assert b.refuse_connections == []


def test_patience_with_a_host_that_cannot_be_reached_ends(a, receiving, monkeypatch):
    monkeypatch.setattr("walstream.elsewhere.PAUSE", 0.01)
    b = ScriptedServer(position=at(9.5))
    b.refuse_connections = [ConnectionFailed("it is down")] * 1000
    a.scripts = [[gone(7)], stretch(9, 9.25), [gone(8)], stretch(9, 10)]
    with receiving(Hosts(a=a, b=b), 10, slot="main", gap_patience=0.05) as (_, gaps):
        assert gaps == [Run(1, 7, 8)]


def test_a_receiver_that_is_stopped_while_it_asks_accepts_no_gap(a, tmp_path, monkeypatch):
    monkeypatch.setattr("walstream.elsewhere.PAUSE", 0.01)
    b = ScriptedServer(position=at(9.5))
    b.refuse_connections = [ConnectionFailed("it starts")] * 1000
    a.scripts = [[gone(7)], stretch(9, 9.25), [gone(8)]]
    hosts = Hosts(a=a, b=b)
    repository = new_repository(tmp_path)
    os.makedirs(tmp_path / "state", exist_ok=True)
    with filing(repository.storage) as ours:
        intake = Intake(repository, ours, IntakeOptions(str(tmp_path)))
        receiver = Receiver(ReceiveOptions("host=a,b", slot="main", synchronous=False), intake, hosts.connect)
        b.refuse_connections[3] = Stopping(receiver)
        receiver.run()
        intake.close()
    assert read_gaps(str(tmp_path), MB) == ()


class Stopping(ConnectionFailed):
    """A refusal that stops the receiver as soon as it is looked at."""

    def __init__(self, receiver):
        super().__init__("it starts")
        self._receiver = receiver

    def __str__(self):
        self._receiver.stop()
        return super().__str__()


def test_a_host_whose_connection_ends_is_asked_again(a, receiving, monkeypatch):
    monkeypatch.setattr("walstream.elsewhere.PAUSE", 0.01)
    ended = refused("terminating connection due to administrator command", "57P01")
    b = ScriptedServer([ended], stretch(7, 9), position=at(9.5))
    a.scripts = [[gone(7)], stretch(9, 9.25), [gone(8)], stretch(9, 10)]
    with receiving(Hosts(a=a, b=b), 10, slot="main") as (repository, gaps):
        assert gaps == []
        assert stored(repository, 7, 8, 9) == WAL[: 3 << 20]


@pytest.mark.parametrize(
    "conninfo, hosts",
    [
        ("host=a user=x", ["host=a user=x"]),
        ("user=x", ["user=x"]),
        ("service=x", ["service=x"]),
        ("host=a,b port=1,2", ["host=a port=1", "host=b port=2"]),
        ("host=a,b port=1 target_session_attrs=primary", ["host=a port=1", "host=b port=1"]),
        ("host=a,/tmp hostaddr=10.0.0.1,", ["host=a hostaddr=10.0.0.1", "host=/tmp"]),
        ("hostaddr=10.0.0.1,10.0.0.2", ["hostaddr=10.0.0.1", "hostaddr=10.0.0.2"]),
        ("postgresql://x@a:1,b:2/?application_name=me", None),
    ],
)
def test_each_host_of_a_connection_string_has_one_of_its_own(conninfo, hosts):
    found = single_hosts(conninfo)
    if hosts is None:
        assert [host_of(conninfo, "a", "1"), host_of(conninfo, "b", "2")] == found
        assert len(found) == 2 and all("application_name=me" in each for each in found)
    else:
        assert [sorted(each.split()) for each in found] == [sorted(each.split()) for each in hosts]


def test_the_string_of_a_host_that_is_not_known_is_the_whole_one():
    assert host_of("host=a,b port=1", "c", "1") == "host=a,b port=1"
    assert host_of("host=a port=1", "a", "1") == "host=a port=1"


def test_hosts_are_named_as_people_call_them():
    found = named_hosts("host=a,b,/tmp port=5433,, user=me target_session_attrs=read-write")
    assert list(found) == ["a:5433", "b", "/tmp"]
    assert all("user=me" in each and "target_session_attrs" not in each for each in found.values())
    assert list(named_hosts("hostaddr=10.0.0.1,10.0.0.2")) == ["10.0.0.1", "10.0.0.2"]
    assert named_hosts("dbname=x") == {}
