import io
import json
import logging
import os
import re
import threading

import pytest

from catalog.errors import StorageError
from catalog.lsn import LSN
from walstream.cli.logs import said_through, set_up
from walstream.cli.output import Output
from walstream.ops.server_log import server_log


@pytest.fixture(autouse=True)
def back_to_standard_error():
    hook = threading.excepthook
    yield
    set_up("INFO", None, "text")
    threading.excepthook = hook


def test_a_line_of_text_has_time_and_server(tmp_path):
    set_up("INFO", str(tmp_path / "log"), "text")
    server_log("main").info("segment %s stored", "A")
    server_log("main").warning("the connection broke")
    server_log("main").debug("not shown")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} main: segment A stored", first)
    assert second.endswith("main: warning: the connection broke")


@pytest.mark.parametrize("form", ["text", "json"])
def test_every_line_of_a_process_for_one_server_names_it(tmp_path, form):
    set_up("INFO", str(tmp_path / "log"), form, "main")
    logging.getLogger("walstream.receiver").info("streaming")
    assert "main" in (tmp_path / "log").read_text() and "receiver" not in (tmp_path / "log").read_text()


def test_a_line_of_json_is_one_object(tmp_path):
    set_up("INFO", str(tmp_path / "log"), "json")
    server_log("main.x").error("a\nb")
    (line,) = (tmp_path / "log").read_text().splitlines()
    fields = json.loads(line)
    assert (fields["server"], fields["level"], fields["message"]) == ("main.x", "ERROR", "a\nb")
    assert fields["time"].endswith("+00:00")


def test_a_log_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="log"):
        set_up("INFO", str(tmp_path / "no" / "log"), "text")


def test_an_event_is_one_line_whatever_it_says(tmp_path):
    set_up("INFO", str(tmp_path / "log"), "text")
    server_log("main").error("FATAL: no\nDETAIL: why\n")
    try:
        raise KeyError("x")
    except KeyError:
        logging.getLogger("walstream.metrics").exception("internal error")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert first.endswith("main: error: FATAL: no; DETAIL: why")
    assert re.search(r"metrics: error: internal error \[test_logs\.py:\d+ test_an_event_is", second)


def test_json_names_the_part_where_there_is_no_server_and_what_a_line_is_about(tmp_path):
    set_up("INFO", str(tmp_path / "log"), "json")
    logging.getLogger("walstream.run").info("starts")
    server_log("main").info("streaming", extra={"timeline": 2, "position": LSN(16 << 20)})
    first, second = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert first["part"] == "run" and "server" not in first
    assert (second["server"], second["timeline"], second["position"]) == ("main", 2, "0/1000000")
    assert "part" not in second


def test_a_log_whose_directory_goes_away_is_continued_on_standard_error(tmp_path, capsys):
    directory = tmp_path / "logs"
    directory.mkdir()
    set_up("INFO", str(directory / "log"), "text")
    server_log("main").info("one")
    (directory / "log").unlink()
    directory.rmdir()
    server_log("main").info("two")
    directory.mkdir()
    server_log("main").info("three")
    assert capsys.readouterr().err.endswith("main: two\n")
    assert (directory / "log").read_text().endswith("main: three\n")


def test_a_full_disk_below_the_log_is_no_traceback(capsys):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    set_up("INFO", "/dev/full", "text")
    server_log("main").info("one")
    assert capsys.readouterr().err.count("\n") == 1


def test_a_thread_that_ends_by_a_mistake_of_ours_is_one_line(tmp_path):
    set_up("INFO", str(tmp_path / "log"), "text", "main")
    thread = threading.Thread(target=lambda: {}["x"], name="walstream-reread")
    thread.start()
    thread.join()
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert "main: error: internal error in walstream-reread: KeyError: 'x' [test_logs.py:" in line


@pytest.mark.parametrize("level", [logging.WARNING, logging.ERROR])
def test_where_there_is_no_log_what_is_wrong_is_a_warning_of_the_command(level):
    output = Output(io.StringIO(), errors := io.StringIO())
    with said_through(lambda: output):
        server_log("main").log(level, "the script failed")
        server_log("main").info("not worth it")
    server_log("main").log(level, "later")
    assert errors.getvalue() == "warning: main: the script failed\n"
