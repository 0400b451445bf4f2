import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.configurations import MAIN, write

from catalog.errors import ConfigurationError
from walstream.settings.load import load
from walstream.settings.write import add_server

LINES = {"conninfo": "host=new user=w", "slot_name": "walstream"}


def test_a_missing_file_is_made_for_its_owner_alone(tmp_path):
    file = str(tmp_path / "new.conf")
    assert add_server(file, "main", LINES, "/srv/w")
    assert stat.S_IMODE((tmp_path / "new.conf").stat().st_mode) == 0o600
    server = load(file).server("main")
    assert (server.conninfo, server.slot_name, server.home) == ("host=new user=w", "walstream", "/srv/w/main")


def test_what_is_in_the_file_stays_byte_for_byte(tmp_path):
    file = tmp_path / "w.conf"
    before = b"# caf\xe9\r\n[walstream]\r\nwalstream_home=/w\n\n;end"
    file.write_bytes(before)
    add_server(str(file), "main", LINES, "/elsewhere")
    after = file.read_bytes()
    assert after.startswith(before)
    assert b"elsewhere" not in after
    assert load(str(file)).server("main").home == "/w/main"


def test_an_existing_file_keeps_its_mode_and_its_link(tmp_path):
    file = tmp_path / "w.conf"
    file.write_text("[walstream]\nwalstream_home = /w\n")
    file.chmod(0o640)
    (tmp_path / "link").symlink_to(file)
    add_server(str(tmp_path / "link"), "main", LINES, "/w")
    assert (tmp_path / "link").is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert "main" in load(str(file)).servers


def test_adding_the_same_server_again_changes_nothing(tmp_path):
    file = tmp_path / "w.conf"
    add_server(str(file), "main", LINES, "/w")
    before = file.read_bytes()
    assert not add_server(str(file), "main", LINES, "/w")
    assert file.read_bytes() == before


def test_a_server_with_another_conninfo_is_refused(tmp_path):
    file = write(tmp_path, MAIN)
    with pytest.raises(ConfigurationError, match=r"line 7: server 'main' is already there"):
        add_server(file, "main", LINES, "/w")


@pytest.mark.parametrize("lines", [{"conninfo": "host=a\nx=y"}, {"conninfo": "host=a", "slot_name": "A"}, {}])
def test_what_could_not_be_read_again_is_not_written(tmp_path, lines):
    with pytest.raises(ConfigurationError):
        add_server(str(tmp_path / "w.conf"), "main", lines, "/w")
    assert not (tmp_path / "w.conf").exists()


def test_a_file_without_a_home_gets_one(tmp_path):
    file = write(tmp_path, "[walstream]\nlog_level = DEBUG\n")
    add_server(file, "main", LINES, "/w")
    assert load(file).server("main").home == "/w/main"


@given(st.text())
def test_a_conninfo_reads_back_as_it_was_given_or_is_refused(tmp_path_factory, value):
    file = str(tmp_path_factory.mktemp("w") / "w.conf")
    conninfo = "host=a password=" + value
    try:
        add_server(file, "main", {"conninfo": conninfo}, "/w")
    except ConfigurationError:
        return
    assert load(file).server("main").conninfo == conninfo
