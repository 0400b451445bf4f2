import json
import re

import pytest

from catalog.errors import StorageError
from walstream.cli.logs import logger, set_up


@pytest.fixture(autouse=True)
def back_to_standard_error():
    yield
    set_up("INFO", None, "text")


def test_a_line_of_text_has_time_and_server(tmp_path):
    set_up("INFO", str(tmp_path / "log"), "text")
    logger("main").info("segment %s stored", "A")
    logger("main").warning("the connection broke")
    logger("main").debug("not shown")
    first, second = (tmp_path / "log").read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} main: segment A stored", first)
    assert second.endswith("main: warning: the connection broke")


@pytest.mark.parametrize("form", ["text", "json"])
def test_every_line_of_a_process_for_one_server_names_it(tmp_path, form):
    set_up("INFO", str(tmp_path / "log"), form, "main")
    logger("receiver").info("streaming")
    assert "main" in (tmp_path / "log").read_text() and "receiver" not in (tmp_path / "log").read_text()


def test_a_line_of_json_is_one_object(tmp_path):
    set_up("INFO", str(tmp_path / "log"), "json")
    logger("main.x").error("a\nb")
    (line,) = (tmp_path / "log").read_text().splitlines()
    fields = json.loads(line)
    assert (fields["server"], fields["level"], fields["message"]) == ("main.x", "ERROR", "a\nb")
    assert fields["time"].endswith("+00:00")


def test_a_log_that_cannot_be_written_is_an_error(tmp_path):
    with pytest.raises(StorageError, match="log"):
        set_up("INFO", str(tmp_path / "no" / "log"), "text")
