"""``wal-restore`` to standard output, as a server on another machine asks for WAL over ssh."""

import pytest
from support.filed_wal import name, new_repository, segment_bytes, store

from walstream.cli import main


@pytest.fixture
def asked(tmp_path, capfdbinary):
    """``asked(name, *options)``: the exit code, and what came out."""
    repository = new_repository(tmp_path / "repository")
    store(repository, {name(7): segment_bytes(7)}, "zstd")

    def run(wal_name, *options):
        code = main(["wal-restore", "--absent-code", "64", *options, repository.root, wal_name, "-"])
        return code, capfdbinary.readouterr().out

    run.repository = repository
    return run


def test_a_segment_comes_whole(asked):
    assert asked(name(7)) == (0, segment_bytes(7))


def test_of_what_is_absent_nothing_comes(asked):
    assert asked(name(8)) == (64, b"")
    assert asked("00000002.history") == (64, b"")


def test_what_breaks_off_in_the_middle_is_not_begun_again(asked):
    path = asked.repository.storage.path(f"wals/{name(8)[:16]}/{name(8)}")
    with open(path, "wb") as file:
        file.write(segment_bytes(8)[:-512])
    code, came = asked(name(8), "--until", name(9), "--wait", "600")
    assert (code, came) == (255, segment_bytes(8)[:-512])


def test_what_is_missing_is_waited_for(asked):
    assert asked(name(8), "--until", name(9), "--wait", "0") == (255, b"")
