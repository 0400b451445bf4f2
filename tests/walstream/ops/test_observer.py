"""Watching servers: what hangs, is broken or is missing keeps nothing else from being told."""

import os
import threading

import pytest
from support.configurations import loaded
from support.metrics import samples_of
from support.published import NOW, published, running
from support.repositories import new_repository, store_backup, store_wal

from catalog.lock import Lock
from catalog.state import mark_stopped, receiver_lock_path, write_receiver_state
from walstream.ops import observer as observing
from walstream.ops.figures import ServerFigures
from walstream.ops.observer import Observer
from walstream.ops.pages import health_page, metrics_page, troubles


@pytest.fixture
def make(tmp_path):
    """An observer of these servers: names and what is in their sections."""

    def make(**servers):
        sections = "".join(
            f"[{name}]\nconninfo = host=/nowhere user=x\n{text}\n" for name, text in servers.items()
        )
        return Observer(loaded(tmp_path, f"[walstream]\nwalstream_home = {tmp_path}\n{sections}"))

    return make


def protected(tmp_path, name, backups=1):
    """A repository with a backup and the state of a server."""
    repository = new_repository(tmp_path / name)
    for directory in ("state", "streaming"):
        os.mkdir(tmp_path / name / directory)
    store_wal(repository, [2, 3])
    if backups:
        store_backup(repository)
    return repository


def scrape(observer):
    page = metrics_page(observer)
    assert page.status == 200 and page.content_type.startswith("text/plain; version=0.0.4")
    return samples_of(page.body.decode())


def health(observer):
    page = health_page(observer)
    return page.status, page.body.decode()


def test_a_scrape_tells_what_is_stored_of_each_server_and_which_section_is_wrong(tmp_path, make):
    protected(tmp_path, "one")
    protected(tmp_path, "two", backups=0)
    (tmp_path / "one" / "streaming" / "000000010000000000000004").write_bytes(b"x" * 700)
    found = scrape(make(one="", two="active = off", bad="compression = magic"))
    assert found["walstream_configuration_ok", "bad"] == 0
    assert found["walstream_backups", "one", "DONE"] == 1 and found["walstream_backups", "two", "DONE"] == 0
    assert found["walstream_spool_segments", "one"] == 1 and found["walstream_spool_bytes", "one"] == 700
    assert found["walstream_receiver_up", "one"] == 0 and ("walstream_receiver_up", "two") not in found
    assert found["walstream_wal_segments", "one"] == found["walstream_wal_segments", "two"] == 2


def test_a_repository_that_cannot_be_read_is_told_and_logged_once(tmp_path, make, caplog):
    protected(tmp_path, "one")
    (tmp_path / "one" / "identity.json").write_text("{")
    protected(tmp_path, "two")
    observer = make(one="", two="")
    for _ in range(2):
        found = scrape(observer)
        assert found["walstream_readable", "repository", "one"] == 0
        assert found["walstream_readable", "receiver", "one"] == 1
        assert found["walstream_open_gaps", "two"] == 0 and ("walstream_open_gaps", "one") not in found
    assert caplog.text.count("no figures of its repository") == 1


def test_a_server_whose_disk_hangs_is_told_to_be_unreadable_and_the_others_are_told(
    tmp_path, make, monkeypatch
):
    protected(tmp_path, "one")
    protected(tmp_path, "two")
    may_go, real, asked = threading.Event(), observing.stored_figures, []

    def hanging(settings, now):
        if settings.name == "one":
            asked.append(now)
            assert may_go.wait(30)
        return real(settings, now)

    monkeypatch.setattr(observing, "stored_figures", hanging)
    monkeypatch.setattr(observing, "LIMIT", 2.0)
    observer = make(one="", two="")
    for _ in range(2):
        found = scrape(observer)
        assert found["walstream_readable", "repository", "one"] == 0
        assert found["walstream_readable", "receiver", "one"] == 1
        assert found["walstream_wal_segments", "two"] == 2
    assert len(asked) == 1, "it was asked again while it hangs"
    may_go.set()


def test_for_a_disk_that_is_slow_the_last_answer_is_told_for_a_while(tmp_path, make, monkeypatch):
    protected(tmp_path, "one")
    may_go, real, asked = threading.Event(), observing.stored_figures, []

    def slow(settings, now):
        asked.append(now)
        assert len(asked) == 1 or may_go.wait(30)
        return real(settings, now)

    monkeypatch.setattr(observing, "stored_figures", slow)
    monkeypatch.setattr(observing, "LEAST_PAUSE", 0.0)
    observer = make(one="")
    assert scrape(observer)["walstream_wal_segments", "one"] == 2
    monkeypatch.setattr(observing, "LIMIT", 0.2)
    assert scrape(observer)["walstream_wal_segments", "one"] == 2
    monkeypatch.setattr(observing, "RECENT", 0.0)
    assert scrape(observer)["walstream_readable", "repository", "one"] == 0
    assert len(asked) == 2
    may_go.set()


def test_stored_things_are_not_read_again_and_again_for_many_who_ask(tmp_path, make, monkeypatch):
    protected(tmp_path, "one")
    monkeypatch.setattr(observing, "LEAST_PAUSE", 3600.0)
    observer = make(one="")
    assert scrape(observer)["walstream_wal_segments", "one"] == 2
    repository = new_repository(tmp_path / "one")
    store_wal(repository, [4])
    assert scrape(observer)["walstream_wal_segments", "one"] == 2


def test_checks_are_told_when_they_are_done_and_inactive_servers_are_not_checked(tmp_path, make, eventually):
    protected(tmp_path, "one")
    protected(tmp_path, "two")
    observer = make(one="", two="active = off")
    assert ("walstream_check_timestamp_seconds", "one") not in scrape(observer)
    observer.watch()
    eventually(lambda: ("walstream_check_timestamp_seconds", "one") in scrape(observer))
    found = scrape(observer)
    assert found["walstream_check_ok", "PostgreSQL", "one"] == 0
    assert found["walstream_check_ok", "failed backups", "one"] == 1
    assert not [key for key in found if key[0].startswith("walstream_check") and "two" in key]


def test_health_is_ok_while_every_active_server_is_received(tmp_path, make):
    protected(tmp_path, "one")
    observer = make(one="", two="active = off", three="streaming_archiver = off")
    with Lock(receiver_lock_path(str(tmp_path / "one")), "receiving"):
        state = published(pid=os.getpid(), at=4e9, since=4e9)
        write_receiver_state(str(tmp_path / "one"), state)
        assert health(observer) == (200, "ok\n")
    assert health(make()) == (200, "ok\n")


def test_health_has_a_line_for_each_trouble(make):
    status, text = health(make(one="", bad="compression = magic", two=""))
    assert status == 503
    assert [line.partition(":")[0] for line in text.splitlines()] == ["bad", "one", "two"]
    assert "configuration is wrong" in text and text.count("no receiver runs") == 2


def test_a_receiver_that_was_stopped_on_purpose_is_told_and_hides_no_trouble(tmp_path, make):
    protected(tmp_path, "one")
    mark_stopped(str(tmp_path / "one"))
    assert health(make(one="")) == (200, "ok\none: its receiver was stopped on purpose\n")
    status, text = health(make(one="", two=""))
    assert status == 503 and text.startswith("two: no receiver runs") and text.count("\n") == 1


def test_a_stream_that_was_lost_just_now_is_no_trouble_and_one_that_stays_away_is(tmp_path):
    text = f"[walstream]\nwalstream_home = {tmp_path}\n[main]\nconninfo = host=x\n"
    settings = loaded(tmp_path, text).server("main")

    def lost(seconds):
        found = running(phase="waiting", trouble="cut\noff", since=NOW - seconds)
        return ServerFigures(name="main", settings=settings, readable={"receiver": True}, receiver=found)

    assert troubles([lost(10)], NOW) == []
    (line,) = troubles([lost(100)], NOW)
    assert line.startswith("main: not streaming since") and "cut off" in line
    unreadable = ServerFigures(name="main", settings=settings, readable={"receiver": False})
    assert "cannot be read" in troubles([unreadable], NOW)[0]
