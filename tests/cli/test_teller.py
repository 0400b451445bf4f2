import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import Malformed, WalstreamError
from walstream.cli.output import Output
from walstream.cli.teller import MAX_EVENT, Listener, Teller, retell


def told(speak):
    """The lines of what is told when ``speak`` speaks to a teller."""
    out = io.StringIO()
    speak(Teller(out))
    return out.getvalue().encode()


def heard(data, piece=None):
    """What a listener makes of bytes that arrive in pieces."""
    reader, writer = os.pipe()
    listener = Listener(reader)
    found = []
    try:
        size = piece or len(data)
        for at in range(0, len(data), size):
            os.write(writer, data[at : at + size])
            found += listener.events()
        os.close(writer)
        writer = None
        assert listener.events() is None
    finally:
        os.close(reader)
        if writer is not None:
            os.close(writer)
    return found


def speak(output):
    output.line("a line\nof two")
    output.put("main", {"backup_id": "x", "n": 1})
    output.note("a note")
    output.warning("watch out", "look there")
    output.error(WalstreamError("it failed", "try again"))


@pytest.mark.parametrize("piece", [None, 1, 7])
def test_what_was_told_is_said_with_the_name_of_its_part(piece):
    out, err = io.StringIO(), io.StringIO()
    output = Output(out, err)
    for event in heard(told(speak), piece):
        retell(event, "main", output)
    assert out.getvalue() == "a line\nof two\n"
    assert err.getvalue().splitlines() == [
        *("main: a note", "warning: main: watch out", "hint: look there"),
        *("walstream: error: main: it failed", "hint: try again"),
    ]


def test_what_was_told_becomes_part_of_the_document():
    out = io.StringIO()
    output = Output(out, io.StringIO(), as_json=True)
    for event in heard(told(speak)):
        retell(event, "main", output)
    output.close()
    assert json.loads(out.getvalue()) == {
        "main": {"backup_id": "x", "n": 1},
        "_WARNING": ["main: watch out"],
        "_ERROR": ["main: it failed"],
    }


def test_progress_is_told_at_a_rate_that_a_person_can_read():
    def work(teller):
        with teller.progress("a backup") as progress:
            for done in range(1000):
                progress.update(done, 1000)

    events = heard(told(work))
    assert events[0] == ["progress", 0, 1000] and len(events) < 100


@pytest.mark.parametrize("data", [b"nonsense\n", b"{}\n", b"[[[[\n"])
def test_what_is_no_event_is_malformed(data):
    with pytest.raises(Malformed, match="not an event"):
        heard(data)


def test_an_event_without_end_is_malformed():
    with pytest.raises(Malformed, match="more than"):
        heard(b"x" * (MAX_EVENT + 1), 1 << 16)


@given(st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.lists(inner), max_leaves=5))
def test_no_event_is_anything_but_said_or_malformed(value):
    try:
        retell([value], "main", Output(io.StringIO(), io.StringIO()))
    except Malformed:
        pass
