import pytest
from support.configurations import write

from walstream.settings.load import load
from walstream.settings.occupied import occupant

BARMANS = '{"systemid": "7340000000000000000", "version": "15"}'
OURS = '{"format": 1, "system_identifier": "7340000000000000000"}'


def put(root, path, text=""):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


@pytest.mark.parametrize("mark", [".cron.lock", ".barman.auto.conf", "cfg_changes.queue", ".barman-x"])
def test_a_home_of_barmans_is_told_by_its_files(tmp_path, mark):
    put(tmp_path, mark)
    assert occupant(str(tmp_path), ["main"]) == ("Barman's home", mark)


def test_a_home_of_barmans_is_told_by_the_directory_of_a_server(tmp_path):
    put(tmp_path, "main/identity.json", BARMANS)
    assert occupant(str(tmp_path), ["two", "main"]) == ("Barman's home", "main/identity.json")
    put(tmp_path, "two/identity.json", OURS)
    assert occupant(str(tmp_path), ["two", "main"]) is None


def test_a_data_directory_is_nobodys_home(tmp_path):
    put(tmp_path, "PG_VERSION", "18\n")
    assert occupant(str(tmp_path), []) == ("a PostgreSQL data directory", "PG_VERSION")


@pytest.mark.parametrize("content", [OURS, "", "{", "[]", "7", '{"systemid": "7", "format": 1}'])
def test_what_is_ours_empty_or_absent_is_not_occupied(tmp_path, content):
    put(tmp_path, "main/identity.json", content)
    assert occupant(str(tmp_path), ["main", "absent"]) is None
    assert occupant(str(tmp_path / "absent"), ["main"]) is None


def test_every_server_is_refused_whose_home_is_barmans(tmp_path):
    put(tmp_path, "home/.cron.lock")
    text = f"[barman]\nbarman_home = {tmp_path}/home\n[main]\nconninfo = host=a\n"
    file = write(tmp_path, text)
    (error,) = load(file).broken["main"]
    assert str(error).startswith(f"{file}, line 2: '{tmp_path}/home' is Barman's home")
    assert "walstream_home = … in the section [walstream]" in error.hint
    with open(file, "a") as opened:
        opened.write(f"[walstream]\nwalstream_home = {tmp_path}/ours\n")
    assert load(file).server("main").home == f"{tmp_path}/ours/main"
