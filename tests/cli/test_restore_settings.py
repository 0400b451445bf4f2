"""What the configuration says about a recovery, in the restore_command that ``restore`` writes."""

import json

import pytest
from support.configurations import write
from support.repositories import new_repository, store_backup, store_wal

from walstream.cli import main


@pytest.fixture
def restored(tmp_path, capsys):
    """``restored(server, line)``: the restore_command, and what was said beside it."""
    repository = new_repository(tmp_path / "main")
    store_backup(repository, first=2, last=3)
    store_wal(repository, [2, 3, 4])

    def make(server, line=""):
        destination = tmp_path / "data"
        destination.mkdir(mode=0o700)  # root may restore only into what is there
        text = f"[walstream]\nwalstream_home = {tmp_path}\n[main]\nconninfo = host=db\n{line}\n"
        config = write(tmp_path, text)
        assert main(["-c", str(config), "-f", "json", "restore", server, "latest", str(destination)]) == 0
        said = capsys.readouterr()
        return json.loads(said.out)["main"]["settings"]["restore_command"], said.err

    return make


@pytest.mark.parametrize(("line", "count"), [("", 8), ("prefetch_segments = 3", 3)])
def test_so_many_segments_are_decoded_ahead_as_the_server_says(restored, line, count):
    command, _ = restored("main", line)
    assert "; mv -f pg_wal/walstream-lookahead/%f %p " in command
    assert f"--prefetch {count} " in command


def test_none_are_decoded_ahead_where_the_server_says_so(restored):
    command, _ = restored("main", "prefetch_segments = 0")
    assert "; mv " not in command and "--prefetch" not in command


def test_a_wrong_number_is_warned_of_and_stops_no_restore(restored):
    command, said = restored("main", "prefetch_segments = many")
    assert "--prefetch 8 " in command
    assert "'prefetch_segments' in [main] cannot be 'many'" in said


def test_of_a_repository_alone_it_is_the_default(restored, tmp_path):
    command, _ = restored(str(tmp_path / "main"), "prefetch_segments = 3")
    assert "--prefetch 8 " in command
