import io
import json

import pytest

from catalog.errors import WalstreamError
from walstream.cli.output import Output


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def streams():
    return io.StringIO(), io.StringIO()


def test_results_and_messages_go_different_ways(streams):
    output = Output(*streams)
    output.line("result")
    output.put("main", {})
    output.warning("careful", "look")
    output.error(WalstreamError("failed", "try again"))
    output.close()
    assert streams[0].getvalue() == "result\n"
    assert (
        streams[1].getvalue() == "warning: careful\nhint: look\nwalstream: error: failed\nhint: try again\n"
    )


def test_json_is_one_document_with_the_messages_in_it(streams):
    output = Output(*streams, as_json=True)
    output.line("result")
    output.put("main", {"size_bytes": 1})
    output.warning("careful")
    output.error(WalstreamError("first\nsecond"))
    output.close()
    assert json.loads(streams[0].getvalue()) == {
        "main": {"size_bytes": 1},
        "_WARNING": ["careful"],
        "_ERROR": ["first", "second"],
    }


def test_quiet_leaves_errors_only(streams):
    output = Output(*streams, quiet=True)
    output.line("result")
    output.note("by the way")
    output.warning("careful")
    output.error(WalstreamError("failed"))
    output.close()
    assert (streams[0].getvalue(), streams[1].getvalue()) == ("", "walstream: error: failed\n")


def test_a_table_is_aligned(streams):
    Output(*streams).table(["name", "size"], [["a", "10 B"], ["long name", "5 B"]], right=frozenset({1}))
    assert streams[0].getvalue() == "name       size\na          10 B\nlong name   5 B\n"


def test_colours_are_for_terminals_that_want_them():
    assert Output(Terminal(), Terminal(), environ={}).paint("x", "red") == "\x1b[31mx\x1b[0m"
    assert Output(Terminal(), Terminal(), environ={"NO_COLOR": "1"}).paint("x", "red") == "x"
    assert Output(Terminal(), Terminal(), environ={"TERM": "dumb"}).paint("x", "red") == "x"
    assert Output(io.StringIO(), Terminal(), environ={}).paint("x", "red") == "x"


def test_a_terminal_that_cannot_take_a_line_back_shows_no_progress():
    err = Terminal()
    with Output(Terminal(), err, environ={"TERM": "dumb"}).progress("copied", 100) as progress:
        progress.update(10)
    assert err.getvalue() == ""


def test_progress_is_shown_on_a_terminal_only_and_taken_away_before_other_lines(streams):
    with Output(*streams).progress("copied", 100) as progress:
        progress.update(10)
    assert streams[1].getvalue() == ""
    err = Terminal()
    output = Output(io.StringIO(), err, environ={})
    with output.progress("copied", 100) as progress:
        progress.update(10)
        output.note("hello")
    assert err.getvalue().startswith("\r\x1b[Kcopied: 10 B of 100 B (10 %)")
    assert err.getvalue().endswith("\r\x1b[Khello\n")


def test_text_that_the_terminal_cannot_show_is_escaped():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Output(stream, stream).line("caf\xe9 \udc80")
    stream.flush()
    assert stream.buffer.getvalue() == b"caf\\xe9 \\udc80\n"
