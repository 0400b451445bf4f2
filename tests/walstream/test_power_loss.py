"""A receiver whose machine loses power before any one of its calls that change something on the disk.

Whatever it had acknowledged until then is on the disk, as it is after the power loss: only what was synced
(``Disk``), or with luck everything. What must come first, came first: a history before WAL of its
timeline, the record of a gap before WAL behind it.
"""

import os
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from support.faults import Disk, PowerLoss
from support.filed_wal import filing, name, new_repository
from support.scripted_server import ScriptedServer, next_timeline, pieces, refused
from support.values import MB, at, history
from support.wal_pages import make_pages

from catalog import durable
from walstream.intake import Intake, IntakeOptions
from walstream.receiver import ReceiveOptions, Receiver

FIRST = bytes(make_pages(7 << 20, 12 << 20, MB))
SECOND = bytes(make_pages(8 << 20, 12 << 20, MB, timeline=2, fill=b"\x5a"))
GONE = "requested WAL segment 000000010000000000000008 has already been removed"


def stretch(content, base, begin, end):
    """The messages with the WAL between two positions, and the wait until it is acknowledged."""
    first, last = int((begin - base) * MB.nbytes), int((end - base) * MB.nbytes)
    return [*pieces(at(begin), content[first:last]), lambda stream: stream.flushed >= at(end)]


def completion(server, stop):
    """Segments are completed, and archived."""
    server.scripts = [
        [*stretch(FIRST, 7, 7, 7.5), *stretch(FIRST, 7, 7.5, 8.75), *stretch(FIRST, 7, 8.75, 9.25), stop]
    ]


def switch(server, stop):
    """A promotion: the old timeline leaves a partial segment, the new one has a history."""
    server.histories[2] = history(2, (1, 8.25))
    server.scripts = [
        [*stretch(FIRST, 7, 7, 8.25), next_timeline(2, at(8.25))],
        [*stretch(SECOND, 8, 8, 9.5), stop],
    ]


def gap(server, stop):
    """The server has no more what is needed next: a gap, and streaming goes on behind it."""
    probe = [refused(GONE, "58P01")]

    def moves_on(stream):
        server.position = at(10)
        return True

    cut = refused("terminating connection", "57P01")
    server.scripts = [
        [*stretch(FIRST, 7, 7, 8), moves_on, cut],
        probe,  # is it the server whose WAL is held? it does not know any more
        probe,
        probe,
        [*stretch(FIRST, 7, 10, 11.5), stop],
    ]


@pytest.mark.parametrize("synchronous", [True, False], ids=["synchronous", "at intervals"])
@pytest.mark.parametrize("story", [completion, switch, gap], ids=lambda story: story.__name__)
def test_what_was_acknowledged_survives_a_power_loss_at_any_call(tmp_path, story, synchronous):
    finished = False
    for calls in count(1):
        root = tmp_path / str(calls)
        root.mkdir()
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr("walstream.synchronous.ASK_INTERVAL_CLOSE", 0.01)
            disk = Disk(monkeypatch)
            server, finished = receive(root, story, synchronous, disk, calls)
            synced = disk.survivors(str(root))
        for files in (synced, everything(root)):
            assert_acknowledged_is_there(server, files)
            assert_order(files)
        if finished:
            break
    assert calls > 60 and server.streams[-1].flushed > at(9)


def receive(root, story, synchronous, disk, calls):
    """Play the story until the power goes; the server, and whether it came to its end."""
    server = ScriptedServer(position=at(7))

    def stop(stream):
        receiver.stop()
        return False

    story(server, stop)
    repository = new_repository(root)
    for directory in ("state", "streaming"):
        durable.make_directories(str(root / directory))
    options = ReceiveOptions("host=here", synchronous=synchronous, flush_interval=0.01, first_pause=0.01)
    disk.stop_after(calls)
    with filing(repository.storage) as ours:
        try:
            with closing(Intake(repository, ours, IntakeOptions(str(root)))) as intake:
                receiver = Receiver(options, intake, server.connect)
                receiver.run()
        except PowerLoss:
            return server, False
    return server, True


def everything(root):
    """The files as they are, had the disk kept all."""
    files = (path for path in root.rglob("*") if path.is_file() and not durable.is_temporary(path.name))
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def assert_acknowledged_is_there(server, files):
    for stream in server.streams:
        content, base = (FIRST, 7) if stream.timeline == 1 else (SECOND, 8)
        flushed = max((update.flushed for update in stream.updates), default=at(0))
        for number in range(7, 12):
            begin, end = max(at(number), stream.start), min(at(number + 1), flushed)
            if end <= begin:
                continue
            wanted = content[(number - base) << 20 :][: end - begin]
            segment = name(number, timeline=stream.timeline)
            found = [data for path, data in files.items() if Path(path).stem == segment]
            assert found and all(data[: len(wanted)] == wanted for data in found), (segment, sorted(files))


def assert_order(files):
    names = {os.path.basename(path) for path in files if not durable.is_temporary(path)}
    if any(each.startswith("00000002") and each != "00000002.history" for each in names):
        assert "00000002.history" in names
    if name(10) in names or f"{name(10)}.partial" in names:
        assert b'"0000000100000000000000' in files["state/gaps.json"]
